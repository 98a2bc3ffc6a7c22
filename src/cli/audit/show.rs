//! `quietus audit show`

mod entry;
mod story;

use clap::{Args, Subcommand};

use crate::cli::session::Globals;

/// Shows the story of a task, or one entry with the proof that it is in the ledger
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit show task 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55
  quietus audit show entry 42 --key ledger.vkey")]
pub struct ShowArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Task(story::TaskArgs),
    Entry(entry::EntryArgs),
}

pub async fn run(globals: &Globals, args: &ShowArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::Task(args) => story::run(globals, args).await,
        Command::Entry(args) => entry::run(globals, args).await,
    }
}
