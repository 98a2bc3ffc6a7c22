//! The decisions of one entry.

use quietus_core::{Digest, Scope};
use quietus_ledger::{Decision, Entry, Facts};
use quietus_policy::PolicySet;

use super::finding::Problem;
use crate::question::{Question, recorded};

/// Why an entry's decisions cannot be made again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// Nobody asked.
    #[error("it has decisions, and no agent that they are about")]
    NoAgent,
    /// Policy was told nothing.
    #[error("it has decisions, and not the facts that they rest on")]
    NoFacts,
    /// No policy set is named.
    #[error("it has decisions, and no digest of the policy set that made them")]
    NoDigest,
    /// Not a scope.
    #[error("it decides on {0:?}, which is no scope")]
    Scope(String),
    /// The archive does not have it.
    #[error("policy set {0} is not archived")]
    NoSet(Digest),
    /// The archive has something else in its place.
    #[error("policy set {named} is archived wrongly: what is there has the digest {is}")]
    OtherSet {
        /// What it is kept under.
        named: Digest,
        /// What it is.
        is: Digest,
    },
    /// It does not compile.
    #[error("policy set {digest} cannot be used: {problem}")]
    BrokenSet {
        /// Which.
        digest: Digest,
        /// Why.
        problem: String,
    },
}

/// An entry's decisions as this policy set makes them, from nothing but what the entry itself tells; in its order.
///
/// # Errors
/// [`Unanswerable`] if the entry does not tell enough.
pub fn again(entry: &Entry, set: &PolicySet) -> Result<Vec<Decision>, Unanswerable> {
    let agent = entry.agent.as_deref().ok_or(Unanswerable::NoAgent)?;
    let facts = entry.facts.as_ref().ok_or(Unanswerable::NoFacts)?;
    let mut question = None;
    let decide = |decision: &Decision| {
        let scope: Scope = decision
            .scope
            .parse()
            .map_err(|_| Unanswerable::Scope(decision.scope.clone()))?;
        let question = about(&mut question, agent, facts, &scope);
        Ok(recorded(&set.decide(&question.request(&scope))))
    };
    entry.decisions.iter().map(decide).collect()
}

/// The question about this scope's target: the same for all scopes of an entry, unless somebody altered one.
fn about<'q>(
    question: &'q mut Option<Question>,
    agent: &str,
    facts: &Facts,
    scope: &Scope,
) -> &'q Question {
    if question
        .as_ref()
        .is_some_and(|q| q.target() != scope.target())
    {
        *question = None;
    }
    question.get_or_insert_with(|| Question::new(agent, scope.target().clone(), facts.clone()))
}

/// What does not follow from the decisions that an entry has, or should have.
pub(super) fn flaws(entry: &Entry, in_force: Option<&str>) -> Vec<Problem> {
    let grants = ["lease.issued", "lease.renewed"].contains(&entry.event.as_str());
    let told = match grants {
        true => ungranted(entry, in_force),
        false if entry.facts.is_some() && entry.decisions.is_empty() => {
            vec!["it has facts for a decision, and none".to_owned()]
        }
        false => misrefused(entry).into_iter().collect(),
    };
    let told = told.into_iter();
    told.map(|problem| Problem::Unfounded { problem }).collect()
}

/// A lease rests on a permit for each of its scopes, by the policy set in force.
fn ungranted(entry: &Entry, in_force: Option<&str>) -> Vec<String> {
    let permitted = |scope: &&String| {
        let mut decisions = entry.decisions.iter();
        !decisions.any(|decision| decision.scope == **scope && decision.outcome == "permit")
    };
    let scopes = entry.leases.iter().flat_map(|lease| &lease.scopes);
    let mut told: Vec<String> = scopes
        .filter(permitted)
        .map(|scope| format!("a credential for {scope} was granted, and no decision permits it"))
        .collect();
    if entry.decisions.is_empty() {
        told.push("a credential was granted, and no decision is recorded".to_owned());
    }
    let decided = entry.policy.as_deref().unwrap_or("none");
    if let Some(in_force) = in_force.filter(|in_force| *in_force != decided) {
        told.push(format!(
            "policy set {decided} granted, and {in_force} was in force"
        ));
    }
    told
}

/// A refusal by policy rests on a scope that is not permitted.
fn misrefused(entry: &Entry) -> Option<String> {
    let refusal = entry.refusal.as_deref()?;
    let by_policy = ["DENIED_BY_POLICY", "APPROVAL_NEEDED"].contains(&refusal);
    let mut decisions = entry.decisions.iter();
    let denied = decisions.any(|decision| decision.outcome != "permit");
    (by_policy != denied).then(|| match denied {
        true => format!("it was refused as {refusal}, and policy did not permit it"),
        false => format!("it was refused as {refusal}, and no decision denies it"),
    })
}
