//! `quietus lease show`

use clap::Args;
use quietus_core::LeaseId;

use crate::api::v1;
use crate::cli::exit::Complaint;
use crate::cli::session::Globals;
use crate::cli::view::Lease;

/// Shows a lease (its agent, and operators); never the credential, which is not stored
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  quietus lease show 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0")]
pub struct ShowArgs {
    /// The lease
    #[arg(value_name = "LEASE")]
    lease: LeaseId,
}

pub async fn run(globals: &Globals, args: ShowArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::GetTaskRequest {
        task_id: args.lease.task.to_string(),
    };
    let answer = session.answer(session.broker().get_task(request)).await?;
    let id = args.lease.to_string();
    let mut leases = answer.leases.into_iter();
    let lease = leases.find(|lease| lease.id == id);
    let lease = lease.ok_or(Complaint::NotFound("lease"))?;
    Ok(globals.out().print(&Lease::from(lease))?)
}
