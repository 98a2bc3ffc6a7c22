//! `quietus task`

mod close;
mod heartbeat;
mod hold;
mod list;
mod open;
mod record;
mod show;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::session::Globals;

/// Opens, shows and closes tasks
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  quietus task open --purpose 'Fix order 1234' --for 30m")]
pub struct TaskArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    Open(open::OpenArgs),
    Hold(hold::HoldArgs),
    Heartbeat(heartbeat::HeartbeatArgs),
    List(list::ListArgs),
    Record(record::RecordArgs),
    Show(show::ShowArgs),
    Close(close::CloseArgs),
}

pub async fn run(globals: &Globals, args: TaskArgs) -> anyhow::Result<Exit> {
    match args.command {
        Command::Open(args) => open::run(globals, args).await,
        Command::Hold(args) => hold::run(globals, args).await,
        Command::Heartbeat(args) => heartbeat::run(globals, args).await.map(Exit::from),
        Command::Record(args) => record::run(globals, args).await.map(Exit::from),
        Command::List(args) => list::run(globals, args).await.map(Exit::from),
        Command::Show(args) => show::run(globals, args).await.map(Exit::from),
        Command::Close(args) => close::run(globals, args).await,
    }
}
