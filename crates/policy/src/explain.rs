//! Why a request was decided as it was, and what would have to differ.

use std::fmt;
use std::sync::Arc;

use cedar_policy::{Effect, Policy};
use cedar_policy_core::ast::Expr;
use serde_json::{Value as Json, json};

use crate::compile::Compiled;
use crate::decision::{Decision, Fault};
use crate::error::Place;
use crate::facts::Request;
use crate::question::{Asked, Question};
use crate::set::PolicySet;

/// The most near misses in an explanation.
pub const MAX_NEAR_MISSES: usize = 20;

/// A decision with its reasons, for operators. It quotes policies and facts in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What [`PolicySet::decide`] says to the same request.
    pub decision: Decision,
    /// The policies that the outcome rests on, in load order.
    pub determining: Vec<DecidingPolicy>,
    /// When the outcome is not a permit: permits that one difference keeps from applying. Conditions come first,
    /// then actions, resources and principals, each in load order; at most [`MAX_NEAR_MISSES`].
    pub near_misses: Vec<NearMiss>,
    /// How many near misses did not fit.
    pub near_misses_left_out: usize,
}

/// A policy that the outcome rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidingPolicy {
    /// Its id.
    pub id: Arc<str>,
    /// Permit or forbid.
    pub effect: Effect,
    /// Where it begins.
    pub place: Place,
    /// Its source text.
    pub text: String,
    /// What it did, as a sentence.
    pub sentence: String,
}

/// A permit that would apply if one thing were different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The id of the permit.
    pub id: Arc<str>,
    /// Where it begins.
    pub place: Place,
    /// The part that the request does not meet.
    pub clause: Clause,
    /// What would have to differ, as a sentence.
    pub sentence: String,
}

/// A part of a policy that a request can fail to meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clause {
    /// Its `when` and `unless`, taken together.
    Condition,
    /// The action in its scope.
    Action,
    /// The resource in its scope.
    Resource,
    /// The principal in its scope.
    Principal,
}

impl Explanation {
    pub(crate) fn of(set: &PolicySet, request: &Request<'_>) -> Self {
        let decision = set.decide(request);
        let mut near_misses = near_misses(set, request, &decision);
        let near_misses_left_out = near_misses.len().saturating_sub(MAX_NEAR_MISSES);
        near_misses.truncate(MAX_NEAR_MISSES);
        Self {
            determining: determining(set, &decision),
            near_misses,
            near_misses_left_out,
            decision,
        }
    }

    /// The policies that could not be evaluated.
    pub fn faults(&self) -> &[Fault] {
        self.decision.faults()
    }
}

fn determining(set: &PolicySet, decision: &Decision) -> Vec<DecidingPolicy> {
    let ids = decision.determining().iter();
    let policies = ids.filter_map(|id| set.policy(id));
    policies.map(|policy| deciding(policy, decision)).collect()
}

fn deciding(policy: &Compiled, decision: &Decision) -> DecidingPolicy {
    DecidingPolicy {
        id: policy.id.clone(),
        effect: policy.policy.effect(),
        place: policy.place.clone(),
        text: policy.policy.to_cedar().unwrap_or_default(),
        sentence: format!("{} {}.", policy.id, role(policy, decision)),
    }
}

fn role(policy: &Compiled, decision: &Decision) -> String {
    let mut faults = decision.faults().iter();
    if let Some(fault) = faults.find(|f| f.policy.as_ref() == Some(&policy.id)) {
        return format!("could not be evaluated, and so denies: {}", fault.message);
    }
    match (policy.policy.effect(), &policy.obligations.approval) {
        (Effect::Permit, _) => "permits this".to_owned(),
        (Effect::Forbid, None) => "forbids this, whatever permits it".to_owned(),
        (Effect::Forbid, Some(group)) => format!(
            "forbids this until {} of {} approve",
            group.quorum, group.name
        ),
    }
}

fn near_misses(set: &PolicySet, request: &Request<'_>, decision: &Decision) -> Vec<NearMiss> {
    let Ok(question) = Question::new(&set.names, request) else {
        return Vec::new();
    };
    if decision.is_permit() {
        return Vec::new();
    }
    let asked = question.asked();
    let permits = set.policies.iter();
    let mut found: Vec<NearMiss> = permits
        .filter(|policy| policy.policy.effect() == Effect::Permit)
        .filter_map(|policy| near_miss(policy, request, &asked))
        .collect();
    found.sort_by_key(|miss| miss.clause);
    found
}

fn near_miss(policy: &Compiled, request: &Request<'_>, asked: &Asked<'_>) -> Option<NearMiss> {
    let missed = missed_scope(policy, request);
    let (clause, sentence) = match missed.as_slice() {
        [] => (Clause::Condition, condition_sentence(policy, asked)?),
        [clause] if condition_holds(policy, asked) => {
            (*clause, scope_sentence(policy, *clause, request))
        }
        _ => return None,
    };
    Some(NearMiss {
        id: policy.id.clone(),
        place: policy.place.clone(),
        clause,
        sentence: format!("{} {sentence}.", policy.id),
    })
}

fn missed_scope(policy: &Compiled, request: &Request<'_>) -> Vec<Clause> {
    let clauses = &policy.clauses;
    let met = [
        (
            Clause::Action,
            clauses.actions.contains(&request.scope.action()),
        ),
        (Clause::Resource, clauses.resource.matches(request)),
        (Clause::Principal, clauses.principal.matches(request)),
    ];
    let missed = met.into_iter().filter(|(_, met)| !met);
    missed.map(|(clause, _)| clause).collect()
}

fn condition_holds(policy: &Compiled, asked: &Asked<'_>) -> bool {
    parts(&policy.policy).iter().all(|part| part.met(asked))
}

fn scope_sentence(policy: &Compiled, clause: Clause, request: &Request<'_>) -> String {
    let (clauses, agent, scope) = (&policy.clauses, request.agent, request.scope);
    match clause {
        Clause::Action => {
            let names: Vec<&str> = clauses.actions.iter().map(|a| a.as_str()).collect();
            let names = names.join(", ");
            format!("permits only {names}, and not {}", scope.action())
        }
        Clause::Resource => format!(
            "permits only {}, and not {:?} of target {:?}",
            clauses.resource,
            scope.resource(),
            scope.target().as_str()
        ),
        Clause::Principal | Clause::Condition => format!(
            "permits only {}, and not agent {:?} of team {:?} and trust domain {:?}",
            clauses.principal, agent.id, agent.team, agent.trust_domain
        ),
    }
}

/// What of the condition does not hold, or nothing when all of it does.
fn condition_sentence(policy: &Compiled, asked: &Asked<'_>) -> Option<String> {
    let unmet: Vec<String> = parts(&policy.policy)
        .iter()
        .filter(|part| !part.met(asked))
        .map(|part| part.sentence(asked))
        .collect();
    if unmet.is_empty() {
        return None;
    }
    Some(format!("would permit this, but {}", unmet.join("; and ")))
}

/// A piece of a condition that has to hold, or not to hold, by itself.
struct Part {
    wanted: bool,
    text: String,
    condition: Option<Expr>,
    facts: Vec<String>,
}

/// Splits `when { a && b } unless { c || d }` into a, b, c and d.
fn parts(policy: &Policy) -> Vec<Part> {
    let json = policy.to_json().unwrap_or_default();
    let clauses = json["conditions"].as_array().cloned().unwrap_or_default();
    clauses.iter().flat_map(clause_parts).collect()
}

fn clause_parts(clause: &Json) -> Vec<Part> {
    let wanted = clause["kind"] == "when";
    let mut bodies = Vec::new();
    split(
        &clause["body"],
        if wanted { "&&" } else { "||" },
        &mut bodies,
    );
    let parts = bodies.into_iter();
    parts.map(|body| Part::new(wanted, body)).collect()
}

fn split<'a>(body: &'a Json, operator: &str, bodies: &mut Vec<&'a Json>) {
    match body.get(operator) {
        Some(pair) => {
            split(&pair["left"], operator, bodies);
            split(&pair["right"], operator, bodies);
        }
        None => bodies.push(body),
    }
}

impl Part {
    fn new(wanted: bool, body: &Json) -> Self {
        let policy = Policy::from_json(None, alone(body)).ok();
        let condition = policy.as_ref().map(|p| p.as_ref().condition());
        let mut facts = Vec::new();
        collect_facts(body, &mut facts);
        Self {
            wanted,
            text: policy.as_ref().map_or_else(String::new, condition_text),
            condition,
            facts,
        }
    }

    fn met(&self, asked: &Asked<'_>) -> bool {
        self.value(asked) == Ok(self.wanted)
    }

    fn value(&self, asked: &Asked<'_>) -> Result<bool, String> {
        let condition = self.condition.as_ref().ok_or("it cannot be shown")?;
        asked.holds(condition)
    }

    fn sentence(&self, asked: &Asked<'_>) -> String {
        let text = &self.text;
        let facts = Facts(&self.facts, asked);
        match self.value(asked) {
            Err(message) => format!("`{text}` could not be evaluated: {message}"),
            Ok(_) if self.wanted => format!("`{text}` does not hold{facts}"),
            Ok(_) => format!("`{text}` must not hold{facts}"),
        }
    }
}

/// A policy with this condition and nothing else.
fn alone(body: &Json) -> Json {
    json!({
        "effect": "permit",
        "principal": { "op": "All" },
        "action": { "op": "All" },
        "resource": { "op": "All" },
        "conditions": [{ "kind": "when", "body": body }],
    })
}

fn condition_text(policy: &Policy) -> String {
    let text = policy.to_string();
    let (_, body) = text.split_once("when").unwrap_or(("", &text));
    let body = body.trim().trim_end_matches(';').trim();
    let inner = body.strip_prefix('{').and_then(|b| b.strip_suffix('}'));
    inner.unwrap_or(body).trim().to_owned()
}

/// Collects what the condition reads of the request, such as `context.task.age`.
fn collect_facts(body: &Json, facts: &mut Vec<String>) {
    if let Some(path) = path(body) {
        if path.contains('.') && !facts.contains(&path) {
            facts.push(path);
        }
        return;
    }
    match body {
        Json::Array(items) => items.iter().for_each(|item| collect_facts(item, facts)),
        Json::Object(fields) => fields
            .values()
            .for_each(|field| collect_facts(field, facts)),
        _ => {}
    }
}

fn path(body: &Json) -> Option<String> {
    if let Some(variable) = body["Var"].as_str() {
        return Some(variable.to_owned());
    }
    let access = body.get(".")?;
    let attribute = access["attr"].as_str()?;
    Some(format!("{}.{attribute}", path(&access["left"])?))
}

struct Facts<'a>(&'a [String], &'a Asked<'a>);

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lead = ": ";
        for path in self.0 {
            let expression = path.parse::<Expr>().map_err(|_| fmt::Error)?;
            if let Ok(value) = self.1.value(&expression) {
                write!(f, "{lead}{path} is {value}")?;
                lead = ", ";
            }
        }
        Ok(())
    }
}
