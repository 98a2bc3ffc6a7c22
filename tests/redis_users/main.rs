//! Users of a real Redis server: what they may do, how they are made, and that they are gone.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]
#![cfg(feature = "redis")]

mod faults;
mod life;
mod orders;
mod proxy;
mod rights;
mod server;
mod settings;
