//! A request as Cedar sees it: facts as values, never as policy text.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, EvalResult, Expression,
    ParseErrors, Request as CedarRequest, RestrictedExpression as Value, eval_expression,
};
use quietus_core::Action;

use crate::facts::{AgentFacts, Request, TargetFacts};
use crate::scope::resource_id;

/// The names of the schema, parsed once.
pub(crate) struct Names {
    agent: EntityTypeName,
    team: EntityTypeName,
    trust_domain: EntityTypeName,
    target: EntityTypeName,
    resource: EntityTypeName,
    actions: Vec<EntityUid>,
}

impl Names {
    pub(crate) fn new() -> Result<Self, ParseErrors> {
        let action: EntityTypeName = "Action".parse()?;
        Ok(Self {
            agent: "Agent".parse()?,
            team: "Team".parse()?,
            trust_domain: "TrustDomain".parse()?,
            target: "Target".parse()?,
            resource: "Resource".parse()?,
            actions: Action::ALL.map(|a| uid(&action, a.as_str())).into(),
        })
    }
}

/// A request and the entities that it is about.
pub(crate) struct Question {
    pub(crate) request: CedarRequest,
    pub(crate) entities: Entities,
}

impl Question {
    /// Puts the request in Cedar's terms.
    ///
    /// # Errors
    /// When the scope is not about the target in the request, or Cedar refuses a value.
    pub(crate) fn new(names: &Names, request: &Request<'_>) -> Result<Self, String> {
        if request.scope.target() != &request.target.name {
            return Err(mismatch(request));
        }
        Self::build(names, request).map_err(|error| error.to_string())
    }

    fn build(names: &Names, request: &Request<'_>) -> Result<Self, Box<dyn std::error::Error>> {
        let agent = uid(&names.agent, &request.agent.id);
        let resource = uid(&names.resource, &resource_id(request));
        let target = uid(&names.target, request.target.name.as_str());
        let entities = [
            agent_entity(names, agent.clone(), request.agent)?,
            resource_entity(resource.clone(), target.clone(), request)?,
            target_entity(target, request.target)?,
        ];
        let action = names.actions[request.scope.action() as usize].clone();
        let context = context(request)?;
        Ok(Self {
            request: CedarRequest::new(agent, action, resource, context, None)?,
            entities: Entities::from_entities(entities, None)?,
        })
    }

    /// Whether a condition holds.
    ///
    /// # Errors
    /// When it cannot be evaluated.
    pub(crate) fn holds(&self, condition: &Expression) -> Result<bool, String> {
        match self.value(condition)? {
            EvalResult::Bool(holds) => Ok(holds),
            other => Err(format!("a condition gave {other} and not a Boolean")),
        }
    }

    /// The value of an expression.
    ///
    /// # Errors
    /// When it cannot be evaluated.
    pub(crate) fn value(&self, expression: &Expression) -> Result<EvalResult, String> {
        eval_expression(&self.request, &self.entities, expression).map_err(|e| e.to_string())
    }
}

fn mismatch(request: &Request<'_>) -> String {
    let (scope, target) = (request.scope, &request.target.name);
    format!("the scope {scope} was put with the facts of target {target}")
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

type EntityResult = Result<Entity, cedar_policy::EntityAttrEvaluationError>;

fn agent_entity(names: &Names, id: EntityUid, agent: &AgentFacts) -> EntityResult {
    let attributes = record([
        ("owner", string(&agent.owner)),
        ("team", string(&agent.team)),
        ("environment", string(&agent.environment)),
        ("tier", Value::new_long(agent.tier)),
        ("trust_domain", string(&agent.trust_domain)),
    ]);
    let parents = [
        uid(&names.team, &agent.team),
        uid(&names.trust_domain, &agent.trust_domain),
    ];
    Entity::new(id, attributes, HashSet::from(parents))
}

fn resource_entity(id: EntityUid, target: EntityUid, request: &Request<'_>) -> EntityResult {
    let attributes = record([
        ("target", string(request.target.name.as_str())),
        ("name", string(request.scope.resource())),
        ("environment", string(&request.target.environment)),
        ("sensitivity", Value::new_long(request.target.sensitivity)),
    ]);
    Entity::new(id, attributes, HashSet::from([target]))
}

fn target_entity(id: EntityUid, target: &TargetFacts) -> EntityResult {
    let attributes = record([
        ("environment", string(&target.environment)),
        ("sensitivity", Value::new_long(target.sensitivity)),
        ("kind", string(&target.kind)),
    ]);
    Entity::new(id, attributes, HashSet::new())
}

fn context(request: &Request<'_>) -> Result<Context, Box<dyn std::error::Error>> {
    let task = request.task;
    let task_facts = Value::new_record(record([
        ("age", long(task.age_seconds)),
        ("environment", string(&task.environment)),
        ("leases", long(task.live_leases)),
        ("held", Value::new_bool(task.held)),
    ]))?;
    let time = Value::new_record(record(time(request.now_unix_seconds)))?;
    Ok(Context::from_pairs(record([
        ("ttl", long(request.ttl_seconds)),
        ("task", task_facts),
        ("delegation_depth", long(task.delegation_depth)),
        ("approved", Value::new_bool(request.approved)),
        ("time", time),
    ]))?)
}

/// The hour and the weekday are of the proleptic Gregorian calendar in UTC; 1970-01-01 was a Thursday.
fn time(unix: u64) -> [(&'static str, Value); 3] {
    [
        ("unix", long(unix)),
        ("hour", long(unix / 3_600 % 24)),
        ("weekday", long((unix / 86_400 + 3) % 7 + 1)),
    ]
}

fn record<const N: usize>(pairs: [(&str, Value); N]) -> HashMap<String, Value> {
    let owned = pairs.map(|(name, value)| (name.to_owned(), value));
    HashMap::from(owned)
}

fn string(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

/// Numbers beyond Cedar's are as good as the greatest.
fn long(number: u64) -> Value {
    Value::new_long(i64::try_from(number).unwrap_or(i64::MAX))
}
