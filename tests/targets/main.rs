//! What happens at targets: nothing that was made there is forgotten, and no target holds up another.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod apart;
#[path = "../common/mod.rs"]
mod common;
mod crashes;
#[path = "../disks/mod.rs"]
mod disks;
mod elsewhere;
#[path = "../inside/mod.rs"]
mod inside;
mod lives;
mod making;
mod receipts;
mod scripted;
mod stage;
mod unmaking;
