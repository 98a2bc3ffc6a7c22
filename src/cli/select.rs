//! What a revocation, a freeze or a thaw is about.

use clap::Args;
use quietus_core::{LeaseId, TargetName, TaskId};
use quietus_identity::{SpiffeId, TrustDomain};

use crate::api::v1;
use crate::api::v1::selector::Of;

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Revocable {
    /// One task, with every credential under it
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
    /// One credential
    #[arg(long, value_name = "ID")]
    lease: Option<LeaseId>,
    /// All tasks of one agent
    #[arg(long, value_name = "SPIFFE-ID", value_parser = spiffe_id)]
    agent: Option<SpiffeId>,
    /// All credentials for one target
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// All tasks of all agents of one trust domain
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// Everything
    #[arg(long)]
    all: bool,
}

#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Freezable {
    /// One agent
    #[arg(long, value_name = "SPIFFE-ID", value_parser = spiffe_id)]
    agent: Option<SpiffeId>,
    /// One target
    #[arg(long, value_name = "NAME")]
    target: Option<TargetName>,
    /// All agents of one trust domain
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<TrustDomain>,
    /// Everything
    #[arg(long)]
    all: bool,
}

impl From<&Revocable> for v1::Selector {
    fn from(chosen: &Revocable) -> Self {
        let narrow = [
            chosen.task.map(|id| Of::TaskId(id.to_string())),
            chosen.lease.map(|id| Of::LeaseId(id.to_string())),
        ];
        let wide = wide(
            &chosen.agent,
            &chosen.target,
            &chosen.trust_domain,
            chosen.all,
        );
        let of = narrow.into_iter().flatten().next().or(wide);
        Self { of }
    }
}

impl From<&Freezable> for v1::Selector {
    fn from(chosen: &Freezable) -> Self {
        let of = wide(
            &chosen.agent,
            &chosen.target,
            &chosen.trust_domain,
            chosen.all,
        );
        Self { of }
    }
}

/// A SPIFFE ID on the command line.
pub fn spiffe_id(text: &str) -> Result<SpiffeId, String> {
    text.parse()
        .map_err(|error| format!("{error}; an agent is named like spiffe://example.org/agents/one"))
}

fn wide(
    agent: &Option<SpiffeId>,
    target: &Option<TargetName>,
    trust_domain: &Option<TrustDomain>,
    all: bool,
) -> Option<Of> {
    let choices = [
        agent.as_ref().map(|id| Of::Agent(id.to_string())),
        target.as_ref().map(|name| Of::Target(name.to_string())),
        trust_domain
            .as_ref()
            .map(|name| Of::TrustDomain(name.to_string())),
        all.then_some(Of::All(true)),
    ];
    choices.into_iter().flatten().next()
}
