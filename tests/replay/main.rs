//! Decisions made again: by a real broker's own ledger, and under other policies.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../inside/rng.rs"]
mod rng;

mod asked;
mod command;
mod report;
mod rounds;
