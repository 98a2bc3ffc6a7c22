//! Checkpoints of another history, another log, another key, and what witnesses add.

use quietus_ledger::audit::{self, Beside, Finding};
use quietus_ledger::note::{Witness, add_cosignatures};

use crate::log::{self, Copy};

fn beside(notes: &[(&str, Vec<u8>)]) -> Beside {
    let checkpoints = notes.iter().cloned();
    Beside {
        checkpoints: checkpoints
            .map(|(name, note)| (name.to_owned(), note))
            .collect(),
        ..Beside::default()
    }
}

/// The same log with another entry at this place.
fn fork(entries: &[Vec<u8>], seq: u64) -> Vec<Vec<u8>> {
    let mut fork = entries.to_vec();
    fork[usize::try_from(seq).unwrap() - 1] = log::seal(&log::entry(7), seq);
    fork
}

#[test]
fn another_history_is_found_by_any_checkpoint_kept_elsewhere() {
    let entries = log::entries(600);
    let shown = fork(&entries, 300);
    // The log signed both, each for another reader.
    let copy = log::copy(&shown);
    assert!(copy.verify().is_good());
    for size in [300, 301, 555] {
        let kept = log::checkpoint(&entries[..size]);
        let report = copy.verify_beside(&beside(&[("kept", kept)]));
        assert_eq!(log::words(&report), ["fork"], "{size}");
        assert_eq!(report.findings[0].name().as_deref(), Some("kept"));
    }
    for size in [1, 256, 299] {
        let kept = log::checkpoint(&entries[..size]);
        let report = copy.verify_beside(&beside(&[("kept", kept)]));
        assert_eq!(report.findings, [], "{size}: before the fork both are one");
    }
    // Of one size, the two signatures alone are proof.
    let kept = log::checkpoint(&entries);
    let report = copy.verify_beside(&beside(&[("kept", kept)]));
    assert_eq!(log::words(&report), ["split_view", "fork"]);
}

#[test]
fn a_kept_checkpoint_that_is_exchanged_for_a_fork_s_is_found() {
    let entries = log::entries(600);
    let other = fork(&entries, 100);
    let mut copy = log::copy(&entries);
    let path = "checkpoints/256";
    copy.0
        .insert(path.to_owned(), log::checkpoint(&other[..256]));
    let report = copy.verify();
    assert_eq!(log::words(&report), ["fork"]);
    assert_eq!(report.findings[0].name().as_deref(), Some(path));
}

#[test]
fn a_log_that_is_shorter_than_what_was_kept_elsewhere_is_found() {
    let entries = log::entries(600);
    let copy = log::copy(&entries[..590]);
    assert!(copy.verify().is_good());
    let kept = log::checkpoint(&entries);
    let report = copy.verify_beside(&beside(&[("kept", kept)]));
    assert_eq!(
        report.findings,
        [Finding::Truncated {
            name: "kept".to_owned(),
            size: 600,
            held: 590
        }]
    );
}

#[test]
fn checkpoints_of_other_logs_and_other_keys_are_found() {
    let entries = log::entries(300);
    let leaves = log::leaves(&entries);
    let put = |path: &str, note: Vec<u8>| {
        let mut copy = log::copy(&entries);
        copy.0.insert(path.to_owned(), note);
        copy.verify()
    };
    for note in [
        log::signed(&leaves[..256], 2, log::ORIGIN),
        log::signed(&leaves[..256], 1, "audit.example/other"),
        b"audit.example/broker\n256\nnonsense\n".to_vec(),
        Vec::new(),
        vec![0xff; 100],
    ] {
        let report = put("checkpoints/256", note.clone());
        assert_eq!(log::words(&report), ["checkpoint"]);
        let report = put("checkpoint", note);
        assert!(!report.is_good());
        assert_eq!(report.findings[0].name().as_deref(), Some("checkpoint"));
    }
    // The log's own, but not where it belongs.
    let misplaced = put("checkpoints/257", log::checkpoint(&entries[..256]));
    assert_eq!(log::words(&misplaced), ["misplaced_checkpoint"]);
}

#[test]
fn the_first_checkpoint_names_the_log_if_nobody_did() {
    let entries = log::entries(300);
    let pair = log::pair(1);
    // One key, two logs.
    let signer = quietus_ledger::Signer::new(log::ORIGIN, &pair).unwrap();
    let other =
        quietus_ledger::Checkpoint::new("other", 256, log::head(&log::leaves(&entries[..256])));
    let mut copy = log::copy(&entries);
    let note = other.sign(&[signer]).unwrap().into_bytes();
    copy.0.insert("checkpoints/256".to_owned(), note);
    let trust = audit::Trust {
        origin: None,
        ..log::trust()
    };
    let report = audit::verify(&copy.0, trust, &Beside::default(), |_, _| ()).unwrap();
    assert_eq!(report.origin.as_deref(), Some(log::ORIGIN));
    assert_eq!(log::words(&report), ["checkpoint"]);
}

#[test]
fn nothing_is_believed_without_a_key() {
    let copy = log::copy(&log::entries(10));
    let none = audit::Trust::default();
    let report = audit::verify(&copy.0, none, &Beside::default(), |_, _| ()).unwrap();
    assert!(!report.is_good());
    assert_eq!(log::words(&report)[0], "checkpoint");
}

#[test]
fn a_known_witness_s_cosignature_must_hold() {
    let entries = log::entries(10);
    let mut copy = log::copy(&entries);
    let pair = log::pair(9);
    let witness = Witness::new("witness.example/w1", &pair).unwrap();
    let note = log::checkpoint(&entries);
    let text = std::str::from_utf8(&note).unwrap();
    let text = &text[..text.rfind("\n\n").unwrap() + 1];
    let known = vec![witness.cosigner().clone()];
    let line = witness.cosign(text, 1_800_000_000);
    let cosigned = add_cosignatures(&note, line.as_bytes(), &known).unwrap();
    let trust = audit::Trust {
        witnesses: known,
        ..log::trust()
    };
    let verify =
        |copy: &Copy| audit::verify(&copy.0, trust.clone(), &Beside::default(), |_, _| ()).unwrap();
    assert_eq!(verify(&copy).cosignatures, 0);
    copy.0
        .insert("checkpoint".to_owned(), cosigned.clone().into_bytes());
    let report = verify(&copy);
    assert_eq!((report.cosignatures, report.findings), (1, vec![]));
    for at in 0..cosigned.len() {
        let mut altered = cosigned.clone().into_bytes();
        altered[at] ^= 1;
        let mut copy = copy.clone();
        copy.0.insert("checkpoint".to_owned(), altered);
        let report = verify(&copy);
        // A line under another name is nobody's.
        assert!(!report.is_good() || report.cosignatures == 0, "byte {at}");
    }
}

#[test]
fn a_checkpoint_that_comes_too_late_is_not_taken_for_checked() {
    let entries = log::entries(20);
    let mut walk = audit::Walk::new(log::trust());
    for entry in &entries {
        walk.entry(entry);
    }
    walk.checkpoint("late", &log::checkpoint(&entries[..10]))
        .unwrap();
    walk.checkpoint("newest", &log::checkpoint(&entries))
        .unwrap();
    let report = walk.finish();
    assert_eq!(log::words(&report), ["unchecked"]);
    assert_eq!(report.checkpoints, 1);
}
