//! The Quietus broker.

pub mod api;
pub mod cli;
pub mod config;
pub mod dev;
