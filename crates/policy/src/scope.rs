//! The scope clauses of a policy: which principals, actions and resources it is about.

use std::fmt;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use quietus_core::Action;

use crate::facts::Request;

/// The scope clauses of one policy.
pub(crate) struct ScopeClauses {
    pub(crate) principal: Principal,
    pub(crate) actions: Vec<Action>,
    pub(crate) resource: Resource,
}

/// The principals that a policy is about.
pub(crate) enum Principal {
    Any,
    Agent(String),
    Team(String),
    TrustDomain(String),
}

/// The resources that a policy is about.
pub(crate) enum Resource {
    Any,
    One(String),
    InTarget(String),
}

impl ScopeClauses {
    /// Reads the clauses, or nothing when they name a type that no request has.
    ///
    /// Agents and resources have no members, so `in` one of them is the same as `==`.
    pub(crate) fn of(policy: &Policy) -> Option<Self> {
        Some(Self {
            principal: Principal::of(&policy.principal_constraint())?,
            actions: actions(&policy.action_constraint())?,
            resource: Resource::of(&policy.resource_constraint())?,
        })
    }
}

impl Principal {
    fn of(clause: &PrincipalConstraint) -> Option<Self> {
        match clause {
            PrincipalConstraint::Any => Some(Self::Any),
            PrincipalConstraint::Is(kind) => (kind.basename() == "Agent").then_some(Self::Any),
            PrincipalConstraint::Eq(uid) => Self::named(uid).filter(|p| p.is_leaf()),
            PrincipalConstraint::In(uid) => Self::named(uid),
            PrincipalConstraint::IsIn(kind, uid) => {
                Self::named(uid).filter(|_| kind.basename() == "Agent")
            }
        }
    }

    fn named(uid: &EntityUid) -> Option<Self> {
        let id = uid.id().unescaped().to_owned();
        match uid.type_name().basename() {
            "Agent" => Some(Self::Agent(id)),
            "Team" => Some(Self::Team(id)),
            "TrustDomain" => Some(Self::TrustDomain(id)),
            _ => None,
        }
    }

    fn is_leaf(&self) -> bool {
        matches!(self, Self::Agent(_))
    }

    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Agent(id) => *id == request.agent.id,
            Self::Team(id) => *id == request.agent.team,
            Self::TrustDomain(id) => *id == request.agent.trust_domain,
        }
    }
}

impl Resource {
    fn of(clause: &ResourceConstraint) -> Option<Self> {
        match clause {
            ResourceConstraint::Any => Some(Self::Any),
            ResourceConstraint::Is(kind) => (kind.basename() == "Resource").then_some(Self::Any),
            ResourceConstraint::Eq(uid) => Self::named(uid).filter(|r| r.is_leaf()),
            ResourceConstraint::In(uid) => Self::named(uid),
            ResourceConstraint::IsIn(kind, uid) => {
                Self::named(uid).filter(|_| kind.basename() == "Resource")
            }
        }
    }

    fn named(uid: &EntityUid) -> Option<Self> {
        let id = uid.id().unescaped().to_owned();
        match uid.type_name().basename() {
            "Resource" => Some(Self::One(id)),
            "Target" => Some(Self::InTarget(id)),
            _ => None,
        }
    }

    fn is_leaf(&self) -> bool {
        matches!(self, Self::One(_))
    }

    pub(crate) fn matches(&self, request: &Request<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::One(id) => *id == resource_id(request),
            Self::InTarget(id) => id == request.scope.target().as_str(),
        }
    }
}

/// The id of the requested resource. A target name holds no `/`, so no two resources share an id.
pub(crate) fn resource_id(request: &Request<'_>) -> String {
    format!("{}/{}", request.scope.target(), request.scope.resource())
}

fn actions(clause: &ActionConstraint) -> Option<Vec<Action>> {
    match clause {
        ActionConstraint::Any => Some(Action::ALL.to_vec()),
        ActionConstraint::Eq(uid) => Some(vec![action(uid)?]),
        ActionConstraint::In(uids) => uids.iter().map(action).collect(),
    }
}

fn action(uid: &EntityUid) -> Option<Action> {
    uid.id().unescaped().parse().ok()
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any agent"),
            Self::Agent(id) => write!(f, "agent {id:?}"),
            Self::Team(id) => write!(f, "agents of team {id:?}"),
            Self::TrustDomain(id) => write!(f, "agents of trust domain {id:?}"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any resource"),
            Self::One(id) => write!(f, "resource {id:?}"),
            Self::InTarget(id) => write!(f, "resources of target {id:?}"),
        }
    }
}
