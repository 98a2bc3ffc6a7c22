//! `quietus audit report`, of a real broker's log.

use serde_json::Value;

use crate::asked::Asked;
use crate::command::{audit, json, text};
use crate::common::*;
use crate::rng::Rng;

const AGENTIC: [&str; 3] = ["report", "--framework", "owasp-agentic-2026"];

async fn busy() -> Asked {
    let mut asked = Asked::new().await;
    asked.open(0).await;
    let (agent, task) = asked.task();
    asked.ask(agent, &task, &[READ], 60).await;
    let mut rng = Rng::new(5);
    for _ in 0..40 {
        asked.round(&mut rng).await;
    }
    // Checkpoints are signed a little after what they cover.
    let engine = &asked.serving.engine;
    while engine.checkpoint(None).unwrap().size < asked.size() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    asked
}

fn control<'v>(report: &'v Value, id: &str) -> &'v Value {
    let mut controls = report["controls"].as_array().unwrap().iter();
    controls.find(|control| control["id"] == id).unwrap()
}

fn evidence<'v>(report: &'v Value, kind: &str) -> &'v Value {
    let mut evidence = report["evidence"].as_array().unwrap().iter();
    evidence.find(|evidence| evidence["kind"] == kind).unwrap()
}

fn figure<'v>(report: &'v Value, kind: &str, what: &str) -> &'v Value {
    let figures = evidence(report, kind)["figures"].as_array().unwrap();
    &figures
        .iter()
        .find(|figure| figure["what"] == what)
        .unwrap()["value"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_s_log_is_evidence() {
    let asked = busy().await;
    let key = asked.world.path("state/keys/ledger.vkey");
    let config = asked.world.domain.config();
    let more = [
        "--replay",
        "--key",
        key.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
        "-o",
        "json",
    ];
    let report = json(&audit(&asked, &[&AGENTIC[..], &more].concat()).await, 0);
    assert_eq!(report["record"]["root_matches"], true, "{report}");
    assert_eq!(report["record"]["signed"], true);
    assert_eq!(report["entries"]["entries"], asked.size());
    assert_eq!(report["unreadable"]["entries"], 0);
    for (id, stands) in [
        ("ASI03", "partial"),
        ("ASI07", "evidence"),
        ("ASI09", "none"),
    ] {
        assert_eq!(control(&report, id)["stands"], stands, "{id}");
    }
    let again = figure(&report, "E4", "made again").as_str().unwrap();
    assert!(again.ends_with(", all as recorded"), "{again}");
    let limits = evidence(&report, "E7")["settings"].as_array().unwrap();
    assert_eq!(limits[0]["what"], "limits.open_tasks_per_agent");
    let page = audit(&asked, &AGENTIC).await;
    assert_eq!(page.status.code(), Some(0), "{page:?}");
    let told = text(&page);
    assert!(told.starts_with("# Evidence for OWASP Top 10 for Agentic Applications, 2026\n"));
    assert!(
        told.contains("| ASI09 | Human-Agent Trust Exploitation | **none** |"),
        "{told}"
    );
    assert!(
        told.contains("could be checked against the official text"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_without_entries_is_no_evidence() {
    let asked = busy().await;
    for framework in ["nist-csf-2", "mitre-atlas"] {
        let args = ["report", "--framework", framework, "--until", "2020-01-01"];
        let report = audit(&asked, &[&args[..], &["-o", "json"]].concat()).await;
        let report = json(&report, 0);
        for control in report["controls"].as_array().unwrap() {
            let stands = control["stands"].as_str().unwrap();
            assert!(["no_entries", "none"].contains(&stands), "{control}");
        }
        assert_eq!(report["record"]["root_matches"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_by_another_key_does_not_hold() {
    let asked = busy().await;
    let other = World::new();
    let serving = other.serve().await;
    let key = other.path("state/keys/ledger.vkey");
    let args = [&AGENTIC[..], &["--key", key.to_str().unwrap()]].concat();
    let output = audit(&asked, &args).await;
    assert_eq!(output.status.code(), Some(8), "{output:?}");
    assert!(text(&output).contains("by none of the given keys"));
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_wrong_usage() {
    let asked = Asked::new().await;
    let cases: [&[&str]; 5] = [
        &["report"],
        &["report", "--framework", "iso-27001"],
        &[
            "report",
            "--framework",
            "nist-csf-2",
            "--since",
            "yesterday",
        ],
        &["report", "--framework", "nist-csf-2", "--key", "x"],
        &[
            "report",
            "--framework",
            "nist-csf-2",
            "--since",
            "2026-02-01",
            "--until",
            "2026-01-01",
        ],
    ];
    for args in cases {
        let output = audit(&asked, args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?} {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_as_good_as_its_broker() {
    let asked = busy().await;
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let dir = copy.to_str().unwrap();
    let key = asked.world.path("state/keys/ledger.vkey");
    let copied = audit(&asked, &["copy", dir]).await;
    assert_eq!(copied.status.code(), Some(0), "{copied:?}");
    let output = audit(&asked, &["replay", dir, "-o", "json"]).await;
    let offline = json(&output, 0);
    let online = json(&audit(&asked, &["replay", "-o", "json"]).await, 0);
    assert_eq!(offline["decisions"], online["decisions"]);
    assert_eq!(offline["finding_count"], 0);
    let more = [
        dir,
        "--replay",
        "--key",
        key.to_str().unwrap(),
        "-o",
        "json",
    ];
    let report = json(&audit(&asked, &[&AGENTIC[..], &more].concat()).await, 0);
    assert_eq!(
        (
            &report["record"]["root_matches"],
            &report["record"]["signed"]
        ),
        (&true.into(), &true.into())
    );

    // One policy set for another, and then none.
    let policies: Vec<_> = std::fs::read_dir(copy.join("policies")).unwrap().collect();
    for policy in policies {
        std::fs::write(policy.unwrap().path(), "{}").unwrap();
    }
    let told = json(&audit(&asked, &["replay", dir, "-o", "json"]).await, 8);
    let problem = told["findings"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("archived wrongly"), "{problem}");
    std::fs::remove_dir_all(copy.join("policies")).unwrap();
    assert_eq!(audit(&asked, &["replay", dir]).await.status.code(), Some(8));
    assert_eq!(
        audit(&asked, &["replay", "nowhere"]).await.status.code(),
        Some(1)
    );
}
