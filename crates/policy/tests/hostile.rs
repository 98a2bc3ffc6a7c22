//! Values that look like policy stay values.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, ids, set};
use proptest::prelude::*;
use quietus_policy::Outcome;

const POLICIES: &str = r#"
    @id("payments") permit(principal in Team::"payments", action == Action::"read", resource in Target::"orders-db")
    when { principal.environment == "production" && resource.name like "public.*" };
    @id("others") forbid(principal, action, resource) unless { principal.owner != "mallory" };"#;

fn payloads() -> Vec<String> {
    let mut payloads: Vec<String> = [
        "",
        "\"",
        "payments\"",
        "payments\" || true || \"",
        "\"; permit(principal, action, resource); //",
        "Team::\"payments\"",
        "payments\0",
        "payments ",
        " payments",
        "Payments",
        "pаyments",
        "payments\u{200b}",
        "payments\u{202e}",
        "{\"__entity\":{\"type\":\"Team\",\"id\":\"payments\"}}",
        "__expr",
        "?principal",
        "*",
        "pay*",
        "payments\\",
        "\\u{70}ayments",
        "principal",
        "}; permit(principal, action, resource); forbid(principal, action, resource) when { false",
    ]
    .map(str::to_owned)
    .into();
    payloads.push("payments".repeat(200_000));
    payloads
}

#[test]
fn no_spelling_of_a_team_is_another_team() {
    for team in payloads() {
        let mut world = World::new();
        world.agent.team = team;
        assert_eq!(world.decide(POLICIES).outcome(), &Outcome::Deny);
    }
}

#[test]
fn no_other_fact_can_stand_in_for_the_team() {
    for text in payloads() {
        let mut world = World::new();
        world.agent.team = "guests".to_owned();
        world.agent.id = text.clone();
        world.agent.trust_domain = text.clone();
        world.agent.owner = text.clone();
        world.task.environment = text.clone();
        world.target.kind = text.clone();
        world.target.environment = text;
        assert_eq!(world.decide(POLICIES).outcome(), &Outcome::Deny);
    }
}

#[test]
fn facts_that_no_policy_reads_change_nothing() {
    let calm = World::new().decide(POLICIES);
    assert_eq!(ids(&calm), ["payments"]);
    for text in payloads() {
        let mut world = World::new();
        world.agent.owner = text.clone();
        world.agent.trust_domain = text.clone();
        world.task.environment = text.clone();
        world.target.kind = text.clone();
        world.target.environment = text;
        assert_eq!(world.decide(POLICIES), calm);
    }
}

#[test]
fn an_environment_that_quotes_the_condition_does_not_meet_it() {
    for text in payloads() {
        let mut world = World::new();
        world.agent.environment = text;
        assert_eq!(world.decide(POLICIES).outcome(), &Outcome::Deny);
    }
}

#[test]
fn resource_names_with_cedar_in_them_stay_names() {
    let only = r#"permit(principal, action, resource == Resource::"orders-db/public.orders");"#;
    let names = [
        "public.orders/",
        "/public.orders",
        "../orders-db/public.orders",
        "public.orders'",
        "public.orders::",
        "public.*",
        "*",
        "public.orders;permit(principal,action,resource);",
        "Resource::public.orders",
        "orders-db/public.orders",
        "public%2Eorders",
        "public.orders//comment",
        "?resource",
        "{\u{7d}",
    ];
    for name in names {
        let world = World::asking(&format!("orders-db:read:{name}"));
        assert_eq!(world.decide(only).outcome(), &Outcome::Deny, "{name}");
    }
    let long = World::asking(&format!("orders-db:read:{}", "x".repeat(256)));
    assert_eq!(long.decide(only).outcome(), &Outcome::Deny);
}

#[test]
fn a_like_pattern_is_only_in_the_policy() {
    let policy = r#"permit(principal, action, resource) when { resource.name like "a\*b" };"#;
    assert!(
        World::asking("orders-db:read:a*b")
            .decide(policy)
            .is_permit()
    );
    for name in ["axb", "a**b", "ab", "*", "a*"] {
        let world = World::asking(&format!("orders-db:read:{name}"));
        assert!(!world.decide(policy).is_permit(), "{name}");
    }
}

proptest! {
    #[test]
    fn no_text_gains_what_its_team_does_not_have(
        text in any::<String>(),
        syntax in "[\"{}();:,=|&!?*@\\\\ a-z]{0,40}",
    ) {
        let set = set(POLICIES);
        for text in [text, syntax] {
            let mut world = World::new();
            world.agent.team = format!("{text}x");
            world.agent.id = text.clone();
            world.agent.owner = text.clone();
            world.agent.trust_domain = text.clone();
            world.target.kind = text;
            let decision = set.decide(&world.request());
            prop_assert_eq!(decision.outcome(), &Outcome::Deny);
        }
    }
}
