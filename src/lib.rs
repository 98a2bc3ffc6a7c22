//! The Quietus broker.

pub mod api;
pub mod archive;
pub mod audit;
pub mod broker;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod dev;
pub mod engine;
pub mod evidence;
pub mod failpoint;
mod files;
pub mod issuers;
pub mod keys;
pub mod question;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod trust;
pub mod web;
pub mod witness;
