//! Disks that fill up, fail, and lose what was not synced.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
#[path = "disk_trouble/crashes.rs"]
mod crashes;
mod disks;
#[path = "disk_trouble/failures.rs"]
mod failures;
#[path = "disk_trouble/full.rs"]
mod full;
mod inside;
