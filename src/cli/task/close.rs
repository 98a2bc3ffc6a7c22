//! `quietus task close`

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use quietus_core::TaskId;
use serde::Serialize;

use crate::api::v1;
use crate::cli::exit::{Complaint, Exit};
use crate::cli::output::{Page, Show};
use crate::cli::receipt::Fetched;
use crate::cli::session::Globals;
use crate::cli::show::Deaths;
use crate::cli::style::Tone;
use crate::cli::view::TaskDetail;
use crate::cli::words::wire_duration;

/// The longest that the broker waits.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// Ends a task and every credential under it (the task's agent)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus task close 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55
  quietus task close \"$TASK\" --failed
  quietus task close \"$TASK\" --wait 1m --receipt task.receipt

Once it is closed the broker honours nothing of it any more, and ends its credentials at their targets for as long as \
that takes. With --wait, exits with 7 if the death of some credential is not confirmed by then; later confirmations \
are in the receipt of `quietus receipt show`.

Operators end tasks with `quietus revoke --task ID`.")]
pub struct CloseArgs {
    /// The task
    #[arg(value_name = "TASK")]
    task: TaskId,
    /// Record that the work failed
    #[arg(long)]
    failed: bool,
    /// Wait so long, at most 5m, until the death of every credential is confirmed
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// Write the signed receipt into this file, which is not there yet
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// The same key gives the same answer
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true
    )]
    idempotency_key: String,
}

#[derive(Serialize)]
struct Closed {
    #[serde(flatten)]
    detail: TaskDetail,
    complete: bool,
    receipt: Option<Kept>,
}

/// The receipt in a file.
#[derive(Serialize)]
struct Kept {
    file: String,
    /// What to verify it with, as the broker says.
    key: String,
}

pub async fn run(globals: &Globals, args: CloseArgs) -> anyhow::Result<Exit> {
    check(&args)?;
    let wait = args.wait.unwrap_or_default();
    let session = globals.connect().await?.patient(wait);
    let request = v1::CloseTaskRequest {
        wait: wire_duration(args.wait)?,
        idempotency_key: args.idempotency_key,
        task_id: args.task.to_string(),
        failed: args.failed,
    };
    let answer = session.answer(session.broker().close_task(request)).await?;
    let task = args.task;
    let fetched = Fetched::read(answer.receipt).context("the task is closed")?;
    let kept = args.receipt.map(|path| keep(&fetched, &path)).transpose();
    let closed = Closed {
        detail: TaskDetail::read(answer.task, answer.leases)?,
        complete: fetched.signed.is_complete(),
        receipt: kept.with_context(|| {
            format!("the task is closed; `quietus receipt show {task} --signed` has its receipt")
        })?,
    };
    globals.out().print(&closed)?;
    Ok(closed.exit(args.wait.is_some()))
}

/// What can be wrong is so before the task is closed.
fn check(args: &CloseArgs) -> anyhow::Result<()> {
    if args.wait.is_some_and(|wait| wait > MAX_WAIT) {
        let message = "the broker waits for at most 5m: close it, and look again later";
        return Err(Complaint::Usage(message.to_owned()).into());
    }
    match &args.receipt {
        Some(path) if fs::symlink_metadata(path).is_ok() => {
            bail!("{} is there already: name another file", path.display())
        }
        _ => Ok(()),
    }
}

fn keep(fetched: &Fetched, path: &Path) -> anyhow::Result<Kept> {
    let file = path.display().to_string();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    options
        .open(path)
        .and_then(|mut open| open.write_all(fetched.note.as_bytes()))
        .with_context(|| format!("cannot write {file}"))?;
    Ok(Kept {
        file,
        key: fetched.verifier.clone(),
    })
}

impl Closed {
    fn exit(&self, waited: bool) -> Exit {
        match waited && !self.complete {
            true => Exit::Unconfirmed,
            false => Exit::Done,
        }
    }
}

impl Show for Closed {
    fn show(&self, page: &mut Page) {
        self.detail.task.show(page);
        if !self.detail.leases.is_empty() {
            page.heading("Credentials");
            Deaths(&self.detail.leases).show(page);
        }
        page.line("");
        match self.complete {
            true => page.toned(Tone::Good, "the death of every credential is confirmed"),
            false => page.toned(
                Tone::Busy,
                "the death of some credential is not confirmed yet: the broker keeps trying",
            ),
        }
        if let Some(Kept { file, key }) = &self.receipt {
            page.line(format!("receipt in {file}: verify it with the key {key}"));
        }
    }
}
