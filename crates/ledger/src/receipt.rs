//! The receipt: what the broker signs about a task that has ended, and each credential under it.
//!
//! It is a [`note`] whose text has two lines: `quietus receipt v2`, and JSON in the canonical form of
//! RFC 8785. A later confirmation makes a new version of it; each version stands by itself. What agents wrote
//! freely (purpose, ticket) is left out.

mod check;

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::note::{self, MAX_NOTE, Note, NoteError, Signer, Verifier};

/// The version of the receipt's schema.
pub const VERSION: u32 = 2;
/// Longest receipt, in bytes of text, signatures not included.
pub const MAX_RECEIPT: usize = MAX_NOTE - 128 * 1024;
/// The first line of the text.
const HEADER: &str = "quietus receipt v2\n";

/// How a task ended, and how each credential under it did. Times are milliseconds since the Unix epoch in the
/// broker's effective time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// SPIFFE ID of the agent that held the task.
    pub agent: String,
    /// When this version was made.
    pub at: u64,
    /// The stable word for what ended the task.
    pub cause: String,
    /// Whether the death of every credential is confirmed.
    pub complete: bool,
    /// Every credential that was ever issued, or may have been, in order of issue.
    pub credentials: Vec<Credential>,
    /// How the task ended: `Completed`, `Failed`, `Expired`, `Abandoned`, `Revoked` …
    pub ended: String,
    /// When the task ended.
    pub ended_at: u64,
    /// The environment that the agent is registered for.
    pub environment: String,
    /// SPIFFE ID of the broker.
    pub issuer: String,
    /// The ledger when this version was made: it bears out everything that is said here.
    pub ledger: Head,
    /// When the task was opened.
    pub opened_at: u64,
    /// The tasks it was delegated from, the nearest first.
    pub parents: Vec<String>,
    /// Where the task stands.
    pub state: State,
    /// UUID of the task.
    pub task: String,
    /// [`VERSION`].
    pub v: u32,
    /// Grows with every change that a later receipt of the same task tells of; 1 or more.
    pub version: u32,
}

/// The head of the tree over the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The root, in lower-case hex.
    pub root: String,
    /// How many entries there are.
    pub size: u64,
}

/// Where an ended task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Some credential's death is not confirmed yet.
    Closing,
    /// Every credential is gone.
    Closed,
}

/// One credential, from issue to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// How often its target was asked in vain to revoke it.
    pub attempts: u32,
    /// Whether its target can end it before it expires.
    pub can_revoke: bool,
    /// The stable word for what ended it.
    pub cause: String,
    /// Whether its death is confirmed.
    pub end: End,
    /// When the broker ended it.
    pub ended_at: u64,
    /// When it expires by itself.
    pub expires_at: u64,
    /// SHA-256 of what identifies it, in lower-case hex; absent if it was never made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// When it was issued.
    pub issued_at: u64,
    /// Its kind: `jwt`, `postgres` …
    pub kind: String,
    /// Its lease: `<task>.<number>`.
    pub lease: String,
    /// How often it was renewed.
    pub renewals: u32,
    /// What it could do.
    pub scopes: Vec<String>,
    /// The target it was for.
    pub target: String,
}

/// Whether a credential's death is confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum End {
    /// It is good for nothing any more.
    Confirmed {
        /// When that was established.
        at: u64,
        /// By what.
        how: How,
    },
    /// It may still be good for something.
    Unconfirmed {
        /// Why that is not known.
        reason: String,
    },
}

/// What establishes that a credential is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Removed from its target, looked up there and found absent.
    DeletedAtTarget,
    /// On the certificate revocation list that its target checks.
    OnCrl,
    /// On the key revocation list that its target checks.
    OnKrl,
    /// Refused to every resource server that asks the broker.
    RefusedByIntrospection,
    /// Replaced at its target.
    RotatedAtTarget,
    /// Past the expiry that its target itself enforces.
    ExpiredAtTarget,
}

/// Why a receipt cannot be made, read or believed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// The note around it is not good.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Larger than [`MAX_RECEIPT`].
    #[error("a receipt of {0} bytes is over the limit of {MAX_RECEIPT}")]
    TooLarge(usize),
    /// The first line is another.
    #[error("not a receipt: its first line is not `quietus receipt v2`")]
    Header,
    /// A receipt of a later kind.
    #[error(
        "a receipt of schema version {0}; this program reads version {VERSION}: use a newer one"
    )]
    Schema(u32),
    /// The second line is not what a receipt looks like.
    #[error("not a receipt: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Readable, but not in the one canonical form.
    #[error("the receipt is not in canonical form")]
    NotCanonical,
    /// A member without which it says nothing is empty.
    #[error("the receipt's `{0}` is empty")]
    Empty(&'static str),
    /// A time that not every reader of JSON understands.
    #[error("the receipt holds a time that is not below 2^53")]
    Time,
    /// Not the head of a tree.
    #[error("the receipt's ledger is not a root in lower-case hex and a size")]
    Ledger,
    /// Things did not happen in the order of their times.
    #[error("the receipt's times contradict each other: {0}")]
    Order(&'static str),
    /// Receipts are counted from 1.
    #[error("the versions of a receipt are counted from 1")]
    Version,
    /// The lease is not one of this task's, or is there twice.
    #[error("the receipt's lease {0} is not of its task, or out of order, or there twice")]
    Lease(String),
    /// Not a SHA-256 digest in lower-case hex.
    #[error("the fingerprint of lease {0} is not a SHA-256 digest in lower-case hex")]
    Fingerprint(String),
    /// It says `complete` when it is not, or the other way round.
    #[error(
        "the receipt says complete = {claimed}, but {unconfirmed} of its credentials are unconfirmed"
    )]
    Complete {
        /// What it says.
        claimed: bool,
        /// How many credentials are unconfirmed.
        unconfirmed: usize,
    },
    /// Closed when it is not complete, or the other way round.
    #[error("the receipt says {state:?}, but complete = {complete}")]
    State {
        /// The state it says.
        state: State,
        /// Whether all is confirmed.
        complete: bool,
    },
}

/// Reads a signed receipt that at least one of these keys signed. Any of them may sign for any issuer: give the keys
/// of one broker only.
pub fn verify(note: &[u8], verifiers: &[Verifier]) -> Result<Receipt, ReceiptError> {
    Receipt::parse(Note::parse(note)?.verify(verifiers)?)
}

impl Receipt {
    /// The text that is signed. A receipt that contradicts itself has none.
    pub fn text(&self) -> Result<String, ReceiptError> {
        check::consistent(self)?;
        let mut text = Vec::with_capacity(1024 + 512 * self.credentials.len());
        text.extend_from_slice(HEADER.as_bytes());
        canonical::append(&mut text, self)?;
        text.push(b'\n');
        match text.len() {
            len if len > MAX_RECEIPT => Err(ReceiptError::TooLarge(len)),
            _ => Ok(String::from_utf8(text).expect("JSON is UTF-8")),
        }
    }

    /// The signed note.
    pub fn sign(&self, signers: &[Signer<'_>]) -> Result<String, ReceiptError> {
        Ok(note::sign(&self.text()?, signers)?)
    }

    /// Reads the text of a receipt, which must be in canonical form and free of contradictions. Whether anybody
    /// signed it is for [`verify`] to say.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        if text.len() > MAX_RECEIPT {
            return Err(ReceiptError::TooLarge(text.len()));
        }
        let body = text.strip_prefix(HEADER).ok_or_else(|| other(text))?;
        let json = body.strip_suffix('\n').ok_or(ReceiptError::NotCanonical)?;
        let receipt: Self = serde_json::from_str(json)?;
        if !canonical::is(&receipt, json.as_bytes()) {
            return Err(ReceiptError::NotCanonical);
        }
        check::consistent(&receipt)?;
        Ok(receipt)
    }
}

impl End {
    /// Whether the credential is known to be dead.
    pub fn is_confirmed(&self) -> bool {
        matches!(self, Self::Confirmed { .. })
    }
}

impl How {
    /// Its stable lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeletedAtTarget => "deleted_at_target",
            Self::OnCrl => "on_crl",
            Self::OnKrl => "on_krl",
            Self::RefusedByIntrospection => "refused_by_introspection",
            Self::RotatedAtTarget => "rotated_at_target",
            Self::ExpiredAtTarget => "expired_at_target",
        }
    }
}

/// What a text is that does not start like a receipt of this version.
fn other(text: &str) -> ReceiptError {
    let line = text.lines().next().unwrap_or_default();
    let version = line.strip_prefix("quietus receipt v");
    match version.and_then(|version| version.parse().ok()) {
        Some(version) if version != VERSION => ReceiptError::Schema(version),
        _ => ReceiptError::Header,
    }
}

#[cfg(test)]
mod tests;
