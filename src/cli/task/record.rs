//! `quietus task record`

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use quietus_core::{LeaseId, TaskId};
use serde::Serialize;

use crate::api::{v1, wire};
use crate::cli::exit::Complaint;
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;
use crate::cli::words::sha256_of;

/// The longest text that the broker takes.
const MAX_TEXT: u64 = 65_536;

/// Reports what was done with a credential (the task's agent, or a resource server of the lease's target)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus task record \"$TASK\" --lease \"$TASK.0\" --tool psql --resource public.orders --result succeeded
  quietus task record \"$TASK\" --tool deploy --result failed --arguments-file args.json --text-file error.txt

Of prompts, arguments and answers only the SHA-256 leaves this machine. The text of --text-file is sent and kept, apart \
from the ledger, until an operator erases it with `quietus audit erase`.")]
pub struct RecordArgs {
    /// The task, which may have ended
    #[arg(value_name = "TASK")]
    task: TaskId,
    /// The lease whose credential was used; resource servers must name it
    #[arg(long, value_name = "LEASE")]
    lease: Option<LeaseId>,
    /// What was called
    #[arg(long, value_name = "NAME")]
    tool: String,
    /// What it was done to
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    resource: String,
    /// How it went
    #[arg(long, value_enum)]
    result: Result,
    /// Your own name for the call
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    call: String,
    /// When it was called, as in 2026-01-31T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339)]
    started: Option<SystemTime>,
    /// When it had answered
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339)]
    ended: Option<SystemTime>,
    /// The prompt that led to it; its SHA-256 is sent
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// The arguments; their SHA-256 is sent
    #[arg(long, value_name = "FILE")]
    arguments_file: Option<PathBuf>,
    /// The answer; its SHA-256 is sent
    #[arg(long, value_name = "FILE")]
    response_file: Option<PathBuf>,
    /// Anything that is worth keeping, UTF-8, at most 64 KiB; sent and kept until it is erased
    #[arg(long, value_name = "FILE")]
    text_file: Option<PathBuf>,
    /// The same key gives the same answer, so that reporting again records nothing twice
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true
    )]
    idempotency_key: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Result {
    Succeeded,
    Failed,
    /// The resource server, or the agent itself, would not do it
    Refused,
}

#[derive(Serialize)]
struct Recorded {
    task: String,
    commitment: Option<String>,
}

pub async fn run(globals: &Globals, args: RecordArgs) -> anyhow::Result<()> {
    let request = request(args)?;
    let session = globals.connect().await?;
    let task = request.task_id.clone();
    let answer = session
        .answer(session.broker().record_action(request))
        .await?;
    let commitment = Some(answer.commitment).filter(|it| !it.is_empty());
    Ok(globals.out().print(&Recorded { task, commitment })?)
}

fn request(args: RecordArgs) -> anyhow::Result<v1::RecordActionRequest> {
    Ok(v1::RecordActionRequest {
        task_id: args.task.to_string(),
        lease_id: args.lease.map(|id| id.to_string()).unwrap_or_default(),
        tool: args.tool,
        resource: args.resource,
        result: v1::ActionResult::from(args.result).into(),
        call_id: args.call,
        started_at: moment(args.started)?,
        ended_at: moment(args.ended)?,
        prompt_sha256: sha256_of(args.prompt_file.as_deref())?,
        arguments_sha256: sha256_of(args.arguments_file.as_deref())?,
        response_sha256: sha256_of(args.response_file.as_deref())?,
        text: args
            .text_file
            .as_deref()
            .map(text_of)
            .transpose()?
            .unwrap_or_default(),
        idempotency_key: args.idempotency_key,
    })
}

fn moment(time: Option<SystemTime>) -> anyhow::Result<Option<wire::Timestamp>> {
    let Some(time) = time else { return Ok(None) };
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let before = |_| Complaint::Usage("that is before 1970: give a later time".to_owned());
    let since = since.map_err(before)?;
    Ok(Some(wire::Timestamp {
        seconds: i64::try_from(since.as_secs())?,
        nanos: i32::try_from(since.subsec_nanos())?,
    }))
}

/// No more is read than the broker would take.
fn text_of(path: &Path) -> anyhow::Result<String> {
    let named = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(named)?;
    let mut text = String::new();
    let read = file.take(MAX_TEXT + 1).read_to_string(&mut text);
    match u64::try_from(read.with_context(named)?)? > MAX_TEXT {
        true => bail!(
            "{} has more than {MAX_TEXT} bytes: record its digest and keep it elsewhere",
            path.display()
        ),
        false => Ok(text),
    }
}

impl From<Result> for v1::ActionResult {
    fn from(result: Result) -> Self {
        match result {
            Result::Succeeded => Self::Succeeded,
            Result::Failed => Self::Failed,
            Result::Refused => Self::Refused,
        }
    }
}

impl Show for Recorded {
    fn show(&self, page: &mut Page) {
        page.line("recorded");
        if let Some(commitment) = &self.commitment {
            page.line(format!(
                "the text is kept under {commitment}: auditors read it with `quietus audit text`"
            ));
        }
    }
}
