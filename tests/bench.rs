//! The benchmark runs, and says everything that it should. Its figures are not looked at here.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::process::Command;

use serde_json::Value;

const TARGETS: [(&str, &str); 16] = [
    ("mint", "mint / echo"),
    ("mint", "mint p99 of 15"),
    ("mint", "mint with key / echo"),
    ("introspect", "introspect / echo"),
    ("due", "tokens honoured afterwards"),
    ("due", "all endings recorded within"),
    ("due", "mint meanwhile p99 of 50"),
    ("ledger", "mint / mint without tree"),
    ("ledger", "proof p99"),
    ("ledger", "verified"),
    ("ledger", "replayed"),
    ("restart", "clean: first answer after"),
    ("restart", "clean: resident"),
    ("restart", "clean: resident at most"),
    ("restart", "killed: first answer after"),
    ("restart", "killed: resident"),
];

const NOTES: [(&str, &str); 10] = [
    ("fsync", "fsync rate"),
    ("fsync", "fsync p99"),
    ("echo", "echo rate"),
    ("echo", "echo alone p50"),
    ("mint", "mint rate"),
    ("mint", "mint alone p50"),
    ("introspect", "introspect p99.9"),
    ("introspect", "introspect cold rate"),
    ("restart", "on disk a lease"),
    ("restart", "issued in process"),
];

#[test]
fn a_short_run_measures_everything_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let json = tempfile::NamedTempFile::new().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_quietus"))
        .args(["bench", "--quick", "--in-flight", "8", "--dir"])
        .arg(dir.path())
        .arg("--json")
        .arg(json.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&std::fs::read(json.path()).unwrap()).unwrap();
    for key in ["version", "cores", "rounds", "in_flight", "connections"] {
        assert!(!report[key].is_null(), "{key}");
    }
    for (scenario, name) in TARGETS {
        let figure = figure(&report, scenario, name);
        assert!(figure["target"].is_object(), "{name}");
        assert!(figure["pass"].is_boolean(), "{name}");
    }
    for (scenario, name) in NOTES {
        assert!(figure(&report, scenario, name)["value"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(
        figure(&report, "due", "tokens honoured afterwards")["value"],
        0.0
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn figure<'r>(report: &'r Value, scenario: &str, name: &str) -> &'r Value {
    let figures = report["figures"].as_array().unwrap();
    figures
        .iter()
        .find(|figure| figure["scenario"] == scenario && figure["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {scenario}"))
}
