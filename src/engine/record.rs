//! What goes into the ledger.

use quietus_core::{Lease, LeaseState, Outcome, Refusal, Step, Task, Timestamp};
use quietus_identity::VerifiedSvid;
use quietus_ledger::{self as ledger, Draft, Entry};

use super::{Engine, Error};
use crate::telemetry::{TraceContext, current};

impl Engine {
    /// An entry with what every entry has.
    pub(super) fn entry(&self, event: &str, by: Option<&VerifiedSvid>, now: Timestamp) -> Entry {
        Entry {
            broker: self.broker.clone(),
            caller: by.map(|svid| ledger::Caller {
                certificate: hex(&svid.fingerprint()),
                id: svid.id().to_string(),
            }),
            event: event.to_owned(),
            time: now.0,
            trace: by.and_then(|_| current()).map(told_trace),
            v: ledger::VERSION,
            ..Entry::default()
        }
    }

    /// The entry of a step; none if the step is not one to record.
    pub(super) fn entry_of(
        &self,
        before: &Task,
        step: &Step,
        by: Option<&VerifiedSvid>,
        now: Timestamp,
    ) -> Option<Entry> {
        let mut entry = self.entry(event(step)?, by, now);
        let task = step.task.as_ref().unwrap_or(before);
        entry.agent = Some(task.agent.0.clone());
        entry.task = Some(task_fact(before, task, step.outcome.opens()));
        entry.trace = Some(trace_of(task, by.is_some()));
        entry.leases = step
            .leases
            .iter()
            .map(|lease| lease_fact(lease, step))
            .collect();
        match &step.outcome {
            Outcome::TaskEnded => {
                entry.cause = task.ending().map(|ending| ending.cause.reason().to_owned());
            }
            Outcome::LeasesEnded => {
                let cause = step.leases.first().and_then(Lease::cause);
                entry.cause = cause.map(|cause| cause.reason().to_owned());
            }
            Outcome::Refused(refusal) => refuse(&mut entry, refusal),
            _ => {}
        }
        Some(entry)
    }
}

/// Whether a step opens a task, so that its entry tells all about it.
trait Opens {
    fn opens(&self) -> bool;
}

impl Opens for Outcome {
    fn opens(&self) -> bool {
        matches!(self, Self::Opened { .. })
    }
}

/// The entry's canonical bytes, as a commit takes them.
pub(super) fn drafts(entry: Option<Entry>) -> Result<Vec<Draft>, Error> {
    let draft = entry.map(|entry| Draft::new(&entry)).transpose()?;
    Ok(draft.into_iter().collect())
}

/// An operator's reason, if there is one.
pub(super) fn because(mut entry: Entry, reason: &str) -> Entry {
    if !reason.is_empty() {
        entry.detail.insert("reason".to_owned(), reason.to_owned());
    }
    entry
}

fn refuse(entry: &mut Entry, refusal: &Refusal) {
    entry.refusal = Some(refusal.reason().to_owned());
}

fn event(step: &Step) -> Option<&'static str> {
    Some(match &step.outcome {
        Outcome::Opened { .. } => "task.opened",
        Outcome::Alive {
            identity_renewed: true,
        } => "task.identity_renewed",
        Outcome::Alive {
            identity_renewed: false,
        }
        | Outcome::Unchanged => return None,
        Outcome::HoldDropped => "task.hold_dropped",
        Outcome::Issued(_) => "lease.issued",
        Outcome::Renewed(_) => "lease.renewed",
        Outcome::LeasesEnded => "lease.ended",
        Outcome::TaskEnded => "task.ended",
        Outcome::Settled => "lease.settled",
        Outcome::Purged => "task.purged",
        Outcome::Refused(_) => "request.refused",
    })
}

fn task_fact(before: &Task, task: &Task, whole: bool) -> ledger::Task {
    ledger::Task {
        deadline: whole.then_some(task.deadline.0),
        environment: whole.then(|| task.environment.clone()),
        id: task.id.to_string(),
        previous: if whole { 0 } else { before.version },
        prompt: None,
        purpose: whole.then(|| task.purpose.clone()),
        state: task.state_name().to_owned(),
        ticket: whole.then(|| task.ticket.clone()),
        version: task.version,
    }
}

/// A lease that was issued or renewed is told in full; one that changed otherwise, as far as it changed.
fn lease_fact(lease: &Lease, step: &Step) -> ledger::Lease {
    let whole = matches!(step.outcome, Outcome::Issued(_) | Outcome::Renewed(_));
    let mut fact = ledger::Lease {
        cause: lease.cause().map(|cause| cause.reason().to_owned()),
        id: lease.id.to_string(),
        state: lease.state_name().to_owned(),
        target: lease.target.to_string(),
        ..ledger::Lease::default()
    };
    if whole {
        fact.bound = Some(lease.bound.as_str().to_owned());
        fact.certificate = Some(lease.certificate.to_string());
        fact.expires_at = Some(lease.expires_at.0);
        fact.scopes = lease.scopes.iter().map(ToString::to_string).collect();
    }
    match &lease.state {
        LeaseState::Ended { confirmed, .. } => {
            fact.confirmed = Some(confirmed.as_str().to_owned());
        }
        LeaseState::Revoking {
            attempts,
            last_error,
            ..
        } => {
            fact.attempts = Some(*attempts);
            fact.error = last_error.clone();
        }
        // What identifies a credential that was made at a target is known only now.
        LeaseState::Active => {
            fact.fingerprint = lease.fingerprint.map(|digest| digest.to_string());
        }
        LeaseState::Issuing => {}
    }
    fact
}

/// A task that an entry leaves as it is.
pub(super) fn untouched(task: &Task) -> ledger::Task {
    ledger::Task {
        id: task.id.to_string(),
        previous: task.version,
        state: task.state_name().to_owned(),
        version: task.version,
        ..ledger::Task::default()
    }
}

/// The task's trace, whatever the caller says of it, and the caller's span, if somebody called and told it.
pub(super) fn trace_of(task: &Task, called: bool) -> ledger::Trace {
    let said = current().filter(|_| called);
    ledger::Trace {
        id: trace_id(task.trace),
        span: said.map(|said| span_id(said.span())),
    }
}

fn told_trace(said: TraceContext) -> ledger::Trace {
    ledger::Trace {
        id: trace_id(said.trace()),
        span: Some(span_id(said.span())),
    }
}

fn trace_id(trace: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(trace))
}

fn span_id(span: [u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(span))
}

pub(super) fn hex(digest: &[u8; 32]) -> String {
    quietus_core::Digest(*digest).to_string()
}
