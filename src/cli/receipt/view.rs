//! Receipts as people and machines see them.

use quietus_ledger::receipt::{self, End};
use serde::Serialize;

use crate::cli::output::{Page, Show};
use crate::cli::style::Tone;
use crate::cli::table::{Cell, Table};
use crate::cli::text::{count, short, snake};
use crate::cli::view::{Time, given};

const SCOPES_COLUMNS: usize = 60;
const REASON_COLUMNS: usize = 100;

/// `receipt` objects: what is signed, by whom, and what is known about that.
#[derive(Clone, Debug, Serialize)]
pub struct Signed {
    #[serde(flatten)]
    receipt: Receipt,
    signature: Signature,
    signed_by: Vec<String>,
}

/// What is known about who signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signature {
    /// Nothing.
    Unchecked,
    /// It is by the key that the broker says is its own.
    MatchesBroker,
    /// It is by a key that was given.
    Verified,
}

#[derive(Clone, Debug, Serialize)]
struct Receipt {
    task: String,
    version: u32,
    issuer: String,
    agent: String,
    environment: Option<String>,
    parents: Vec<String>,
    state: &'static str,
    opened_at: Time,
    ended_at: Time,
    ended: String,
    cause: String,
    at: Time,
    complete: bool,
    credentials: Vec<Credential>,
}

#[derive(Clone, Debug, Serialize)]
struct Credential {
    lease: String,
    kind: String,
    target: String,
    scopes: Vec<String>,
    issued_at: Time,
    expires_at: Time,
    ended_at: Time,
    cause: String,
    can_revoke: bool,
    confirmed: Option<&'static str>,
    confirmed_at: Option<Time>,
    unconfirmed: Option<String>,
    attempts: u32,
    renewals: u32,
    fingerprint: Option<String>,
}

impl Signed {
    pub fn new(receipt: receipt::Receipt, signature: Signature, signed_by: Vec<String>) -> Self {
        Self {
            receipt: receipt.into(),
            signature,
            signed_by,
        }
    }

    /// Whether the death of every credential is confirmed.
    pub fn is_complete(&self) -> bool {
        self.receipt.complete
    }

    /// The same in words.
    pub fn completeness(&self) -> (Tone, String) {
        let all = self.receipt.credentials.len() as u64;
        let dead = |credential: &&Credential| credential.confirmed.is_some();
        let confirmed = self.receipt.credentials.iter().filter(dead).count() as u64;
        let credentials = count(all, "credential");
        match (all, all - confirmed) {
            (0, _) => (
                Tone::Good,
                "complete: no credential was ever issued".to_owned(),
            ),
            (_, 0) => {
                let text = format!("complete: the death of {credentials} is confirmed");
                (Tone::Good, text)
            }
            (_, alive) => {
                let text = format!("not complete: {alive} of {credentials} not confirmed dead");
                (Tone::Bad, text)
            }
        }
    }

    fn signature(&self) -> Cell {
        let names = self.signed_by.join(", ");
        match self.signature {
            Signature::Unchecked => Cell::toned(
                Tone::Busy,
                format!("{names}, it says: not checked, see `quietus receipt verify`"),
            ),
            Signature::MatchesBroker => format!("{names}, by the broker's own word").into(),
            Signature::Verified => Cell::toned(Tone::Good, format!("{names}, verified")),
        }
    }
}

impl Show for Signed {
    fn show(&self, page: &mut Page) {
        let it = &self.receipt;
        let parents = it.parents.join(", ");
        let cause = match it.cause == it.ended {
            true => String::new(),
            false => format!(" ({})", it.cause),
        };
        let ended = format!("{}{cause}, {}", it.ended, page.moment(it.ended_at));
        page.facts([
            ("task", Some(it.task.as_str().into())),
            ("agent", Some(it.agent.as_str().into())),
            ("environment", it.environment.as_ref().map(Cell::from)),
            ("delegated by", given(parents).map(Cell::from)),
            ("opened", Some(page.moment(it.opened_at).into())),
            ("ended", Some(ended.into())),
            (
                "receipt",
                Some(format!("version {}, {}", it.version, page.moment(it.at)).into()),
            ),
            ("signed by", Some(self.signature())),
        ]);
        if !it.credentials.is_empty() {
            page.heading("Credentials");
            page.table(&table(page, &it.credentials));
        }
        page.line("");
        let (tone, text) = self.completeness();
        page.toned(tone, text);
    }
}

fn table(page: &Page, credentials: &[Credential]) -> Table {
    let mut table = Table::with_head(["LEASE", "KIND", "SCOPES", "ENDED", "DEATH"]);
    for credential in credentials {
        table.add([
            credential.lease.as_str().into(),
            credential.kind.as_str().into(),
            short(&credential.scopes.join(" "), SCOPES_COLUMNS).into(),
            format!("{} {}", credential.cause, page.when(credential.ended_at)).into(),
            credential.death(page),
        ]);
    }
    table
}

impl Credential {
    fn death(&self, page: &Page) -> Cell {
        let at = self.confirmed_at.map(|at| page.when(at));
        match (self.confirmed, &self.unconfirmed) {
            (Some(how), _) => Cell::toned(Tone::Good, format!("{how} {}", at.unwrap_or_default())),
            (None, reason) => {
                let attempts = match self.can_revoke {
                    true => count(self.attempts.into(), "attempt"),
                    false => "cannot be revoked".to_owned(),
                };
                let reason = short(reason.as_deref().unwrap_or("-"), REASON_COLUMNS);
                Cell::toned(Tone::Bad, format!("unconfirmed, {attempts}: {reason}"))
            }
        }
    }
}

impl From<receipt::Receipt> for Receipt {
    fn from(receipt: receipt::Receipt) -> Self {
        let state = match receipt.state {
            receipt::State::Closing => "closing",
            receipt::State::Closed => "closed",
        };
        let credentials = receipt.credentials.into_iter();
        Self {
            task: receipt.task,
            version: receipt.version,
            issuer: receipt.issuer,
            agent: receipt.agent,
            environment: given(receipt.environment),
            parents: receipt.parents,
            state,
            opened_at: Time::from_millis(receipt.opened_at),
            ended_at: Time::from_millis(receipt.ended_at),
            ended: snake(&receipt.ended),
            cause: receipt.cause,
            at: Time::from_millis(receipt.at),
            complete: receipt.complete,
            credentials: credentials.map(Credential::from).collect(),
        }
    }
}

impl From<receipt::Credential> for Credential {
    fn from(credential: receipt::Credential) -> Self {
        let (confirmed, confirmed_at, unconfirmed) = match credential.end {
            End::Confirmed { at, how } => (Some(how.as_str()), Some(Time::from_millis(at)), None),
            End::Unconfirmed { reason } => (None, None, Some(reason)),
        };
        Self {
            lease: credential.lease,
            kind: credential.kind,
            target: credential.target,
            scopes: credential.scopes,
            issued_at: Time::from_millis(credential.issued_at),
            expires_at: Time::from_millis(credential.expires_at),
            ended_at: Time::from_millis(credential.ended_at),
            cause: credential.cause,
            can_revoke: credential.can_revoke,
            confirmed,
            confirmed_at,
            unconfirmed,
            attempts: credential.attempts,
            renewals: credential.renewals,
            fingerprint: credential.fingerprint,
        }
    }
}

#[cfg(test)]
mod tests;
