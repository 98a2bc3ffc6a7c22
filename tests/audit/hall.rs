//! A broker with an auditor, and what these tests do with both.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use quietus::api::v1;
use quietus::api::v1::audit_client::AuditClient;
use quietus::store::{Commit, Prune};
use quietus_ledger::{Checkpoint, Draft, Entry, Note, VERSION, Verifier};
use tonic::transport::Channel;

use crate::common::*;
use crate::help::*;

pub const AUDITOR: &str = "spiffe://dev.example/auditor/eve";
pub const ORIGIN: &str = "dev.example/broker";

pub fn config(world: &World) {
    let path = world.path("quietus.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let entry = format!("\n[[auditor]]\nid = \"{AUDITOR}\"\n");
    if !text.contains(AUDITOR) {
        std::fs::write(path, format!("{text}{entry}")).unwrap();
        let lifetime = Duration::from_secs(86_400);
        world.add_svid("auditor", "/auditor/eve", lifetime);
    }
}

pub async fn hall() -> Stage {
    let world = World::new();
    config(&world);
    Stage::on(world, |_| {}).await
}

pub async fn audit(stage: &Stage, name: &str) -> AuditClient<Channel> {
    let channel = stage.world.connect(&stage.serving, name).await;
    AuditClient::new(channel).max_decoding_message_size(64 << 20)
}

/// Writes so many more entries, as fast as the store takes them.
pub async fn grow(stage: &Stage, count: u64) {
    let engine = &stage.serving.engine;
    let entry = |n: u64| Entry {
        broker: BROKER.to_owned(),
        event: "test.counted".to_owned(),
        time: engine.now().0,
        v: VERSION,
        detail: [("n".to_owned(), n.to_string())].into(),
        ..Entry::default()
    };
    let commit = Commit {
        now: engine.now(),
        entries: (0..count).map(|n| Draft::new(&entry(n)).unwrap()).collect(),
        checkpoint: true,
        ..Commit::default()
    };
    engine.store().commit(commit).await.unwrap();
}

/// Grows to exactly this many entries.
pub async fn grow_to(stage: &Stage, size: u64) {
    grow(stage, size - stage.seq()).await;
}

pub async fn prune(stage: &Stage, through: u64) {
    let commit = Commit {
        now: stage.serving.engine.now(),
        prune: Some(Prune {
            through,
            attachments: Vec::new(),
        }),
        ..Commit::default()
    };
    stage.serving.engine.store().commit(commit).await.unwrap();
}

/// The newest checkpoint, once it covers everything that there is.
pub async fn settled(stage: &Stage) -> v1::GetCheckpointResponse {
    let client = audit(stage, "operator").await;
    until("a checkpoint covers all", || {
        let mut client = client.clone();
        async move {
            let newest = client.get_checkpoint(v1::GetCheckpointRequest::default());
            newest
                .await
                .is_ok_and(|newest| newest.into_inner().size >= stage.seq())
        }
    })
    .await;
    newest(&client).await
}

pub async fn newest(client: &AuditClient<Channel>) -> v1::GetCheckpointResponse {
    let request = v1::GetCheckpointRequest::default();
    client
        .clone()
        .get_checkpoint(request)
        .await
        .unwrap()
        .into_inner()
}

pub fn key_file(world: &World) -> PathBuf {
    world.config().keys.dir.join("ledger.vkey")
}

pub fn log_key(world: &World) -> Verifier {
    std::fs::read_to_string(key_file(world))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// A checkpoint that the log has signed.
pub fn believed(world: &World, note: &str) -> Checkpoint {
    let key = log_key(world);
    let text = Note::parse(note.as_bytes())
        .unwrap()
        .verify(&[key])
        .unwrap()
        .to_owned();
    Checkpoint::parse(&text).unwrap()
}

/// The bytes of every entry that a request brings.
pub async fn read(
    client: &AuditClient<Channel>,
    request: v1::ReadEntriesRequest,
) -> Result<Vec<Vec<u8>>, tonic::Status> {
    let mut stream = client.clone().read_entries(request).await?.into_inner();
    let mut entries = Vec::new();
    while let Some(portion) = stream.message().await? {
        entries.extend(portion.entries);
    }
    Ok(entries)
}

/// `quietus audit …` as the auditor, at the broker of this process.
pub fn audit_command(stage: &Stage, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quietus"));
    command
        .arg("audit")
        .args(args)
        .env(
            "QUIETUS_IDENTITY",
            identity(&stage.world, &stage.serving.address),
        )
        .env_remove("QUIETUS_OUTPUT")
        .stdin(Stdio::null());
    command
}

pub fn run(stage: &Stage, args: &[&str]) -> Output {
    audit_command(stage, args).output().unwrap()
}

/// What it prints, provided that it succeeds.
#[track_caller]
pub fn told(stage: &Stage, args: &[&str]) -> String {
    let output = run(stage, args);
    assert!(output.status.success(), "{args:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
pub fn told_json(stage: &Stage, args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&told(stage, &[args, &["-o", "json"]].concat())).unwrap()
}

/// What it complains of, provided that it fails with this code.
#[track_caller]
pub fn complaint(stage: &Stage, args: &[&str], code: i32) -> String {
    let output = run(stage, args);
    assert_eq!(output.status.code(), Some(code), "{args:?} {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The auditor's client file, for a broker at this address.
pub fn identity(world: &World, address: &str) -> PathBuf {
    let text = std::fs::read_to_string(world.path("agent.toml")).unwrap();
    let text = text.replace("127.0.0.1:8443", address);
    let text = text
        .replace("agent.pem", "auditor.pem")
        .replace("agent.key", "auditor.key");
    world.replace("auditor.toml", &text);
    world.path("auditor.toml")
}
