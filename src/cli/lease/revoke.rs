//! `quietus lease revoke`

use clap::Args;
use quietus_core::LeaseId;

use crate::api::v1;
use crate::cli::exit::Complaint;
use crate::cli::session::Globals;
use crate::cli::view::Lease;

/// Gives one credential back (the task's agent)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus lease revoke 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0

Operators end leases with `quietus revoke --lease ID`.")]
pub struct RevokeArgs {
    /// The lease
    #[arg(value_name = "LEASE")]
    lease: LeaseId,
    /// The same key gives the same answer
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true
    )]
    idempotency_key: String,
}

pub async fn run(globals: &Globals, args: RevokeArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::RevokeLeaseRequest {
        idempotency_key: args.idempotency_key,
        lease_id: args.lease.to_string(),
    };
    let answer = session
        .answer(session.broker().revoke_lease(request))
        .await?;
    let lease = answer.lease.ok_or(Complaint::Incomplete("lease"))?;
    Ok(globals.out().print(&Lease::from(lease))?)
}
