//! `quietus lease renew`

use std::time::Duration;

use clap::Args;
use quietus_core::LeaseId;

use crate::api::v1;
use crate::cli::request::Issued;
use crate::cli::session::Globals;
use crate::cli::words::wire_duration;

/// Asks policy again, for a longer life of a live lease, and prints the credential as it is from then on
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  TOKEN=$(quietus lease renew 0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0 --ttl 5m)

Printed as by `quietus request`.")]
pub struct RenewArgs {
    /// The lease
    #[arg(value_name = "LEASE")]
    lease: LeaseId,
    /// How long the credential is to live from now on; it may get less
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    ttl: Option<Duration>,
    /// Print the credential and nothing else
    #[arg(short, long)]
    quiet: bool,
    /// The same key gives the same answer
    #[arg(
        long,
        value_name = "KEY",
        default_value = "",
        hide_default_value = true
    )]
    idempotency_key: String,
}

pub async fn run(globals: &Globals, args: RenewArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let request = v1::RenewLeaseRequest {
        idempotency_key: args.idempotency_key,
        lease_id: args.lease.to_string(),
        ttl: wire_duration(args.ttl)?,
    };
    let answer = session
        .answer(session.broker().renew_lease(request))
        .await?;
    let issued = Issued::read(answer.lease, answer.credential)?;
    Ok(issued.hand_over(globals.out(), args.quiet)?)
}
