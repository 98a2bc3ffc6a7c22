//! PostgreSQL roles, made and unmade at a real server that these tests start.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod fixture;
mod names;
mod order;
mod revoking;
mod rights;
mod settings;
mod transport;
mod trouble;
