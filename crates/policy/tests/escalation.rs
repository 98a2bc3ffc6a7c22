//! Nothing is permitted that a policy does not permit in so many words.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, compile, ids, scope, set};
use quietus_core::Action;
use quietus_policy::{Outcome, PolicySet};

#[test]
fn no_action_implies_another() {
    for permitted in Action::ALL {
        let policy = format!(r#"permit(principal, action == Action::"{permitted}", resource);"#);
        for asked in Action::ALL {
            let world = World::asking(&format!("orders-db:{asked}:public.orders"));
            let decision = world.decide(&policy);
            assert_eq!(
                decision.is_permit(),
                permitted == asked,
                "{permitted} for {asked}"
            );
        }
    }
}

#[test]
fn an_empty_set_denies_every_action() {
    let empty = PolicySet::compile(Vec::new()).unwrap();
    assert!(empty.is_empty());
    for action in Action::ALL {
        let world = World::asking(&format!("orders-db:{action}:public.orders"));
        let decision = empty.decide(&world.request());
        assert_eq!(decision.outcome(), &Outcome::Deny);
        assert!(decision.determining().is_empty());
    }
}

#[test]
fn a_set_of_forbids_permits_nothing() {
    let decision = World::new()
        .decide("forbid(principal, action, resource) when { false == context.task.held };");
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert!(decision.determining().is_empty());
}

#[test]
fn a_forbid_wins_over_any_number_of_permits() {
    let policies = r#"
        @id("all") permit(principal, action, resource);
        @id("mine") permit(principal == Agent::"spiffe://example.org/refunds", action, resource);
        @id("no") forbid(principal, action, resource == Resource::"orders-db/public.orders");"#;
    let decision = World::new().decide(policies);
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert_eq!(ids(&decision), ["no"]);
    assert_eq!(decision.max_ttl_seconds(), None);
    assert!(
        World::asking("orders-db:read:other")
            .decide(policies)
            .is_permit()
    );
}

#[test]
fn each_scope_clause_holds_off_everyone_else() {
    let cases = [
        r#"permit(principal == Agent::"spiffe://example.org/refund", action, resource);"#,
        r#"permit(principal == Agent::"spiffe://example.org/refunds/x", action, resource);"#,
        r#"permit(principal in Agent::"spiffe://example.org/Refunds", action, resource);"#,
        r#"permit(principal in Team::"example.org", action, resource);"#,
        r#"permit(principal in Team::"Payments", action, resource);"#,
        r#"permit(principal in TrustDomain::"payments", action, resource);"#,
        r#"permit(principal in TrustDomain::"org", action, resource);"#,
        r#"permit(principal is Agent in Team::"payment", action, resource);"#,
        r#"permit(principal, action in [Action::"write", Action::"admin"], resource);"#,
        r#"permit(principal, action, resource == Resource::"public.orders");"#,
        r#"permit(principal, action, resource == Resource::"orders-db/public.order");"#,
        r#"permit(principal, action, resource in Resource::"orders-db/public");"#,
        r#"permit(principal, action, resource in Target::"orders");"#,
        r#"permit(principal, action, resource in Target::"orders-db/public.orders");"#,
        r#"permit(principal, action, resource is Resource in Target::"orders-db2");"#,
    ];
    for policy in cases {
        assert_eq!(
            World::new().decide(policy).outcome(),
            &Outcome::Deny,
            "{policy}"
        );
    }
}

#[test]
fn each_scope_clause_lets_in_whom_it_names() {
    let cases = [
        r#"permit(principal == Agent::"spiffe://example.org/refunds", action, resource);"#,
        r#"permit(principal in Agent::"spiffe://example.org/refunds", action, resource);"#,
        r#"permit(principal in Team::"payments", action, resource);"#,
        r#"permit(principal is Agent in TrustDomain::"example.org", action, resource);"#,
        r#"permit(principal is Agent, action, resource is Resource);"#,
        r#"permit(principal, action in Action::"read", resource in Resource::"orders-db/public.orders");"#,
        r#"permit(principal, action in [Action::"read"], resource is Resource in Target::"orders-db");"#,
    ];
    for policy in cases {
        assert!(World::new().decide(policy).is_permit(), "{policy}");
    }
}

#[test]
fn a_policy_reads_every_fact() {
    let facts = [
        "principal.owner == \"ada\"",
        "principal.team == \"payments\"",
        "principal.environment == \"production\"",
        "principal.tier == 1",
        "principal.trust_domain == \"example.org\"",
        "resource.target == \"orders-db\"",
        "resource.name == \"public.orders\"",
        "resource.environment == \"production\"",
        "resource.sensitivity == 2",
        "Target::\"orders-db\".kind == \"postgres\"",
        "context.ttl == 600",
        "context.task.age == 30",
        "context.task.environment == \"production\"",
        "context.task.leases == 1",
        "context.task.held",
        "context.delegation_depth == 0",
        "!context.approved",
        "context.time.unix == 1709211600",
        "context.time.hour == 13",
        "context.time.weekday == 4",
    ];
    for fact in facts {
        let holds = format!("permit(principal, action, resource) when {{ {fact} }};");
        let fails = format!("permit(principal, action, resource) unless {{ {fact} }};");
        assert!(World::new().decide(&holds).is_permit(), "{fact}");
        assert!(!World::new().decide(&fails).is_permit(), "{fact}");
    }
}

#[test]
fn hours_and_weekdays_turn_at_midnight_utc() {
    let sunday_night = 4 * 86_400 - 1;
    for (now, hour, weekday) in [(0, 0, 4), (sunday_night, 23, 7), (sunday_night + 1, 0, 1)] {
        let policy = format!(
            "permit(principal, action, resource) when {{ context.time.hour == {hour} && context.time.weekday == {weekday} }};"
        );
        let world = World {
            now,
            ..World::new()
        };
        assert!(world.decide(&policy).is_permit(), "{now}");
    }
}

#[test]
fn numbers_beyond_the_range_of_cedar_stay_large() {
    let small = "permit(principal, action, resource) when { context.ttl < 9223372036854775807 };";
    let world = World {
        ttl: u64::MAX,
        ..World::new()
    };
    assert!(!world.decide(small).is_permit());
}

#[test]
fn facts_of_another_target_are_denied() {
    let mut world = World::new();
    world.target.name = "logs".parse().unwrap();
    let decision = world.decide("permit(principal, action, resource);");
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert_eq!(decision.faults().len(), 1);
    assert_eq!(decision.faults()[0].policy, None);
    let explanation = world.explain("permit(principal, action, resource);");
    assert!(explanation.near_misses.is_empty());
}

#[test]
fn what_an_agent_writes_is_not_in_the_vocabulary() {
    for word in ["purpose", "justification", "ticket", "tool", "arguments"] {
        for holder in ["context", "context.task", "principal"] {
            let policy =
                format!("permit(principal, action, resource) when {{ {holder}.{word} == \"x\" }};");
            assert!(compile(&policy).is_err(), "{holder}.{word}");
        }
    }
}

#[test]
fn the_least_max_ttl_of_the_permits_that_apply_holds() {
    let policies = r#"
        @id("broad") @max_ttl("2d") permit(principal, action, resource);
        @id("free") permit(principal, action, resource);
        @id("tight") @max_ttl("15m") permit(principal in Team::"payments", action, resource);
        @id("even") @max_ttl("900s") permit(principal in Team::"payments", action, resource);
        @id("elsewhere") @max_ttl("1s") permit(principal, action, resource in Target::"logs");
        @id("not-now") @max_ttl("1s") permit(principal, action, resource) unless { context.task.held };"#;
    let decision = World::new().decide(policies);
    assert_eq!(decision.max_ttl_seconds(), Some((900, "tight")));
    assert_eq!(ids(&decision), ["broad", "free", "tight", "even"]);
}

#[test]
fn without_a_limit_there_is_no_max_ttl() {
    let decision = World::new().decide("permit(principal, action, resource);");
    assert_eq!(decision.max_ttl_seconds(), None);
}

#[test]
fn the_same_set_and_request_always_give_the_same_decision() {
    let policies = r#"
        permit(principal, action, resource);
        @id("b") permit(principal in Team::"payments", action, resource);
        @id("a") permit(principal, action, resource) when { context.ttl < 1000 };"#;
    let first = World::new().decide(policies);
    assert_eq!(ids(&first), ["test#1", "b", "a"]);
    assert_eq!(first.scope(), &scope("orders-db:read:public.orders"));
    assert_eq!(first.agent(), "spiffe://example.org/refunds");
    assert_eq!(first.policy_digest(), set(policies).digest());
    for _ in 0..50 {
        assert_eq!(World::new().decide(policies), first);
        assert_eq!(
            World::new().explain(policies),
            World::new().explain(policies)
        );
    }
}
