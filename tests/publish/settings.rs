//! `[ledger]`: what is accepted, and what is refused in words that help.

use std::time::Duration;

use quietus::config::{Config, LedgerClients};
use quietus_ledger::note::Witness;

use crate::common::World;
use crate::witness::pair;

fn load(section: &str) -> Result<Config, String> {
    let world = World::new();
    let text = std::fs::read_to_string(world.domain.config()).unwrap();
    std::fs::write(world.domain.config(), format!("{text}\n{section}\n")).unwrap();
    Config::load(world.domain.config()).map_err(|error| error.to_string())
}

fn key() -> String {
    Witness::new("w.example/1", &pair(1))
        .unwrap()
        .cosigner()
        .to_string()
}

#[test]
fn absent_there_is_neither_listener_nor_witness_and_nothing_is_forgotten() {
    let ledger = load("").unwrap().ledger;
    assert_eq!((ledger.https, ledger.retention), (None, None));
    assert!(ledger.witnesses.is_empty());
    assert_eq!(ledger.cosign_every, Duration::from_secs(60));
}

#[test]
fn the_sample_in_comments_is_one_that_would_be_accepted() {
    let sample = include_str!("../../config/quietus.toml");
    let from = sample.find("# [ledger]").unwrap();
    let to = sample.find("[policy]").unwrap();
    let lines = sample[from..to].lines();
    let commented = |line: &&str| {
        let line = line.trim_start_matches("# ");
        line.starts_with('[')
            || line
                .split(" = ")
                .next()
                .is_some_and(|key| !key.contains(' '))
                && line.contains(" = ")
    };
    let section: Vec<_> = lines
        .filter(commented)
        .map(|line| line.trim_start_matches("# "))
        .collect();
    let section = section.join("\n").replace("WITNESS-KEY", &key());
    let ledger = load(&section).unwrap().ledger;
    assert_eq!(ledger.retention, Some(Duration::from_secs(400 * 86_400)));
    assert_eq!(ledger.https.unwrap().clients, LedgerClients::Svid);
    assert_eq!(ledger.witnesses.len(), 1);
}

#[test]
fn what_is_wrong_is_named_with_its_key() {
    let key = key();
    let log_key = key.replace("w.example/1+", "w.example/2+");
    let witness =
        |url: &str, key: &str| format!("[[ledger.witness]]\nurl = \"{url}\"\nkey = \"{key}\"");
    let two = format!("{0}\n{0}", witness("https://w.example/", &key));
    let cases = [
        (
            "ledger.retention",
            "[ledger]\nretention = \"23h\"".to_owned(),
        ),
        (
            "ledger.retention",
            "[ledger]\nretention = \"7d\"".to_owned(),
        ),
        (
            "ledger.retention",
            "[ledger]\nretention = \"1000y\"".to_owned(),
        ),
        (
            "ledger.cosign_every",
            "[ledger]\ncosign_every = \"0s\"".to_owned(),
        ),
        (
            "ledger.cosign_every",
            "[ledger]\ncosign_every = \"2h\"".to_owned(),
        ),
        (
            "ledger.https.listen",
            "[ledger.https]\nlisten = \"localhost\"".to_owned(),
        ),
        (
            "ledger.https.listen",
            "[ledger.https]\nlisten = \":8444\"".to_owned(),
        ),
        (
            "ledger.https.clients",
            "[ledger.https]\nlisten = \"127.0.0.1:1\"\nclients = \"all\"".to_owned(),
        ),
        (
            "ledger.https.clients",
            "[ledger.https]\nlisten = \"127.0.0.1:1\"\nclients = \"Any\"".to_owned(),
        ),
        (
            "ledger.https.certificate",
            "[ledger.https]\nlisten = \"127.0.0.1:1\"\nkey = \"a\"".to_owned(),
        ),
        (
            "ledger.https.certificate",
            "[ledger.https]\nlisten = \"127.0.0.1:1\"\ncertificate = \"a\"".to_owned(),
        ),
        (
            "ledger.https.key",
            "[ledger.https]\nlisten = \"127.0.0.1:1\"\ncertificate = \"a\"\nkey = \"\"".to_owned(),
        ),
        ("ledger.witness.url", witness("http://w.example/", &key)),
        ("ledger.witness.url", witness("http://10.0.0.1/", &key)),
        ("ledger.witness.url", witness("http://localhost/", &key)),
        ("ledger.witness.url", witness("ftp://w.example/", &key)),
        ("ledger.witness.url", witness("w.example", &key)),
        ("ledger.witness.url", witness("https://", &key)),
        (
            "ledger.witness.url",
            witness("https://w.example/?a=b", &key),
        ),
        ("ledger.witness.url", witness("https://me@w.example/", &key)),
        ("ledger.witness.url", witness("https://w.example/#x", &key)),
        (
            "ledger.witness.key",
            witness("https://w.example/", &log_key),
        ),
        (
            "ledger.witness.key",
            witness("https://w.example/", "w.example/1"),
        ),
        ("ledger.witness.key", witness("https://w.example/", "")),
        ("ledger.witness.key", two),
    ];
    for (name, section) in cases {
        let refused = load(&section).unwrap_err();
        assert!(refused.contains(name), "{section}: {refused}");
    }
    for unknown in [
        "[ledger]\nkeep = 1",
        "[ledger.https]\nlisten = \"127.0.0.1:1\"\nopen = true",
        "[ledger.https]",
    ] {
        load(unknown).unwrap_err();
    }
    for url in [
        "https://w.example",
        "https://w.example:444/a/b/",
        "http://127.0.0.1:1/",
        "http://[::1]:1/",
    ] {
        load(&witness(url, &key)).unwrap();
    }
}
