//! A permit for a credential needs every scope decided, for it, by one policy set.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, scope, set};
use quietus_core::Scope;
use quietus_policy::{Decision, Outcome, Permit, PolicySet, Refusal};

const POLICIES: &str = r#"
    @id("read") @max_ttl("1h") permit(principal, action == Action::"read", resource);
    @id("write") @max_ttl("10m") permit(principal, action == Action::"write", resource);
    @id("export") permit(principal, action == Action::"export", resource);
    @id("ask") @approval("oncall") forbid(principal, action == Action::"export", resource) unless { context.approved };"#;

#[test]
fn every_scope_permitted_is_a_permit_with_the_least_ttl() {
    let set = set(POLICIES);
    let asked = ["orders-db:read:a", "orders-db:write:b", "orders-db:read:c"];
    let permit = Permit::all(asked.map(|text| decided(&set, text)).into()).unwrap();
    assert_eq!(permit.scopes(), asked.map(scope));
    assert_eq!(permit.max_ttl_seconds(), Some((600, "write")));
    assert_eq!(permit.policy_digest(), set.digest());
    assert_eq!(permit.agent(), "spiffe://example.org/refunds");
    let ids: Vec<&str> = permit.determining().iter().map(|id| &**id).collect();
    assert_eq!(ids, ["read", "write"]);
}

#[test]
fn one_scope_short_is_no_permit() {
    let set = set(POLICIES);
    let asked = [
        "orders-db:read:a",
        "orders-db:delete:b",
        "orders-db:export:c",
    ];
    let refusal = Permit::all(asked.map(|text| decided(&set, text)).into()).unwrap_err();
    let Refusal::Denied(denials) = &refusal else {
        unreachable!("{refusal}");
    };
    let denied: Vec<&Scope> = denials.iter().map(|d| &d.scope).collect();
    assert_eq!(denied, [&scope(asked[1]), &scope(asked[2])]);
    assert_eq!(denials[0].decision.outcome(), &Outcome::Deny);
    assert!(matches!(
        denials[1].decision.outcome(),
        Outcome::ApprovalNeeded { .. }
    ));
    assert_eq!(
        refusal.to_string(),
        "not permitted: orders-db:delete:b, orders-db:export:c"
    );
}

#[test]
fn nothing_asked_is_no_permit() {
    assert_eq!(Permit::all(Vec::new()), Err(Refusal::Empty));
}

#[test]
fn a_decision_about_another_scope_is_no_permit() {
    let (_, decision) = decided(&set(POLICIES), "orders-db:read:a");
    let asked = scope("orders-db:admin:a");
    let refusal = Permit::all(vec![(asked.clone(), decision)]);
    let decided = scope("orders-db:read:a");
    assert_eq!(refusal, Err(Refusal::WrongScope { asked, decided }));
}

#[test]
fn decisions_of_two_policy_sets_are_no_permit() {
    let (old, new) = (set(POLICIES), set(&format!("{POLICIES}\n")));
    let decisions = vec![
        decided(&old, "orders-db:read:a"),
        decided(&new, "orders-db:read:b"),
    ];
    assert_eq!(Permit::all(decisions), Err(Refusal::MixedPolicies));
}

#[test]
fn decisions_about_two_agents_are_no_permit() {
    let set = set(POLICIES);
    let mut other = World::asking("orders-db:read:b");
    other.agent.id = "spiffe://example.org/other".to_owned();
    let second = (other.scope.clone(), set.decide(&other.request()));
    let decisions = vec![decided(&set, "orders-db:read:a"), second];
    assert_eq!(Permit::all(decisions), Err(Refusal::MixedAgents));
}

fn decided(set: &PolicySet, text: &str) -> (Scope, Decision) {
    let world = World::asking(text);
    (world.scope.clone(), set.decide(&world.request()))
}
