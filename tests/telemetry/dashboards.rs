//! The dashboard and the alert rules that are shipped, against what a broker really exports.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::stage::Stage;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("config")
        .join(name);
    fs::read_to_string(path).unwrap()
}

/// The names of the measures in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("quietus_"));
    ours.map(ToOwned::to_owned).collect()
}

/// Every name that a query may use.
async fn exported() -> BTreeSet<String> {
    let scraped = Stage::start(None).await.scrape().await;
    let mut names = BTreeSet::new();
    for (name, kind) in scraped.types {
        match kind.as_str() {
            "counter" => drop(names.insert(format!("{name}_total"))),
            "gauge" => drop(names.insert(name)),
            "histogram" => {
                names.extend(["bucket", "count", "sum"].map(|end| format!("{name}_{end}")));
            }
            other => panic!("{name} is a {other}"),
        }
    }
    names
}

#[tokio::test]
async fn they_use_only_what_there_is_and_all_of_it() {
    let exported = exported().await;
    let (dashboard, alerts) = (
        read("grafana/quietus.json"),
        read("alerts/quietus.rules.yml"),
    );
    let documented = names(&read("../docs/telemetry.md"));
    for (file, text) in [("dashboard", &dashboard), ("alerts", &alerts)] {
        let unknown: Vec<_> = names(text).difference(&exported).cloned().collect();
        assert!(unknown.is_empty(), "the {file} has {unknown:?}");
    }
    let shown = names(&dashboard);
    for name in exported {
        let base = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|end| name.strip_suffix(end));
        let base = base.unwrap_or(&name);
        assert!(
            shown.iter().any(|shown| shown.starts_with(base)),
            "{name} is nowhere shown"
        );
        assert!(documented.contains(base), "{base} is not documented");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_reads() {
    let dashboard: Value = serde_json::from_str(&read("grafana/quietus.json")).unwrap();
    assert_eq!(dashboard["uid"], "quietus");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len(), "an id is there twice");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let place = &panel["gridPos"];
        assert!(
            place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24,
            "{panel}"
        );
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            assert!(balanced(query) && query.contains("$instance"), "{query}");
        }
    }
}

#[test]
fn the_alert_rules_are_ones_that_prometheus_reads() {
    let text = read("alerts/quietus.rules.yml");
    assert!(!text.contains('\t'), "YAML has no tabs");
    let rules: Vec<&str> = text.split("      - alert: ").skip(1).collect();
    let mut names = BTreeSet::new();
    for rule in &rules {
        let name = rule.lines().next().unwrap();
        assert!(names.insert(name), "{name} is there twice");
        for needed in ["expr: ", "severity: ", "summary: ", "description: "] {
            assert_eq!(rule.matches(needed).count(), 1, "{name}: {needed}");
        }
        let severity = rule
            .split("severity: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        assert!(balanced(rule), "{name}");
        for line in rule.lines().filter(|line| line.contains("{{")) {
            let value = line.split_once(": ").unwrap().1;
            // A brace at the beginning would be read as a map.
            assert!(!value.starts_with('{'), "{name}: {line}");
        }
    }
    assert_eq!(rules.len(), 10);
}

fn balanced(text: &str) -> bool {
    let mut open = Vec::new();
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => open.push(c),
            ')' if open.pop() != Some('(') => return false,
            ']' if open.pop() != Some('[') => return false,
            '}' if open.pop() != Some('{') => return false,
            _ => {}
        }
    }
    open.is_empty()
}
