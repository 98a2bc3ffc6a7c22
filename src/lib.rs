//! The Quietus broker.

pub mod api;
