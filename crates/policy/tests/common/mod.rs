//! Facts that tests vary one at a time.
#![allow(dead_code, clippy::unwrap_used, clippy::panic)]

use quietus_core::Scope;
use quietus_policy::{
    AgentFacts, Decision, Explanation, PolicyError, PolicyFile, PolicySet, Request, TargetFacts,
    TaskFacts,
};

/// 2024-02-29T13:00:00Z, a Thursday.
pub const NOW: u64 = 1_709_211_600;

#[derive(Clone, Debug)]
pub struct World {
    pub agent: AgentFacts,
    pub target: TargetFacts,
    pub task: TaskFacts,
    pub scope: Scope,
    pub ttl: u64,
    pub approved: bool,
    pub now: u64,
}

impl World {
    pub fn new() -> Self {
        Self {
            agent: agent(),
            target: target(),
            task: task(),
            scope: scope("orders-db:read:public.orders"),
            ttl: 600,
            approved: false,
            now: NOW,
        }
    }

    pub fn asking(text: &str) -> Self {
        Self {
            scope: scope(text),
            ..Self::new()
        }
    }

    pub fn request(&self) -> Request<'_> {
        Request {
            agent: &self.agent,
            target: &self.target,
            scope: &self.scope,
            task: &self.task,
            ttl_seconds: self.ttl,
            approved: self.approved,
            now_unix_seconds: self.now,
        }
    }

    pub fn decide(&self, policies: &str) -> Decision {
        let set = set(policies);
        let decision = set.decide(&self.request());
        assert_eq!(decision, set.decide_unindexed(&self.request()));
        decision
    }

    pub fn explain(&self, policies: &str) -> Explanation {
        set(policies).explain(&self.request())
    }
}

fn agent() -> AgentFacts {
    AgentFacts {
        id: "spiffe://example.org/refunds".into(),
        trust_domain: "example.org".into(),
        owner: "ada".into(),
        team: "payments".into(),
        environment: "production".into(),
        tier: 1,
    }
}

fn target() -> TargetFacts {
    TargetFacts {
        name: "orders-db".parse().unwrap(),
        environment: "production".into(),
        sensitivity: 2,
        kind: "postgres".into(),
    }
}

fn task() -> TaskFacts {
    TaskFacts {
        age_seconds: 30,
        environment: "production".into(),
        live_leases: 1,
        held: true,
        delegation_depth: 0,
    }
}

pub fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

pub fn file(name: &str, text: &str) -> PolicyFile {
    PolicyFile {
        name: name.to_owned(),
        text: text.to_owned(),
    }
}

pub fn set(text: &str) -> PolicySet {
    match compile(text) {
        Ok(set) => set,
        Err(error) => panic!("{error}"),
    }
}

pub fn compile(text: &str) -> Result<PolicySet, PolicyError> {
    PolicySet::compile(vec![file("test.cedar", text)])
}

pub fn refusal(text: &str) -> PolicyError {
    compile(text).err().unwrap()
}

pub fn ids(decision: &Decision) -> Vec<&str> {
    decision.determining().iter().map(|id| &**id).collect()
}
