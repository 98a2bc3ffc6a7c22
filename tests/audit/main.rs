//! The evidence as auditors get it: the `Audit` RPCs, and `quietus audit copy`, `show`, `export` and `follow`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the tests of the API")]
#[path = "../api/help.rs"]
mod help;

mod callers;
mod command;
mod copies;
mod exports;
mod following;
mod hall;
mod liars;
mod proofs;
mod reading;
mod stories;
