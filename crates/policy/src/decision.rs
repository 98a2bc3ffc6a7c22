//! What policy said about one request.

use std::sync::Arc;

use quietus_core::Scope;
use serde::{Deserialize, Serialize};

/// What policy said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// At least one `permit` applies and no `forbid` does.
    Permit,
    /// No `permit` applies, a `forbid` applies that no approval lifts, or a `forbid` could not be evaluated.
    Deny,
    /// The request would be permitted once each of these groups has approved it.
    ApprovalNeeded {
        /// Who has to approve, by name, each group once.
        groups: Vec<ApprovalGroup>,
    },
}

/// Who has to approve a request, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ApprovalGroup {
    /// The name in the policy's `@approval`.
    pub name: String,
    /// How many members have to approve: the highest `@quorum` among the policies that name the group.
    pub quorum: u32,
}

/// A policy that could not be evaluated for a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The policy, or nothing when the request itself could not be put to the policies.
    pub policy: Option<Arc<str>>,
    /// What went wrong.
    pub message: String,
}

/// The answer of one policy set to one request. Only a policy set makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Decision {
    pub(crate) scope: Scope,
    pub(crate) agent: Arc<str>,
    pub(crate) outcome: Outcome,
    pub(crate) determining: Vec<Arc<str>>,
    pub(crate) max_ttl: Option<(u64, Arc<str>)>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) policy_digest: [u8; 32],
}

impl Decision {
    /// What policy said.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Whether the outcome is [`Outcome::Permit`].
    pub fn is_permit(&self) -> bool {
        self.outcome == Outcome::Permit
    }

    /// The scope that was decided.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The SPIFFE ID of the agent that asked.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The ids of the policies that the outcome rests on, in load order.
    ///
    /// For a permit, every `permit` that applies. Otherwise every `forbid` that applies or could not be evaluated;
    /// none, when the request is denied only because nothing permits it.
    pub fn determining(&self) -> &[Arc<str>] {
        &self.determining
    }

    /// The least `@max_ttl` among the determining permits, in seconds, with the id of its policy.
    ///
    /// The least and not the greatest, so that a tight limit next to a broad permit holds. Of equal limits the first
    /// in load order is named. Nothing when the outcome is not a permit or no determining permit has a limit.
    pub fn max_ttl_seconds(&self) -> Option<(u64, &str)> {
        self.max_ttl.as_ref().map(|(ttl, id)| (*ttl, &**id))
    }

    /// The policies that could not be evaluated. A `permit` among them permits nothing; a `forbid` denies.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The digest of the policy set that decided: see [`PolicySet::digest`](crate::PolicySet::digest).
    pub fn policy_digest(&self) -> [u8; 32] {
        self.policy_digest
    }
}
