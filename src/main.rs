//! The `quietus` command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use quietus::cli::{demo, init, serve};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Serve(serve::ServeArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Init(args) => init::run(args).map(|()| ExitCode::SUCCESS),
        Command::Serve(args) => serve::run(args),
    }
}
