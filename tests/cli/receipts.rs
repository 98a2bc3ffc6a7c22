//! Receipts without a broker: who is believed, and what is not.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use quietus_ledger::note::{self, MAX_NOTE};
use quietus_ledger::receipt::{self, Credential, End, How, Receipt, State, VERSION};
use quietus_ledger::{Signer, Verifier};
use ring::signature::Ed25519KeyPair;

use crate::{code, json, quietus, stderr, stdout};

const BROKER: &str = "spiffe://dev.example/broker";
const TASK: &str = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";
const NOW: u64 = 1_800_000_000_000;

/// A folder with a receipt.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn with(note: &str) -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(desk.path("task.receipt"), note).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verify(&self, keys: &[&str]) -> Output {
        self.run(&["receipt", "verify"], keys)
    }

    fn show(&self, args: &[&str]) -> Output {
        self.run(&["receipt", "show"], args)
    }

    fn run(&self, command: &[&str], args: &[&str]) -> Output {
        let file = self.path("task.receipt");
        quietus(&[command, &[file.to_str().unwrap()], args].concat())
    }
}

fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn key(name: &str, seed: u8) -> String {
    let pair = pair(seed);
    let verifier: Verifier = Signer::new(name, &pair).unwrap().verifier().clone();
    verifier.to_string()
}

fn brokers() -> String {
    key(BROKER, 7)
}

fn credential(number: u32, end: End) -> Credential {
    Credential {
        attempts: 1,
        can_revoke: true,
        cause: "completed".to_owned(),
        end,
        ended_at: NOW + 60_000,
        expires_at: NOW + 300_000,
        fingerprint: Some("ab".repeat(32)),
        issued_at: NOW + 1_000,
        kind: "postgres".to_owned(),
        lease: format!("{TASK}.{number}"),
        renewals: 0,
        scopes: vec!["orders-db:read:public.orders".to_owned()],
        target: "orders-db".to_owned(),
    }
}

fn receipt(complete: bool) -> Receipt {
    let at = NOW + 61_000;
    let how = How::DeletedAtTarget;
    let reason = "connection refused".to_owned();
    let last = match complete {
        true => End::Confirmed { at, how },
        false => End::Unconfirmed { reason },
    };
    Receipt {
        agent: "spiffe://dev.example/agent".to_owned(),
        at: NOW + 62_000,
        cause: "completed".to_owned(),
        complete,
        credentials: vec![
            credential(0, End::Confirmed { at, how }),
            credential(1, last),
        ],
        ended: "Completed".to_owned(),
        ended_at: NOW + 60_000,
        environment: "dev".to_owned(),
        issuer: BROKER.to_owned(),
        ledger: receipt::Head {
            root: "cd".repeat(32),
            size: 12,
        },
        opened_at: NOW,
        parents: Vec::new(),
        state: match complete {
            true => State::Closed,
            false => State::Closing,
        },
        task: TASK.to_owned(),
        v: VERSION,
        version: 2,
    }
}

fn signed(complete: bool) -> String {
    sign(&receipt(complete).text().unwrap(), BROKER, 7)
}

fn sign(text: &str, name: &str, seed: u8) -> String {
    note::sign(text, &[Signer::new(name, &pair(seed)).unwrap()]).unwrap()
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    assert_eq!(code(output), 1, "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert!(stderr(output).contains(why), "{why}: {output:?}");
}

#[test]
fn a_good_receipt_is_verified() {
    let desk = Desk::with(&signed(true));
    let output = desk.verify(&["--key", &brokers()]);
    assert_eq!(code(&output), 0, "{output:?}");
    let text = stdout(&output);
    assert!(text.contains(&format!("{BROKER}, verified\n")), "{text}");
    let end = "\ncomplete: the death of 2 credentials is confirmed\n";
    assert!(text.ends_with(end), "{text}");
    let document = json(&desk.verify(&["--key", &brokers(), "-o", "json"]));
    assert_eq!(document["signature"], "verified");
    assert_eq!(document["complete"], true);
    assert_eq!(document["credentials"][1]["confirmed"], "deleted_at_target");
}

#[test]
fn keys_come_from_a_file_as_well() {
    let desk = Desk::with(&signed(true));
    let keys = desk.path("keys");
    let at = format!("@{}", keys.display());
    fs::write(&keys, format!("# of the broker\n\n{}\n", brokers())).unwrap();
    assert_eq!(code(&desk.verify(&["--key", &at])), 0);
    // Any of several will do.
    let other = key("spiffe://other.example/broker", 8);
    assert_eq!(code(&desk.verify(&["--key", &other, "--key", &at])), 0);
    for (content, why) in [
        ("# none\n", "holds no verifier key"),
        ("nonsense\n", "verifier key"),
    ] {
        fs::write(&keys, content).unwrap();
        refused(&desk.verify(&["--key", &at]), why);
    }
    fs::write(&keys, vec![b'#'; 64 * 1024 + 1]).unwrap();
    refused(&desk.verify(&["--key", &at]), "more than 65536 bytes");
    refused(
        &desk.verify(&["--key", "@nowhere"]),
        "nowhere cannot be read",
    );
}

#[test]
fn an_incomplete_receipt_holds_but_is_told_apart() {
    let desk = Desk::with(&signed(false));
    let output = desk.verify(&["--key", &brokers()]);
    assert_eq!(code(&output), 7, "{output:?}");
    let text = stdout(&output);
    assert!(
        text.contains("unconfirmed, 1 attempt: connection refused\n"),
        "{text}"
    );
    let end = "\nnot complete: 1 of 2 credentials not confirmed dead\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn no_byte_can_be_changed() {
    let note = signed(true).into_bytes();
    let body = note.len() - 120;
    for at in (0..note.len()).step_by(97).chain(body..note.len()) {
        let mut flipped = note.clone();
        flipped[at] ^= 1;
        let desk = Desk::with("");
        fs::write(desk.path("task.receipt"), &flipped).unwrap();
        let output = desk.verify(&["--key", &brokers()]);
        refused(&output, "does not hold");
    }
}

#[test]
fn another_key_or_name_is_not_believed() {
    let desk = Desk::with(&signed(true));
    let why = format!("it is said to be signed by {BROKER}, and given was ");
    refused(&desk.verify(&["--key", &key(BROKER, 8)]), &why);
    let renamed = key("spiffe://dev.example/other", 7);
    refused(&desk.verify(&["--key", &renamed]), &why);
}

#[test]
fn nobody_signs_for_another() {
    let other = "spiffe://other.example/broker";
    let desk = Desk::with(&sign(&receipt(true).text().unwrap(), other, 8));
    let keys = [brokers(), key(other, 8)];
    let output = desk.verify(&["--key", &keys[0], "--key", &keys[1]]);
    refused(&output, "but another's key signed it");
}

#[test]
fn what_contradicts_itself_is_not_believed_whoever_signed_it() {
    let text = receipt(false).text().unwrap();
    let lies = [
        text.replace(r#""complete":false"#, r#""complete":true"#),
        text.replace(r#""version":2"#, r#""version":0"#),
        text.replace(r#""v":2"#, r#""v": 2"#),
        text.replace("quietus receipt v2", "quietus receipt v1"),
        text.replace("quietus receipt v2", "something else"),
    ];
    for lie in lies {
        assert_ne!(lie, text);
        let desk = Desk::with(&sign(&lie, BROKER, 7));
        refused(&desk.verify(&["--key", &brokers()]), "does not hold");
        refused(&desk.show(&[]), "task.receipt: ");
    }
}

#[test]
fn what_is_no_receipt_is_refused() {
    let cut = signed(true);
    let cut = &cut[..cut.len() - 1];
    for text in [
        "",
        "\n",
        "hello\n",
        "quietus receipt v2\n{}\n",
        cut,
        "a\n\n— b c\n",
    ] {
        let desk = Desk::with(text);
        refused(&desk.verify(&["--key", &brokers()]), "does not hold");
        refused(&desk.show(&[]), "task.receipt: ");
        refused(&desk.show(&["--signed"]), "task.receipt: ");
    }
}

#[test]
fn files_are_read_within_bounds() {
    let desk = Desk::with("");
    let file = fs::File::create(desk.path("task.receipt")).unwrap();
    file.set_len(MAX_NOTE as u64 + 1).unwrap();
    let why = format!("more than {MAX_NOTE} bytes");
    refused(&desk.verify(&["--key", &brokers()]), &why);
    refused(&desk.show(&[]), &why);
    fs::remove_file(desk.path("task.receipt")).unwrap();
    refused(&desk.verify(&["--key", &brokers()]), "cannot be read");
    refused(&desk.show(&[]), "cannot be read");
    fs::create_dir(desk.path("task.receipt")).unwrap();
    refused(
        &desk.verify(&["--key", &brokers()]),
        "is not a regular file",
    );
}

#[test]
fn a_key_is_needed_and_must_be_one() {
    let desk = Desk::with(&signed(true));
    let altered = brokers().replace('A', "B");
    let cases: [&[&str]; 4] = [
        &[],
        &["--key", ""],
        &["--key", "nonsense"],
        &["--key", &altered],
    ];
    for args in cases {
        let output = desk.verify(args);
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_file_is_shown_and_not_vouched_for() {
    let note = signed(false);
    let desk = Desk::with(&note);
    let output = desk.show(&[]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(
        stdout(&output).contains("it says: not checked"),
        "{output:?}"
    );
    assert_eq!(stdout(&desk.show(&["--signed"])), note);
    let document = json(&desk.show(&["-o", "json"]));
    assert_eq!(document["signature"], "unchecked");
    assert_eq!(
        document["credentials"][1]["unconfirmed"],
        "connection refused"
    );
}

#[test]
fn what_a_receipt_says_is_made_harmless() {
    let mut evil = receipt(false);
    let reason = "\u{1b}[2J\ncomplete: all is well\u{202e}".to_owned();
    evil.credentials[1].end = End::Unconfirmed { reason };
    let desk = Desk::with(&sign(&evil.text().unwrap(), BROKER, 7));
    let output = desk.verify(&["--key", &brokers()]);
    let text = stdout(&output);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
    assert!(!text.contains("\ncomplete"), "{text}");
}
