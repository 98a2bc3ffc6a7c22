//! `quietus audit verify` on a copy.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use quietus_ledger::{Receipt, Signer};
use serde_json::Value;

use crate::log::{self, Copy};
use crate::{Folder, shown};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quietus"))
        .args(["audit", "verify"])
        .args(args)
        .env_remove("QUIETUS_IDENTITY")
        .env_remove("QUIETUS_OUTPUT")
        .output()
        .unwrap()
}

fn key(seed: u8, name: &str) -> String {
    let pair = log::pair(seed);
    Signer::new(name, &pair).unwrap().verifier().to_string()
}

/// The exit code and the document.
fn verify(folder: &Folder, more: &[&str]) -> (Option<i32>, Value) {
    let copy = folder.copy();
    let key = key(1, log::ORIGIN);
    let args = [&[shown(&copy), "--key", &key, "-o", "json"], more].concat();
    let output = run(&args);
    let document = serde_json::from_slice(&output.stdout);
    (output.status.code(), document.unwrap_or_default())
}

fn folder(count: u64) -> Folder {
    Folder::of(&log::copy(&log::entries(count)))
}

fn signed(receipt: &Receipt) -> Vec<u8> {
    let pair = log::pair(1);
    let note = receipt.sign(&[Signer::new(log::BROKER, &pair).unwrap()]);
    note.unwrap().into_bytes()
}

#[test]
fn a_good_copy_is_good_and_tells_what_it_holds() {
    let folder = folder(600);
    let (code, document) = verify(&folder, &[]);
    assert_eq!(code, Some(0), "{document}");
    assert_eq!(document["verified"], true);
    assert_eq!(document["origin"], log::ORIGIN);
    for (name, value) in [
        ("size", 600),
        ("entries", 600),
        ("pruned", 0),
        ("checkpoints", 3),
        ("policies", 1),
        ("more_findings", 0),
    ] {
        assert_eq!(document[name], value, "{name}");
    }
    assert_eq!(document["first_at"], "2027-01-15T08:00:00.000Z");
    assert_eq!(document["findings"], Value::Array(Vec::new()));
    let copy = folder.copy();
    let table = run(&[shown(&copy), "--key", &key(1, log::ORIGIN)]);
    let text = String::from_utf8(table.stdout).unwrap();
    assert!(text.contains("everything holds"), "{text}");
}

#[test]
fn what_does_not_hold_is_told_and_has_its_own_exit_code() {
    let mut copy = log::copy(&log::entries(600));
    copy.0.get_mut("tile/entries/001").unwrap()[1000] ^= 1;
    let (code, document) = verify(&Folder::of(&copy), &[]);
    assert_eq!(
        (code, &document["verified"]),
        (Some(8), &Value::Bool(false))
    );
    let findings = document["findings"].as_array().unwrap();
    assert!(findings.iter().any(|found| found["what"] == "altered"));
    let seqs: Vec<_> = findings
        .iter()
        .map(|found| found["entry"].as_u64().unwrap())
        .collect();
    assert!(seqs.iter().all(|seq| (257..=512).contains(seq)), "{seqs:?}");
}

#[test]
fn the_broker_s_key_is_the_log_s_key_and_others_are_not() {
    let folder = folder(10);
    let copy = folder.copy();
    let with = |key: &str| {
        run(&[shown(&copy), "--key", key, "-o", "json"])
            .status
            .code()
    };
    assert_eq!(with(&key(1, log::BROKER)), Some(0));
    assert_eq!(with(&key(2, log::ORIGIN)), Some(8));
    assert_eq!(with(&key(1, "other.example/log")), Some(8));
    let file = folder.put(
        "ledger.vkey",
        format!("{}\n", key(1, log::ORIGIN)).as_bytes(),
    );
    assert_eq!(with(shown(&file)), Some(0));
    assert_eq!(with(&format!("@{}", shown(&file))), Some(0));
    assert_eq!(with("nonsense"), Some(2));
    assert_eq!(run(&[shown(&copy)]).status.code(), Some(2));
    let (code, _) = verify(&folder, &["--origin", "other.example/log"]);
    assert_eq!(code, Some(8));
}

#[test]
fn a_checkpoint_that_was_kept_elsewhere_binds_the_log() {
    let entries = log::entries(600);
    let folder = Folder::of(&log::copy(&entries[..590]));
    let kept = folder.put("kept", &log::checkpoint(&entries[..300]));
    let (code, document) = verify(&folder, &["--checkpoint", shown(&kept)]);
    assert_eq!((code, &document["checkpoints"]), (Some(0), &Value::from(4)));
    let later = folder.put("later", &log::checkpoint(&entries));
    let both = ["--checkpoint", shown(&kept), "--checkpoint", shown(&later)];
    let (code, document) = verify(&folder, &both);
    assert_eq!(code, Some(8));
    assert_eq!(document["findings"][0]["what"], "truncated");
    assert_eq!(document["findings"][0]["name"], shown(&later));
    let mut fork = log::leaves(&entries);
    fork[7] = [7; 32];
    let fork = folder.put("fork", &log::signed(&fork[..300], 1, log::ORIGIN));
    let (code, document) = verify(&folder, &["--checkpoint", shown(&fork)]);
    assert_eq!(
        (code, &document["findings"][0]["what"]),
        (Some(8), &"fork".into())
    );
}

#[test]
fn a_receipt_must_be_borne_out_by_the_log() {
    let folder = folder(100);
    let mut receipt = log::receipt(16);
    let good = folder.put("good.receipt", &signed(&receipt));
    let (code, document) = verify(&folder, &["--receipt", shown(&good)]);
    assert_eq!((code, &document["receipts"]), (Some(0), &Value::from(1)));
    receipt.credentials.pop();
    let quiet = folder.put("quiet.receipt", &signed(&receipt));
    let (code, document) = verify(&folder, &["--receipt", shown(&quiet)]);
    assert_eq!((code, &document["receipts"]), (Some(8), &Value::from(0)));
    assert_eq!(document["findings"][0]["name"], shown(&quiet));
}

#[test]
fn what_cannot_be_read_is_a_failure_and_no_verdict() {
    let folder = folder(10);
    symlink("/etc/hostname", folder.copy().join("checkpoints")).unwrap();
    assert_eq!(verify(&folder, &[]).0, Some(1));
    let key = key(1, log::ORIGIN);
    for dir in ["/nonexistent", "/etc/hostname"] {
        assert_eq!(run(&[dir, "--key", &key]).status.code(), Some(1), "{dir}");
    }
    let good = Folder::of(&log::copy(&log::entries(3)));
    assert_eq!(verify(&good, &["--receipt", "/nonexistent"]).0, Some(1));
    let empty = Folder::of(&Copy::default());
    std::fs::create_dir(empty.copy()).unwrap();
    let (code, document) = verify(&empty, &[]);
    assert_eq!(
        (code, &document["findings"][0]["what"]),
        (Some(8), &"no_checkpoint".into())
    );
}
