//! What an entry says: anything that happened, and nothing secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::canonical;

/// The version of the entry schema.
pub const VERSION: u32 = 1;
/// Largest entry, in bytes: room for the end of a task with as many live leases as may be configured (10,000).
pub const MAX_ENTRY: usize = 4 * 1024 * 1024;
/// Room for the sequence number and the last brace.
const SEQ: usize = 21;

/// One thing that happened. Members that do not apply are absent. Times are milliseconds since the Unix epoch in
/// the broker's effective time; digests are lower-case hex SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// SPIFFE ID of the agent whose authority is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// SPIFFE ID of the broker that wrote the entry.
    pub broker: String,
    /// Who caused it; absent when the broker did by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// The stable word for what ended a task or a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What policy said, for each scope that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<Decision>,
    /// Anything else that belongs to this event.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detail: BTreeMap<String, String>,
    /// What happened, as `noun.verb`.
    pub event: String,
    /// What policy was told, the same for all scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// The leases concerned, as they are after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<Lease>,
    /// Digest of the policy set that decided, or that is now in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The stable word for why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Digest of the request's canonical bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The task concerned, as it is after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// When.
    pub time: u64,
    /// [`VERSION`].
    pub v: u32,
}

/// Whoever made the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// SHA-256 of the certificate shown.
    pub certificate: String,
    /// SPIFFE ID.
    pub id: String,
}

/// What policy said of one scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The policies that decided.
    pub deciding: Vec<String>,
    /// `permit`, `deny` or `approval_needed`.
    pub outcome: String,
    /// `target:action:resource`
    pub scope: String,
}

/// What policy was told besides the scope: enough to decide again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The agent's registered environment.
    pub agent_environment: String,
    /// Whether a human approved.
    pub approved: bool,
    /// How many delegations lie between this task and the first.
    pub delegation_depth: u64,
    /// The agent's registered owner.
    pub owner: String,
    /// The target's environment.
    pub target_environment: String,
    /// The target's kind.
    pub target_kind: String,
    /// The target's sensitivity.
    pub target_sensitivity: i64,
    /// Seconds since the task was opened.
    pub task_age: u64,
    /// The task's environment.
    pub task_environment: String,
    /// Whether the task is held by a stream.
    pub task_held: bool,
    /// Live leases in the task.
    pub task_leases: u64,
    /// The agent's registered team.
    pub team: String,
    /// The agent's registered risk tier.
    pub tier: i64,
    /// The decision's time, in seconds since the Unix epoch.
    pub time: u64,
    /// The lifetime asked for, in seconds.
    pub ttl: u64,
}

/// A lease as an entry shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    /// How often its target was asked in vain to revoke it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Which limit set the expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
    /// What ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// SHA-256 of the certificate that the credential is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// How its death was confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<String>,
    /// What the target last said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// SHA-256 of what identifies the credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// `<task>.<number>`
    pub id: String,
    /// What the credential may do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Issuing, Active, Revoking or Ended.
    pub state: String,
    /// The target it is for.
    pub target: String,
}

/// A task as an entry shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// Its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Its UUID.
    pub id: String,
    /// Untrusted text from the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Open, Closing or Closed.
    pub state: String,
    /// Untrusted text from the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The version that this entry brought about.
    pub version: u64,
}

/// An entry whose place in the ledger is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft(Vec<u8>);

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// What happened.
    pub entry: Entry,
    /// Its place, counted from 1.
    pub seq: u64,
}

/// Why an entry could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Larger than [`MAX_ENTRY`].
    #[error("a ledger entry of {0} bytes is over the limit of {MAX_ENTRY}")]
    TooLarge(usize),
    /// Not what an entry looks like.
    #[error("not a ledger entry: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Readable, but not in the one canonical form.
    #[error("ledger entry {0} is not in canonical form")]
    NotCanonical(u64),
}

impl Draft {
    /// The canonical bytes, but for the sequence number.
    pub fn new(entry: &Entry) -> Result<Self, EntryError> {
        let mut bytes = Vec::with_capacity(2048);
        bytes.extend_from_slice(br#"{"entry":"#);
        canonical::append(&mut bytes, entry)?;
        bytes.extend_from_slice(br#","seq":"#);
        match bytes.len() {
            len if len > MAX_ENTRY => Err(EntryError::TooLarge(len)),
            _ => Ok(Self(bytes)),
        }
    }

    /// The canonical bytes of the entry at this place.
    pub fn seal(mut self, seq: u64) -> Vec<u8> {
        self.0.extend_from_slice(seq.to_string().as_bytes());
        self.0.push(b'}');
        self.0
    }
}

impl Sealed {
    /// Reads an entry, which must be in canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_ENTRY + SEQ {
            return Err(EntryError::TooLarge(bytes.len()));
        }
        let sealed: Self = serde_json::from_slice(bytes)?;
        match canonical::is(&sealed, bytes) {
            true => Ok(sealed),
            false => Err(EntryError::NotCanonical(sealed.seq)),
        }
    }
}

#[cfg(test)]
mod tests;
