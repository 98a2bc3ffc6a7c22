//! What the crate promises, asked from outside.

#![allow(clippy::unwrap_used, clippy::panic)]

mod forge;
mod interop;
mod keys;
mod properties;
mod refusals;
mod rfc8037;
mod verdicts;
