//! A request as Cedar sees it: facts as values, never as policy text.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy_core::ast::{
    Context, Eid, Entity, EntityType, EntityUID, EntityUIDEntry, Expr, Literal,
    Request as CedarRequest, SlotEnv, Value, ValueKind,
};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use quietus_core::Action;

use crate::error::PolicyError;
use crate::facts::{AgentFacts, Request, TargetFacts};
use crate::scope::resource_id;

/// The names of the schema, parsed once.
pub(crate) struct Names {
    agent: EntityType,
    team: EntityType,
    trust_domain: EntityType,
    target: EntityType,
    resource: EntityType,
    actions: [EntityUID; Action::ALL.len()],
}

impl Names {
    pub(crate) fn new() -> Result<Self, PolicyError> {
        let action = kind("Action")?;
        Ok(Self {
            agent: kind("Agent")?,
            team: kind("Team")?,
            trust_domain: kind("TrustDomain")?,
            target: kind("Target")?,
            resource: kind("Resource")?,
            actions: Action::ALL.map(|a| uid(&action, a.as_str())),
        })
    }
}

/// A request and the entities that it is about.
pub(crate) struct Question {
    request: CedarRequest,
    entities: Entities,
}

impl Question {
    /// Puts the request in Cedar's terms.
    ///
    /// # Errors
    /// When the scope is not about the target in the request, or Cedar refuses the entities.
    pub(crate) fn new(names: &Names, request: &Request<'_>) -> Result<Self, String> {
        if request.scope.target() != &request.target.name {
            return Err(mismatch(request));
        }
        let agent = uid(&names.agent, &request.agent.id);
        let resource = uid(&names.resource, &resource_id(request));
        let target = uid(&names.target, request.target.name.as_str());
        let entities = [
            agent_entity(names, agent.clone(), request.agent),
            resource_entity(resource.clone(), target.clone(), request),
            target_entity(target, request.target),
        ];
        let action = names.actions[request.scope.action() as usize].clone();
        let [principal, action, resource] =
            [agent, action, resource].map(|uid| EntityUIDEntry::known(uid, None));
        let context = Some(context(request));
        Ok(Self {
            request: CedarRequest::new_unchecked(principal, action, resource, context),
            entities: store(entities)?,
        })
    }

    /// Ready to evaluate conditions.
    pub(crate) fn asked(&self) -> Asked<'_> {
        let request = self.request.clone();
        let extensions = Extensions::all_available();
        Asked {
            evaluator: Evaluator::new(request, &self.entities, extensions),
            no_slots: SlotEnv::new(),
        }
    }
}

/// A question that is being answered.
pub(crate) struct Asked<'a> {
    evaluator: Evaluator<'a>,
    no_slots: SlotEnv,
}

impl Asked<'_> {
    /// Whether a condition holds.
    ///
    /// # Errors
    /// When it cannot be evaluated.
    pub(crate) fn holds(&self, condition: &Expr) -> Result<bool, String> {
        let value = self.value(condition)?;
        match value.value_kind() {
            ValueKind::Lit(Literal::Bool(holds)) => Ok(*holds),
            _ => Err(format!("a condition gave {value} and not a Boolean")),
        }
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// When it cannot be evaluated.
    pub(crate) fn value(&self, expression: &Expr) -> Result<Value, String> {
        let value = self.evaluator.interpret(expression, &self.no_slots);
        value.map_err(|error| error.to_string())
    }
}

fn mismatch(request: &Request<'_>) -> String {
    let (scope, target) = (request.scope, &request.target.name);
    format!("the scope {scope} was put with the facts of target {target}")
}

fn kind(name: &str) -> Result<EntityType, PolicyError> {
    let kind = EntityType::from_str(name);
    kind.map_err(|error| PolicyError::Schema(error.to_string()))
}

fn uid(kind: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(kind.clone(), Eid::new(id), None)
}

/// No parent has a parent, so the hierarchy is complete as it stands.
fn store(entities: [Entity; 3]) -> Result<Entities, String> {
    let store = Entities::from_entities(
        entities,
        None::<&NoEntitiesSchema>,
        TCComputation::AssumeAlreadyComputed,
        Extensions::all_available(),
    );
    store.map_err(|error| error.to_string())
}

fn agent_entity(names: &Names, id: EntityUID, agent: &AgentFacts) -> Entity {
    let attributes = [
        ("owner", Value::from(&*agent.owner)),
        ("team", Value::from(&*agent.team)),
        ("environment", Value::from(&*agent.environment)),
        ("tier", Value::from(agent.tier)),
        ("trust_domain", Value::from(&*agent.trust_domain)),
    ];
    let team = uid(&names.team, &agent.team);
    let trust_domain = uid(&names.trust_domain, &agent.trust_domain);
    entity(id, attributes, HashSet::from([team, trust_domain]))
}

fn resource_entity(id: EntityUID, target: EntityUID, request: &Request<'_>) -> Entity {
    let attributes = [
        ("target", Value::from(request.target.name.as_str())),
        ("name", Value::from(request.scope.resource())),
        ("environment", Value::from(&*request.target.environment)),
        ("sensitivity", Value::from(request.target.sensitivity)),
    ];
    entity(id, attributes, HashSet::from([target]))
}

fn target_entity(id: EntityUID, target: &TargetFacts) -> Entity {
    let attributes = [
        ("environment", Value::from(&*target.environment)),
        ("sensitivity", Value::from(target.sensitivity)),
        ("kind", Value::from(&*target.kind)),
    ];
    entity(id, attributes, HashSet::new())
}

fn entity<const N: usize>(
    id: EntityUID,
    attributes: [(&str, Value); N],
    parents: HashSet<EntityUID>,
) -> Entity {
    let attributes = attributes.map(|(name, value)| (name.into(), value.into()));
    Entity::new_with_attr_partial_value(id, attributes, HashSet::new(), parents, [])
}

fn context(request: &Request<'_>) -> Context {
    let task = request.task;
    let task_facts = [
        ("age", long(task.age_seconds)),
        ("environment", Value::from(&*task.environment)),
        ("leases", long(task.live_leases)),
        ("held", Value::from(task.held)),
    ];
    let facts = [
        ("ttl", long(request.ttl_seconds)),
        ("task", Value::record(task_facts, None)),
        ("delegation_depth", long(task.delegation_depth)),
        ("approved", Value::from(request.approved)),
        ("time", Value::record(time(request.now_unix_seconds), None)),
    ];
    let facts = facts.map(|(name, value)| (name.into(), value));
    Context::Value(Arc::new(BTreeMap::from(facts)))
}

/// Hour and weekday in UTC; 1970-01-01 was a Thursday.
fn time(unix: u64) -> [(&'static str, Value); 3] {
    [
        ("unix", long(unix)),
        ("hour", long(unix / 3_600 % 24)),
        ("weekday", long((unix / 86_400 + 3) % 7 + 1)),
    ]
}

/// Numbers beyond Cedar's are as good as the greatest.
fn long(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}
