//! `quietus audit erase`

use clap::Args;
use quietus_core::{Digest, TaskId};
use serde::Serialize;

use crate::api::v1;
use crate::api::v1::erase_text_request::Of;
use crate::cli::confirm::{Gate, ask, has_terminal};
use crate::cli::exit::Complaint;
use crate::cli::output::{Page, Show, note};
use crate::cli::session::Globals;
use crate::cli::text::count;

/// Erases texts that were reported with actions; the ledger keeps its commitments to them (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit erase b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7 --reason 'request 17'
  quietus audit erase --task 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55 --reason 'request 17' --yes

Asks first. Nobody gets them from the broker again, and nothing in the ledger becomes invalid. The file of the store \
may hold the bytes until it writes something else there; copies of the file, and whoever has read them, keep what \
they have.")]
pub struct EraseArgs {
    #[command(flatten)]
    what: What,
    /// Why; recorded
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// The text under this commitment
    #[arg(value_name = "COMMITMENT")]
    commitment: Option<Digest>,
    /// All texts of this task
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
}

#[derive(Serialize)]
struct Erased {
    erased: u32,
}

pub async fn run(globals: &Globals, args: EraseArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    match Gate::when(!args.yes, has_terminal()) {
        Gate::Open => {}
        Gate::Ask => confirm(&args.what).await?,
        Gate::Shut => {
            let what = format!("erasing {}", args.what.sentence());
            return Err(Complaint::Unconfirmed { what }.into());
        }
    }
    let request = v1::EraseTextRequest {
        of: args.what.of(),
        reason: args.reason,
    };
    let answer = session
        .answer(session.operator().erase_text(request))
        .await?;
    let erased = answer.erased;
    Ok(globals.out().print(&Erased { erased })?)
}

async fn confirm(what: &What) -> anyhow::Result<()> {
    note(format!(
        "{} will be gone; it cannot be brought back",
        what.sentence()
    ))?;
    match ask("Erase?").await? {
        true => Ok(()),
        false => Err(Complaint::Declined("erased").into()),
    }
}

impl What {
    fn of(&self) -> Option<Of> {
        let task = self.task.map(|id| Of::TaskId(id.to_string()));
        let text = self.commitment.map(|it| Of::Commitment(it.to_string()));
        task.or(text)
    }

    fn sentence(&self) -> String {
        match (&self.task, &self.commitment) {
            (Some(task), _) => format!("every text of task {task}"),
            (None, Some(commitment)) => format!("the text under {commitment}"),
            (None, None) => "nothing".to_owned(),
        }
    }
}

impl Show for Erased {
    fn show(&self, page: &mut Page) {
        page.line(format!("erased {}", count(u64::from(self.erased), "text")));
    }
}
