//! Each case asserts the whole step: the task, the leases, the effects and the outcome, and so that there is
//! nothing else.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod admission;
mod clocks;
mod end;
mod fixtures;
mod guards;
mod issue;
mod lifetime;
mod liveness;
mod open;
mod renew;
mod settle;
