use std::fs;

use quietus::config::{ClientConfig, Config, Limits, Log, Telemetry};
use toml::Table;

use crate::{load, samples};

#[test]
fn every_sample_loads() {
    let config = Config::load(samples().join("quietus.toml")).unwrap();
    assert_eq!(config.agents().len(), 2);
    ClientConfig::load(samples().join("agent.toml")).unwrap();
}

#[test]
fn every_sample_of_a_target_loads() {
    let base = fs::read_to_string(samples().join("quietus.toml")).unwrap();
    // A sample may call its target the same.
    let base = base.replace("\"orders-db\"", "\"orders-token\"");
    for entry in fs::read_dir(samples().join("targets")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let config = load(format!("{base}\n{text}"));
        config.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[test]
fn there_is_no_sample_that_no_test_knows() {
    let mut names: Vec<String> = fs::read_dir(samples())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    // What Prometheus and Grafana read is held against a broker in tests/telemetry.
    let expected = [
        "agent.toml",
        "alerts",
        "grafana",
        "policies",
        "quietus.toml",
        "targets",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_sample_names_every_limit_with_its_default() {
    let text = fs::read_to_string(samples().join("quietus.toml")).unwrap();
    let mut table: Table = text.parse().unwrap();
    assert_eq!(table["limits"].as_table().unwrap().len(), 14);
    let full = load(&text).unwrap();
    for section in ["limits", "log"] {
        table.remove(section).unwrap();
    }
    let store = table["store"].as_table_mut().unwrap();
    store.retain(|key, _| key == "path");
    let bare = load(table.to_string()).unwrap();
    assert_eq!((full.limits, full.log), (Limits::default(), Log::default()));
    assert_eq!((bare.limits, bare.log), (full.limits, full.log));
    assert_eq!(bare.store.cache_bytes, full.store.cache_bytes);
    assert_eq!(bare.store.min_free_bytes, full.store.min_free_bytes);
}

#[test]
fn the_sample_of_telemetry_is_one_that_would_be_accepted() {
    let text = fs::read_to_string(samples().join("quietus.toml")).unwrap();
    assert_eq!(load(&text).unwrap().telemetry, Telemetry::default());
    let text = text.replace("# metrics =", "metrics =");
    let told = load(text.replace("# otlp =", "otlp =")).unwrap().telemetry;
    assert_eq!(told.metrics.unwrap().to_string(), "127.0.0.1:9464");
    assert_eq!(told.otlp.as_deref(), Some("http://127.0.0.1:4317"));
}

#[test]
fn the_sample_issuer_is_one_that_would_be_accepted() {
    let text = fs::read_to_string(samples().join("quietus.toml")).unwrap();
    let config = load(text.replace("# issuer =", "issuer =")).unwrap();
    assert_eq!(
        config.broker.issuer.as_deref(),
        Some("https://quietus.dev.example")
    );
}
