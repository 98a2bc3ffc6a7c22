//! The Quietus broker.

pub mod api;
pub mod config;
