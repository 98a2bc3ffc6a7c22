//! SPIFFE IDs: a table of texts with verdicts, and what holds of any text.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use quietus_identity::{SpiffeId, SpiffeIdError, TrustDomain};

const TABLE: &str = include_str!("data/spiffe_ids.tsv");

#[test]
fn every_text_gets_its_verdict() {
    for (verdict, text) in rows() {
        assert_eq!(verdict_on(&text), verdict, "{text:?}");
    }
}

#[test]
fn the_table_covers_every_reason() {
    let reasons: BTreeSet<_> = rows()
        .map(|(verdict, _)| verdict)
        .filter(|it| *it != "ok")
        .collect();
    let refused = rows().filter(|(verdict, _)| *verdict != "ok").count();
    assert_eq!(reasons.len(), 15);
    assert!(
        refused >= 45 && rows().count() >= 60,
        "{refused} of {}",
        rows().count()
    );
}

#[test]
fn an_accepted_id_comes_apart_and_together_again() {
    for (_, text) in rows().filter(|(verdict, _)| *verdict == "ok") {
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
        assert_eq!((id.as_str(), id.to_string()), (text.as_str(), text.clone()));
    }
}

#[test]
fn the_path_keeps_its_slash_and_may_be_empty() {
    let id: SpiffeId = "spiffe://example.org/a/b".parse().unwrap();
    assert_eq!(
        (id.trust_domain().as_str(), id.path()),
        ("example.org", "/a/b")
    );
    let domain: SpiffeId = "spiffe://example.org".parse().unwrap();
    assert_eq!(
        (domain.trust_domain().as_str(), domain.path()),
        ("example.org", "")
    );
}

#[test]
fn control_characters_are_refused_wherever_they_stand() {
    for character in (0..0x20).chain([0x7f]).map(char::from) {
        for text in [
            format!("spiffe://example.org/a{character}b"),
            format!("spiffe://exam{character}ple.org/a"),
            format!("spiffe://example.org/a{character}"),
            format!("{character}spiffe://example.org/a"),
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text:?}");
        }
    }
}

#[test]
fn a_trust_domain_is_a_name_and_not_an_id() {
    assert!("example.org".parse::<TrustDomain>().is_ok());
    assert_eq!(
        "spiffe://example.org".parse::<TrustDomain>(),
        Err(SpiffeIdError::Port)
    );
    assert_eq!(
        "example.org/".parse::<TrustDomain>().unwrap_err().reason(),
        "SPIFFE_ID_TRUST_DOMAIN_CHARACTER"
    );
    assert_eq!(
        "".parse::<TrustDomain>(),
        Err(SpiffeIdError::TrustDomainEmpty)
    );
}

#[test]
fn serde_speaks_plain_strings_and_validates_them() {
    let id: SpiffeId = serde_json::from_str("\"spiffe://example.org/a\"").unwrap();
    assert_eq!(
        serde_json::to_string(&id).unwrap(),
        "\"spiffe://example.org/a\""
    );
    let refusal = serde_json::from_str::<SpiffeId>("\"spiffe://example.org/a/\"").unwrap_err();
    assert!(refusal.to_string().contains("ends in a slash"), "{refusal}");
    assert!(serde_json::from_str::<TrustDomain>("\"Example.org\"").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_none_is_rewritten(text in any::<String>()) {
        if let Ok(id) = text.parse::<SpiffeId>() {
            prop_assert_eq!(id.as_str(), text);
        }
    }

    #[test]
    fn near_misses_keep_to_the_alphabet(rest in "[a-zA-Z0-9._/:@%?# -]{0,40}") {
        let text = format!("spiffe://{rest}");
        if let Ok(id) = text.parse::<SpiffeId>() {
            prop_assert!(!id.trust_domain().as_str().bytes().any(|it| it.is_ascii_uppercase()));
            prop_assert!(!rest.contains([':', '@', '%', '?', '#', ' ']));
            prop_assert!(!rest.contains("//") && !rest.ends_with('/'));
        }
    }
}

fn rows() -> impl Iterator<Item = (&'static str, String)> {
    TABLE.lines().map(|line| {
        let (verdict, text) = line.split_once('\t').unwrap();
        (verdict, expand(text))
    })
}

fn expand(text: &str) -> String {
    let Some((before, rest)) = text.split_once("{a*") else {
        return text.to_owned();
    };
    let (count, after) = rest.split_once('}').unwrap();
    format!("{before}{}{after}", "a".repeat(count.parse().unwrap()))
}

fn verdict_on(text: &str) -> &'static str {
    match text.parse::<SpiffeId>() {
        Ok(_) => "ok",
        Err(error) => error.reason(),
    }
}
