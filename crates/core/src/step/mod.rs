//! One step of a task's life. Each kind of event has a file of its own.

mod end;
mod issue;
mod liveness;
mod open;
mod settle;

use std::time::Duration;

use crate::{
    AgentId, Bound, Cause, Confirmation, Digest, Enforced, Guards, Identity, Lease, LeaseId, Scope,
    Selector, TargetName, Task, TaskId, Timestamp,
};

pub use issue::IssueOrder;
pub use open::open;

/// The configured limits that the lifecycle keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A credential's lifetime when none is asked for.
    pub default_ttl: Duration,
    /// The longest lifetime of a credential.
    pub max_ttl: Duration,
    /// A task's duration when none is asked for.
    pub default_task: Duration,
    /// The longest duration of a task.
    pub max_task: Duration,
    /// How many leases may be live in one task at once.
    pub max_live: u32,
    /// How many leases one task may have over its whole life.
    pub max_issued: u32,
    /// How late a heartbeat may be, and how long a `HoldTask` stream may be gone.
    pub grace: Duration,
    /// How long a closed task stays listed before it is purged (the ledger keeps its story).
    pub retention: Duration,
}

/// What was read: a task, those of its leases that [`Event::loads`] names, and the guards.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The task.
    pub task: Task,
    /// The leases that the event bears on.
    pub leases: Vec<Lease>,
    /// Freezes and floors.
    pub guards: &'a Guards,
}

/// An agent whose SVID was verified for this very request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its SPIFFE ID.
    pub agent: AgentId,
    /// The SVID it showed.
    pub identity: Identity,
}

/// What an agent asks for when it opens a task.
#[derive(Clone, Debug)]
pub struct OpenOrder {
    /// The new task's name.
    pub id: TaskId,
    /// Who opens it.
    pub caller: Caller,
    /// Untrusted text.
    pub purpose: String,
    /// Untrusted text.
    pub ticket: String,
    /// The environment that the agent is registered for.
    pub environment: String,
    /// The distributed trace that it is to belong to.
    pub trace: [u8; 16],
    /// How long it is to last at most.
    pub duration: Option<Duration>,
    /// How often the agent promises to send a heartbeat.
    pub heartbeat: Option<Duration>,
}

/// A credential that policy has permitted, to be clamped and recorded.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who asks.
    pub caller: Caller,
    /// The target.
    pub target: TargetName,
    /// What was permitted. For a renewal this must be what the lease already holds.
    pub scopes: Vec<Scope>,
    /// Where the credential's death is enforced.
    pub enforced: Enforced,
    /// Whether the credential, once made, can be given a later end.
    pub renewable: bool,
    /// The lifetime asked for.
    pub ttl: Option<Duration>,
    /// The deciding policies' maximum.
    pub policy_max: Option<Duration>,
}

/// What happened to a task.
#[derive(Clone, Debug)]
pub enum Event {
    /// The agent says that it is alive.
    Heartbeat(Caller),
    /// The agent's `HoldTask` stream is up.
    Held(Caller),
    /// The agent's `HoldTask` stream went down.
    HoldDropped,
    /// Policy permitted a new credential.
    Issue(Grant),
    /// Policy permitted a longer life for a credential.
    Renew(LeaseId, Grant),
    /// Leases end while the task goes on.
    EndLeases(Which, Cause),
    /// The task ends, and every lease under it.
    EndTask(Cause),
    /// A deadline may have passed.
    Due,
    /// The target answered a request to issue: done, with what identifies the credential, or why not. Never a secret.
    IssueSettled(LeaseId, Result<Option<Digest>, String>),
    /// The target answered a request to revoke: how its death was confirmed, or why not. Never a secret.
    RevokeSettled(LeaseId, Result<Confirmation, String>),
}

/// Which leases of a task an event ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// This one.
    One(LeaseId),
    /// Those for this target that were issued before this epoch.
    Target(TargetName, u64),
}

/// Which leases a [`View`] must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// None.
    Nothing,
    /// This one, if it exists.
    One(LeaseId),
    /// Every live one.
    Live,
}

/// Something to do outside the store, after the commit that records the intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make the credential at its target.
    Issue(LeaseId),
    /// Unmake the credential at its target.
    Revoke(LeaseId),
}

/// What a step decided. Everything but `Unchanged` and a plain `Alive` is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The task is open.
    Opened {
        /// Which limit set its deadline.
        bound: Bound,
    },
    /// The agent counts as alive.
    Alive {
        /// Whether it showed a newer SVID.
        identity_renewed: bool,
    },
    /// The `HoldTask` stream is down and the grace runs.
    HoldDropped,
    /// A credential may be made.
    Issued(IssueOrder),
    /// A credential may be made anew with a later expiry.
    Renewed(IssueOrder),
    /// The changed leases ended; the task goes on.
    LeasesEnded,
    /// The task ended, and every lease under it.
    TaskEnded,
    /// A target's answer was taken in.
    Settled,
    /// The closed task's retention is over: forget it and its leases.
    Purged,
    /// There was nothing to do.
    Unchanged,
    /// It was not to be.
    Refused(Refusal),
}

/// Why the lifecycle said no. An outcome, recorded; not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The task belongs to another agent.
    #[error("the task belongs to another agent")]
    NotYours,
    /// The task has ended.
    #[error("the task has ended: {}", .0.reason())]
    TaskEnded(Cause),
    /// A freeze covers the request.
    #[error("frozen by an operator: {1}")]
    Frozen(Selector, String),
    /// A wide revocation covers the task.
    #[error("revoked by an operator")]
    Revoked(Selector),
    /// Too many live leases.
    #[error(
        "the task already has {0} live leases, the most allowed: revoke one, or open another task"
    )]
    LiveLeases(u32),
    /// Too many leases over the task's life.
    #[error("the task has been issued {0} leases, the most allowed: open another task")]
    IssuedLeases(u32),
    /// No such lease in the task.
    #[error("the task has no such lease")]
    NoSuchLease,
    /// The lease has ended; it cannot be revived.
    #[error("the lease has ended and cannot be revived: request a new credential")]
    LeaseEnded,
    /// Its target cannot extend it.
    #[error("a credential of this kind cannot be renewed: request a new one")]
    NotRenewable,
    /// No lifetime is left under some limit.
    #[error("no lifetime is left: bound by {}", .0.as_str())]
    NoTimeLeft(Bound),
}

/// What to write, do and record, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The task as it is now; none if it did not change.
    pub task: Option<Task>,
    /// The leases that changed.
    pub leases: Vec<Lease>,
    /// What to do outside afterwards.
    pub effects: Vec<Effect>,
    /// What was decided.
    pub outcome: Outcome,
}

impl Refusal {
    /// A stable upper-case word for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotYours => "TASK_NOT_YOURS",
            Self::TaskEnded(_) => "TASK_ENDED",
            Self::Frozen(..) => "FROZEN",
            Self::Revoked(_) => "REVOKED",
            Self::LiveLeases(_) => "TOO_MANY_LIVE_LEASES",
            Self::IssuedLeases(_) => "TOO_MANY_LEASES",
            Self::NoSuchLease => "LEASE_NOT_FOUND",
            Self::LeaseEnded => "LEASE_ENDED",
            Self::NotRenewable => "LEASE_NOT_RENEWABLE",
            Self::NoTimeLeft(_) => "NO_TIME_LEFT",
        }
    }
}

impl Event {
    /// Which leases [`step`] needs to see for this event.
    pub fn loads(&self) -> Load {
        match self {
            Self::Heartbeat(_) | Self::Held(_) | Self::HoldDropped | Self::Issue(_) => {
                Load::Nothing
            }
            Self::Renew(id, _)
            | Self::EndLeases(Which::One(id), _)
            | Self::IssueSettled(id, _)
            | Self::RevokeSettled(id, _) => Load::One(*id),
            Self::EndLeases(Which::Target(..), _) | Self::EndTask(_) | Self::Due => Load::Live,
        }
    }
}

/// Moves a task on.
pub fn step(rules: &Rules, view: View<'_>, event: Event, now: Timestamp) -> Step {
    match event {
        Event::Heartbeat(caller) => liveness::heartbeat(rules, view, &caller, now),
        Event::Held(caller) => liveness::held(rules, view, &caller, now),
        Event::HoldDropped => liveness::hold_dropped(rules, view, now),
        Event::Issue(grant) => issue::issue(rules, view, grant, now),
        Event::Renew(id, grant) => issue::renew(rules, view, id, grant, now),
        Event::EndLeases(which, cause) => end::leases(view, &which, &cause, now),
        Event::EndTask(cause) => end::task(view, cause, now),
        Event::Due => end::due(rules, view, now),
        Event::IssueSettled(id, answer) => settle::issued(view, id, answer, now),
        Event::RevokeSettled(id, answer) => settle::revoked(view, id, answer, now),
    }
}

impl Step {
    fn refused(refusal: Refusal) -> Self {
        Self::nothing(Outcome::Refused(refusal))
    }

    fn unchanged() -> Self {
        Self::nothing(Outcome::Unchanged)
    }

    fn nothing(outcome: Outcome) -> Self {
        Self {
            task: None,
            leases: Vec::new(),
            effects: Vec::new(),
            outcome,
        }
    }

    fn of(mut task: Task, outcome: Outcome) -> Self {
        task.version += 1;
        Self {
            task: Some(task),
            ..Self::nothing(outcome)
        }
    }
}

/// Whether this caller may still use this task; every agent's request begins here.
fn admit(view: &View<'_>, caller: &Caller, now: Timestamp) -> Result<(), Refusal> {
    let task = &view.task;
    if task.agent != caller.agent {
        return Err(Refusal::NotYours);
    }
    if let Some(ending) = task.ending() {
        return Err(Refusal::TaskEnded(ending.cause.clone()));
    }
    if let Some((selector, _)) = view.guards.fallen(&task.agent, None, task.epoch) {
        return Err(Refusal::Revoked(selector.clone()));
    }
    // A newer SVID may stand in for the one that ran out; nothing stands in for the other clocks, not even if
    // they ran out after it.
    let until = task.identity.until.max(caller.identity.until);
    match task.overdue_with(until, now) {
        Some(cause) => Err(Refusal::TaskEnded(cause)),
        None => Ok(()),
    }
}

/// Whether a freeze forbids this agent more authority.
fn thawed(guards: &Guards, agent: &AgentId, target: Option<&TargetName>) -> Result<(), Refusal> {
    match guards.frozen(agent, target) {
        Some((selector, freeze)) => Err(Refusal::Frozen(selector.clone(), freeze.reason.clone())),
        None => Ok(()),
    }
}

/// Takes note of a newer SVID; an older one that is still valid changes nothing.
fn renew_identity(task: &mut Task, caller: &Caller) -> bool {
    let newer = caller.identity != task.identity && caller.identity.until >= task.identity.until;
    if newer {
        task.identity = caller.identity;
    }
    newer
}
