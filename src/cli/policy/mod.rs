//! `quietus policy`

mod check;
mod explain;
mod reload;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::session::Globals;

/// Checks, reloads and explains policies
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  quietus policy check config/policies")]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Check(check::CheckArgs),
    Reload(reload::ReloadArgs),
    Explain(explain::ExplainArgs),
}

pub async fn run(globals: &Globals, args: PolicyArgs) -> anyhow::Result<Exit> {
    match args.command {
        Command::Check(args) => check::run(globals, &args),
        Command::Reload(args) => reload::run(globals, args).await.map(Exit::from),
        Command::Explain(args) => explain::run(globals, args).await,
    }
}
