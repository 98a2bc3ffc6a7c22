//! The ledger as others read it: static files over HTTPS, cosigned by witnesses, and pruned of what is old.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod cosigning;
mod https;
mod logs;
mod reader;
mod retention;
mod settings;
mod witness;
