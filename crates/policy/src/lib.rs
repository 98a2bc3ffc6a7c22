//! Compiles a set of Cedar policies and decides requests with it.
//!
//! A [`PolicySet`] is made once from the text of some files and never changes. [`PolicySet::decide`] turns the facts
//! in a [`Request`] into a [`Decision`]; [`PolicySet::explain`] says in addition why, and what would have to differ.
//! The same set and the same request always give the same answer: this crate does no I/O, reads no clock and draws
//! no randomness. Time is one of the facts.
//!
//! What is denied:
//! - a request that no `permit` applies to;
//! - a request that a `forbid` applies to, whatever permits it, unless an approval can lift every such `forbid`
//!   (then the outcome is [`Outcome::ApprovalNeeded`]);
//! - a request for which a `forbid` cannot be evaluated. Cedar by itself would skip that policy.
//!
//! Facts enter Cedar as values and never as policy text, so no name or attribute can change what a policy means.
//! The text that an agent writes (purpose, justification, ticket) is not among the facts at all.

mod annotations;
mod compile;
mod decision;
mod error;
mod explain;
mod facts;
mod index;
mod nesting;
mod permit;
mod question;
mod scope;
mod set;

pub use decision::{ApprovalGroup, Decision, Fault, Outcome};
pub use error::{Place, PolicyError};
pub use explain::{Clause, DecidingPolicy, Explanation, MAX_NEAR_MISSES, NearMiss};
pub use facts::{AgentFacts, Request, TargetFacts, TaskFacts};
pub use permit::{Denial, Permit, Refusal};
pub use set::{
    Effect, MAX_FILE_BYTES, MAX_FILES, MAX_POLICIES, MAX_TOTAL_BYTES, PolicyFile, PolicySet,
    PolicySummary, SCHEMA,
};
