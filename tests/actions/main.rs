//! What was done with credentials, and whose trace it belongs to: recorded, kept apart, erased.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "../api/help.rs"]
mod help;

mod command;
mod desk;
mod events;
mod refusals;
mod reports;
mod texts;
mod traces;
