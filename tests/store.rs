//! The store by itself: conditional writes in groups, and what follows from one row to another.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
#[path = "store/conditions.rs"]
mod conditions;
mod disks;
mod inside;
#[path = "store/opening.rs"]
mod opening;
#[path = "store/rows.rs"]
mod rows;
#[path = "store/tree.rs"]
mod tree;
