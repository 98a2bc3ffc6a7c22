//! `quietus task open`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::hold;
use crate::api::v1;
use crate::cli::exit::{Complaint, Exit};
use crate::cli::output::{Page, Show, note};
use crate::cli::session::Globals;
use crate::cli::show::bound_in_words;
use crate::cli::view;
use crate::cli::words::{sha256_of, wire_duration};

/// Opens a task for the calling agent
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus task open --purpose 'Fix order 1234' --ticket OPS-77 --for 30m
  TASK=$(quietus task open --purpose 'Nightly export' --for 2h -q)
  quietus task open --purpose 'Interactive session' --hold

With --hold, the exit code says how the task ended: 0 completed, 3 revoked, 1 otherwise. Once it is not held any \
more, the broker ends the task when its grace is over.")]
pub struct OpenArgs {
    /// Why; recorded and shown, never a policy input
    #[arg(long, value_name = "TEXT")]
    purpose: String,
    /// The work item; recorded and shown, never a policy input
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    ticket: String,
    /// How long the task may last; the broker's configuration may allow less
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Promise a heartbeat this often; the task ends when one is missed
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    heartbeat: Option<Duration>,
    /// The prompt that the task is to carry out: its SHA-256 is recorded, and nothing else of it is sent
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// Stay, and keep the task alive until it ends or this command does
    #[arg(long)]
    hold: bool,
    /// Print only the task's id
    #[arg(short, long)]
    quiet: bool,
    /// The same key gives the same answer, so that asking again opens no second task
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true
    )]
    idempotency_key: String,
}

#[derive(Serialize)]
struct Opened {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'static str>,
    task: view::Task,
    bound: String,
}

pub async fn run(globals: &Globals, args: OpenArgs) -> anyhow::Result<Exit> {
    let (out, quiet, held) = (globals.out(), args.quiet, args.hold);
    let request = request(args)?;
    let session = globals.connect().await?;
    let answer = session.answer(session.broker().open_task(request)).await?;
    let opened = Opened {
        event: held.then_some("opened"),
        task: answer.task.ok_or(Complaint::Incomplete("task"))?.into(),
        bound: answer.bound,
    };
    match (quiet, held) {
        (true, _) => out.print_bare(&opened.task.id)?,
        (false, true) => out.print_event(&opened)?,
        (false, false) => out.print(&opened)?,
    }
    if held {
        return hold::keep(&session, out, &opened.task.id, quiet).await;
    }
    if opened.task.heartbeat_interval_ms.is_some() && !quiet {
        note(format!(
            "keep it alive with: quietus task heartbeat {}",
            opened.task.id
        ))?;
    }
    Ok(Exit::Done)
}

fn request(args: OpenArgs) -> anyhow::Result<v1::OpenTaskRequest> {
    Ok(v1::OpenTaskRequest {
        idempotency_key: args.idempotency_key,
        purpose: args.purpose,
        ticket: args.ticket,
        duration: wire_duration(args.duration)?,
        heartbeat_interval: wire_duration(args.heartbeat)?,
        prompt_sha256: sha256_of(args.prompt_file.as_deref())?,
    })
}

impl Show for Opened {
    fn show(&self, page: &mut Page) {
        self.task.show(page);
        page.line(format!(
            "its deadline is bound by {}",
            bound_in_words(&self.bound)
        ));
    }
}
