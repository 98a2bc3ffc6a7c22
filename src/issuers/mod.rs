//! Making credentials: one file a kind.
//!
//! An issuer acts only on an [`IssueOrder`](quietus_core::IssueOrder), which only the lifecycle can write, after it
//! was committed. What identifies the credential is known beforehand and committed with the order; the secret is
//! made afterwards and is never stored.

pub mod jwt;
