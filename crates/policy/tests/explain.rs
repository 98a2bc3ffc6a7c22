//! What an operator is told about a decision.
#![allow(clippy::unwrap_used)]

mod common;

use common::World;
use quietus_policy::{Clause, Explanation, MAX_NEAR_MISSES};

#[test]
fn a_permit_is_explained_by_its_policies() {
    let text = r#"@id("yes") permit(principal, action, resource) when { context.ttl < 900 };"#;
    let explanation = World::new().explain(&format!("// why\n  {text}\n"));
    let [policy] = explanation.determining.as_slice() else {
        unreachable!("{explanation:?}");
    };
    assert_eq!(policy.text, text);
    assert_eq!(policy.place.to_string(), "test.cedar:2:3");
    assert_eq!(policy.sentence, "yes permits this.");
    assert!(explanation.near_misses.is_empty());
}

#[test]
fn a_forbid_says_what_it_does() {
    let yes = "permit(principal, action, resource);";
    let plain = r#"@id("no") forbid(principal, action, resource);"#;
    let ask = r#"@id("ask") @approval("oncall") @quorum("2") forbid(principal, action, resource) unless { context.approved };"#;
    let broken = r#"@id("broken") forbid(principal, action, resource) when { context.ttl * 9223372036854775807 > 0 };"#;
    let sentence = |policy: &str| {
        let explanation = World::new().explain(&format!("{yes} {policy}"));
        explanation.determining[0].sentence.clone()
    };
    assert_eq!(sentence(plain), "no forbids this, whatever permits it.");
    assert_eq!(sentence(ask), "ask forbids this until 2 of oncall approve.");
    assert!(sentence(broken).starts_with("broken could not be evaluated, and so denies: "));
}

#[test]
fn each_clause_that_misses_alone_is_told() {
    let cases = [
        (
            r#"permit(principal in Team::"sre", action, resource);"#,
            Clause::Principal,
            r#"test#1 permits only agents of team "sre", and not agent "spiffe://example.org/refunds" of team "payments" and trust domain "example.org"."#,
        ),
        (
            r#"permit(principal, action in [Action::"write", Action::"admin"], resource);"#,
            Clause::Action,
            "test#1 permits only write, admin, and not read.",
        ),
        (
            r#"permit(principal, action, resource in Target::"logs");"#,
            Clause::Resource,
            r#"test#1 permits only resources of target "logs", and not "public.orders" of target "orders-db"."#,
        ),
        (
            "permit(principal, action, resource) when { context.ttl <= 300 };",
            Clause::Condition,
            "test#1 would permit this, but `context.ttl <= 300` does not hold: context.ttl is 600.",
        ),
        (
            r#"permit(principal, action, resource)
            when { context.task.held && principal.environment == "staging" && context.task.age < 10 };"#,
            Clause::Condition,
            "test#1 would permit this, but `principal.environment == \"staging\"` does not hold: \
             principal.environment is \"production\"; and `context.task.age < 10` does not hold: context.task.age is 30.",
        ),
        (
            "permit(principal, action, resource) unless { context.time.weekday > 5 || context.time.hour == 13 };",
            Clause::Condition,
            "test#1 would permit this, but `context.time.hour == 13` must not hold: context.time.hour is 13.",
        ),
        (
            "permit(principal, action, resource) when { principal.tier * 9223372036854775807 + context.ttl > 1 };",
            Clause::Condition,
            "test#1 would permit this, but `((principal.tier * 9223372036854775807) + context.ttl) > 1` could not be evaluated: \
             integer overflow while attempting to add the values `9223372036854775807` and `600`.",
        ),
    ];
    for (policy, clause, sentence) in cases {
        let explanation = World::new().explain(policy);
        assert_eq!(explanation.near_misses.len(), 1, "{policy}");
        assert_eq!(explanation.near_misses[0].clause, clause, "{policy}");
        assert_eq!(explanation.near_misses[0].sentence, sentence);
    }
}

#[test]
fn what_misses_twice_or_forbids_is_no_near_miss() {
    let cases = [
        r#"permit(principal in Team::"sre", action == Action::"write", resource);"#,
        r#"permit(principal in Team::"sre", action, resource) when { context.ttl < 10 };"#,
        r#"permit(principal, action, resource in Target::"logs") unless { context.task.held };"#,
        r#"forbid(principal in Team::"sre", action, resource);"#,
    ];
    for policy in cases {
        assert!(
            World::new().explain(policy).near_misses.is_empty(),
            "{policy}"
        );
    }
}

#[test]
fn near_misses_come_by_clause_and_are_bounded() {
    let mut policies: Vec<String> = (0..MAX_NEAR_MISSES + 5)
        .map(|n| format!(r#"permit(principal in Team::"t{n}", action, resource);"#))
        .collect();
    policies.push("permit(principal, action, resource) when { context.ttl == 0 };".to_owned());
    let explanation: Explanation = World::new().explain(&policies.join("\n"));
    assert_eq!(explanation.near_misses.len(), MAX_NEAR_MISSES);
    assert_eq!(explanation.near_misses_left_out, 6);
    assert_eq!(explanation.near_misses[0].clause, Clause::Condition);
    assert_eq!(&*explanation.near_misses[1].id, "test#1");
}

#[test]
fn an_approval_that_is_needed_is_explained() {
    let policies = r#"@id("yes") permit(principal, action, resource);
        @id("ask") @approval("oncall") forbid(principal, action, resource) unless { context.approved };"#;
    let explanation = World::new().explain(policies);
    assert_eq!(
        explanation.determining[0].sentence,
        "ask forbids this until 1 of oncall approve."
    );
    assert!(explanation.near_misses.is_empty());
}
