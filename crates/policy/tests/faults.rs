//! A policy that cannot be evaluated never lets anything through.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, ids};
use quietus_policy::{Decision, Outcome};

const YES: &str = r#"@id("yes") permit(principal, action, resource);"#;
const BROKEN: &str = "when { context.ttl * 9223372036854775807 > 0 }";

#[test]
fn a_forbid_that_overflows_denies() {
    let decision = World::new().decide(&format!(
        r#"{YES} @id("no") forbid(principal, action, resource) {BROKEN};"#
    ));
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert_eq!(ids(&decision), ["no"]);
    assert_eq!(faulty(&decision), ["no"]);
    assert!(decision.faults()[0].message.contains("overflow"));
}

#[test]
fn a_permit_that_overflows_permits_nothing() {
    let decision = World::new().decide(&format!(
        r#"@id("maybe") permit(principal, action, resource) {BROKEN};"#
    ));
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert!(decision.determining().is_empty());
    assert_eq!(faulty(&decision), ["maybe"]);
}

#[test]
fn a_permit_that_overflows_takes_nothing_from_another() {
    let decision = World::new().decide(&format!(
        r#"{YES} @id("maybe") @max_ttl("1s") permit(principal, action, resource) {BROKEN};"#
    ));
    assert!(decision.is_permit());
    assert_eq!(ids(&decision), ["yes"]);
    assert_eq!(decision.max_ttl_seconds(), None);
    assert_eq!(faulty(&decision), ["maybe"]);
}

#[test]
fn a_forbid_that_names_an_entity_nobody_knows_denies() {
    let decision = World::new().decide(&format!(
        r#"{YES} @id("no") forbid(principal, action, resource)
        when {{ Target::"elsewhere".sensitivity > 9 }};"#
    ));
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert_eq!(faulty(&decision), ["no"]);
}

#[test]
fn a_broken_forbid_elsewhere_disturbs_nobody() {
    let decision = World::new().decide(&format!(
        r#"{YES} @id("no") forbid(principal, action, resource in Target::"logs") {BROKEN};"#
    ));
    assert!(decision.is_permit());
    assert!(decision.faults().is_empty());
}

#[test]
fn a_broken_forbid_beside_one_that_asks_is_not_an_approval_matter() {
    let decision = World::new().decide(&format!(
        r#"{YES} @id("no") forbid(principal, action, resource) {BROKEN};
        @id("ask") @approval("oncall") forbid(principal, action, resource) unless {{ context.approved }};"#
    ));
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert_eq!(ids(&decision), ["no", "ask"]);
}

#[test]
fn a_forbid_that_breaks_only_once_approved_cannot_be_lifted() {
    let decision = World::new().decide(&format!(
        r#"{YES} @approval("oncall") forbid(principal, action, resource)
        when {{ if context.approved then context.ttl * 9223372036854775807 > 0 else true }};"#
    ));
    assert_eq!(decision.outcome(), &Outcome::Deny);
}

#[test]
fn a_forbid_that_breaks_until_approved_denies_and_does_not_ask() {
    let decision = World::new().decide(&format!(
        r#"{YES} @id("no") @approval("oncall") forbid(principal, action, resource)
        when {{ if context.approved then false else context.ttl * 9223372036854775807 > 0 }};"#
    ));
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert_eq!(faulty(&decision), ["no"]);
}

fn faulty(decision: &Decision) -> Vec<&str> {
    let faults = decision.faults().iter();
    faults.filter_map(|f| f.policy.as_deref()).collect()
}
