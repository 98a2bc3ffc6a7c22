//! `quietus audit`

mod checkpoint;
mod copy;
mod erase;
mod export;
mod follow;
mod replay;
mod report;
mod show;
mod text;
mod verify;

use std::path::Path;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::session::Globals;
use crate::audit::{Folder, Log, Offline, Remote};

/// Reads the evidence: what happened, who did it, under which policy, and that nothing was altered
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit copy copy/ && quietus audit verify copy/ --key ledger.vkey
  quietus audit show task 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55
  quietus audit replay copy/
  quietus audit follow --event request.refused")]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Checkpoint(checkpoint::CheckpointArgs),
    Erase(erase::EraseArgs),
    Text(text::TextArgs),
    Copy(copy::CopyArgs),
    Export(export::ExportArgs),
    Follow(follow::FollowArgs),
    Show(show::ShowArgs),
    Verify(verify::VerifyArgs),
    Replay(replay::ReplayArgs),
    Report(report::ReportArgs),
}

pub async fn run(globals: &Globals, args: AuditArgs) -> anyhow::Result<Exit> {
    match args.command {
        Command::Replay(args) => replay::run(globals, &args).await,
        Command::Report(args) => report::run(globals, &args).await,
        Command::Checkpoint(args) => checkpoint::run(globals, &args).await.map(Exit::from),
        Command::Erase(args) => erase::run(globals, args).await.map(Exit::from),
        Command::Text(args) => text::run(globals, args).await.map(Exit::from),
        Command::Copy(args) => copy::run(globals, &args).await,
        Command::Export(args) => export::run(globals, &args).await.map(Exit::from),
        Command::Follow(args) => follow::run(globals, &args).await.map(Exit::from),
        Command::Show(args) => show::run(globals, &args).await.map(Exit::from),
        Command::Verify(args) => verify::run(globals, &args).await,
    }
}

/// The log of the broker that `--identity` names.
async fn log(globals: &Globals) -> anyhow::Result<Log> {
    let session = globals.connect().await?;
    Ok(Log::Broker(Box::new(Remote::new(session.audit()))))
}

/// The copy in this folder, or else the log of the broker that `--identity` names.
async fn log_in(globals: &Globals, dir: Option<&Path>) -> anyhow::Result<Log> {
    match dir {
        Some(dir) => Ok(Log::Copy(Offline::new(Folder::open(dir)?)?)),
        None => log(globals).await,
    }
}
