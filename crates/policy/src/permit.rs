//! The proof that every scope of a credential was decided permit.

use std::sync::Arc;

use quietus_core::Scope;

use crate::decision::{Decision, Outcome};

/// Every scope of one credential, permitted to one agent by one policy set.
///
/// Code that issues takes a `Permit`, so that it cannot run without one: only [`Permit::all`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    agent: Arc<str>,
    scopes: Vec<Scope>,
    max_ttl: Option<(u64, Arc<str>)>,
    policy_digest: [u8; 32],
    determining: Vec<Arc<str>>,
}

impl Permit {
    /// Joins the decisions about each scope of one credential.
    ///
    /// # Errors
    /// Refused when the list is empty, when a decision is about another scope than the one beside it, when the
    /// decisions differ in agent or policy set, and when any scope is not permitted.
    pub fn all(decisions: Vec<(Scope, Decision)>) -> Result<Self, Refusal> {
        let (agent, policy_digest) = common_ground(&decisions)?;
        if decisions.iter().any(|(_, decision)| !decision.is_permit()) {
            return Err(Refusal::Denied(denials(decisions)));
        }
        Ok(Self {
            agent,
            policy_digest,
            max_ttl: least_ttl(&decisions),
            determining: determining(&decisions),
            scopes: decisions.into_iter().map(|(scope, _)| scope).collect(),
        })
    }

    /// The SPIFFE ID of the agent that may have the credential.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// What the credential may do, in the order given.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The least limit on any of the scopes, in seconds, with the id of its policy.
    pub fn max_ttl_seconds(&self) -> Option<(u64, &str)> {
        self.max_ttl.as_ref().map(|(ttl, id)| (*ttl, &**id))
    }

    /// The digest of the policy set that decided.
    pub fn policy_digest(&self) -> [u8; 32] {
        self.policy_digest
    }

    /// The ids of the policies that permitted, each once, in the order in which they first decided.
    pub fn determining(&self) -> &[Arc<str>] {
        &self.determining
    }
}

/// Why there is no [`Permit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A credential without scopes.
    #[error("no scope was asked for")]
    Empty,
    /// A decision stands beside a scope that it is not about.
    #[error("the decision given for {asked} is about {decided}")]
    WrongScope {
        /// The scope beside the decision.
        asked: Scope,
        /// The scope that was decided.
        decided: Scope,
    },
    /// The decisions are about different agents.
    #[error("the decisions are about different agents")]
    MixedAgents,
    /// The decisions come from different policy sets. Decide again.
    #[error("the policy set was replaced between the decisions")]
    MixedPolicies,
    /// At least one scope is not permitted.
    #[error("not permitted: {}", names(.0))]
    Denied(Vec<Denial>),
}

/// A scope that is not permitted, with the decision: deny, or approval needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The scope.
    pub scope: Scope,
    /// What policy said.
    pub decision: Decision,
}

fn common_ground(decisions: &[(Scope, Decision)]) -> Result<(Arc<str>, [u8; 32]), Refusal> {
    let (_, first) = decisions.first().ok_or(Refusal::Empty)?;
    for (scope, decision) in decisions {
        if *scope != decision.scope {
            return Err(wrong_scope(scope, decision));
        }
        if decision.agent != first.agent {
            return Err(Refusal::MixedAgents);
        }
        if decision.policy_digest != first.policy_digest {
            return Err(Refusal::MixedPolicies);
        }
    }
    Ok((first.agent.clone(), first.policy_digest))
}

fn wrong_scope(asked: &Scope, decision: &Decision) -> Refusal {
    Refusal::WrongScope {
        asked: asked.clone(),
        decided: decision.scope.clone(),
    }
}

fn denials(decisions: Vec<(Scope, Decision)>) -> Vec<Denial> {
    decisions
        .into_iter()
        .filter(|(_, decision)| decision.outcome != Outcome::Permit)
        .map(|(scope, decision)| Denial { scope, decision })
        .collect()
}

fn least_ttl(decisions: &[(Scope, Decision)]) -> Option<(u64, Arc<str>)> {
    decisions
        .iter()
        .filter_map(|(_, decision)| decision.max_ttl.clone())
        .min_by_key(|(ttl, _)| *ttl)
}

fn determining(decisions: &[(Scope, Decision)]) -> Vec<Arc<str>> {
    let mut ids: Vec<Arc<str>> = Vec::new();
    for id in decisions.iter().flat_map(|(_, d)| &d.determining) {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    ids
}

fn names(denials: &[Denial]) -> String {
    let names: Vec<String> = denials.iter().map(|d| d.scope.to_string()).collect();
    names.join(", ")
}
