//! When a human can say yes, and when nobody can.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, ids};
use quietus_policy::{ApprovalGroup, Outcome};

const PERMIT: &str = r#"@id("yes") permit(principal, action, resource);"#;
const ASK: &str = r#"@id("ask") @approval("oncall") @quorum("2")
    forbid(principal, action, resource) unless { context.approved };"#;
const ASK_MORE: &str = r#"@id("ask-more") @approval("oncall") @quorum("3")
    forbid(principal, action, resource) unless { context.approved };"#;
const ASK_OTHERS: &str = r#"@id("ask-others") @approval("dba")
    forbid(principal, action, resource) when { !context.approved };"#;
const NEVER: &str = r#"@id("never") forbid(principal, action, resource);"#;
const SILENT: &str = r#"@id("silent")
    forbid(principal, action, resource) unless { context.approved };"#;
const STUBBORN: &str = r#"@id("stubborn") @approval("oncall")
    forbid(principal, action, resource) when { context.approved || context.ttl > 1 };"#;
const PERMIT_ONCE_APPROVED: &str =
    r#"@id("then") permit(principal, action, resource) when { context.approved };"#;
const FORBID_ONCE_APPROVED: &str =
    r#"@id("trap") forbid(principal, action, resource) when { context.approved };"#;
const BROKEN_ASK: &str = r#"@id("broken") @approval("oncall")
    forbid(principal, action, resource) when { context.ttl * 9223372036854775807 > 0 } unless { context.approved };"#;

#[test]
fn the_table_of_outcomes() {
    let ask = |groups: &[(&str, u32)]| Outcome::ApprovalNeeded {
        groups: groups
            .iter()
            .map(|(name, quorum)| group(name, *quorum))
            .collect(),
    };
    let table: [(&[&str], bool, Outcome, &[&str]); 22] = [
        (&[], false, Outcome::Deny, &[]),
        (&[], true, Outcome::Deny, &[]),
        (&[PERMIT], false, Outcome::Permit, &["yes"]),
        (&[ASK], false, Outcome::Deny, &["ask"]),
        (&[ASK], true, Outcome::Deny, &[]),
        (&[PERMIT, ASK], false, ask(&[("oncall", 2)]), &["ask"]),
        (&[PERMIT, ASK], true, Outcome::Permit, &["yes"]),
        (
            &[PERMIT, ASK, ASK_MORE],
            false,
            ask(&[("oncall", 3)]),
            &["ask", "ask-more"],
        ),
        (
            &[PERMIT, ASK_MORE, ASK],
            false,
            ask(&[("oncall", 3)]),
            &["ask-more", "ask"],
        ),
        (
            &[PERMIT, ASK, ASK_OTHERS],
            false,
            ask(&[("dba", 1), ("oncall", 2)]),
            &["ask", "ask-others"],
        ),
        (&[PERMIT, NEVER], false, Outcome::Deny, &["never"]),
        (
            &[PERMIT, ASK, NEVER],
            false,
            Outcome::Deny,
            &["ask", "never"],
        ),
        (&[PERMIT, ASK, NEVER], true, Outcome::Deny, &["never"]),
        (&[PERMIT, SILENT], false, Outcome::Deny, &["silent"]),
        (
            &[PERMIT, ASK, SILENT],
            false,
            Outcome::Deny,
            &["ask", "silent"],
        ),
        (&[PERMIT, STUBBORN], false, Outcome::Deny, &["stubborn"]),
        (&[PERMIT, STUBBORN], true, Outcome::Deny, &["stubborn"]),
        (
            &[PERMIT, ASK, FORBID_ONCE_APPROVED],
            false,
            Outcome::Deny,
            &["ask"],
        ),
        (
            &[PERMIT, ASK, FORBID_ONCE_APPROVED],
            true,
            Outcome::Deny,
            &["trap"],
        ),
        (
            &[PERMIT_ONCE_APPROVED, ASK],
            false,
            ask(&[("oncall", 2)]),
            &["ask"],
        ),
        (&[PERMIT_ONCE_APPROVED], false, Outcome::Deny, &[]),
        (&[PERMIT, BROKEN_ASK], false, Outcome::Deny, &["broken"]),
    ];
    for (policies, approved, outcome, determining) in table {
        let world = World {
            approved,
            ttl: 600,
            ..World::new()
        };
        let decision = world.decide(&policies.join("\n"));
        assert_eq!(
            decision.outcome(),
            &outcome,
            "{policies:?} approved {approved}"
        );
        assert_eq!(
            ids(&decision),
            determining,
            "{policies:?} approved {approved}"
        );
    }
}

#[test]
fn an_approval_only_lifts_what_asks_for_it() {
    let elsewhere = r#"@id("ask") @approval("oncall")
        forbid(principal, action, resource in Target::"logs") unless { context.approved };"#;
    let decision = World::new().decide(&format!("{PERMIT} {elsewhere} {NEVER}"));
    assert_eq!(decision.outcome(), &Outcome::Deny);
}

#[test]
fn while_approval_is_needed_there_is_no_ttl_to_rely_on() {
    let decision = World::new().decide(&format!(
        r#"@max_ttl("1h") permit(principal, action, resource); {ASK}"#
    ));
    assert_eq!(decision.max_ttl_seconds(), None);
    assert!(!decision.is_permit());
}

fn group(name: &str, quorum: u32) -> ApprovalGroup {
    ApprovalGroup {
        name: name.to_owned(),
        quorum,
    }
}
