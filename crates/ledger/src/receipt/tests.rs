#![allow(clippy::unwrap_used, clippy::panic)]

mod spelling;

use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

use super::*;
use crate::canonical::by_hand::canonical;
use crate::note::Note;

/// Made by another program in another language, with the private key of 32 bytes 0x07.
const VECTOR: &str = include_str!("vector.txt");
const KEY: &str = "dev.example/quietus+a3d6c5aa+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
const TASK: &str = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn verifier() -> Verifier {
    KEY.parse().unwrap()
}

/// Three credentials, the last unconfirmed.
fn closing() -> Receipt {
    verify(VECTOR.as_bytes(), &[verifier()]).unwrap()
}

fn closed() -> Receipt {
    let mut receipt = closing();
    receipt.credentials[2].end = End::Confirmed {
        at: receipt.at,
        how: How::ExpiredAtTarget,
    };
    (receipt.state, receipt.complete) = (State::Closed, true);
    receipt
}

fn value(receipt: &Receipt) -> Value {
    serde_json::to_value(receipt).unwrap()
}

/// What a forger with the key could have signed: no check is made.
fn text_of(value: &Value) -> String {
    format!("{HEADER}{}\n", canonical(value))
}

fn changed(receipt: Receipt, change: impl Fn(&mut Receipt)) -> Result<(), ReceiptError> {
    let mut receipt = receipt;
    change(&mut receipt);
    let parsed = Receipt::parse(&text_of(&value(&receipt))).map(drop);
    let made = receipt.text().map(drop);
    let signed = receipt
        .sign(&[Signer::new("a", &pair()).unwrap()])
        .map(drop);
    assert_eq!(format!("{parsed:?}"), format!("{made:?}"));
    assert_eq!(format!("{parsed:?}"), format!("{signed:?}"));
    parsed
}

#[test]
fn a_receipt_made_elsewhere_is_read_and_made_here_byte_for_byte() {
    let receipt = closing();
    assert_eq!(
        (receipt.v, receipt.version, receipt.credentials.len()),
        (2, 2, 3)
    );
    assert_eq!(receipt.credentials[0].renewals, 2);
    assert_eq!(receipt.credentials[2].fingerprint, None);
    assert!(!receipt.credentials[2].can_revoke);
    let key = pair();
    let signer = Signer::new("dev.example/quietus", &key).unwrap();
    assert_eq!(receipt.sign(&[signer]).unwrap(), VECTOR);
}

#[test]
fn receipts_read_back() {
    let mut empty = closed();
    empty.credentials.clear();
    let mut delegated = closed();
    delegated.parents = vec!["0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a54".to_owned()];
    for receipt in [closing(), closed(), empty, delegated] {
        let note = receipt.sign(&[Signer::new("a", &pair()).unwrap()]).unwrap();
        let key = pair();
        let signer = Signer::new("a", &key).unwrap();
        assert_eq!(
            verify(note.as_bytes(), &[signer.verifier().clone()]).unwrap(),
            receipt
        );
    }
}

#[test]
fn each_way_to_die_has_its_word() {
    let ways = [
        (How::DeletedAtTarget, "deleted_at_target"),
        (How::OnCrl, "on_crl"),
        (How::OnKrl, "on_krl"),
        (How::RefusedByIntrospection, "refused_by_introspection"),
        (How::RotatedAtTarget, "rotated_at_target"),
        (How::ExpiredAtTarget, "expired_at_target"),
    ];
    for (how, word) in ways {
        assert_eq!(how.as_str(), word);
        assert_eq!(value_of(how), json!(word));
    }
}

fn value_of(how: How) -> Value {
    serde_json::to_value(how).unwrap()
}

#[test]
fn every_flipped_bit_is_found() {
    for at in 0..VECTOR.len() {
        for bit in 0..8 {
            let mut bytes = VECTOR.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            assert!(
                verify(&bytes, &[verifier()]).is_err(),
                "byte {at} bit {bit}"
            );
        }
    }
}

#[test]
fn every_truncation_is_found() {
    for at in 0..VECTOR.len() {
        assert!(
            verify(&VECTOR.as_bytes()[..at], &[verifier()]).is_err(),
            "{at}"
        );
        assert!(
            verify(&VECTOR.as_bytes()[at + 1..], &[verifier()]).is_err(),
            "{at}"
        );
    }
}

#[test]
fn a_receipt_is_believed_under_the_right_key_and_name_only() {
    let right = verifier();
    let wrong_name = Verifier::new("dev.example/other", *right.public_key()).unwrap();
    let wrong_key = Verifier::new("dev.example/quietus", [9; 32]).unwrap();
    for verifiers in [&[][..], &[wrong_name], &[wrong_key]] {
        let error = verify(VECTOR.as_bytes(), verifiers).unwrap_err();
        assert!(
            matches!(error, ReceiptError::Note(NoteError::Unverified)),
            "{error}"
        );
    }
}

#[test]
fn what_the_broker_signed_for_other_reasons_is_no_receipt() {
    let key = pair();
    for text in [
        "dev.example/quietus\n5\nAAAA\n",
        "quietus receipt v2\n",
        "quietus receipt v2\n\n",
        "quietus receipt v2\n{}\n",
        "quietus receipt v2\nnull\n",
    ] {
        let signer = Signer::new("dev.example/quietus", &key).unwrap();
        let note = note::sign(text, &[signer]).unwrap();
        assert!(
            Note::parse(note.as_bytes())
                .unwrap()
                .verify(&[verifier()])
                .is_ok()
        );
        assert!(verify(note.as_bytes(), &[verifier()]).is_err(), "{text}");
    }
}

#[test]
fn complete_is_said_when_and_only_when_all_is_confirmed() {
    let lied = changed(closing(), |receipt| receipt.complete = true);
    assert!(matches!(
        lied,
        Err(ReceiptError::Complete {
            claimed: true,
            unconfirmed: 1
        })
    ));
    let lied = changed(closing(), |receipt| {
        (receipt.state, receipt.complete) = (State::Closed, true);
    });
    assert!(matches!(
        lied,
        Err(ReceiptError::Complete {
            claimed: true,
            unconfirmed: 1
        })
    ));
    let modest = changed(closed(), |receipt| receipt.complete = false);
    assert!(matches!(
        modest,
        Err(ReceiptError::Complete {
            claimed: false,
            unconfirmed: 0
        })
    ));
    let empty = changed(closing(), |receipt| receipt.credentials.clear());
    assert!(matches!(
        empty,
        Err(ReceiptError::Complete {
            claimed: false,
            unconfirmed: 0
        })
    ));
    let open = changed(closed(), |receipt| receipt.state = State::Closing);
    assert!(matches!(
        open,
        Err(ReceiptError::State { complete: true, .. })
    ));
    let shut = changed(closing(), |receipt| receipt.state = State::Closed);
    assert!(matches!(
        shut,
        Err(ReceiptError::State {
            complete: false,
            ..
        })
    ));
}

#[test]
fn any_one_credential_unconfirmed_is_enough() {
    for n in 0..3 {
        let lied = changed(closed(), |receipt| {
            let reason = String::new();
            receipt.credentials[n].end = End::Unconfirmed { reason };
        });
        assert!(matches!(
            lied,
            Err(ReceiptError::Complete {
                claimed: true,
                unconfirmed: 1
            })
        ));
    }
}

#[test]
fn times_that_contradict_each_other_are_refused() {
    let late = End::Confirmed {
        at: closed().at + 1,
        how: How::OnCrl,
    };
    let early = End::Confirmed {
        at: closed().opened_at,
        how: How::OnCrl,
    };
    let cases: [&dyn Fn(&mut Receipt); 8] = [
        &|receipt| receipt.opened_at = receipt.ended_at + 1,
        &|receipt| receipt.ended_at = receipt.at + 1,
        &|receipt| receipt.at = receipt.ended_at - 1,
        &|receipt| receipt.credentials[1].issued_at = receipt.opened_at - 1,
        &|receipt| receipt.credentials[1].ended_at = receipt.credentials[1].issued_at - 1,
        &|receipt| receipt.credentials[1].ended_at = receipt.at + 1,
        &|receipt| receipt.credentials[1].end = late.clone(),
        &|receipt| receipt.credentials[1].end = early.clone(),
    ];
    for (n, change) in cases.iter().enumerate() {
        let refused = changed(closed(), change);
        assert!(
            matches!(refused, Err(ReceiptError::Order(_))),
            "{n}: {refused:?}"
        );
    }
}

#[test]
fn numbers_that_json_readers_disagree_about_are_refused() {
    let safe = crate::canonical::MAX_NUMBER;
    changed(closed(), |receipt| receipt.at = safe).unwrap();
    changed(closed(), |receipt| receipt.credentials[0].expires_at = safe).unwrap();
    let at = changed(closed(), |receipt| receipt.at = safe + 1);
    assert!(matches!(at, Err(ReceiptError::Time)));
    let expiry = changed(closed(), |receipt| {
        receipt.credentials[0].expires_at = u64::MAX
    });
    assert!(matches!(expiry, Err(ReceiptError::Time)));
}

#[test]
fn leases_are_of_the_task_and_there_once_in_order() {
    let leases = [
        "".to_owned(),
        TASK.to_owned(),
        format!("{TASK}."),
        format!("{TASK}.x"),
        format!("{TASK}.-1"),
        format!("{TASK}.+1"),
        format!("{TASK}.01"),
        format!("{TASK}.1 "),
        format!("{TASK}.0"),
        format!("{TASK}.3"),
        format!("{TASK}.4"),
        format!("{TASK}.4294967296"),
        format!("{TASK}.1.1"),
        format!("{}.1", TASK.replace('c', "d")),
    ];
    for lease in leases {
        let refused = changed(closed(), |receipt| {
            receipt.credentials[1].lease = lease.clone()
        });
        assert!(
            matches!(refused, Err(ReceiptError::Lease(_))),
            "{lease}: {refused:?}"
        );
    }
    let swapped = changed(closed(), |receipt| receipt.credentials.swap(0, 2));
    assert!(matches!(swapped, Err(ReceiptError::Lease(_))));
}

#[test]
fn what_must_be_said_is_said() {
    type Change = fn(&mut Receipt);
    let cases: [(&str, Change); 5] = [
        ("issuer", |receipt| receipt.issuer.clear()),
        ("task", |receipt| receipt.task.clear()),
        ("agent", |receipt| receipt.agent.clear()),
        ("ended", |receipt| receipt.ended.clear()),
        ("cause", |receipt| receipt.cause.clear()),
    ];
    for (name, change) in cases {
        let refused = changed(closed(), change);
        assert!(matches!(refused, Err(ReceiptError::Empty(empty)) if empty == name));
    }
    for hex in [
        "",
        "ab",
        &"AB".repeat(32),
        &"ag".repeat(32),
        &"ab".repeat(33),
        &"é".repeat(32),
    ] {
        let refused = changed(closed(), |receipt| {
            receipt.credentials[0].fingerprint = Some(hex.to_owned());
        });
        assert!(
            matches!(refused, Err(ReceiptError::Fingerprint(_))),
            "{hex}"
        );
    }
}
