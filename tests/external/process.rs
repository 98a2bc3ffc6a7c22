//! The example as a process of its own, and the command that tests it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use quietus::issuers::{Doomed, Issuer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::faulty::{Fault, serve};
use crate::orders::order;
use crate::stage::{PATIENT, Served, issue, issuer, said, settings, socket};

/// The example, built by whoever builds the tests.
struct Example {
    folder: TempDir,
    child: Child,
}

impl Example {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Self::spawn(folder.path()).await;
        Self { folder, child }
    }

    async fn spawn(folder: &Path) -> Child {
        let mut command = Command::new(example().await);
        command.arg(folder);
        start(command).await
    }

    /// Kills it as a crash would, and starts it again.
    async fn crash(&mut self) {
        self.child.kill().await.unwrap();
        self.child = Self::spawn(self.folder.path()).await;
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("issuer.sock")
    }
}

/// Starts it, and waits until it listens.
pub async fn start(mut command: Command) -> Child {
    let command = command.stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.next_line().await.unwrap().unwrap();
    assert!(ready.starts_with("issuing at "), "{ready}");
    child
}

/// Where it is. `cargo test` has built it, unless only some of the tests were asked for.
pub async fn example() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().unwrap().parent().unwrap();
    let built = profile.join("examples/external_issuer");
    if !is_fresh(&built) {
        build(profile).await;
    }
    built
}

fn is_fresh(built: &Path) -> bool {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/external_issuer.rs");
    let modified = |path: &Path| path.metadata().and_then(|it| it.modified());
    modified(built).is_ok_and(|at| at > modified(&source).unwrap())
}

async fn build(profile: &Path) {
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--locked"])
        .args(["--example", "external_issuer"])
        .arg("--target-dir")
        .arg(profile.parent().unwrap());
    if profile.file_name().unwrap() == "release" {
        build.arg("--release");
    }
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().await;
    assert!(status.unwrap().success());
}

/// Runs `quietus issuer test`: the exit code, and what was printed.
pub async fn quietus(args: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_quietus"))
        .args(["issuer", "test"])
        .args(args)
        .env_remove("QUIETUS_IDENTITY")
        .env_remove("QUIETUS_OUTPUT")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let code = output.status.code().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (code, String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn the_example_passes_and_remembers_across_a_crash() {
    let mut example = Example::start().await;
    let path = example.socket();
    let (code, text) = quietus(&["--socket", path.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{text}");
    let issuer = issuer(settings(socket(&path)), PATIENT);
    let (kept, revoked) = (order(), order());
    issue(&issuer, &kept.order).await.unwrap();
    issuer.revoke(&Doomed::stray(revoked.id())).await.unwrap();
    example.crash().await;
    let listed = issuer.list().await.unwrap().unwrap();
    assert_eq!(
        listed.iter().map(|it| it.id).collect::<Vec<_>>(),
        [kept.id()]
    );
    said(issue(&issuer, &revoked.order).await);
}

#[tokio::test]
async fn the_command_says_pass_or_fail_of_each_check() {
    let served = Served::sound();
    let (code, text) = quietus(&["--socket", served.socket.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(text.matches("PASS  ").count(), 21, "{text}");
    assert!(
        text.contains("\n21 passed, 0 failed, 0 skipped\n"),
        "{text}"
    );
    assert!(
        text.contains("\nconfirms_by = \"deleted_at_target\"\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_failed_check_is_exit_code_1() {
    let served = serve(Fault::HasHalfAFence);
    let socket = served.socket.to_str().unwrap();
    let (code, text) = quietus(&["--socket", socket]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("FAIL  fence-before "), "{text}");
    assert!(
        text.contains("\n20 passed, 1 failed, 0 skipped\n"),
        "{text}"
    );
    let (code, text) = quietus(&["--socket", socket, "-o", "json"]).await;
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 1);
    let checks = document["checks"].as_array().unwrap();
    let fence = checks
        .iter()
        .find(|it| it["name"] == "fence-before")
        .unwrap();
    assert_eq!(fence["verdict"], "fail");
    assert!(fence["detail"].is_string());
    assert_eq!(document["issuer"]["kind"], "api-key");
}

#[tokio::test]
async fn a_scope_that_is_not_known_fails_the_issue() {
    let served = Served::sound();
    let socket = served.socket.to_str().unwrap();
    let (code, text) = quietus(&["--socket", socket, "--scope", "export:invoices"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("FAIL  issue "), "{text}");
    assert!(text.contains("INVALID_ARGUMENT"), "{text}");
}

#[tokio::test]
async fn nobody_there_fails_and_does_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere.sock");
    let (code, text) = quietus(&["--socket", nowhere.to_str().unwrap()]).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("\n0 passed, 1 failed, 20 skipped\n"),
        "{text}"
    );
}

#[tokio::test]
async fn wrong_usage_is_exit_code_2() {
    let cases: [&[&str]; 8] = [
        &[],
        &["--socket", "a", "--address", "https://127.0.0.1:1"],
        &["--address", "https://127.0.0.1:1"],
        &["--socket", "a", "--svid", "b"],
        &["--socket", "a", "--scope", "invoices"],
        &["--socket", "a", "--scope", "conquer:invoices"],
        &["--socket", "a", "--target", "No Name"],
        &["--uid", "7"],
    ];
    for args in cases {
        let (code, text) = quietus(args).await;
        assert_eq!(code, 2, "{args:?} {text}");
    }
    let address = "http://127.0.0.1:1";
    let id = "spiffe://dev.example/issuer";
    let args = [
        "--address",
        address,
        "--issuer-id",
        id,
        "--svid",
        "a",
        "--key",
        "b",
        "--bundle",
        "c",
    ];
    assert_eq!(quietus(&args).await.0, 2);
}
