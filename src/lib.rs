//! The Quietus broker.

pub mod api;
mod files;
pub mod server;
pub mod tls;
pub mod trust;
