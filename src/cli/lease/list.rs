//! `quietus lease list`

use std::time::Duration;

use clap::{Args, ValueEnum};
use quietus_core::{TargetName, TaskId};
use quietus_identity::SpiffeId;

use crate::api::v1;
use crate::cli::exit::Complaint;
use crate::cli::pages::Limit;
use crate::cli::select::spiffe_id;
use crate::cli::session::Globals;
use crate::cli::show::Stuck;
use crate::cli::view;
use crate::cli::words::wire_duration;

/// Lists leases, in order of their tasks' opening (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus lease list --state active --target orders-db
  quietus lease list --state revoking --limit 0 -o json
  quietus lease list --stuck
  quietus lease list --stuck=10m --target orders-db

With --stuck it lists leases that have ended but whose credentials are not confirmed dead at their targets: since when \
that is waited for, how often it was tried, and what the target said last. The broker never gives up.")]
pub struct ListArgs {
    /// Of this task
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
    /// Of this agent
    #[arg(long, value_name = "SPIFFE-ID", value_parser = spiffe_id)]
    agent: Option<SpiffeId>,
    /// For this target
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// In this state
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Whose credential's death is not confirmed yet, for at least this long
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "state")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "0s")]
    stuck: Option<Duration>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Issuing,
    Active,
    Revoking,
    Ended,
}

pub async fn run(globals: &Globals, args: ListArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let filter = filter(&args)?;
    let fetch = |page_size, page_token| {
        let request = v1::ListLeasesRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        let session = &session;
        async move {
            let answer = session
                .answer(session.operator().list_leases(request))
                .await?;
            let rows = answer.leases.into_iter().map(view::Lease::from);
            Ok((rows.collect(), answer.next_page_token))
        }
    };
    let leases = args.limit.gather(fetch).await?;
    match args.stuck {
        Some(_) => globals.out().print(&Stuck(&leases.rows))?,
        None => globals.out().print(&leases.rows)?,
    }
    Ok(leases.note("lease")?)
}

fn filter(args: &ListArgs) -> Result<v1::ListLeasesRequest, Complaint> {
    let state = args
        .state
        .map_or(v1::LeaseState::Unspecified, v1::LeaseState::from);
    Ok(v1::ListLeasesRequest {
        task_id: args.task.map(|id| id.to_string()).unwrap_or_default(),
        agent: args
            .agent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        target: args
            .target
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        state: state.into(),
        stuck_for: wire_duration(args.stuck)?,
        ..v1::ListLeasesRequest::default()
    })
}

impl From<State> for v1::LeaseState {
    fn from(state: State) -> Self {
        match state {
            State::Issuing => Self::Issuing,
            State::Active => Self::Active,
            State::Revoking => Self::Revoking,
            State::Ended => Self::Ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ListArgs,
    }

    fn stuck_for(line: &str) -> Option<i64> {
        let line = Line::try_parse_from(line.split(' ')).unwrap();
        let wanted = filter(&line.args).unwrap().stuck_for;
        wanted.map(|time| time.seconds)
    }

    #[test]
    fn stuck_may_say_for_how_long() {
        assert_eq!(stuck_for("list"), None);
        assert_eq!(stuck_for("list --stuck"), Some(0));
        assert_eq!(stuck_for("list --stuck=10m"), Some(600));
        assert!(Line::try_parse_from(["list", "--stuck", "10m"]).is_err());
        assert!(Line::try_parse_from(["list", "--stuck=soon"]).is_err());
        assert!(Line::try_parse_from(["list", "--stuck", "--state", "active"]).is_err());
    }
}
