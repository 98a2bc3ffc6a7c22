//! The compiled command, as shells and scripts meet it.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod broker;
mod closing;
mod evidence;
mod receipts;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn quietus(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quietus"));
    command
        .args(args)
        .env_remove("QUIETUS_IDENTITY")
        .env_remove("QUIETUS_OUTPUT")
        .stdin(Stdio::null());
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn without_arguments_the_help_is_shown() {
    let output = quietus(&[]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("Usage: quietus"), "{output:?}");
}

#[test]
fn the_help_documents_exit_codes() {
    let output = quietus(&["--help"]);
    assert_eq!(code(&output), 0);
    assert!(
        stdout(&output).contains("Exit codes:\n    0  done\n"),
        "{output:?}"
    );
    assert!(
        stdout(&output).contains("\n  130  interrupted"),
        "{output:?}"
    );
}

#[test]
fn wrong_usage_exits_with_2() {
    let cases: [&[&str]; 16] = [
        &["target", "show", "no name"],
        &["target", "check"],
        &["lease", "list", "--stuck=soon"],
        &["lease", "list", "--stuck", "--state", "active"],
        &["receipt", "verify", "task.receipt"],
        &["request", "--csr", "a", "--ssh-public-key", "b"],
        &["frobnicate"],
        &["task"],
        &["task", "show", "not-a-uuid"],
        &["request", "--task", "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55"],
        &[
            "request",
            "--task",
            "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55",
            "--scope",
            "db:read",
        ],
        &["revoke"],
        &["revoke", "--all", "--target", "orders-db"],
        &["freeze", "--task", "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55"],
        &["thaw", "--agent", "agent"],
        &["status", "--timeout", "soon"],
    ];
    for args in cases {
        let output = quietus(args);
        assert_eq!(code(&output), 2, "{args:?} {output:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn without_an_identity_it_says_what_to_do() {
    let output = quietus(&["status"]);
    assert_eq!(code(&output), 2);
    let expected = "\
error: no identity to call the broker with
hint: pass --identity DIR/operator.toml, made by `quietus init DIR`, or set QUIETUS_IDENTITY
";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn an_identity_that_cannot_be_read_is_an_error() {
    let output = quietus(&["status", "--identity", "nowhere/operator.toml"]);
    assert_eq!(code(&output), 1);
    assert!(
        stderr(&output).starts_with("error: cannot read nowhere/operator.toml"),
        "{output:?}"
    );
}

#[test]
fn a_broker_that_is_not_there_exits_with_6() {
    let folder = tempfile::tempdir().unwrap();
    let identity = identity(folder.path(), &free_address());
    let output = quietus(&["status", "--identity", &identity]);
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(
        stderr(&output).contains("\nreason: BROKER_UNREACHABLE\nhint: "),
        "{output:?}"
    );
    let by_env = command(&["status"])
        .env("QUIETUS_IDENTITY", identity)
        .output()
        .unwrap();
    assert_eq!(code(&by_env), 6, "{by_env:?}");
}

#[test]
fn a_broker_that_says_nothing_is_not_waited_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let identity = identity(folder.path(), &mute.local_addr().unwrap().to_string());
    let output = quietus(&[
        "task",
        "list",
        "--timeout",
        "200ms",
        "--identity",
        &identity,
    ]);
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(
        stderr(&output).starts_with("error: no answer within 200ms\n"),
        "{output:?}"
    );
}

#[test]
fn good_policies_pass_the_check() {
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/config/policies");
    let output = quietus(&["policy", "check", policies]);
    assert_eq!(code(&output), 0, "{output:?}");
    assert!(stdout(&output).contains("digest:"), "{output:?}");
    let document = json(&quietus(&["policy", "check", policies, "-o", "json"]));
    assert!(document["policies"].as_u64().unwrap() > 0, "{document}");
    assert_eq!(document["digest"].as_str().unwrap().len(), 64);
    assert_eq!(document["errors"], serde_json::json!([]));
}

#[test]
fn bad_policies_are_told_by_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("good.cedar", "permit (principal, action, resource);\n");
    write("shape.cedar", "\npermit (principal, action, resource\n");
    write(
        "words.cedar",
        "permit (principal, action, resource)\nwhen { context.wealth > 1 };\n",
    );
    write("ignored.txt", "not a policy");
    let folder = folder.path().to_str().unwrap();
    let output = quietus(&["policy", "check", folder]);
    assert_eq!(code(&output), 1, "{output:?}");
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert!(lines[0].starts_with("shape.cedar:"), "{lines:?}");
    assert!(lines[1].starts_with("words.cedar:2:"), "{lines:?}");
    assert_eq!(lines[2..], ["2 errors in 3 files"]);
    let document = json(&quietus(&["-o", "json", "policy", "check", folder]));
    assert_eq!(document["errors"].as_array().unwrap().len(), 2);
    assert_eq!(document["digest"], serde_json::Value::Null);
}

#[test]
fn what_is_wrong_only_between_files_is_told_as_well() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.cedar", "b.cedar"] {
        let text = "@id(\"same\")\npermit (principal, action, resource);\n";
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = quietus(&["policy", "check", folder.path().to_str().unwrap()]);
    assert_eq!(code(&output), 1, "{output:?}");
    assert!(
        stdout(&output).starts_with("b.cedar:1:1: policy same is already defined"),
        "{output:?}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    for args in [
        ["completions", "bash"].as_slice(),
        &["policy", "check", env!("CARGO_MANIFEST_DIR")],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command(args).stdout(writer).output().unwrap();
        assert_eq!(code(&output), 141, "{output:?}");
        assert_eq!(stderr(&output), "");
    }
}

#[test]
fn colours_only_when_they_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.cedar"), "permit").unwrap();
    let folder = folder.path().to_str().unwrap();
    let plain = quietus(&["policy", "check", folder]);
    assert!(!stdout(&plain).contains('\x1b'), "{plain:?}");
    let coloured = quietus(&["policy", "check", folder, "--color", "always"]);
    assert!(stdout(&coloured).contains('\x1b'), "{coloured:?}");
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A development trust domain whose broker would be at this address; its operator.
fn identity(folder: &Path, address: &str) -> String {
    let dev = folder.join("dev");
    let output = quietus(&["init", dev.to_str().unwrap(), "--listen", address]);
    assert_eq!(code(&output), 0, "{output:?}");
    dev.join("operator.toml").to_str().unwrap().to_owned()
}

fn free_address() -> String {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().to_string()
}
