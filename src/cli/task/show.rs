//! `quietus task show`

use clap::Args;
use quietus_core::TaskId;

use crate::api::v1;
use crate::cli::session::Globals;
use crate::cli::view::TaskDetail;

/// Shows a task and every lease ever issued in it
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  quietus task show 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55")]
pub struct ShowArgs {
    /// The task
    #[arg(value_name = "TASK")]
    task: TaskId,
}

pub async fn run(globals: &Globals, args: ShowArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::GetTaskRequest {
        task_id: args.task.to_string(),
    };
    let answer = session.answer(session.broker().get_task(request)).await?;
    let detail = TaskDetail::read(answer.task, answer.leases)?;
    Ok(globals.out().print(&detail)?)
}
