//! `quietus audit checkpoint`

use std::io::{self, Write};

use clap::Args;

use super::log;
use crate::cli::session::Globals;

/// Prints the newest signed checkpoint of the ledger, to be kept where the broker cannot reach it
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus audit checkpoint > checkpoint-$(date +%F)

Whoever keeps checkpoints can prove later that the ledger was only ever appended to.")]
pub struct CheckpointArgs {}

pub async fn run(globals: &Globals, _: &CheckpointArgs) -> anyhow::Result<()> {
    let note = log(globals).await?.checkpoint().await?;
    io::stdout().write_all(&note)?;
    Ok(())
}
