//! `quietus audit follow`

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::common::*;
use crate::hall::*;
use crate::help::*;

/// A follower, killed when the test is over.
struct Follower {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn start(stage: &Stage, args: &[&str]) -> Self {
        let mut process = audit_command(stage, &[&["follow"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// The number of the next entry.
    fn number(&mut self) -> u64 {
        let line: Value = serde_json::from_str(&self.line()).unwrap();
        line["seq"].as_u64().unwrap()
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.process), Signal::INT).unwrap();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_comes_at_once_and_ctrl_c_ends_it() {
    let mut stage = hall().await;
    let mut follower = Follower::start(&stage, &["--from", "1", "-o", "json"]);
    for n in 1..=stage.seq() {
        assert_eq!(follower.number(), n);
    }
    let task = open(&mut stage.agent).await;
    let line: Value = serde_json::from_str(&follower.line()).unwrap();
    assert_eq!(line["entry"]["task"]["id"], task.id);
    follower.interrupt();
    let status = follower.process.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    let told = std::io::read_to_string(follower.process.stderr.take().unwrap()).unwrap();
    assert_eq!(told, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_a_line_an_entry() {
    let mut stage = hall().await;
    let mut follower = Follower::start(&stage, &["--from", "1", "--event", "task."]);
    let request = quietus::api::v1::OpenTaskRequest {
        purpose: "tidy up".to_owned(),
        ..Default::default()
    };
    open_with(&mut stage.agent, request).await;
    let line = follower.line();
    assert!(
        line.contains(" task.opened ") && line.contains(AGENT),
        "{line}"
    );
    assert!(line.contains("\"tidy up\""), "{line}");
    assert!(!line.contains('\x1b'));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_task_and_the_events_that_are_asked_for_come() {
    let mut stage = hall().await;
    let task = open(&mut stage.agent).await;
    let mut of_task = Follower::start(&stage, &["--task", &task.id, "-o", "json"]);
    let mut grants = Follower::start(&stage, &["--from", "1", "--event", "lease.", "-o", "json"]);
    let opened: Value = serde_json::from_str(&of_task.line()).unwrap();
    assert_eq!(opened["entry"]["event"], "task.opened");
    open(&mut stage.agent).await;
    let (_, _) = request(&mut stage.agent, &task).await;
    for follower in [&mut of_task, &mut grants] {
        let line: Value = serde_json::from_str(&follower.line()).unwrap();
        assert_eq!(line["entry"]["event"], "lease.issued");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_back_goes_on_where_it_was() {
    let stage = hall().await;
    let address = stage.serving.address.clone();
    let mut follower = Follower::start(&stage, &["--from", "1", "-o", "json"]);
    let mut last = 0;
    while last < stage.seq() {
        last += 1;
        assert_eq!(follower.number(), last);
    }
    let mut world = stage.stop().await;
    for _ in 0..2 {
        let stage = Stage::on(world, |config| {
            config.broker.listen = address.parse().unwrap()
        })
        .await;
        grow(&stage, 300).await;
        while last < stage.seq() {
            last += 1;
            assert_eq!(follower.number(), last);
        }
        world = stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_pass_is_not_tried_again() {
    let stage = hall().await;
    grow_to(&stage, 600).await;
    prune(&stage, 256).await;
    settled(&stage).await;
    let told = complaint(&stage, &["follow", "--from", "1"], 1);
    assert!(told.contains("reason: PRUNED"), "{told}");
    complaint(&stage, &["follow", "--from", "0"], 2);
    complaint(&stage, &["follow", "--task", "mine"], 2);
    let mut as_agent = audit_command(&stage, &["follow"]);
    let agent = std::fs::read_to_string(stage.world.path("agent.toml")).unwrap();
    stage.world.replace(
        "here.toml",
        &agent.replace("127.0.0.1:8443", &stage.serving.address),
    );
    let output = as_agent
        .env("QUIETUS_IDENTITY", stage.world.path("here.toml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    // A broker that is not there at all when it is called first.
    let nowhere = agent.replace("127.0.0.1:8443", "127.0.0.1:1");
    stage.world.replace("nowhere.toml", &nowhere);
    let output = audit_command(&stage, &["follow"])
        .env("QUIETUS_IDENTITY", stage.world.path("nowhere.toml"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_ends_it() {
    let stage = hall().await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = audit_command(&stage, &["follow", "--from", "1"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    assert!(output.stderr.is_empty());
}
