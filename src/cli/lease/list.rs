//! `quietus lease list`

use clap::{Args, ValueEnum};
use quietus_core::{TargetName, TaskId};
use quietus_identity::SpiffeId;

use crate::api::v1;
use crate::cli::pages::Limit;
use crate::cli::select::spiffe_id;
use crate::cli::session::Globals;
use crate::cli::view;

/// Lists leases, in order of their tasks' opening (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus lease list --state active --target orders-db
  quietus lease list --state revoking --limit 0 -o json")]
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
    let filter = filter(&args);
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
    globals.out().print(&leases.rows)?;
    Ok(leases.note("lease")?)
}

fn filter(args: &ListArgs) -> v1::ListLeasesRequest {
    let state = args
        .state
        .map_or(v1::LeaseState::Unspecified, v1::LeaseState::from);
    v1::ListLeasesRequest {
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
        ..v1::ListLeasesRequest::default()
    }
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
