//! Where credentials go, what becomes of them, and what proves it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::broker::{Broker, READ};
use crate::{code, quietus, stderr, stdout};

#[test]
fn a_closed_task_has_a_receipt_that_holds_without_the_broker() {
    let mut broker = Broker::start();
    let task = broker.open("with a receipt");
    let receipt = broker.folder.join("task.receipt");
    let receipt = receipt.to_str().unwrap();
    assert_eq!(code(&broker.agent(&["receipt", "show", &task])), 3);
    let output = broker.agent(&["request", "--task", &task, "--scope", READ, "-q"]);
    assert_eq!(code(&output), 0, "{output:?}");

    let close = ["task", "close", &task, "--wait", "1m", "--receipt", receipt];
    let too_long = ["task", "close", &task, "--wait", "301s"];
    assert_eq!(code(&broker.agent(&too_long)), 2);
    let output = broker.agent(&close);
    assert_eq!(code(&output), 0, "{output:?}");
    let text = stdout(&output);
    assert!(text.contains("  refused_by_introspection "), "{text}");
    assert!(
        text.contains("\nthe death of every credential is confirmed\n"),
        "{text}"
    );
    // What is there is not overwritten.
    let again = broker.agent(&close);
    assert_eq!(code(&again), 1, "{again:?}");
    assert!(stderr(&again).contains("name another file"), "{again:?}");

    let shown = broker.operator_json(&["receipt", "show", &task]);
    assert_eq!(shown["signature"], "matches_broker");
    assert_eq!(shown["complete"], true);
    let signed = broker.agent(&["receipt", "show", &task, "--signed"]);
    let signed = stdout(&signed).to_owned();
    let key = format!("@{}", find(&broker.folder, "evidence.vkey").display());
    broker.kill();
    let note = fs::read_to_string(receipt).unwrap();
    assert_eq!(note.lines().next(), signed.lines().next());
    let verified = quietus(&["receipt", "verify", receipt, "--key", &key]);
    assert_eq!(code(&verified), 0, "{verified:?}");
    assert!(stdout(&verified).contains(", verified\n"), "{verified:?}");
}

#[test]
fn a_credential_may_go_into_files() {
    let broker = Broker::start();
    let task = broker.open("files");
    let out = broker.folder.join("credential");
    let request = [
        "request",
        "--task",
        &task,
        "--scope",
        READ,
        "--out",
        out.to_str().unwrap(),
    ];
    let output = broker.agent(&request);
    assert_eq!(code(&output), 0, "{output:?}");
    let token = fs::read_to_string(out.join("token")).unwrap();
    assert_eq!(token.trim_end().split('.').count(), 3);
    for text in [stdout(&output), stderr(&output)] {
        assert!(!text.contains(token.trim_end()), "{text}");
    }
    assert!(
        stdout(&output).ends_with("/credential/token\n"),
        "{output:?}"
    );
    // Refused before another is issued.
    let again = broker.agent(&request);
    assert_eq!(code(&again), 1, "{again:?}");
    let shown = broker.operator_json(&["task", "show", &task]);
    assert_eq!(shown["task"]["issued_leases"], 1);
    assert_eq!(code(&broker.agent(&[&request[..], &["-q"]].concat())), 2);
}

#[test]
fn targets_and_what_is_stuck() {
    let broker = Broker::start();
    let listed = broker.operator_json(&["target", "list"]);
    let orders = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|target| target["name"] == "orders-db")
        .unwrap();
    assert_eq!(
        (&orders["state"], &orders["kind"]),
        (&"ok".into(), &"jwt".into())
    );
    assert_eq!(
        &broker.operator_json(&["target", "show", "orders-db"]),
        orders
    );
    assert_eq!(
        broker.operator_json(&["target", "check", "orders-db"])["ok"],
        true
    );
    let swept = broker.operator(&["target", "sweep", "orders-db"]);
    assert_eq!(code(&swept), 0, "{swept:?}");
    assert!(stdout(&swept).contains("keeps no list"), "{swept:?}");
    for command in ["show", "check", "sweep"] {
        let output = broker.operator(&["target", command, "nowhere"]);
        assert_eq!(code(&output), 5, "{output:?}");
        let output = broker.agent(&["target", command, "orders-db"]);
        assert_eq!(code(&output), 3, "{output:?}");
    }
    let stuck = broker.operator(&["lease", "list", "--stuck"]);
    assert_eq!((stdout(&stuck), stderr(&stuck)), ("", "no leases match\n"));
    assert_eq!(
        broker.operator_json(&["lease", "list", "--stuck=10m"]),
        Value::Array(vec![])
    );
}

/// The file of this name, in the folder or below.
pub fn find(folder: &Path, name: &str) -> PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with(name) => return path,
                false => {}
            }
        }
    }
    panic!("there is no {name}");
}
