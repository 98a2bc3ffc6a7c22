//! The `quietus` command.

use std::process::ExitCode;

use clap::Parser;
use quietus::cli::bench::{self, BenchArgs};

/// Ephemeral credentials, revoked when the task ends.
#[derive(Parser)]
enum Quietus {
    Bench(BenchArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Quietus::parse() {
        Quietus::Bench(args) => bench::run(args),
    }
}
