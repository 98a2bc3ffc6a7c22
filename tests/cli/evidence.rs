//! A broker's log, verified over its API.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broker::{Broker, READ};
use crate::closing::find;
use crate::{code, json, quietus, stdout};

/// Checkpoints are signed a moment after what they cover.
const PATIENCE: Duration = Duration::from_secs(60);

/// What `audit verify` says, once the newest checkpoint covers what is waited for.
fn verified(broker: &Broker, args: &[&str], covers: impl Fn(&Value) -> bool) -> (i32, Value) {
    let key = find(&broker.folder, "ledger.vkey");
    let args = [
        &["audit", "verify", "--key", key.to_str().unwrap()],
        args,
        &["-o", "json"],
    ]
    .concat();
    let start = Instant::now();
    loop {
        let output = broker.operator(&args);
        let document = json(&output);
        if covers(&document) || start.elapsed() > PATIENCE {
            return (code(&output), document);
        }
    }
}

/// The newest checkpoint, once there is one.
fn checkpoint(broker: &Broker) -> Vec<u8> {
    let start = Instant::now();
    loop {
        let output = broker.operator(&["audit", "checkpoint"]);
        match code(&output) {
            0 => return output.stdout,
            _ => assert!(start.elapsed() < PATIENCE, "{output:?}"),
        }
    }
}

#[test]
fn what_a_broker_did_verifies_over_its_api_with_a_receipt_and_an_older_checkpoint() {
    let broker = Broker::start();
    let kept = broker.folder.join("kept");
    fs::write(&kept, checkpoint(&broker)).unwrap();
    let task = broker.open("verified");
    for _ in 0..2 {
        let output = broker.agent(&["request", "--task", &task, "--scope", READ, "-q"]);
        assert_eq!(code(&output), 0, "{output:?}");
    }
    let lease = format!("{task}.0");
    assert_eq!(code(&broker.agent(&["lease", "renew", &lease])), 0);
    assert_eq!(code(&broker.agent(&["lease", "revoke", &lease])), 0);
    let receipt = broker.folder.join("task.receipt");
    let receipt = receipt.to_str().unwrap();
    let close = ["task", "close", &task, "--wait", "1m", "--receipt", receipt];
    assert_eq!(code(&broker.agent(&close)), 0);

    let kept = kept.to_str().unwrap();
    let args = ["--receipt", receipt, "--checkpoint", kept];
    let (code, document) = verified(&broker, &args, |document| document["receipts"] == 1);
    assert_eq!(
        (code, &document["verified"]),
        (0, &Value::Bool(true)),
        "{document}"
    );
    assert!(document["checkpoints"].as_u64() >= Some(2), "{document}");
    assert!(document["entries"].as_u64() >= Some(6), "{document}");
    assert_eq!(document["entries"], document["size"]);
    assert!(document["policies"].as_u64() >= Some(1), "{document}");
    copied(&broker, &args);
}

/// The same from a copy, without the broker, by us and by somebody else's program.
fn copied(broker: &Broker, args: &[&str]) {
    let key = find(&broker.folder, "ledger.vkey");
    let copy = broker.folder.join("copy");
    let (key, copy) = (key.to_str().unwrap(), copy.to_str().unwrap());
    let output = broker.operator(&["audit", "copy", copy, "--key", key]);
    assert_eq!(code(&output), 0, "{output:?}");
    let output = quietus(&[&["audit", "verify", copy, "--key", key], args].concat());
    assert_eq!(code(&output), 0, "{output:?}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/evidence/verify_log.py");
    let vkey = fs::read_to_string(key).unwrap();
    let output = Command::new("python3")
        .args(["-I", script, copy, &vkey])
        .output();
    let output = output.expect("python3 is installed");
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(
        stdout(&output).ends_with("\neverything holds\n"),
        "{output:?}"
    );
}

#[test]
fn a_checkpoint_of_another_broker_does_not_fit() {
    let (broker, other) = (Broker::start(), Broker::start());
    let kept = broker.folder.join("kept");
    fs::write(&kept, checkpoint(&other)).unwrap();
    checkpoint(&broker);
    let args = ["--checkpoint", kept.to_str().unwrap()];
    let (code, document) = verified(&broker, &args, |_| true);
    assert_eq!(code, 8, "{document}");
    assert_eq!(document["findings"][0]["what"], "checkpoint");
}
