//! `quietus lease`

mod list;
mod renew;
mod revoke;
mod show;

use clap::{Args, Subcommand};

use super::session::Globals;

/// Shows, renews and gives back credentials' leases
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  quietus lease list --state active --target orders-db")]
pub struct LeaseArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Renew(renew::RenewArgs),
    Revoke(revoke::RevokeArgs),
}

pub async fn run(globals: &Globals, args: LeaseArgs) -> anyhow::Result<()> {
    match args.command {
        Command::List(args) => list::run(globals, args).await,
        Command::Show(args) => show::run(globals, args).await,
        Command::Renew(args) => renew::run(globals, args).await,
        Command::Revoke(args) => revoke::run(globals, args).await,
    }
}
