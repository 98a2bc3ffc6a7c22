//! TLS between real sockets: who is let in, who is kept out, and for how long.

#![allow(clippy::panic, reason = "a test fails by panicking")]

mod authority;
mod broker;
mod connections;
mod handshakes;
mod reloads;
