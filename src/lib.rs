//! The Quietus broker.

pub mod api;
pub mod client;
mod files;
pub mod server;
pub mod tls;
pub mod trust;
