use std::fs;

use quietus::config::{AgentEntry, Config, Target};
use quietus_core::Scope;
use quietus_policy::{
    AgentFacts, ApprovalGroup, Decision, Outcome, PolicyFile, PolicySet, Request, TargetFacts,
    TaskFacts,
};

use crate::samples;

const BUILDER: &str = "spiffe://dev.example/agent/builder";
const READER: &str = "spiffe://dev.example/agent/reader";

#[test]
fn the_sample_policies_compile() {
    assert_eq!(policies().len(), 14);
}

#[test]
fn the_data_team_reads_orders_for_a_quarter_of_an_hour() {
    let decision = Asked::by(BUILDER, "orders-db:read:public.orders").decide();
    assert_eq!(decision.max_ttl_seconds(), Some((900, "data-reads-orders")));
}

#[test]
fn support_reads_two_tables_only() {
    assert!(
        Asked::by(READER, "orders-db:read:public.orders")
            .decide()
            .is_permit()
    );
    assert!(
        Asked::by(READER, "orders-db:read:public.customers")
            .decide()
            .is_permit()
    );
    let other = Asked::by(READER, "orders-db:read:public.cards").decide();
    assert_eq!(other.outcome(), &Outcome::Deny);
}

#[test]
fn payments_are_read_only_while_the_task_is_held() {
    let mut asked = Asked::by(READER, "payments-api:read:2026");
    assert!(asked.decide().is_permit());
    asked.task.held = false;
    assert_eq!(asked.decide().outcome(), &Outcome::Deny);
}

#[test]
fn changes_are_made_in_development_only() {
    for action in ["write", "execute", "delete"] {
        let scope = format!("orders-db:{action}:public.orders");
        let mut asked = Asked::by(BUILDER, &scope);
        assert!(asked.decide().is_permit(), "{action}");
        asked.task.environment = "prod".to_owned();
        assert_eq!(asked.decide().outcome(), &Outcome::Deny, "{action}");
        assert_eq!(
            Asked::by(READER, &scope).decide().outcome(),
            &Outcome::Deny,
            "{action}"
        );
    }
}

#[test]
fn one_data_owner_lifts_an_export_and_the_platform_group_admin() {
    for (scope, group) in [
        ("orders-db:export:public.orders", "data-owners"),
        ("orders-db:admin:users", "platform"),
    ] {
        let mut asked = Asked::by(BUILDER, scope);
        assert_eq!(asked.decide().outcome(), &approval(group, 1));
        asked.approved = true;
        assert!(asked.decide().is_permit(), "{scope}");
    }
}

#[test]
fn removing_a_payment_takes_two() {
    let mut asked = Asked::by(READER, "payments-api:delete:2026-0001");
    assert_eq!(asked.decide().outcome(), &approval("security-oncall", 2));
    asked.approved = true;
    assert!(asked.decide().is_permit());
    asked.agent.tier = 4;
    assert_denied_by(&asked, "risky-agents-change-nothing-sensitive");
}

#[test]
fn no_approval_lifts_a_guardrail() {
    let mut admin = Asked::by(READER, "payments-api:admin:users");
    admin.approved = true;
    assert_denied_by(&admin, "no-admin-in-prod");

    let mut crossing = Asked::by(BUILDER, "payments-api:delete:2026-0001");
    crossing.approved = true;
    assert_denied_by(&crossing, "no-crossing-into-prod");

    let mut long = Asked::by(READER, "payments-api:read:2026");
    long.ttl = 1801;
    assert_denied_by(&long, "sensitive-means-short");

    let mut deep = Asked::by(BUILDER, "orders-db:read:public.orders");
    deep.task.delegation_depth = 4;
    assert_denied_by(&deep, "no-long-delegation-chains");
}

fn assert_denied_by(asked: &Asked, policy: &str) {
    let decision = asked.decide();
    assert_eq!(decision.outcome(), &Outcome::Deny);
    assert!(
        decision.determining().iter().any(|id| &**id == policy),
        "{decision:?}"
    );
}

fn approval(group: &str, quorum: u32) -> Outcome {
    let name = group.to_owned();
    Outcome::ApprovalNeeded {
        groups: vec![ApprovalGroup { name, quorum }],
    }
}

fn policies() -> PolicySet {
    let files = fs::read_dir(samples().join("policies"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            PolicyFile {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                text: fs::read_to_string(path).unwrap(),
            }
        });
    PolicySet::compile(files.collect()).unwrap()
}

/// A request by an agent of the sample configuration for a target in it.
struct Asked {
    agent: AgentFacts,
    target: TargetFacts,
    scope: Scope,
    task: TaskFacts,
    ttl: u64,
    approved: bool,
}

impl Asked {
    fn by(id: &str, scope: &str) -> Self {
        let config = Config::load(samples().join("quietus.toml")).unwrap();
        let scope: Scope = scope.parse().unwrap();
        let agent = agent(id, config.agent(id).unwrap());
        Self {
            task: task(&agent),
            agent,
            target: target(config.target(scope.target()).unwrap()),
            scope,
            ttl: 300,
            approved: false,
        }
    }

    fn decide(&self) -> Decision {
        policies().decide(&Request {
            agent: &self.agent,
            target: &self.target,
            scope: &self.scope,
            task: &self.task,
            ttl_seconds: self.ttl,
            approved: self.approved,
            now_unix_seconds: 1_767_225_600,
        })
    }
}

fn agent(id: &str, entry: &AgentEntry) -> AgentFacts {
    AgentFacts {
        id: id.to_owned(),
        trust_domain: entry.id.trust_domain().to_string(),
        owner: entry.owner.clone(),
        team: entry.team.clone(),
        environment: entry.environment.clone(),
        tier: entry.tier.into(),
    }
}

fn target(target: &Target) -> TargetFacts {
    TargetFacts {
        name: target.name.clone(),
        environment: target.environment.clone(),
        sensitivity: target.sensitivity.into(),
        kind: target.kind().as_str().to_owned(),
    }
}

fn task(agent: &AgentFacts) -> TaskFacts {
    TaskFacts {
        age_seconds: 10,
        environment: agent.environment.clone(),
        live_leases: 0,
        held: true,
        delegation_depth: 0,
    }
}
