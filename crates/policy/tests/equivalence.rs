//! The index, and this crate's reading of Cedar's answer, against Cedar itself over the whole set.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use cedar_policy as cedar;
use common::{World, file};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use quietus_core::Action;
use quietus_policy::{Outcome, PolicySet, SCHEMA};
use serde_json::json;

const PRINCIPALS: [&str; 9] = [
    "principal",
    "principal is Agent",
    r#"principal == Agent::"spiffe://a.org/x""#,
    r#"principal in Agent::"spiffe://b.org/x""#,
    r#"principal in Team::"t1""#,
    r#"principal is Agent in Team::"t2""#,
    r#"principal in TrustDomain::"a.org""#,
    r#"principal in TrustDomain::"t1""#,
    r#"principal == Agent::"t1""#,
];
const ACTIONS: [&str; 6] = [
    "action",
    r#"action == Action::"read""#,
    r#"action in [Action::"read", Action::"write"]"#,
    r#"action in Action::"export""#,
    r#"action in [Action::"admin", Action::"delete", Action::"execute"]"#,
    r#"action == Action::"write""#,
];
const RESOURCES: [&str; 8] = [
    "resource",
    "resource is Resource",
    r#"resource == Resource::"db/r1""#,
    r#"resource in Resource::"db/r2""#,
    r#"resource in Target::"db""#,
    r#"resource is Resource in Target::"logs""#,
    r#"resource == Resource::"db""#,
    r#"resource in Target::"db/r1""#,
];
const CONDITIONS: [&str; 11] = [
    "",
    "",
    "",
    "when { context.ttl <= 900 }",
    "when { context.ttl * 4611686018427387904 > 0 }",
    "when { principal.environment == resource.environment }",
    "unless { context.approved }",
    "when { context.approved }",
    "when { principal.tier < 2 } unless { context.task.held }",
    r#"when { principal in Team::"t1" }"#,
    r#"when { resource in Target::"db" && context.time.weekday < 6 }"#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_indexed_decision_is_the_full_decision(
        policies in prop::collection::vec(policy(), 0..90),
        worlds in prop::collection::vec(world(), 1..6),
    ) {
        let text = policies.join("\n");
        let set = PolicySet::compile(vec![file("p.cedar", &text)]).unwrap();
        for world in worlds {
            let indexed = set.decide(&world.request());
            prop_assert_eq!(&indexed, &set.decide_unindexed(&world.request()));
            let (outcome, determining) = by_cedar(&set, &text, &world);
            prop_assert_eq!(indexed.outcome() == &Outcome::Permit, outcome);
            let ids: BTreeSet<String> = indexed.determining().iter().map(|id| id.to_string()).collect();
            prop_assert_eq!(ids, determining);
        }
    }

    #[test]
    fn an_explanation_decides_alike_and_its_near_misses_are_permits_that_did_not_apply(
        policies in prop::collection::vec(policy(), 0..30),
        world in world(),
    ) {
        let set = PolicySet::compile(vec![file("p.cedar", &policies.join("\n"))]).unwrap();
        let explanation = set.explain(&world.request());
        prop_assert_eq!(&explanation.decision, &set.decide(&world.request()));
        for miss in &explanation.near_misses {
            let policy = set.policies().find(|p| p.id == &*miss.id).unwrap();
            prop_assert_eq!(policy.effect, cedar::Effect::Permit);
            prop_assert!(!explanation.decision.is_permit());
        }
    }
}

fn policy() -> impl Strategy<Value = String> {
    let effect = prop_oneof![
        6 => Just("permit"),
        1 => Just("forbid"),
        2 => Just(r#"@approval("g") forbid"#),
    ];
    let parts = (
        effect,
        select(&PRINCIPALS),
        select(&ACTIONS),
        select(&RESOURCES),
    );
    (parts, select(&CONDITIONS)).prop_map(|((effect, who, verb, what), condition)| {
        let condition = match condition.contains("approved") || !effect.contains("approval") {
            true => condition,
            false => "unless { context.approved }",
        };
        format!("{effect}({who}, {verb}, {what}) {condition};")
    })
}

fn world() -> impl Strategy<Value = World> {
    let scope = (
        select(&["db", "logs"]),
        select(&Action::ALL),
        select(&["r1", "r2", "t"]),
    );
    let agent = (
        select(&["a.org", "b.org", "t1"]),
        select(&["x", "y"]),
        select(&["t1", "t2", "db"]),
    );
    let numbers = (
        select(&[1_u64, 900, 901, 4000]),
        0..4_i64,
        any::<Index>(),
        any::<u32>(),
    );
    (scope, agent, numbers, any::<[bool; 2]>()).prop_map(
        |(
            (target, action, resource),
            (domain, name, team),
            (ttl, tier, env, now),
            [approved, held],
        )| {
            let mut world = World::asking(&format!("{target}:{action}:{resource}"));
            world.target.name = target.parse().unwrap();
            world.agent.id = format!("spiffe://{domain}/{name}");
            world.agent.trust_domain = domain.to_owned();
            world.agent.team = team.to_owned();
            world.agent.tier = tier;
            world.agent.environment = ["production", "staging"][env.index(2)].to_owned();
            world.task.held = held;
            World {
                ttl,
                approved,
                now: u64::from(now),
                ..world
            }
        },
    )
}

/// Whether Cedar permits, with the rule about broken forbids, and the policies that it rests on.
fn by_cedar(set: &PolicySet, text: &str, world: &World) -> (bool, BTreeSet<String>) {
    let policies: cedar::PolicySet = text.parse().unwrap();
    let (request, entities) = in_cedar(world);
    let response = cedar::Authorizer::new().is_authorized(&request, &policies, &entities);
    let ours = |id: &cedar::PolicyId| {
        let number: usize = id.to_string().trim_start_matches("policy").parse().unwrap();
        format!("p#{}", number + 1)
    };
    let forbids: BTreeSet<&str> = set
        .policies()
        .filter(|p| p.effect == cedar::Effect::Forbid)
        .map(|p| p.id)
        .collect();
    let broken: BTreeSet<String> = response
        .diagnostics()
        .errors()
        .map(|cedar::AuthorizationError::PolicyEvaluationError(error)| ours(error.policy_id()))
        .filter(|id| forbids.contains(&**id))
        .collect();
    let reasons: BTreeSet<String> = response.diagnostics().reason().map(ours).collect();
    let permitted = response.decision() == cedar::Decision::Allow;
    match (permitted, broken.is_empty()) {
        (true, true) => (true, reasons),
        (true, false) => (false, broken),
        (false, _) => (false, &reasons | &broken),
    }
}

/// The request by way of JSON, validated against the schema.
fn in_cedar(world: &World) -> (cedar::Request, cedar::Entities) {
    let (schema, _) = cedar::Schema::from_cedarschema_str(SCHEMA).unwrap();
    let uid = |kind: &str, id: &str| json!({ "type": kind, "id": id });
    let target = world.target.name.as_str();
    let resource = format!("{target}/{}", world.scope.resource());
    let (agent, facts) = (&world.agent, &world.target);
    let entities = json!([
        {
            "uid": uid("Agent", &agent.id),
            "attrs": { "owner": agent.owner, "team": agent.team, "environment": agent.environment,
                "tier": agent.tier, "trust_domain": agent.trust_domain },
            "parents": [uid("Team", &agent.team), uid("TrustDomain", &agent.trust_domain)],
        },
        {
            "uid": uid("Resource", &resource),
            "attrs": { "target": target, "name": world.scope.resource(),
                "environment": facts.environment, "sensitivity": facts.sensitivity },
            "parents": [uid("Target", target)],
        },
        {
            "uid": uid("Target", target),
            "attrs": { "environment": facts.environment, "sensitivity": facts.sensitivity, "kind": facts.kind },
            "parents": [],
        },
    ]);
    let context = json!({
        "ttl": world.ttl,
        "task": { "age": world.task.age_seconds, "environment": world.task.environment,
            "leases": world.task.live_leases, "held": world.task.held },
        "delegation_depth": world.task.delegation_depth,
        "approved": world.approved,
        "time": { "unix": world.now, "hour": world.now / 3600 % 24, "weekday": (world.now / 86_400 + 3) % 7 + 1 },
    });
    let parse = |value| cedar::EntityUid::from_json(value).unwrap();
    let action = parse(uid("Action", world.scope.action().as_str()));
    let context = cedar::Context::from_json_value(context, Some((&schema, &action))).unwrap();
    let request = cedar::Request::new(
        parse(uid("Agent", &agent.id)),
        action,
        parse(uid("Resource", &resource)),
        context,
        Some(&schema),
    );
    let entities = cedar::Entities::from_json_value(entities, Some(&schema)).unwrap();
    (request.unwrap(), entities)
}
