//! `quietus receipt show`

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use clap::Args;
use quietus_core::TaskId;

use super::read::{self, Fetched};
use super::view::{Signature, Signed};
use crate::api::v1;
use crate::cli::session::Globals;

/// Shows a receipt, from the broker (the task's agent, and operators) or from a file
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus receipt show 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55
  quietus receipt show 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55 --signed > task.receipt
  quietus receipt show task.receipt -o json | jq '.credentials[] | select(.confirmed == null)'

Confirmations that came after the task was closed are in the receipt that the broker gives now. A file is shown as it \
is: whether it is to be believed is for `quietus receipt verify` to say.")]
pub struct ShowArgs {
    /// A task that has ended, or a file with its receipt
    #[arg(value_name = "TASK|FILE")]
    what: Source,
    /// Print the signed note, to be kept and verified
    #[arg(long)]
    signed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Task(TaskId),
    File(PathBuf),
}

pub async fn run(globals: &Globals, args: ShowArgs) -> anyhow::Result<()> {
    let (note, signed) = match &args.what {
        Source::Task(task) => from_broker(globals, task).await?,
        Source::File(path) => from_file(path)?,
    };
    match args.signed {
        true => Ok(globals.out().print_exact(&note)?),
        false => Ok(globals.out().print(&signed)?),
    }
}

async fn from_broker(globals: &Globals, task: &TaskId) -> anyhow::Result<(String, Signed)> {
    let session = globals.connect().await?;
    let request = v1::GetReceiptRequest {
        task_id: task.to_string(),
    };
    let answer = session
        .answer(session.broker().get_receipt(request))
        .await?;
    let Fetched { note, signed, .. } = Fetched::read(answer.receipt)?;
    Ok((note, signed))
}

fn from_file(path: &Path) -> anyhow::Result<(String, Signed)> {
    let bytes = read::file(path)?;
    let shown = || path.display().to_string();
    let (receipt, names) = read::unchecked(&bytes).with_context(shown)?;
    let note = String::from_utf8(bytes).with_context(shown)?;
    Ok((note, Signed::new(receipt, Signature::Unchecked, names)))
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(task) => Self::Task(task),
            Err(_) => Self::File(text.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_told_from_a_file() {
        let id = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";
        assert_eq!(id.parse(), Ok(Source::Task(id.parse().unwrap())));
        for path in ["task.receipt", "./0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55", ""] {
            assert_eq!(path.parse(), Ok(Source::File(path.into())));
        }
    }
}
