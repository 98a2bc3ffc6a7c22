//! The same from the command line.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::common::*;
use crate::desk::*;
use crate::help::*;

struct Shell<'a>(&'a Desk);

impl Shell<'_> {
    /// Runs the command as one of `agent`, `operator`, …
    async fn run(&self, name: &str, args: &[&str]) -> Output {
        let world = &self.0.stage.world;
        let config = std::fs::read_to_string(world.path(&format!("{name}.toml"))).unwrap();
        let config = config.replace("127.0.0.1:8443", &self.0.stage.serving.address);
        std::fs::write(world.path(&format!("{name}.here.toml")), config).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_quietus"));
        command
            .args([
                "--identity".as_ref(),
                world.path(&format!("{name}.here.toml")).as_os_str(),
            ])
            .args(args)
            .env_remove("QUIETUS_OUTPUT")
            .stdin(Stdio::null());
        command.output().await.unwrap()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path: PathBuf = self.0.stage.world.path(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

#[track_caller]
fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn fails(output: &Output, code: i32, with: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(with), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_recorded_its_text_read_and_erased() {
    let desk = Desk::new().await;
    let shell = Shell(&desk);
    let arguments = shell.file("arguments", b"select 1");
    let text = shell.file("text", "Jane Roe\u{1b}[2J".as_bytes());
    let seq = desk.stage.seq();
    let record = [
        "task",
        "record",
        &desk.task.id,
        "--lease",
        &desk.lease.id,
        "--tool",
        "psql",
        "--resource",
        "public.orders",
        "--result",
        "refused",
        "--arguments-file",
        &arguments,
        "--text-file",
        &text,
        "--started",
        "2023-11-14T22:13:20Z",
        "-o",
        "json",
    ];
    let recorded = json(&shell.run("agent", &record).await);
    let commitment = recorded["commitment"].as_str().unwrap();
    let action = desk.since(seq)[0].action.clone().unwrap();
    assert_eq!(
        (&*action.result, action.text.as_deref()),
        ("refused", Some(commitment))
    );
    assert_eq!(action.arguments, Some(hex(&sha256(b"select 1"))));
    assert_eq!(action.started_at, Some(1_700_000_000_000));

    let read = json(
        &shell
            .run("operator", &["audit", "text", commitment, "-o", "json"])
            .await,
    );
    assert_eq!(read["text"], "Jane Roe\u{1b}[2J");
    // No terminal is led astray.
    let shown = shell.run("operator", &["audit", "text", commitment]).await;
    assert!(
        shown.status.success() && !shown.stdout.contains(&0x1b),
        "{shown:?}"
    );

    let erase = ["audit", "erase", commitment, "--reason", "request 17"];
    fails(
        &shell.run("operator", &erase).await,
        2,
        "no terminal to ask on",
    );
    let sure = [&erase[..], &["--yes"]].concat();
    fails(&shell.run("agent", &sure).await, 3, "NOT_AN_OPERATOR");
    let erased = shell.run("operator", &sure).await;
    assert_eq!(String::from_utf8_lossy(&erased.stdout), "erased 1 text\n");
    fails(&shell.run("operator", &sure).await, 5, "no such text");
    fails(
        &shell.run("operator", &["audit", "text", commitment]).await,
        5,
        "no such text",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_prompt_only_the_digest_is_sent() {
    let desk = Desk::new().await;
    let shell = Shell(&desk);
    let prompt = shell.file("prompt", b"refund order 1234");
    let seq = desk.stage.seq();
    let open = [
        "task",
        "open",
        "--purpose",
        "refund",
        "--prompt-file",
        &prompt,
    ];
    assert!(shell.run("agent", &open).await.status.success());
    let fact = desk.since(seq)[0].task.clone().unwrap();
    assert_eq!(fact.prompt, Some(hex(&sha256(b"refund order 1234"))));
    assert!(!contains(&desk.ledger_bytes(), b"refund order 1234"));

    let run = [
        "run",
        "--scope",
        READ,
        "--prompt-file",
        &prompt,
        "--",
        "true",
    ];
    let seq = desk.stage.seq();
    let ran = shell.run("agent", &run).await;
    assert!(ran.status.success(), "{ran:?}");
    let fact = desk.since(seq)[0].task.clone().unwrap();
    assert_eq!(fact.prompt, Some(hex(&sha256(b"refund order 1234"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_said_before_anything_is_sent() {
    let desk = Desk::new().await;
    let shell = Shell(&desk);
    let long = shell.file("long", &vec![b'x'; 65_537]);
    let binary = shell.file("binary", &[0xff; 8]);
    let seq = desk.stage.seq();
    let task = desk.task.id.clone();
    let record = ["task", "record", &task, "--tool", "t", "--result", "failed"];
    for (option, file, said) in [
        ("--text-file", &*long, "more than 65536 bytes"),
        ("--text-file", &*binary, "cannot read"),
        ("--prompt-file", "/nonexistent/prompt", "cannot read"),
        ("--arguments-file", "/nonexistent/prompt", "cannot read"),
        ("--response-file", "/nonexistent/prompt", "cannot read"),
    ] {
        let args = [&record[..], &[option, file]].concat();
        fails(&shell.run("agent", &args).await, 1, said);
    }
    let open = [
        "task",
        "open",
        "--purpose",
        "x",
        "--prompt-file",
        "/nonexistent",
    ];
    fails(&shell.run("agent", &open).await, 1, "cannot read");
    for wrong in [
        &["audit", "erase", "--reason", "r"][..],
        &["audit", "erase", "--task", &task],
        &[
            "audit",
            "erase",
            &"0".repeat(64),
            "--task",
            &task,
            "--reason",
            "r",
        ],
        &["audit", "text", "abc"],
        &["task", "record", &task, "--tool", "t"],
        &[
            "task", "record", &task, "--tool", "t", "--result", "perhaps",
        ],
        &[
            "task",
            "record",
            &task,
            "--tool",
            "t",
            "--result",
            "failed",
            "--started",
            "soon",
        ],
    ] {
        fails(&shell.run("operator", wrong).await, 2, "");
    }
    assert_eq!(desk.since(seq), []);
}
