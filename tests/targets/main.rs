//! What happens at targets: nothing that was made there is forgotten, and no target holds up another.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../disks/mod.rs"]
mod disks;
#[path = "../inside/mod.rs"]
mod inside;
mod making;
mod scripted;
mod stage;
