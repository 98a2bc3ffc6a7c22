//! Receipts, against what the entries say.

use quietus_ledger::audit::{Beside, Report};
use quietus_ledger::receipt::State;
use quietus_ledger::{End, How, Receipt, Signer};

use crate::log;

fn verify(receipt: &Receipt) -> Report {
    signed_by(receipt, 1)
}

fn signed_by(receipt: &Receipt, seed: u8) -> Report {
    signed_as(receipt, seed, log::BROKER)
}

fn signed_as(receipt: &Receipt, seed: u8, name: &str) -> Report {
    let pair = log::pair(seed);
    let note = receipt.sign(&[Signer::new(name, &pair).unwrap()]);
    let beside = Beside {
        receipts: vec![("task.receipt".to_owned(), note.unwrap().into_bytes())],
        ..Beside::default()
    };
    log::copy(&log::entries(100)).verify_beside(&beside)
}

#[test]
fn a_receipt_that_the_log_bears_out_is_good() {
    for number in [0, 8, 40, 88] {
        let report = verify(&log::receipt(number));
        assert_eq!((report.receipts, report.findings), (1, vec![]), "{number}");
    }
}

#[test]
fn a_receipt_made_before_the_last_confirmation_is_good_too() {
    let mut receipt = log::receipt(8);
    let reason = "the target has not answered yet".to_owned();
    receipt.credentials[1].end = End::Unconfirmed { reason };
    receipt.complete = false;
    receipt.state = State::Closing;
    let report = verify(&receipt);
    assert_eq!((report.receipts, report.findings), (1, vec![]));
}

#[test]
fn whatever_a_receipt_claims_that_the_log_does_not_say_is_found() {
    type Alter = fn(&mut Receipt);
    let cases: [(&str, Alter); 12] = [
        ("another end", |receipt| receipt.ended_at += 1),
        ("another cause", |receipt| {
            receipt.cause = "expired".to_owned()
        }),
        ("another task", |receipt| {
            *receipt = log::receipt(8000);
        }),
        ("a lease's other end", |receipt| {
            receipt.credentials[0].ended_at += 1
        }),
        ("a lease's other cause", |receipt| {
            receipt.credentials[0].cause = "expired".to_owned();
        }),
        ("another confirmation", |receipt| {
            let at = receipt.ended_at;
            let how = How::OnCrl;
            receipt.credentials[0].end = End::Confirmed { at, how };
        }),
        ("a later confirmation", |receipt| {
            let at = receipt.ended_at + 50;
            let how = How::RefusedByIntrospection;
            receipt.credentials[0].end = End::Confirmed { at, how };
        }),
        ("an earlier confirmation", |receipt| {
            let at = receipt.ended_at;
            let how = How::DeletedAtTarget;
            receipt.credentials[1].end = End::Confirmed { at, how };
        }),
        ("a credential that never was", |receipt| {
            let mut more = receipt.credentials[1].clone();
            more.lease = format!("{}.2", receipt.task);
            receipt.credentials.push(more);
        }),
        ("a credential kept quiet", |receipt| {
            receipt.credentials.pop();
        }),
        ("another credential kept quiet", |receipt| {
            receipt.credentials.remove(0);
        }),
        ("no credential at all", |receipt| {
            receipt.credentials.clear()
        }),
    ];
    for (what, alter) in cases {
        let mut receipt = log::receipt(8);
        alter(&mut receipt);
        let report = verify(&receipt);
        assert!(log::words(&report).contains(&"receipt"), "{what}");
        let name = report.findings[0].name();
        assert_eq!(
            (name.as_deref(), report.receipts),
            (Some("task.receipt"), 0)
        );
    }
}

#[test]
fn a_receipt_by_another_key_or_of_another_kind_is_not_believed() {
    let report = signed_by(&log::receipt(8), 2);
    assert_eq!((log::words(&report), report.receipts), (vec!["receipt"], 0));
    let report = signed_as(&log::receipt(8), 1, log::ORIGIN);
    assert_eq!((log::words(&report), report.receipts), (vec!["receipt"], 0));
    let beside = Beside {
        receipts: vec![("other".to_owned(), log::checkpoint(&log::entries(3)))],
        ..Beside::default()
    };
    let report = log::copy(&log::entries(100)).verify_beside(&beside);
    assert_eq!(log::words(&report), ["receipt"]);
}

#[test]
fn a_receipt_pins_the_log_that_it_was_made_of() {
    let pinned = |alter: fn(&mut Receipt)| {
        let mut receipt = log::receipt(8);
        alter(&mut receipt);
        verify(&receipt)
    };
    let earlier = pinned(|receipt| receipt.ledger = log::pin(50));
    assert_eq!(earlier.findings, vec![]);
    let forked = pinned(|receipt| receipt.ledger.root = "ab".repeat(32));
    assert_eq!(log::words(&forked), ["split_view", "fork"]);
    let forked = pinned(|receipt| {
        receipt.ledger.root = "ab".repeat(32);
        receipt.ledger.size = 77;
    });
    assert_eq!(log::words(&forked), ["fork"]);
    let cut = pinned(|receipt| receipt.ledger = log::pin(101));
    assert_eq!(log::words(&cut), ["truncated"]);
}
