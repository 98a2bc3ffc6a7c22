use std::path::Path;
use std::time::Duration;

use quietus::config::{Config, Limits};
use quietus_core::Rules;
use tempfile::TempDir;

use crate::{GOOD, load};

#[test]
fn agents_are_found_by_the_entry_that_fits_best() {
    let more = |id: &str, team: &str| {
        format!(
            "[[agent]]\nid = \"spiffe://dev.example/{id}\"\nowner = \"o\"\nteam = \"{team}\"\nenvironment = \"e\"\ntier = 0\n"
        )
    };
    let entries = more("agent/etl/*", "etl") + &more("agent/etl/7", "seven");
    let config = load(
        GOOD.to_owned()
            .replace("[limits]", &format!("{entries}[limits]")),
    )
    .unwrap();
    let team = |id: &str| config.agent(id).map(|entry| entry.team.as_str());
    assert_eq!(team("spiffe://dev.example/agent/x"), Some("data"));
    assert_eq!(team("spiffe://dev.example/agent/etl/6"), Some("etl"));
    assert_eq!(team("spiffe://dev.example/agent/etl/7"), Some("seven"));
    assert_eq!(team("spiffe://dev.example/agent/etl/7/8"), Some("etl"));
    assert_eq!(team("spiffe://dev.example/agent"), None);
    assert_eq!(team("spiffe://dev.example/agents/x"), None);
    assert_eq!(team("spiffe://other.example/agent/x"), None);
}

#[test]
fn operators_may_be_a_prefix() {
    let config = load(GOOD.replace("operator/alice", "operator/*")).unwrap();
    assert!(config.is_operator("spiffe://dev.example/operator/bob"));
    assert!(!config.is_operator("spiffe://dev.example/operator"));
    assert!(!config.is_operator("spiffe://dev.example/agent/bob"));
}

#[test]
fn targets_are_found_by_name() {
    let config = load(GOOD).unwrap();
    let target = config.target(&"orders-db".parse().unwrap()).unwrap();
    assert_eq!(target.sensitivity, 2);
    assert!(target.is_served_by("spiffe://dev.example/rs/orders"));
    assert!(!target.is_served_by("spiffe://dev.example/rs/order"));
    assert!(config.target(&"orders".parse().unwrap()).is_none());
}

#[test]
fn paths_start_from_the_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("quietus.toml");
    std::fs::write(&path, GOOD).unwrap();
    let config = Config::load(&path).unwrap();
    assert_eq!(config.broker.svid, folder.path().join("broker.pem"));
    assert_eq!(config.broker.key, Path::new("/etc/quietus/broker.key"));
    assert_eq!(config.store.path, folder.path().join("state/quietus.redb"));
    assert_eq!(
        config.trust_domains()[0].bundle,
        folder.path().join("bundle.pem")
    );
}

#[test]
fn limits_become_the_rules_of_the_lifecycle() {
    let rules = Rules::from(&Limits::default());
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let expected = Rules {
        default_ttl: minutes(5),
        max_ttl: minutes(60),
        default_task: minutes(60),
        max_task: minutes(24 * 60),
        max_live: 64,
        max_issued: 10_000,
        grace: Duration::from_secs(10),
        retention: minutes(7 * 24 * 60),
    };
    assert_eq!(rules, expected);
}

#[test]
fn an_issuer_may_be_a_url_or_a_spiffe_id() {
    for issuer in [
        "https://quietus.example",
        "https://q.example:8443/x",
        "spiffe://dev.example/broker",
    ] {
        let text = GOOD.replace("[store]", &format!("issuer = \"{issuer}\"\n[store]"));
        assert_eq!(load(text).unwrap().broker.issuer.as_deref(), Some(issuer));
    }
    assert_eq!(load(GOOD).unwrap().broker.issuer, None);
}
