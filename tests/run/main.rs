//! `quietus run` around real programs, with a real broker.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod endings;
mod handing_over;
mod psql;
mod stage;
