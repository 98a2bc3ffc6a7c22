//! The command itself: help, wrong usage, and callers who may not.

use std::process::{Command, Output};

use crate::hall::*;

fn bare(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quietus"))
        .args(args)
        .env_remove("QUIETUS_IDENTITY")
        .env_remove("QUIETUS_OUTPUT")
        .output()
        .unwrap()
}

#[test]
fn every_command_has_examples() {
    for command in [
        ["audit"].as_slice(),
        &["audit", "copy"],
        &["audit", "export"],
        &["audit", "follow"],
        &["audit", "show"],
        &["audit", "show", "entry"],
        &["audit", "show", "task"],
    ] {
        let output = bare(&[command, &["--help"]].concat());
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("Examples:\n  quietus audit "),
            "{command:?}\n{text}"
        );
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        ["audit"].as_slice(),
        &["audit", "copy"],
        &["audit", "copy", "a", "b"],
        &["audit", "copy", "a", "--to", "0"],
        &["audit", "show"],
        &["audit", "show", "entry"],
        &["audit", "show", "entry", "first"],
        &["audit", "show", "task", "0192f0c1"],
        &["audit", "follow", "--from", "-1"],
        &["audit", "export", "--since", ""],
        &["audit", "export"],
        &["audit", "follow"],
    ] {
        let output = bare(args);
        assert_eq!(output.status.code(), Some(2), "{args:?} {output:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn completions_know_the_commands() {
    let text = String::from_utf8(bare(&["completions", "bash"]).stdout).unwrap();
    for name in ["copy", "export", "follow", "show"] {
        assert!(
            text.contains(&format!("quietus__subcmd__audit__subcmd__{name}"))
                || text.contains(&format!("quietus__audit__{name}")),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_run_none_of_them() {
    let stage = hall().await;
    let agent = std::fs::read_to_string(stage.world.path("agent.toml")).unwrap();
    stage.world.replace(
        "here.toml",
        &agent.replace("127.0.0.1:8443", &stage.serving.address),
    );
    let dir = stage.world.path("copy");
    for args in [
        ["copy", dir.to_str().unwrap()].as_slice(),
        &["export"],
        &["follow"],
        &["show", "entry", "1"],
        &["show", "task", crate::help::NOBODYS],
    ] {
        let mut command = audit_command(&stage, args);
        let output = command
            .env("QUIETUS_IDENTITY", stage.world.path("here.toml"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?} {output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("reason: NOT_AN_AUDITOR"), "{told}");
    }
    assert!(!dir.exists());
}
