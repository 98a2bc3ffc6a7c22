//! Neither a clock, nor a restart, nor a backup gives a credential a second life.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "no_second_life/clocks.rs"]
mod clocks;
mod common;
mod disks;
mod inside;
#[path = "no_second_life/restored.rs"]
mod restored;
