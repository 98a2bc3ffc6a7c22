//! What is known about a request when it is decided.

use quietus_core::{Scope, TargetName};
use serde::{Deserialize, Serialize};

/// What the register says about an agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AgentFacts {
    /// Its SPIFFE ID.
    pub id: String,
    /// The trust domain of that ID.
    pub trust_domain: String,
    /// Who answers for it.
    pub owner: String,
    /// The team it belongs to.
    pub team: String,
    /// The environment it runs in.
    pub environment: String,
    /// Its risk tier, from 0 (least risk).
    pub tier: i64,
}

/// What the configuration says about a target.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TargetFacts {
    /// Its name. A request whose scope names another target is denied.
    pub name: TargetName,
    /// The environment it belongs to.
    pub environment: String,
    /// How much harm a leak would do, from 0.
    pub sensitivity: i64,
    /// What it is, for example `postgres`.
    pub kind: String,
}

/// The state of the task that asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Seconds since it was opened.
    pub age_seconds: u64,
    /// The environment it declared.
    pub environment: String,
    /// Its leases that have not ended.
    pub live_leases: u64,
    /// Whether its agent is holding it open right now.
    pub held: bool,
    /// How many delegations lie between it and a task that nobody delegated.
    pub delegation_depth: u64,
}

/// One scope, asked for by one agent, under one task, at one time.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub agent: &'a AgentFacts,
    /// The target of the scope.
    pub target: &'a TargetFacts,
    /// What is asked for.
    pub scope: &'a Scope,
    /// For which task.
    pub task: &'a TaskFacts,
    /// For how many seconds.
    pub ttl_seconds: u64,
    /// Whether every approval that this exact request needs has been given.
    pub approved: bool,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub now_unix_seconds: u64,
}
