//! Asking policy. What decides never sees a credential; what makes one never decides.

use std::sync::Arc;
use std::time::Duration;

use quietus_core::{Scope, TargetName, Task, Timestamp};
use quietus_identity::{Purpose, VerifiedSvid};
use quietus_ledger as ledger;
use quietus_policy::{Explanation, Outcome, Permit, PolicySet, TaskFacts};

use super::record::hex;
use super::{Engine, Error};
use crate::config::AgentEntry;
use crate::question;

/// What policy is asked, and who answers.
pub(super) struct Question {
    asked: question::Question,
    policy: Arc<PolicySet>,
}

/// What policy said of every scope, as it is recorded and as it is acted on.
pub(super) struct Verdict {
    pub(super) permit: Result<Permit, quietus_policy::Refusal>,
    pub(super) decisions: Vec<ledger::Decision>,
}

impl Engine {
    /// What the register says of the agent, provided that its SVID is trusted at this moment: a grant that has to
    /// be planned anew may be planned under other bundles.
    pub(super) fn registered(&self, svid: &VerifiedSvid) -> Result<&AgentEntry, Error> {
        let id = svid.id().as_str();
        svid.still_trusted(&self.trust.current(), Purpose::Client, self.now().seconds())
            .map_err(|error| Error::refused(error.reason(), error.to_string()))?;
        self.config.agent(id).ok_or_else(|| {
            Error::refused(
                "AGENT_NOT_REGISTERED",
                format!("{id} is not a registered agent: add an [[agent]] entry for it to the broker's configuration"),
            )
        })
    }

    pub(super) fn question(
        &self,
        agent: &str,
        target: &TargetName,
        task: TaskFacts,
        ttl: Option<Duration>,
        now: Timestamp,
    ) -> Result<Question, Error> {
        let entry = self.config.agent(agent).ok_or(Error::NotFound("agent"))?;
        let known = self.config.target(target).ok_or_else(|| {
            Error::invalid(
                "scopes",
                format!("there is no target {target}: see `quietus status`"),
            )
        })?;
        let facts = ledger::Facts {
            agent_environment: entry.environment.clone(),
            // There are no approvals yet, so nothing that needs one is permitted.
            approved: false,
            delegation_depth: task.delegation_depth,
            owner: entry.owner.clone(),
            target_environment: known.environment.clone(),
            target_kind: known.kind().as_str().to_owned(),
            target_sensitivity: i64::from(known.sensitivity),
            task_age: task.age_seconds,
            task_environment: task.environment,
            task_held: task.held,
            task_leases: task.live_leases,
            team: entry.team.clone(),
            tier: i64::from(entry.tier),
            time: now.seconds(),
            ttl: seconds_begun(ttl.unwrap_or(self.rules.default_ttl)),
        };
        Ok(Question {
            asked: question::Question::new(agent, target.clone(), facts),
            policy: self.policy.load_full(),
        })
    }
}

impl Question {
    pub(super) fn target(&self) -> &TargetName {
        self.asked.target()
    }

    pub(super) fn explain(&self, scope: &Scope) -> Explanation {
        self.policy.explain(&self.asked.request(scope))
    }

    pub(super) fn ask_all(&self, scopes: &[Scope]) -> Verdict {
        let ask = |scope: &Scope| {
            let decision = self.policy.decide(&self.asked.request(scope));
            (scope.clone(), decision)
        };
        let decisions: Vec<_> = scopes.iter().map(ask).collect();
        Verdict {
            decisions: decisions
                .iter()
                .map(|(_, decision)| question::recorded(decision))
                .collect(),
            permit: Permit::all(decisions),
        }
    }

    pub(super) fn digest(&self) -> String {
        hex(&self.policy.digest())
    }

    pub(super) fn facts(&self) -> ledger::Facts {
        self.asked.facts().clone()
    }
}

/// Rounded up, so that no policy's limit is passed by a fraction.
fn seconds_begun(duration: Duration) -> u64 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(begun)
}

pub(super) fn task_facts(task: &Task, now: Timestamp) -> TaskFacts {
    TaskFacts {
        age_seconds: now.since(task.opened_at).as_secs(),
        environment: task.environment.clone(),
        live_leases: u64::from(task.live),
        held: task.liveness.hold_due.is_some_and(|due| now < due),
        delegation_depth: 0,
    }
}

/// What an agent is told of a denial: its own scopes, and which policies forbade; never their text.
pub(super) fn denial(refusal: &quietus_policy::Refusal) -> (&'static str, String) {
    let quietus_policy::Refusal::Denied(denials) = refusal else {
        return ("INVALID_SCOPES", refusal.to_string());
    };
    let needs_approval = |denial: &quietus_policy::Denial| {
        matches!(denial.decision.outcome(), Outcome::ApprovalNeeded { .. })
    };
    let told: Vec<String> = denials.iter().map(one_denial).collect();
    let reason = match denials.iter().all(needs_approval) {
        true => "APPROVAL_NEEDED",
        false => "DENIED_BY_POLICY",
    };
    (reason, told.join("; "))
}

fn one_denial(denial: &quietus_policy::Denial) -> String {
    let scope = &denial.scope;
    let by = denial.decision.determining().join(", ");
    match denial.decision.outcome() {
        Outcome::ApprovalNeeded { .. } => format!("{scope} needs an approval, by policy {by}"),
        _ if by.is_empty() => format!("no policy permits {scope}"),
        _ => format!("{scope} is forbidden by policy {by}"),
    }
}
