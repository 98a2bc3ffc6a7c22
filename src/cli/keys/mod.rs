//! `quietus keys`

mod rotate;
mod show;

use clap::{Args, Subcommand};

use super::session::Globals;

/// Shows and rotates the keys that sign tokens
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  quietus keys show -o json > jwks.json")]
pub struct KeysArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Show(show::ShowArgs),
    Rotate(rotate::RotateArgs),
}

pub async fn run(globals: &Globals, args: KeysArgs) -> anyhow::Result<()> {
    match args.command {
        Command::Show(args) => show::run(globals, args).await,
        Command::Rotate(args) => rotate::run(globals, args).await,
    }
}
