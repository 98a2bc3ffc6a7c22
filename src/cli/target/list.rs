//! `quietus target list`

use clap::Args;

use crate::cli::output::note;
use crate::cli::session::Globals;

/// Lists every target that is configured, or that leases are still alive at
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus target list
  quietus target list -o json | jq -r '.[] | select(.state != \"ok\") | .name'

LIVE counts leases that have not begun to end, REVOKING those whose death is not confirmed yet. Kinds that the \
broker's own record enforces (jwt) have nothing to be confirmed at the target and are not counted.")]
pub struct ListArgs {}

pub async fn run(globals: &Globals, _: ListArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let targets = super::fetch(&session).await?;
    globals.out().print(&targets)?;
    if targets.is_empty() {
        note("no target is configured")?;
    }
    Ok(())
}
