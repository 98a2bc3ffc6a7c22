//! The lifecycle of tasks and leases as a pure function.
//!
//! [`open`] makes a task and [`step`] moves one on: both take what was read, what happened and the time, and
//! return what to write, which effects to carry out and what to record. Nothing here does I/O, reads a clock,
//! draws a random number or waits; the caller commits the whole [`Step`] or none of it.

mod guards;
mod ids;
mod lease;
mod scope;
mod step;
mod task;

pub use guards::{Floor, Freeze, Guards, Selector};
pub use ids::{AgentId, Digest, IdError, LeaseId, TaskId, Timestamp};
pub use lease::{Bound, Confirmation, Enforced, Lease, LeaseState};
pub use scope::{Action, MAX_RESOURCE, MAX_TARGET, Scope, ScopeError, TargetName};
pub use step::{
    Caller, Effect, Event, Grant, IssueOrder, Load, OpenOrder, Outcome, Refusal, Rules, Step, View,
    Which, open, step,
};
pub use task::{Cause, Ending, Identity, Liveness, Task, TaskState, next_deadline};
