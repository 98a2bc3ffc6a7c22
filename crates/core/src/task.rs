//! A task: the unit of authority.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{AgentId, Digest, TaskId, Timestamp};

/// One agent's authority to act, from opening to ending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// Who opened it, and who alone may use it.
    pub agent: AgentId,
    /// The newest SVID that its agent has shown.
    pub identity: Identity,
    /// Why the agent says it needs it: untrusted text, never a policy input.
    pub purpose: String,
    /// The work item the agent names: untrusted text, never a policy input.
    pub ticket: String,
    /// The environment that its agent is registered for.
    pub environment: String,
    /// The distributed trace that all of it belongs to (W3C Trace Context).
    pub trace: [u8; 16],
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it expires, whatever else happens.
    pub deadline: Timestamp,
    /// What the agent must do to count as alive.
    pub liveness: Liveness,
    /// The guards' epoch at opening: older than a floor that covers it means revoked.
    pub epoch: u64,
    /// Where it stands.
    pub state: TaskState,
    /// How many leases were ever issued in it: the next lease's number.
    pub issued: u32,
    /// How many of them have not begun to end.
    pub live: u32,
    /// How many have begun to end without being confirmed dead.
    pub revoking: u32,
    /// No live lease expires before this.
    pub lease_due: Option<Timestamp>,
    /// Counts changes; a commit that read another version loses.
    pub version: u64,
}

/// The SVID that stands behind a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// SHA-256 of the leaf certificate (RFC 8705 `x5t#S256`).
    pub certificate: Digest,
    /// SHA-256 of the trust anchor it chains to.
    pub anchor: Digest,
    /// When the first certificate on the chain expires.
    pub until: Timestamp,
}

/// Signs of life that a task depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// How often the agent promised to send a heartbeat.
    pub interval: Option<Duration>,
    /// When a heartbeat counts as missed.
    pub heartbeat_due: Option<Timestamp>,
    /// When a `HoldTask` stream counts as gone; set from the first one on.
    pub hold_due: Option<Timestamp>,
}

/// `Open → Closing → Closed`; there is no way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// It may be given credentials.
    Open,
    /// It has ended; some credential's death is not confirmed yet.
    Closing(Ending),
    /// It has ended and so has every credential under it.
    Closed {
        /// How it ended.
        ending: Ending,
        /// When the last credential was gone.
        at: Timestamp,
    },
}

/// How and when a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// What ended it.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
}

/// What ended a task or a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The agent closed the task: the work is done.
    Completed,
    /// The agent closed the task: the work failed.
    Failed,
    /// Its time was up.
    Expired,
    /// No heartbeat came in time.
    HeartbeatMissed,
    /// Its `HoldTask` stream was gone for longer than the grace.
    HoldLost,
    /// The newest SVID that its agent showed has expired.
    IdentityExpired,
    /// The trust anchor behind its agent's SVID is no longer in the bundle.
    IdentityUntrusted,
    /// The agent gave the lease back.
    Returned,
    /// An operator said so.
    Operator(AgentId),
    /// The store was restored from a copy: what happened since is unknown, so nothing in it may live on.
    Restored,
    /// Its task ended.
    TaskEnded,
    /// The target did not issue it.
    IssueFailed,
}

impl Cause {
    /// The ending's name in the design's words.
    pub fn ending(&self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Failed | Self::IssueFailed => "Failed",
            Self::Expired => "Expired",
            Self::HeartbeatMissed | Self::HoldLost => "Abandoned",
            Self::Returned => "Returned",
            Self::TaskEnded => "TaskEnded",
            Self::IdentityExpired
            | Self::IdentityUntrusted
            | Self::Operator(_)
            | Self::Restored => "Revoked",
        }
    }

    /// The exact reason, as a stable lower-case word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Expired => "expired",
            Self::HeartbeatMissed => "heartbeat_missed",
            Self::HoldLost => "hold_lost",
            Self::IdentityExpired => "identity_expired",
            Self::IdentityUntrusted => "identity_untrusted",
            Self::Returned => "returned",
            Self::Operator(_) => "operator",
            Self::Restored => "store_restored",
            Self::TaskEnded => "task_ended",
            Self::IssueFailed => "issue_failed",
        }
    }
}

impl Task {
    /// How it ended, if it has.
    pub fn ending(&self) -> Option<&Ending> {
        match &self.state {
            TaskState::Open => None,
            TaskState::Closing(ending) | TaskState::Closed { ending, .. } => Some(ending),
        }
    }

    /// Whether it may still be given credentials, as far as its state tells.
    pub fn is_open(&self) -> bool {
        self.state == TaskState::Open
    }

    /// The state's name in the design's words.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            TaskState::Open => "Open",
            TaskState::Closing(_) => "Closing",
            TaskState::Closed { .. } => "Closed",
        }
    }

    /// What has ended the task by `now` though nobody has said so yet.
    pub fn overdue(&self, now: Timestamp) -> Option<Cause> {
        self.overdue_with(self.identity.until, now)
    }

    /// The same, if the newest SVID that its agent showed lasted until then.
    pub(crate) fn overdue_with(&self, identity_until: Timestamp, now: Timestamp) -> Option<Cause> {
        let clocks = [
            (Some(self.deadline), Cause::Expired),
            (self.liveness.heartbeat_due, Cause::HeartbeatMissed),
            (self.liveness.hold_due, Cause::HoldLost),
            (Some(identity_until), Cause::IdentityExpired),
        ];
        clocks
            .into_iter()
            .filter_map(|(due, cause)| due.filter(|due| *due <= now).map(|due| (due, cause)))
            .min_by_key(|(due, _)| *due)
            .map(|(_, cause)| cause)
    }
}

/// When the task next needs to be looked at even if nobody calls: the earliest of its own ending, a lease's
/// expiry and, once closed, the end of its retention.
pub fn next_deadline(task: &Task, retention: Duration) -> Option<Timestamp> {
    match &task.state {
        TaskState::Open => [
            Some(task.deadline),
            task.liveness.heartbeat_due,
            task.liveness.hold_due,
            Some(task.identity.until),
            task.lease_due,
        ]
        .into_iter()
        .flatten()
        .min(),
        TaskState::Closing(_) => None,
        TaskState::Closed { at, .. } => Some(at.after(retention)),
    }
}
