//! The command line: one file a subcommand.

pub mod demo;
pub mod init;
pub mod serve;
