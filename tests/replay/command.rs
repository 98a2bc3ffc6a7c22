//! `quietus audit replay`, as auditors meet it.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::asked::Asked;
use crate::common::*;

/// Runs the command as the operator.
pub async fn audit(asked: &Asked, args: &[&str]) -> Output {
    let path = asked.world.path("test-operator.toml");
    let shipped = std::fs::read_to_string(asked.world.path("operator.toml")).unwrap();
    let shipped = shipped
        .lines()
        .map(|line| match line.starts_with("address") {
            true => format!("address = \"{}\"\n", asked.serving.address),
            false => format!("{line}\n"),
        });
    std::fs::write(&path, shipped.collect::<String>()).unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_quietus"));
    command
        .arg("audit")
        .args(args)
        .env("QUIETUS_IDENTITY", path)
        .env_remove("QUIETUS_OUTPUT")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.output().await.unwrap()
}

pub fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[track_caller]
pub fn json(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn two_decisions() -> Asked {
    let mut asked = Asked::new().await;
    asked.open(0).await;
    let (agent, task) = asked.task();
    asked.ask(agent, &task, &[READ], 60).await;
    asked.ask(agent, &task, &["orders-db:admin:x"], 60).await;
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_ledger_replays() {
    let asked = two_decisions().await;
    let output = audit(&asked, &["replay"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let last = asked.size();
    let told = format!("2 decisions in entries 1 to {last}: all come out as recorded\n");
    assert_eq!(text(&output), told);
    assert!(output.stderr.is_empty(), "{output:?}");
    let document = json(&audit(&asked, &["replay", "-o", "json"]).await, 0);
    assert_eq!(document["decisions"], 2);
    assert_eq!(document["findings"], serde_json::json!([]));
    assert_eq!(document["changes"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_would_change_things_is_told_by_the_exit_code() {
    let asked = two_decisions().await;
    let folder = tempfile::tempdir().unwrap();
    let policy = "@id(\"no\") forbid (principal, action, resource);";
    std::fs::write(folder.path().join("no.cedar"), policy).unwrap();
    let dir = |path: &Path| path.to_str().unwrap().to_owned();
    let other = dir(folder.path());
    let output = audit(&asked, &["replay", "--policies", &other]).await;
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    let told = text(&output);
    assert!(told.starts_with("AGENT  "), "{told}");
    assert!(
        told.contains(" permit           deny      no  1 "),
        "{told}"
    );
    assert!(told.contains(": 2 decisions would change\n"), "{told}");
    let document = audit(&asked, &["replay", "--policies", &other, "-o", "json"]).await;
    let document = json(&document, 9);
    assert_eq!(document["changes"][1]["scope"], READ);
    assert_eq!(document["changes"][1]["deciding"][0], "no");
    let same = dir(&asked.world.path("policies"));
    let output = audit(&asked, &["replay", "--policies", &same]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_refused() {
    let asked = two_decisions().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.cedar"), "permit").unwrap();
    let bad = folder.path().to_str().unwrap();
    let cases: [(&[&str], i32); 6] = [
        (&["replay", "--from", "5", "--to", "4"], 2),
        (&["replay", "--from", "0"], 2),
        (&["replay", "--task", "x"], 2),
        (&["replay", "--policies", bad], 1),
        (&["replay", "--policies", "nowhere"], 1),
        (&["replay", "--from", "1000"], 0),
    ];
    for (args, code) in cases {
        let output = audit(&asked, args).await;
        assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
    }
}
