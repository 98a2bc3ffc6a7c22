//! What a broker tells of itself: metrics over HTTP, spans and metrics over OTLP, and the trace that a call is a part of.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod collector;
mod dashboards;
mod http;
mod measures;
mod spans;
mod stage;
mod trouble;

#[path = "../common/mod.rs"]
mod common;

/// An external issuer, as its author wrote it.
#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/external_issuer.rs"]
mod example;
