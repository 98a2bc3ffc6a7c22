//! What policy is asked, made from what is recorded of it, so that a broker that decides and an auditor who decides
//! again cannot ask different things.

use quietus_core::{AgentId, Scope, TargetName};
use quietus_ledger::{self as ledger, Facts};
use quietus_policy::{AgentFacts, Decision, Outcome, Request, TargetFacts, TaskFacts};

/// Everything that policy is told, but for the scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    agent: AgentFacts,
    target: TargetFacts,
    task: TaskFacts,
    facts: Facts,
}

impl Question {
    /// What these facts say about this agent and this target.
    pub fn new(agent: &str, target: TargetName, facts: Facts) -> Self {
        // Every fact by name: one that is recorded and not asked with does not compile.
        let Facts {
            agent_environment,
            approved: _,
            delegation_depth,
            owner,
            target_environment,
            target_kind,
            target_sensitivity,
            task_age,
            task_environment,
            task_held,
            task_leases,
            team,
            tier,
            time: _,
            ttl: _,
        } = facts.clone();
        let id = AgentId(agent.to_owned());
        Self {
            agent: AgentFacts {
                trust_domain: id.trust_domain().to_owned(),
                id: id.0,
                owner,
                team,
                environment: agent_environment,
                tier,
            },
            target: TargetFacts {
                name: target,
                environment: target_environment,
                sensitivity: target_sensitivity,
                kind: target_kind,
            },
            task: TaskFacts {
                age_seconds: task_age,
                environment: task_environment,
                live_leases: task_leases,
                held: task_held,
                delegation_depth,
            },
            facts,
        }
    }

    /// What it is about.
    pub fn target(&self) -> &TargetName {
        &self.target.name
    }

    /// What is recorded of it.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// As policy takes it.
    pub fn request<'a>(&'a self, scope: &'a Scope) -> Request<'a> {
        Request {
            agent: &self.agent,
            target: &self.target,
            scope,
            task: &self.task,
            ttl_seconds: self.facts.ttl,
            approved: self.facts.approved,
            now_unix_seconds: self.facts.time,
        }
    }
}

/// What is recorded of an answer.
pub fn recorded(decision: &Decision) -> ledger::Decision {
    let deciding = decision.determining().iter();
    ledger::Decision {
        deciding: deciding.map(ToString::to_string).collect(),
        outcome: outcome_word(decision.outcome()).to_owned(),
        scope: decision.scope().to_string(),
    }
}

/// `permit`, `deny` or `approval_needed`
pub fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Permit => "permit",
        Outcome::Deny => "deny",
        Outcome::ApprovalNeeded { .. } => "approval_needed",
    }
}
