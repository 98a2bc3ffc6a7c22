//! What an entry says: anything that happened, and nothing secret.

pub(crate) mod skim;

use std::collections::BTreeMap;
use std::mem;

use serde::{Deserialize, Serialize};

use ring::digest::{SHA256, digest};

use crate::merkle::Hash;
use crate::{canonical, tiles};

/// The version of the entry schema.
pub const VERSION: u32 = 2;
/// Largest entry, in bytes: what a bundle can hold.
pub const MAX_ENTRY: usize = tiles::MAX_BUNDLED;
/// Largest list that is kept by its digest, in bytes: room for the end of a task with as many live leases as may be
/// configured (10,000).
pub const MAX_ATTACHMENT: usize = 4 * 1024 * 1024;
/// The lists that may be kept by their digests.
const LEASES: &str = "leases";
const DECISIONS: &str = "decisions";
/// Room for the sequence number and the last brace.
const SEQ: usize = 21;

/// One thing that happened. Members that do not apply are absent. Times are milliseconds since the Unix epoch in
/// the broker's effective time; digests are lower-case hex SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What an agent, a tool or a gateway says was done with a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
    /// SPIFFE ID of the agent whose authority is concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The human's answer that a decision rested on. There are no approvals yet, so it is always absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Lists that were too large for an entry, by the names of the members that they are missing from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attached: BTreeMap<String, Attached>,
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
    /// Through whom the agent has its authority, the nearest first. There is no delegation yet, so it is always empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegation: Vec<Delegator>,
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
    /// Digest of the request's canonical bytes, without its idempotency key and without a text that can be erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The task concerned, as it is after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// When.
    pub time: u64,
    /// Which trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// [`VERSION`].
    pub v: u32,
}

/// What was done with a credential, as somebody reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// SHA-256 of the tool's arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// The reporter's own name for the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<String>,
    /// When the tool had answered, as the reporter says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// The lease whose credential was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<String>,
    /// SHA-256 of the prompt that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What it was done to.
    pub resource: String,
    /// SHA-256 of what the tool answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// `succeeded`, `failed` or `refused`.
    pub result: String,
    /// When the tool was called, as the reporter says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// HMAC-SHA256 of the text that came with it, keyed with a salt that is kept and erased together with the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The tool.
    pub tool: String,
}

/// A human's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// SPIFFE IDs of those who approved.
    pub by: Vec<String>,
    /// Its UUID.
    pub id: String,
    /// Digest of the request that it is good for.
    pub request: String,
}

/// A list that is kept beside the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attached {
    /// The length of its canonical form.
    pub bytes: u64,
    /// How many members it has.
    pub count: u64,
    /// SHA-256 of its canonical form.
    pub sha256: String,
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

/// One step of a delegation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegator {
    /// SPIFFE ID.
    pub agent: String,
    /// Its task's UUID.
    pub task: String,
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
    /// The version that this entry's change rests on; 0 if there was no task before.
    pub previous: u64,
    /// SHA-256 of the prompt that it was opened for, as the agent says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
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

/// Where an entry belongs in a distributed trace (W3C Trace Context).
///
/// An entry that shows a task is in the task's trace, whatever trace the call that caused it says it is a part of: the
/// trace that the task was opened in, or else one whose id is the task's. Any other entry that somebody caused is in the
/// trace that its caller said, if it said one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// The trace, 32 hex digits: the same for all of a task.
    pub id: String,
    /// The caller's span, 16 hex digits, if it told one with this very call: be it one of another trace than the task's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
}

/// An entry whose place in the ledger is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    bytes: Vec<u8>,
    attachments: Vec<Attachment>,
}

/// The canonical form of a list that was too large for its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// SHA-256 of the bytes.
    pub digest: Hash,
    /// JSON.
    pub bytes: Vec<u8>,
}

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
    /// A list larger than [`MAX_ATTACHMENT`].
    #[error(
        "a list of {0} bytes is over the limit of {MAX_ATTACHMENT} for what an entry refers to"
    )]
    Attachment(usize),
    /// Not the list that the entry refers to.
    #[error("what is attached as {0} is not what the entry refers to")]
    NotAttached(String),
    /// Not what an entry looks like.
    #[error("not a ledger entry: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Readable, but not in the one canonical form.
    #[error("ledger entry {0} is not in canonical form")]
    NotCanonical(u64),
}

impl Draft {
    /// The canonical bytes, but for the sequence number. Of an entry that is too large the lists go into attachments.
    pub fn new(entry: &Entry) -> Result<Self, EntryError> {
        match Self::whole(entry) {
            Err(EntryError::TooLarge(_)) => Self::parted(entry.clone()),
            whole => whole,
        }
    }

    fn whole(entry: &Entry) -> Result<Self, EntryError> {
        let mut bytes = Vec::with_capacity(2048);
        bytes.extend_from_slice(br#"{"entry":"#);
        canonical::append(&mut bytes, entry)?;
        bytes.extend_from_slice(br#","seq":"#);
        match bytes.len() {
            len if len > MAX_ENTRY - SEQ => Err(EntryError::TooLarge(len)),
            _ => Ok(Self {
                bytes,
                attachments: Vec::new(),
            }),
        }
    }

    fn parted(mut entry: Entry) -> Result<Self, EntryError> {
        let leases = Attachment::of(&mem::take(&mut entry.leases))?;
        let decisions = Attachment::of(&mem::take(&mut entry.decisions))?;
        let mut attachments = Vec::new();
        for (name, list) in [(LEASES, leases), (DECISIONS, decisions)] {
            if let Some((attached, attachment)) = list {
                entry.attached.insert(name.to_owned(), attached);
                attachments.push(attachment);
            }
        }
        let whole = Self::whole(&entry)?;
        Ok(Self {
            attachments,
            ..whole
        })
    }

    /// What has to be kept beside the entry.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// The canonical bytes of the entry at this place.
    pub fn seal(mut self, seq: u64) -> Vec<u8> {
        self.bytes.extend_from_slice(seq.to_string().as_bytes());
        self.bytes.push(b'}');
        self.bytes
    }
}

impl Attachment {
    fn of<T: Serialize>(list: &[T]) -> Result<Option<(Attached, Self)>, EntryError> {
        if list.is_empty() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        canonical::append(&mut bytes, &list)?;
        if bytes.len() > MAX_ATTACHMENT {
            return Err(EntryError::Attachment(bytes.len()));
        }
        let attachment = Self {
            digest: sha256(&bytes),
            bytes,
        };
        let attached = Attached {
            bytes: attachment.bytes.len() as u64,
            count: list.len() as u64,
            sha256: hex(&attachment.digest),
        };
        Ok(Some((attached, attachment)))
    }
}

impl Entry {
    /// Puts a list back into the member that it is missing from.
    ///
    /// # Errors
    /// [`EntryError::NotAttached`] unless it is, byte for byte, what the entry refers to.
    pub fn restore(&mut self, name: &str, bytes: &[u8]) -> Result<(), EntryError> {
        let wrong = || EntryError::NotAttached(name.to_owned());
        let attached = self.attached.get(name).ok_or_else(wrong)?;
        if sha256_hex(bytes) != attached.sha256 {
            return Err(wrong());
        }
        match name {
            LEASES => self.leases = serde_json::from_slice(bytes)?,
            DECISIONS => self.decisions = serde_json::from_slice(bytes)?,
            _ => return Err(wrong()),
        }
        self.attached.remove(name);
        Ok(())
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// SHA-256 in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Sealed {
    /// Reads an entry, which must be in canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_ENTRY {
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
pub(crate) mod tests;
