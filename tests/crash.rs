//! The real program and a real PostgreSQL, killed and cut off at any moment: no orphan, nothing lost, nothing twice.
//!
//! `QUIETUS_CRASH_CYCLES=1000 cargo test --test crash -- --nocapture` crashes it a thousand times and prints a tally.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "crash/book.rs"]
mod book;
mod common;
#[path = "crash/cycles.rs"]
mod cycles;
mod disks;
#[path = "crash/faults.rs"]
mod faults;
mod inside;
#[path = "crash/judge.rs"]
mod judge;
#[path = "kill/process.rs"]
mod process;
#[path = "crash/proxy.rs"]
mod proxy;
#[path = "crash/tally.rs"]
mod tally;
#[path = "crash/work.rs"]
mod work;
#[path = "crash/world.rs"]
mod world;
