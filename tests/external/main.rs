//! External issuers: real processes on real sockets, sound and not.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod conformance;
mod faulty;
mod hostile;
mod orders;
mod process;
mod settings;
mod socket;
mod sound;
mod stage;
mod tls;

/// The example, as its author wrote it.
#[allow(dead_code, unreachable_pub)]
#[path = "../../examples/external_issuer.rs"]
mod example;
