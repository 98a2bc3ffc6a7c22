//! `quietus target`

mod check;
mod list;
mod show;
mod sweep;
mod view;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::session::{Globals, Session};
use crate::api::v1;
pub use view::Target;

/// Shows, checks and cleans up the systems that credentials are for (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  quietus target list")]
pub struct TargetArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Check(check::CheckArgs),
    Sweep(sweep::SweepArgs),
}

pub async fn run(globals: &Globals, args: TargetArgs) -> anyhow::Result<Exit> {
    match args.command {
        Command::List(args) => list::run(globals, args).await.map(Exit::from),
        Command::Show(args) => show::run(globals, args).await.map(Exit::from),
        Command::Check(args) => check::run(globals, args).await,
        Command::Sweep(args) => sweep::run(globals, args).await,
    }
}

/// Every target that is configured or has live leases, by name.
async fn fetch(session: &Session) -> anyhow::Result<Vec<Target>> {
    let request = v1::ListTargetsRequest {};
    let answer = session
        .answer(session.operator().list_targets(request))
        .await?;
    Ok(answer.targets.into_iter().map(Target::from).collect())
}
