//! `quietus task list`

use clap::{Args, ValueEnum};
use quietus_identity::{SpiffeId, TrustDomain};

use crate::api::v1;
use crate::cli::pages::Limit;
use crate::cli::select::spiffe_id;
use crate::cli::session::Globals;
use crate::cli::view;

/// Lists tasks, in order of opening (operators)
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus task list --state open
  quietus task list --agent spiffe://dev.example/agent -o json | jq -r '.[].id'")]
pub struct ListArgs {
    /// Of this agent
    #[arg(long, value_name = "SPIFFE-ID", value_parser = spiffe_id)]
    agent: Option<SpiffeId>,
    /// Of agents of this trust domain
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// In this state
    #[arg(long, value_enum)]
    state: Option<State>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Open,
    Closing,
    Closed,
}

pub async fn run(globals: &Globals, args: ListArgs) -> anyhow::Result<()> {
    let session = globals.connect().await?;
    let filter = filter(&args);
    let fetch = |page_size, page_token| {
        let request = v1::ListTasksRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        let session = &session;
        async move {
            let answer = session
                .answer(session.operator().list_tasks(request))
                .await?;
            let rows = answer.tasks.into_iter().map(view::Task::from);
            Ok((rows.collect(), answer.next_page_token))
        }
    };
    let tasks = args.limit.gather(fetch).await?;
    globals.out().print(&tasks.rows)?;
    Ok(tasks.note("task")?)
}

fn filter(args: &ListArgs) -> v1::ListTasksRequest {
    let state = args
        .state
        .map_or(v1::TaskState::Unspecified, v1::TaskState::from);
    v1::ListTasksRequest {
        agent: args
            .agent
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        trust_domain: args
            .trust_domain
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        state: state.into(),
        ..v1::ListTasksRequest::default()
    }
}

impl From<State> for v1::TaskState {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Closing => Self::Closing,
            State::Closed => Self::Closed,
        }
    }
}
