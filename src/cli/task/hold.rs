//! `quietus task hold`

use std::time::{Duration, Instant};

use clap::Args;
use quietus_core::TaskId;
use serde::Serialize;
use tonic::{Code, Status, Streaming};

use crate::api::v1;
use crate::cli::exit::{Complaint, Exit};
use crate::cli::output::{Output, Page, Show, note};
use crate::cli::session::{Globals, Session};
use crate::cli::show::ending;
use crate::cli::view;

/// How long to try to hold the task again when the broker is away.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(500);

/// Keeps an open task alive until it ends or this command does
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus task hold 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55

The exit code says how the task ended: 0 completed, 3 revoked, 1 otherwise. Once it is not held any more, the broker \
ends the task when its grace is over.")]
pub struct HoldArgs {
    /// The task
    #[arg(value_name = "TASK")]
    task: TaskId,
    /// Print nothing
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Event {
    event: &'static str,
    task: view::Task,
}

pub async fn run(globals: &Globals, args: HoldArgs) -> anyhow::Result<Exit> {
    let session = globals.connect().await?;
    keep(&session, globals.out(), &args.task.to_string(), args.quiet).await
}

/// Holds a task until it ends. How it ended makes the exit code.
pub async fn keep(session: &Session, out: Output, id: &str, quiet: bool) -> anyhow::Result<Exit> {
    if !quiet && !out.is_json() {
        note("holding the task; Ctrl-C lets go of it")?;
    }
    let mut held_at = Instant::now();
    loop {
        let lost = match hold(session, id).await {
            Ok(stream) => follow(stream, out, quiet, &mut held_at).await?,
            Err(error) => Lost::Stream(downcast(error)?),
        };
        match lost {
            Lost::Ended(exit) => return Ok(exit),
            Lost::Stream(status) if is_passing(&status) && held_at.elapsed() < PATIENCE => {
                tokio::time::sleep(PAUSE).await;
            }
            Lost::Stream(status) => return Err(status.into()),
        }
    }
}

/// Why a hold is over.
enum Lost {
    Ended(Exit),
    Stream(Box<Status>),
}

async fn hold(session: &Session, id: &str) -> anyhow::Result<Streaming<v1::HoldTaskResponse>> {
    let task_id = id.to_owned();
    let request = v1::HoldTaskRequest { task_id };
    session.answer(session.broker().hold_task(request)).await
}

async fn follow(
    mut stream: Streaming<v1::HoldTaskResponse>,
    out: Output,
    quiet: bool,
    held_at: &mut Instant,
) -> anyhow::Result<Lost> {
    loop {
        let answer = match stream.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Ok(Lost::Stream(Box::new(Status::unavailable(
                    "the hold was cut off",
                ))));
            }
            Err(status) => return Ok(Lost::Stream(Box::new(status))),
        };
        *held_at = Instant::now();
        let event = Event::read(answer)?;
        if !quiet && event.is_news(out) {
            out.print_event(&event)?;
        }
        if let Some(exit) = event.exit() {
            return Ok(Lost::Ended(exit));
        }
    }
}

impl Event {
    fn read(answer: v1::HoldTaskResponse) -> Result<Self, Complaint> {
        let task: view::Task = answer.task.ok_or(Complaint::Incomplete("task"))?.into();
        let event = match task.ending {
            Some(_) => "ended",
            None => "held",
        };
        Ok(Self { event, task })
    }

    /// People are told of the end alone.
    fn is_news(&self, out: Output) -> bool {
        out.is_json() || self.task.ending.is_some()
    }

    fn exit(&self) -> Option<Exit> {
        let ending = self.task.ending.as_ref()?;
        Some(match ending.cause.as_str() {
            "completed" => Exit::Done,
            "revoked" => Exit::Refused,
            _ => Exit::Failed,
        })
    }
}

impl Show for Event {
    fn show(&self, page: &mut Page) {
        if let Some(how) = &self.task.ending {
            page.line(format!("ended: {}", ending(page, how)));
        }
    }
}

fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::Unknown | Code::Cancelled
    )
}

fn downcast(error: anyhow::Error) -> anyhow::Result<Box<Status>> {
    error.downcast::<Status>().map(Box::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cause: Option<&str>) -> Event {
        let ending = cause.map(|cause| v1::Ending {
            cause: cause.to_owned(),
            ..v1::Ending::default()
        });
        let task = Some(v1::Task {
            ending,
            ..v1::Task::default()
        });
        Event::read(v1::HoldTaskResponse { task }).unwrap()
    }

    #[test]
    fn the_exit_code_says_how_the_task_ended() {
        let cases = [
            (None, None),
            (Some("Completed"), Some(Exit::Done)),
            (Some("Revoked"), Some(Exit::Refused)),
            (Some("Failed"), Some(Exit::Failed)),
            (Some("Expired"), Some(Exit::Failed)),
            (Some("Abandoned"), Some(Exit::Failed)),
            (Some("ParentEnded"), Some(Exit::Failed)),
        ];
        for (cause, exit) in cases {
            assert_eq!(event(cause).exit(), exit, "{cause:?}");
        }
    }
}
