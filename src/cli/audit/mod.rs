//! `quietus audit`

mod checkpoint;
mod replay;
mod report;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::session::Globals;
use crate::audit::{Log, Remote};

/// Reads the evidence: what happened, who did it, under which policy, and that nothing was altered
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit checkpoint
  quietus audit replay")]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Checkpoint(checkpoint::CheckpointArgs),
    Replay(replay::ReplayArgs),
    Report(report::ReportArgs),
}

pub async fn run(globals: &Globals, args: AuditArgs) -> anyhow::Result<Exit> {
    match args.command {
        Command::Replay(args) => replay::run(globals, &args).await,
        Command::Report(args) => report::run(globals, &args).await,
        Command::Checkpoint(args) => checkpoint::run(globals, &args).await.map(Exit::from),
    }
}

/// The log of the broker that `--identity` names.
async fn log(globals: &Globals) -> anyhow::Result<Log> {
    let session = globals.connect().await?;
    Ok(Log::Broker(Remote::new(session.audit())))
}
