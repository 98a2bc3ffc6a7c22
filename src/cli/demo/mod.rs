//! `quietus demo`: the main job, shown on real processes in a minute.
//!
//! The broker, the agents and the resource server are processes of their own with identities of their own; this one
//! is the operator who watches them. Every step is checked, and one that does not come out as it must fails the
//! demo.

mod agent;
mod cast;
#[cfg(feature = "postgres")]
mod database;
mod resource_server;
mod script;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::style::When;

/// Show the main job on real processes: a broker, agents, a resource server, an operator
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  quietus demo
  quietus demo --keep ./demo     # keep the trust domain, the configuration and the ledger to look at

With a PostgreSQL server on this machine (initdb and postgres) a role in a real database is shown as well; with --keep
it is not, since the database does not stay.

Exit code 0 if everything came out as it must, 1 otherwise.")]
pub struct DemoArgs {
    /// Keep what the demo made in this folder, which must be new
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Play one of the parts; the demo starts these by itself
    #[arg(long, hide = true, requires = "played_by")]
    part: Option<Part>,
    /// The part's client configuration
    #[arg(long, hide = true)]
    played_by: Option<PathBuf>,
}

/// A process of the demo.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    Agent,
    ResourceServer,
}

/// Plays the demo, or one part of it.
pub fn run(color: When, args: DemoArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match (args.part, args.played_by) {
        (Some(Part::Agent), Some(identity)) => runtime.block_on(agent::play(&identity))?,
        (Some(Part::ResourceServer), Some(identity)) => {
            runtime.block_on(resource_server::play(&identity))?;
        }
        _ => runtime.block_on(script::play(color, args.keep))?,
    }
    Ok(ExitCode::SUCCESS)
}
