//! Prints how long a decision takes, with the policies that apply alone and among 200 that do not.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement needs a clock"
)]

use std::hint::black_box;
use std::time::Instant;

use quietus_core::Scope;
use quietus_policy::{
    AgentFacts, Decision, PolicyFile, PolicySet, Request, TargetFacts, TaskFacts,
};

const ROUNDS: u32 = 100_000;

const APPLYING: &str = r#"
@id("orders-read") @max_ttl("15m")
permit(principal in Team::"payments", action == Action::"read", resource in Target::"orders-db")
when { context.ttl <= 3600 && principal.environment == resource.environment };
@id("held") @max_ttl("1h")
permit(principal in TrustDomain::"example.org", action in [Action::"read", Action::"execute"], resource)
when { context.task.held && principal.tier <= 2 };
@id("sensitive") @approval("security-oncall") @quorum("2")
forbid(principal, action, resource) when { resource.sensitivity >= 3 } unless { context.approved };
"#;

fn main() {
    let few = PolicySet::compile(vec![file("applying", APPLYING.to_owned())]).unwrap();
    let others = (0..200).map(other).collect();
    let many = vec![
        file("applying", APPLYING.to_owned()),
        file("others", others),
    ];
    let many = PolicySet::compile(many).unwrap();
    for (name, set) in [("3 policies", &few), ("203 policies", &many)] {
        println!("{name}: indexed {:.2} µs", time(|r| set.decide(r)));
        println!(
            "{name}: full    {:.2} µs",
            time(|r| set.decide_unindexed(r))
        );
    }
}

fn file(name: &str, text: String) -> PolicyFile {
    let name = format!("{name}.cedar");
    PolicyFile { name, text }
}

fn other(n: usize) -> String {
    format!(
        r#"permit(principal in Team::"team-{n}", action == Action::"read", resource in Target::"db-{n}")
        when {{ context.ttl <= 900 }};"#
    )
}

/// Microseconds for one decision, the best of five runs.
fn time(decide: impl Fn(&Request<'_>) -> Decision) -> f64 {
    let (agent, target, task) = facts();
    let scopes: Vec<Scope> = (0..64)
        .map(|n| format!("orders-db:read:public.orders_{n}").parse().unwrap())
        .collect();
    let run = || {
        let start = Instant::now();
        for (now, scope) in (0..ROUNDS).zip(scopes.iter().cycle()) {
            let request = Request {
                agent: &agent,
                target: &target,
                scope,
                task: &task,
                ttl_seconds: 600,
                approved: false,
                now_unix_seconds: u64::from(now),
            };
            assert!(black_box(decide(&request)).is_permit());
        }
        start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
    };
    (0..5).map(|_| run()).fold(f64::INFINITY, f64::min)
}

fn facts() -> (AgentFacts, TargetFacts, TaskFacts) {
    let agent = AgentFacts {
        id: "spiffe://example.org/agents/refunds".into(),
        trust_domain: "example.org".into(),
        owner: "ada".into(),
        team: "payments".into(),
        environment: "production".into(),
        tier: 1,
    };
    let target = TargetFacts {
        name: "orders-db".parse().unwrap(),
        environment: "production".into(),
        sensitivity: 2,
        kind: "postgres".into(),
    };
    let task = TaskFacts {
        age_seconds: 30,
        environment: "production".into(),
        live_leases: 1,
        held: true,
        delegation_depth: 0,
    };
    (agent, target, task)
}
