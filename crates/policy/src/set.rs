//! A compiled policy set, and how it decides.

use std::sync::Arc;

pub use cedar_policy::Effect;
use ring::digest::{Context, SHA256};

use crate::compile::{self, Compiled};
use crate::decision::{ApprovalGroup, Decision, Fault, Outcome};
use crate::error::PolicyError;
use crate::explain::Explanation;
use crate::facts::Request;
use crate::index::Index;
use crate::question::{Names, Question};

/// The Cedar schema that every policy is validated against.
pub const SCHEMA: &str = include_str!("schema.cedarschema");
/// The most files in a set.
pub const MAX_FILES: usize = 1_000;
/// The most policies in a set.
pub const MAX_POLICIES: usize = 10_000;
/// The most bytes in a file.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// The most bytes in all files of a set.
pub const MAX_TOTAL_BYTES: usize = 16 << 20;

/// A file of Cedar policies, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name, different for each file of a set. Part of the digest, and of the ids of policies without `@id`.
    pub name: String,
    /// Its contents.
    pub text: String,
}

/// Checked policies, ready to decide. Immutable; share it through an `Arc`.
pub struct PolicySet {
    files: Vec<PolicyFile>,
    digest: [u8; 32],
    pub(crate) policies: Vec<Compiled>,
    index: Index,
    pub(crate) names: Names,
}

/// What a policy set holds, one policy at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicySummary<'a> {
    /// From `@id`, otherwise the file's name without `.cedar`, `#` and the policy's number in the file, from 1.
    pub id: &'a str,
    /// Permit or forbid.
    pub effect: Effect,
    /// The name of its file.
    pub file: &'a str,
}

impl PolicySet {
    /// Compiles files of policies, in any order; an empty list denies everything.
    ///
    /// Policies are validated strictly against [`SCHEMA`], and what Cedar only warns of is refused as well. These
    /// annotations are allowed: `@id`, `@description` and `@reason` on any policy; `@max_ttl` on a permit;
    /// `@approval` and, with it, `@quorum` on a forbid.
    ///
    /// # Errors
    /// The first thing wrong, by file name and position, and what to do about it.
    pub fn compile(mut files: Vec<PolicyFile>) -> Result<Self, PolicyError> {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        compile::check_files(&files)?;
        let policies = compile::compile(&files)?;
        Ok(Self {
            digest: digest(&files),
            index: Index::new(policies.iter().map(|policy| &policy.clauses)),
            files,
            policies,
            names: Names::new()?,
        })
    }

    /// SHA-256 over the schema and then the name and contents of each file in the order of names, each of these
    /// texts behind its length in bytes (64 bits, big-endian).
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there are none, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The policies in load order: by file name, then by position.
    pub fn policies(&self) -> impl Iterator<Item = PolicySummary<'_>> {
        self.policies.iter().map(|policy| PolicySummary {
            id: &policy.id,
            effect: policy.policy.effect(),
            file: &policy.place.file,
        })
    }

    /// The files, sorted by name. Compiling them again gives the same digest and the same decisions.
    pub fn files(&self) -> &[PolicyFile] {
        &self.files
    }

    /// Decides one request. The cost follows the policies whose scope clauses the request meets.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        self.decide_among(request, || self.index.candidates(request))
    }

    /// Decides by evaluating every policy: the same decision as [`PolicySet::decide`], slower. For tests.
    pub fn decide_unindexed(&self, request: &Request<'_>) -> Decision {
        self.decide_among(request, || 0..self.policies.len())
    }

    /// Decides one request and says why, and what would have to differ. Much slower than [`PolicySet::decide`].
    pub fn explain(&self, request: &Request<'_>) -> Explanation {
        Explanation::of(self, request)
    }

    pub(crate) fn policy(&self, id: &str) -> Option<&Compiled> {
        self.policies.iter().find(|policy| &*policy.id == id)
    }

    fn decide_among<I>(&self, request: &Request<'_>, candidates: impl Fn() -> I) -> Decision
    where
        I: Iterator<Item = usize>,
    {
        let verdict = match Question::new(&self.names, request) {
            Ok(question) => self.evaluate(&question, candidates()),
            Err(message) => Verdict::unanswerable(message),
        };
        let lifted = verdict.may_be_lifted() && {
            let approved = Request {
                approved: true,
                ..*request
            };
            Question::new(&self.names, &approved)
                .is_ok_and(|question| self.evaluate(&question, candidates()).permits())
        };
        self.decision(request, verdict, lifted)
    }

    fn evaluate(
        &self,
        question: &Question,
        candidates: impl Iterator<Item = usize>,
    ) -> Verdict<'_> {
        let (asked, mut verdict) = (question.asked(), Verdict::default());
        for policy in candidates.map(|position| &self.policies[position]) {
            let holds = asked.holds(&policy.condition);
            verdict.add(policy, holds);
        }
        verdict
    }

    fn decision(&self, request: &Request<'_>, verdict: Verdict<'_>, lifted: bool) -> Decision {
        let outcome = verdict.outcome(lifted);
        let determining = match outcome {
            Outcome::Permit => &verdict.permits,
            Outcome::Deny | Outcome::ApprovalNeeded { .. } => &verdict.forbids,
        };
        Decision {
            scope: request.scope.clone(),
            agent: request.agent.id.as_str().into(),
            determining: determining.iter().map(|p| p.id.clone()).collect(),
            max_ttl: least_ttl(&outcome, &verdict.permits),
            policy_digest: self.digest,
            outcome,
            faults: verdict.faults,
        }
    }
}

/// What the candidates said to one question.
#[derive(Default)]
struct Verdict<'a> {
    permits: Vec<&'a Compiled>,
    /// Those that apply, and those that could not be evaluated.
    forbids: Vec<&'a Compiled>,
    faults: Vec<Fault>,
    /// Some forbid, or the request itself, could not be evaluated.
    broken: bool,
}

impl<'a> Verdict<'a> {
    fn unanswerable(message: String) -> Self {
        let policy = None;
        Self {
            faults: vec![Fault { policy, message }],
            broken: true,
            ..Self::default()
        }
    }

    fn add(&mut self, policy: &'a Compiled, holds: Result<bool, String>) {
        let effect = policy.policy.effect();
        match (effect, &holds) {
            (Effect::Permit, Ok(true)) => self.permits.push(policy),
            (Effect::Forbid, Ok(true) | Err(_)) => self.forbids.push(policy),
            (Effect::Permit, Ok(false) | Err(_)) | (Effect::Forbid, Ok(false)) => {}
        }
        if let Err(message) = holds {
            self.broken |= effect == Effect::Forbid;
            let policy = Some(policy.id.clone());
            self.faults.push(Fault { policy, message });
        }
    }

    fn permits(&self) -> bool {
        !self.broken && self.forbids.is_empty() && !self.permits.is_empty()
    }

    /// Whether there are forbids, and each of them names who can lift it.
    fn may_be_lifted(&self) -> bool {
        let named = |policy: &&Compiled| policy.obligations.approval.is_some();
        !self.broken && !self.forbids.is_empty() && self.forbids.iter().all(named)
    }

    fn outcome(&self, lifted: bool) -> Outcome {
        if self.permits() {
            Outcome::Permit
        } else if lifted {
            Outcome::ApprovalNeeded {
                groups: self.groups(),
            }
        } else {
            Outcome::Deny
        }
    }

    fn groups(&self) -> Vec<ApprovalGroup> {
        let approvals = self.forbids.iter().map(|p| p.obligations.approval.clone());
        let mut groups: Vec<ApprovalGroup> = approvals.flatten().collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name).then(b.quorum.cmp(&a.quorum)));
        groups.dedup_by(|later, first| later.name == first.name);
        groups
    }
}

fn least_ttl(outcome: &Outcome, permits: &[&Compiled]) -> Option<(u64, Arc<str>)> {
    if *outcome != Outcome::Permit {
        return None;
    }
    let limits = permits.iter().filter_map(|policy| {
        let ttl = policy.obligations.max_ttl?;
        Some((ttl, policy.id.clone()))
    });
    limits.min_by_key(|(ttl, _)| *ttl)
}

fn digest(files: &[PolicyFile]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let texts = files.iter().flat_map(|file| [&*file.name, &*file.text]);
    for text in std::iter::once(SCHEMA).chain(texts) {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::facts::{AgentFacts, TargetFacts, TaskFacts};

    #[test]
    fn only_policies_whose_scope_is_met_are_evaluated() {
        let text = r#"
            permit(principal, action, resource);
            permit(principal in Team::"t", action, resource);
            permit(principal in Team::"u", action, resource);
            permit(principal == Agent::"spiffe://d/a", action == Action::"read", resource);
            permit(principal, action == Action::"write", resource);
            permit(principal in TrustDomain::"d", action, resource in Target::"db");
            permit(principal, action, resource in Target::"logs");
            permit(principal, action, resource == Resource::"db/r");
            permit(principal, action, resource == Resource::"db/s");"#;
        let (name, text) = ("p".to_owned(), text.to_owned());
        let set = PolicySet::compile(vec![PolicyFile { name, text }]).unwrap();
        let (agent, target, task) = facts();
        let request = Request {
            agent: &agent,
            target: &target,
            scope: &"db:read:r".parse().unwrap(),
            task: &task,
            ttl_seconds: 1,
            approved: false,
            now_unix_seconds: 0,
        };
        let candidates: Vec<usize> = set.index.candidates(&request).collect();
        assert_eq!(candidates, [0, 1, 3, 5, 7]);
    }

    fn facts() -> (AgentFacts, TargetFacts, TaskFacts) {
        let text = String::new;
        let agent = AgentFacts {
            id: "spiffe://d/a".to_owned(),
            trust_domain: "d".to_owned(),
            owner: text(),
            team: "t".to_owned(),
            environment: text(),
            tier: 0,
        };
        let target = TargetFacts {
            name: "db".parse().unwrap(),
            environment: text(),
            sensitivity: 0,
            kind: text(),
        };
        let task = TaskFacts {
            age_seconds: 0,
            environment: text(),
            live_leases: 0,
            held: false,
            delegation_depth: 0,
        };
        (agent, target, task)
    }
}
