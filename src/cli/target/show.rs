//! `quietus target show`

use clap::Args;
use quietus_core::TargetName;

use crate::cli::exit::Complaint;
use crate::cli::session::Globals;

/// Shows how a target is doing, and what its kind of credential can do
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  quietus target show orders-db")]
pub struct ShowArgs {
    /// The target
    #[arg(value_name = "NAME")]
    target: TargetName,
}

pub async fn run(globals: &Globals, args: ShowArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let name = args.target.to_string();
    let mut targets = super::fetch(&session).await?.into_iter();
    let target = targets.find(|target| target.name == name);
    let target = target.ok_or(Complaint::NotFound("target"))?;
    Ok(globals.out().print(&target)?)
}
