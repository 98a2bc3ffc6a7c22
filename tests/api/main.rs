//! Every RPC over real sockets: what must hold, and what must not be possible.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod help;

mod audit;
mod credentials;
mod idempotency;
mod identity;
mod limits;
mod operators;
mod secrets;
mod services;
mod tasks;
