//! The story of a task: what was asked, decided, granted, done and ended, in the words of the ledger.

mod tell;

use std::collections::BTreeMap;

use serde::Serialize;

/// A task from its opening to the death of its last credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Story {
    /// Its id.
    pub task: String,
    /// What it was opened with; none if that entry was pruned.
    pub opened: Option<Opened>,
    /// The agent's registered owner, as policy was told.
    pub owner: Option<String>,
    /// The agent's registered team, as policy was told.
    pub team: Option<String>,
    /// The distributed trace that it is.
    pub trace: Option<String>,
    /// What the ledger last said of its state.
    pub state: Option<String>,
    /// What ended it.
    pub ended: Option<Ended>,
    /// What happened, in order. What happened to a lease is with the request that it was granted to.
    pub steps: Vec<Step>,
    /// What became of its credentials.
    pub credentials: Credentials,
}

/// Where a step is in the ledger, and when it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct At {
    /// The entry.
    pub entry: u64,
    /// What it says happened.
    pub event: String,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Milliseconds since the task was opened.
    pub after_ms: u64,
    /// Who caused it; none if the broker did by itself.
    pub by: Option<String>,
}

/// What a task was opened with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Where it says so.
    #[serde(flatten)]
    pub at: At,
    /// SPIFFE ID.
    pub agent: String,
    /// SHA-256 of the certificate that the agent showed.
    pub certificate: Option<String>,
    /// Untrusted text from the agent.
    pub purpose: Option<String>,
    /// Untrusted text from the agent.
    pub ticket: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
    /// When it expires, in milliseconds since the Unix epoch.
    pub deadline_ms: Option<u64>,
    /// SHA-256 of the prompt that it was opened for, as the agent says.
    pub prompt: Option<String>,
}

/// How a task ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Where it says so.
    #[serde(flatten)]
    pub at: At,
    /// The stable word for why.
    pub cause: Option<String>,
}

/// One thing that happened to the task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Where it says so.
    #[serde(flatten)]
    pub at: At,
    /// The stable word for why it was refused.
    pub refusal: Option<String>,
    /// Why leases or the task ended.
    pub cause: Option<String>,
    /// The policy set that decided.
    pub policy: Option<String>,
    /// What policy said, scope by scope.
    pub decisions: Vec<Decision>,
    /// The leases that were granted.
    pub leases: Vec<LeaseStory>,
    /// What was done, if it was with no lease that is known.
    pub action: Option<Action>,
    /// What else belongs to it.
    pub detail: BTreeMap<String, String>,
}

/// What policy said of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// `target:action:resource`
    pub scope: String,
    /// `permit`, `deny` or `approval_needed`.
    pub outcome: String,
    /// The policies that decided.
    pub deciding: Vec<String>,
}

/// A lease and everything that happened to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeaseStory {
    /// `<task>.<number>`
    pub id: String,
    /// The target it is for.
    pub target: String,
    /// What the credential may do.
    pub scopes: Vec<String>,
    /// When it expires, in milliseconds since the Unix epoch, and after the opening.
    pub expires_at_ms: Option<u64>,
    /// Milliseconds between the opening and the expiry.
    pub expires_after_ms: Option<u64>,
    /// Which limit set the expiry.
    pub bound: Option<String>,
    /// SHA-256 of what identifies the credential.
    pub fingerprint: Option<String>,
    /// SHA-256 of the certificate that it is bound to.
    pub certificate: Option<String>,
    /// What the ledger last said of its state.
    pub state: String,
    /// When it ended, in milliseconds since the Unix epoch.
    pub ended_at_ms: Option<u64>,
    /// How its death was confirmed.
    pub confirmed: Option<String>,
    /// Milliseconds between its end and the confirmation.
    pub lag_ms: Option<u64>,
    /// What happened to it after it was granted.
    pub events: Vec<LeaseEvent>,
}

/// One thing that happened to a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeaseEvent {
    /// Where it says so.
    #[serde(flatten)]
    pub at: At,
    /// Its state after it.
    pub state: Option<String>,
    /// What ended it.
    pub cause: Option<String>,
    /// How often the target was asked in vain.
    pub attempts: Option<u32>,
    /// What the target said.
    pub error: Option<String>,
    /// How its death was confirmed.
    pub confirmed: Option<String>,
    /// Its new expiry after the opening, if it was renewed.
    pub expires_after_ms: Option<u64>,
    /// What was done with it.
    pub action: Option<Action>,
}

/// What somebody says was done with a credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Action {
    /// The tool.
    pub tool: String,
    /// What it was done to.
    pub resource: String,
    /// `succeeded`, `failed` or `refused`.
    pub result: String,
    /// The reporter's own name for the call.
    pub call: Option<String>,
    /// SHA-256 of the prompt.
    pub prompt: Option<String>,
    /// SHA-256 of the arguments.
    pub arguments: Option<String>,
    /// SHA-256 of the answer.
    pub response: Option<String>,
    /// What the text that came with it is committed to by.
    pub commitment: Option<String>,
    /// The text; none if there was none, or it was erased.
    pub text: Option<String>,
    /// Why the text is not shown: `erased`, or what went wrong.
    pub text_missing: Option<String>,
}

/// What became of the credentials of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Credentials {
    /// How many there were.
    pub issued: u64,
    /// How many of them are confirmed dead.
    pub confirmed: u64,
    /// How many live.
    pub live: u64,
    /// How many have ended and are not confirmed dead.
    pub unconfirmed: u64,
}

impl Story {
    /// Every action in it, so that texts can be put in.
    pub fn actions(&mut self) -> impl Iterator<Item = &mut Action> {
        self.steps.iter_mut().flat_map(|step| {
            let leases = step.leases.iter_mut();
            let with_lease = leases.flat_map(|lease| lease.events.iter_mut());
            let with_lease = with_lease.filter_map(|event| event.action.as_mut());
            with_lease.chain(step.action.as_mut())
        })
    }
}
