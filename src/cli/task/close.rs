//! `quietus task close`

use clap::Args;
use quietus_core::TaskId;

use crate::api::v1;
use crate::cli::session::Globals;
use crate::cli::view::TaskDetail;

/// Ends a task and every credential under it (the task's agent)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus task close 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55
  quietus task close \"$TASK\" --failed

Operators end tasks with `quietus revoke --task ID`.")]
pub struct CloseArgs {
    /// The task
    #[arg(value_name = "TASK")]
    task: TaskId,
    /// Record that the work failed
    #[arg(long)]
    failed: bool,
    /// The same key gives the same answer
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true
    )]
    idempotency_key: String,
}

pub async fn run(globals: &Globals, args: CloseArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::CloseTaskRequest {
        wait: None,
        idempotency_key: args.idempotency_key,
        task_id: args.task.to_string(),
        failed: args.failed,
    };
    let answer = session.answer(session.broker().close_task(request)).await?;
    let detail = TaskDetail::read(answer.task, answer.leases)?;
    Ok(globals.out().print(&detail)?)
}
