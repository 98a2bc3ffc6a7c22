use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::{code, command, free_address, identity, json, stderr, stdout};

const AGENT: &str = "spiffe://dev.example/agent/builder";
pub const READ: &str = "orders-db:read:public.orders";
const ADMIN: &str = "orders-db:admin:public.orders";
const UNKNOWN: &str = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";

/// A broker of its own for a test, killed when the test is over.
pub struct Broker {
    pub folder: PathBuf,
    process: Child,
    _kept: tempfile::TempDir,
}

impl Broker {
    pub fn start() -> Self {
        let kept = tempfile::tempdir().unwrap();
        identity(kept.path(), &free_address());
        let folder = kept.path().join("dev");
        let config = folder.join("quietus.toml");
        let mut process = command(&["serve", "--config", config.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let lines = process.stdout.as_mut().unwrap();
        BufReader::new(lines).read_line(&mut ready).unwrap();
        assert!(ready.contains("is ready on"), "{ready:?}");
        Self {
            folder,
            process,
            _kept: kept,
        }
    }

    pub fn agent(&self, args: &[&str]) -> Output {
        self.as_whom("agent.toml", args).output().unwrap()
    }

    pub fn operator(&self, args: &[&str]) -> Output {
        self.as_whom("operator.toml", args).output().unwrap()
    }

    fn as_whom(&self, file: &str, args: &[&str]) -> Command {
        let mut command = command(args);
        command.env("QUIETUS_IDENTITY", self.folder.join(file));
        command
    }

    pub fn operator_json(&self, args: &[&str]) -> Value {
        let output = self.operator(&[args, &["-o", "json"]].concat());
        assert_eq!(code(&output), 0, "{args:?} {output:?}");
        json(&output)
    }

    /// A new task's id.
    pub fn open(&self, purpose: &str) -> String {
        let output = self.agent(&["task", "open", "--purpose", purpose, "-q"]);
        assert_eq!(code(&output), 0, "{output:?}");
        stdout(&output).trim_end().to_owned()
    }
}

impl Broker {
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn a_task_from_opening_to_closing() {
    let broker = Broker::start();
    // What would reorder a line is refused where it comes in, so that nothing has to be unmade where it is shown.
    let misleading = broker.agent(&["task", "open", "--purpose", "fix \u{202e}it"]);
    assert_eq!(code(&misleading), 1, "{misleading:?}");
    let task = broker.open("fix it");
    let lease = format!("{task}.0");
    let output = broker.agent(&["request", "--task", &task, "--scope", READ, "--ttl", "2m"]);
    assert_eq!(code(&output), 0, "{output:?}");
    let token = stdout(&output).strip_suffix('\n').unwrap();
    assert_eq!(token.split('.').count(), 3, "{token}");
    let told = stderr(&output);
    assert!(
        told.starts_with(&format!("lease {lease}: expires in ")),
        "{told}"
    );
    assert!(told.ends_with(", bound by what was asked for\n"), "{told}");

    let output = broker.agent(&["lease", "renew", &lease, "--ttl", "3m", "-o", "json"]);
    assert_eq!(json(&output)["lease"]["renewals"], 1, "{output:?}");
    assert_eq!(json(&output)["credential"]["kind"], "jwt");
    assert_eq!(
        broker.operator_json(&["lease", "show", &lease])["state"],
        "active"
    );
    assert_eq!(
        code(&broker.operator(&["lease", "show", &format!("{task}.9")])),
        5
    );

    let shown = broker.operator(&["task", "show", &task]);
    assert!(
        stdout(&shown).contains("purpose:      fix it\n"),
        "{shown:?}"
    );

    let output = broker.agent(&["lease", "revoke", &lease, "-o", "json"]);
    assert_eq!(json(&output)["ending"]["cause"], "returned", "{output:?}");
    let output = broker.agent(&["task", "close", &task, "-o", "json"]);
    assert_eq!(
        json(&output)["task"]["ending"]["cause"],
        "completed",
        "{output:?}"
    );
    let output = broker.agent(&["request", "--task", &task, "--scope", READ]);
    assert_eq!(code(&output), 3, "{output:?}");
    assert!(
        stderr(&output).contains("\nreason: TASK_ENDED\nhint: open another task"),
        "{output:?}"
    );
}

#[test]
fn refusals_and_their_exit_codes() {
    let broker = Broker::start();
    let task = broker.open("refusals");
    let cases: [(Output, i32, &str); 4] = [
        (
            broker.agent(&["request", "--task", &task, "--scope", ADMIN]),
            3,
            "APPROVAL_NEEDED",
        ),
        (broker.agent(&["task", "list"]), 3, "NOT_AN_OPERATOR"),
        (broker.agent(&["task", "show", UNKNOWN]), 5, "NOT_FOUND"),
        (
            broker.agent(&["task", "open", "--purpose", "a\nb"]),
            1,
            "INVALID_ARGUMENT",
        ),
    ];
    for (output, exit, reason) in cases {
        assert_eq!(code(&output), exit, "{output:?}");
        assert!(
            stderr(&output).contains(&format!("\nreason: {reason}\n")),
            "{output:?}"
        );
    }
    let explain = ["policy", "explain", "--agent", AGENT, "--scope"];
    assert_eq!(
        code(&broker.operator(&[explain.as_slice(), &[READ]].concat())),
        0
    );
    assert_eq!(
        code(&broker.operator(&[explain.as_slice(), &[ADMIN]].concat())),
        3
    );
}

#[test]
fn lists_and_wide_revocations() {
    let broker = Broker::start();
    let tasks: Vec<String> = (0..3).map(|n| broker.open(&format!("task {n}"))).collect();
    let listed = broker.operator_json(&["task", "list", "--state", "open", "--agent", AGENT]);
    let ids: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, tasks);
    let two = broker.operator(&["task", "list", "--limit", "2"]);
    assert_eq!(stdout(&two).lines().count(), 3, "{two:?}");
    assert!(stderr(&two).contains("--limit 0"), "{two:?}");

    let unasked = broker.operator(&["revoke", "--agent", AGENT]);
    assert_eq!(code(&unasked), 2, "{unasked:?}");
    let told = format!(
        "error: revoking agent {AGENT} would end 3 tasks and 0 leases, and there is no terminal"
    );
    assert!(stderr(&unasked).starts_with(&told), "{unasked:?}");
    assert_eq!(
        broker.operator_json(&["revoke", "--all", "--dry-run"])["tasks"],
        3
    );
    assert_eq!(
        broker.operator_json(&["revoke", "--task", &tasks[0]])["tasks"],
        1
    );
    assert_eq!(
        broker.operator_json(&["revoke", "--all", "--yes"])["tasks"],
        2
    );

    let none = broker.operator(&["task", "list", "--state", "open"]);
    assert_eq!((stdout(&none), stderr(&none)), ("", "no tasks match\n"));
}

#[test]
fn freezes() {
    let broker = Broker::start();
    let freeze = ["freeze", "--agent", AGENT, "--reason", "drill"];
    assert_eq!(broker.operator_json(&freeze)["frozen"], true);
    let status = broker.operator_json(&["status"]);
    assert_eq!(status["freezes"][0]["selector"]["name"], AGENT);
    let refused = broker.agent(&["task", "open", "--purpose", "x"]);
    assert_eq!(code(&refused), 3);
    assert!(
        stderr(&refused).contains("reason: FROZEN\nhint: "),
        "{refused:?}"
    );
    assert_eq!(
        broker.operator_json(&["thaw", "--agent", AGENT])["thawed"],
        true
    );
    assert_eq!(code(&broker.operator(&["thaw", "--agent", AGENT])), 5);
    broker.open("thawed");
}

#[test]
fn a_held_task_tells_how_it_ended() {
    let broker = Broker::start();
    let mut held = broker.as_whom(
        "agent.toml",
        &["task", "open", "--purpose", "x", "--hold", "-o", "json"],
    );
    let mut held = held.stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(held.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&events.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["event"], "opened");
    let event = next();
    assert_eq!(event["event"], "held");
    let task = event["task"]["id"].as_str().unwrap().to_owned();
    broker.operator_json(&["revoke", "--task", &task]);
    let event = std::iter::repeat_with(next)
        .find(|event| event["event"] == "ended")
        .unwrap();
    assert_eq!(event["task"]["ending"]["cause"], "revoked");
    assert_eq!(held.wait().unwrap().code(), Some(3));
}

#[test]
fn status_policies_and_keys() {
    let broker = Broker::start();
    let status = broker.operator(&["status"]);
    assert_eq!(code(&status), 0, "{status:?}");
    assert!(
        stdout(&status).contains("health:       all is well\n"),
        "{status:?}"
    );
    let before = broker.operator_json(&["policy", "reload"]);
    assert_eq!(before["digest"], before["previous_digest"]);
    let offline = broker.operator_json(&[
        "policy",
        "check",
        broker.folder.join("policies").to_str().unwrap(),
    ]);
    assert_eq!(offline["digest"], before["digest"]);
    fs::write(broker.folder.join("policies/bad.cedar"), "permit").unwrap();
    assert_eq!(code(&broker.operator(&["policy", "reload"])), 3);

    let rotated = broker.operator_json(&["keys", "rotate"]);
    assert_eq!(
        broker.operator_json(&["keys", "show"])["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let shown = broker.operator(&["keys", "show"]);
    let line = format!(
        "{}  EdDSA      signs and verifies\n",
        rotated["kid"].as_str().unwrap()
    );
    assert!(stdout(&shown).contains(&line), "{shown:?}");
    let to_an_agent = broker.agent(&["keys", "show"]);
    assert_eq!(code(&to_an_agent), 0, "{to_an_agent:?}");
    assert!(!stdout(&to_an_agent).contains("signs"), "{to_an_agent:?}");
}
