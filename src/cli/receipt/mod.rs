//! `quietus receipt`

mod read;
mod show;
mod verify;
mod view;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::session::Globals;
pub use read::Fetched;

/// Shows and verifies the signed closure statements of tasks
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus receipt verify task.receipt --key @evidence.vkey")]
pub struct ReceiptArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Show(show::ShowArgs),
    Verify(verify::VerifyArgs),
}

pub async fn run(globals: &Globals, args: ReceiptArgs) -> anyhow::Result<Exit> {
    match args.command {
        Command::Show(args) => show::run(globals, args).await.map(Exit::from),
        Command::Verify(args) => verify::run(globals, &args),
    }
}
