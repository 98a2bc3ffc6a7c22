//! Certificates for X.509 and for OpenSSH: made, used, revoked and refused, at real servers.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod ssh;
mod world;
mod x509;
