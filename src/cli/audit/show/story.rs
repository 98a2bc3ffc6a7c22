//! `quietus audit show task`

mod tree;

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use quietus_core::{Digest, TaskId};
use quietus_ledger::Sealed;

use crate::audit::select::Selection;
use crate::audit::story::{Action, Story};
use crate::audit::walk;
use crate::audit::{Log, Text};
use crate::cli::audit::log_in;
use crate::cli::exit::Complaint;
use crate::cli::session::Globals;

/// Most entries that make a story.
const MAX_ENTRIES: usize = 100_000;

/// Tells the story of a task: what was asked, decided, granted, done and ended
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit show task 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55
  quietus audit show task 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55 --copy copy/
  quietus audit show task 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55 -o json | jq .credentials

Times are counted from the opening; #N is the entry that says so. Purposes, tickets and texts are the agent's own words: \
they are quoted, and nothing vouches for them. That the entries are what was written is for `quietus audit verify` to say.")]
pub struct TaskArgs {
    /// The task
    #[arg(value_name = "TASK")]
    task: TaskId,
    /// The folder with a copy of the log; by default the broker that --identity names is asked
    #[arg(long, value_name = "DIR")]
    copy: Option<PathBuf>,
}

pub async fn run(globals: &Globals, args: &TaskArgs) -> anyhow::Result<()> {
    let log = log_in(globals, args.copy.as_deref()).await?;
    let entries = entries(&log, args.task).await?;
    let story = Story::of(&args.task.to_string(), &entries);
    let mut story = story.ok_or(Complaint::NotFound("task in the ledger"))?;
    for action in story.actions() {
        put_in(&log, action).await;
    }
    Ok(globals.out().print(&story)?)
}

/// The entries that name the task, with their lists put back.
async fn entries(log: &Log, task: TaskId) -> anyhow::Result<Vec<Sealed>> {
    let asked = Selection {
        task: Some(task),
        ..Selection::default()
    };
    let mut selected = log.select(asked).await?;
    let mut entries = Vec::new();
    while let Some(found) = selected.next().await? {
        if entries.len() == MAX_ENTRIES {
            bail!(
                "the task has more than {MAX_ENTRIES} entries: see `quietus audit export --task`"
            );
        }
        entries.push(whole(log, found.sealed).await?);
    }
    Ok(entries)
}

async fn whole(log: &Log, mut sealed: Sealed) -> anyhow::Result<Sealed> {
    let attached: Vec<_> = sealed.entry.attached.keys().cloned().collect();
    for name in attached {
        if let Err(problem) = walk::restore(log, &mut sealed.entry, &name).await? {
            bail!("entry {}: {problem}", sealed.seq);
        }
    }
    Ok(sealed)
}

/// The text of an action, or why there is none: the story goes on without it.
async fn put_in(log: &Log, action: &mut Action) {
    let Some(commitment) = action.commitment.as_deref() else {
        return;
    };
    let Log::Broker(remote) = log else {
        action.text_missing = Some("not in a copy".to_owned());
        return;
    };
    let text = match commitment.parse::<Digest>() {
        Ok(digest) => remote.text(digest).await,
        Err(error) => Err(error.into()),
    };
    match text {
        Ok(Text::Kept(text)) => action.text = Some(text),
        Ok(Text::Erased) => action.text_missing = Some("erased".to_owned()),
        Err(error) => action.text_missing = Some(format!("not read: {error}")),
    }
}
