//! The broker's front door: connections, and who is calling on them.

mod connection;
pub mod listener;
mod peer;

pub use connection::Connection;
pub use peer::{Authenticate, Peer, peer};
