//! `quietus task heartbeat`

use clap::Args;
use quietus_core::TaskId;
use serde::Serialize;

use crate::api::v1;
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;
use crate::cli::view::Time;

/// Says that the task's agent is alive
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  while quietus task heartbeat \"$TASK\" >&2; do sleep 5; done &")]
pub struct HeartbeatArgs {
    /// The task
    #[arg(value_name = "TASK")]
    task: TaskId,
}

#[derive(Serialize)]
struct Alive {
    alive_until: Option<Time>,
}

pub async fn run(globals: &Globals, args: HeartbeatArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::HeartbeatRequest {
        task_id: args.task.to_string(),
    };
    let answer = session.answer(session.broker().heartbeat(request)).await?;
    let alive_until = Time::read(answer.alive_until);
    Ok(globals.out().print(&Alive { alive_until })?)
}

impl Show for Alive {
    fn show(&self, page: &mut Page) {
        match self.alive_until {
            Some(due) => page.line(format!("the next heartbeat is due {}", page.when(due))),
            None => page.line("the task depends on no heartbeat"),
        }
    }
}
