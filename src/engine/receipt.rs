//! Receipts: what the broker signs about a task that has ended.

use std::time::Duration;

use quietus_core::{Confirmation, Lease, LeaseState, Task, TaskId, TaskState, Timestamp};
use quietus_identity::VerifiedSvid;
use quietus_ledger::receipt::{self, Credential, End, How, Receipt, State};

use super::record::hex;
use super::{Engine, Error, Internal};
use crate::store::Snapshot;

/// What is said of a credential whose target has not been asked yet.
const WAITED_FOR: &str = "the target has not answered yet";

/// A receipt, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// A C2SP signed note.
    pub note: String,
    /// Whether the death of every credential is confirmed.
    pub complete: bool,
    /// The key that signed it, as `name+hash+key`.
    pub verifier: String,
}

impl Engine {
    /// The receipt of an ended task as of now: for the agent whose it was, and for operators.
    pub fn receipt(&self, svid: &VerifiedSvid, id: TaskId) -> Result<Signed, Error> {
        let viewer = svid.id().as_str();
        // One moment for the task and for all its leases.
        let snapshot = self.store.read();
        let task = snapshot.task(id)?;
        let task = task.filter(|task| task.agent.0 == viewer || self.config.is_operator(viewer));
        let task = task.ok_or(Error::NotFound("task"))?;
        let leases = snapshot.leases_of(id, usize::MAX)?;
        // One that is being forgotten, a portion of its leases at a time, would not tell all.
        if leases.len() != task.issued as usize {
            return Err(Error::NotFound("task"));
        }
        self.sign(&self.receipt_of(&snapshot, &task, &leases)?)
    }

    /// Waits until the death of every credential of an ended task is confirmed, but no longer than that.
    pub async fn wait_closed(&self, id: TaskId, most: Duration) -> Result<(), Error> {
        let closed = async {
            loop {
                let confirmed = self.confirmed.notified();
                tokio::pin!(confirmed);
                // Listening from before it is looked at, so that none is missed.
                confirmed.as_mut().enable();
                let task = self.store.read().task(id)?;
                if task.is_none_or(|task| !matches!(task.state, TaskState::Closing(_))) {
                    return Ok(());
                }
                confirmed.await;
            }
        };
        tokio::time::timeout(most, closed).await.unwrap_or(Ok(()))
    }

    fn sign(&self, receipt: &Receipt) -> Result<Signed, Error> {
        let failed = |error: &dyn std::fmt::Display| Internal::Receipt(error.to_string());
        let text = receipt.text().map_err(|error| failed(&error))?;
        let note = self.evidence.sign(&text).map_err(|error| failed(&error))?;
        Ok(Signed {
            note,
            complete: receipt.complete,
            verifier: self.evidence.verifier().to_owned(),
        })
    }

    fn receipt_of(
        &self,
        snapshot: &Snapshot,
        task: &Task,
        leases: &[Lease],
    ) -> Result<Receipt, Error> {
        let Some(ending) = task.ending() else {
            let message = "the task is open: its receipt is made when it ends";
            return Err(Error::refused("TASK_OPEN", message));
        };
        let closed = matches!(task.state, TaskState::Closed { .. });
        Ok(Receipt {
            agent: task.agent.0.clone(),
            at: self.now().0,
            cause: ending.cause.reason().to_owned(),
            complete: closed,
            credentials: leases
                .iter()
                .map(|lease| self.credential_of(lease, ending.at))
                .collect(),
            ended: ending.cause.ending().to_owned(),
            ended_at: ending.at.0,
            environment: task.environment.clone(),
            issuer: self.broker.clone(),
            ledger: receipt::Head {
                root: hex(&snapshot.ledger_root()),
                size: snapshot.ledger_size(),
            },
            opened_at: task.opened_at.0,
            parents: Vec::new(),
            state: if closed {
                State::Closed
            } else {
                State::Closing
            },
            task: task.id.to_string(),
            v: receipt::VERSION,
            version: u32::try_from(task.version).unwrap_or(u32::MAX),
        })
    }

    fn credential_of(&self, lease: &Lease, task_ended: Timestamp) -> Credential {
        let site = self.targets.site(&lease.target).ok();
        let kind = site.map_or("unknown", |site| site.target.kind().as_str());
        let (end, since, attempts) = ended(&lease.state, task_ended);
        Credential {
            attempts,
            can_revoke: site.is_some_and(|site| site.issuer.abilities().can_revoke),
            cause: lease
                .cause()
                .map_or("unknown", |cause| cause.reason())
                .to_owned(),
            end,
            ended_at: since.0,
            expires_at: lease.expires_at.0,
            fingerprint: lease.fingerprint.map(|digest| digest.to_string()),
            issued_at: lease.issued_at.0,
            kind: kind.to_owned(),
            lease: lease.id.to_string(),
            renewals: lease.renewals,
            scopes: lease.scopes.iter().map(ToString::to_string).collect(),
            target: lease.target.to_string(),
        }
    }
}

fn ended(state: &LeaseState, task_ended: Timestamp) -> (End, Timestamp, u32) {
    match state {
        LeaseState::Ended {
            since,
            at,
            confirmed,
            attempts,
            ..
        } => {
            let end = End::Confirmed {
                at: at.0,
                how: how(*confirmed),
            };
            (end, *since, *attempts)
        }
        LeaseState::Revoking {
            since,
            attempts,
            last_error,
            ..
        } => {
            let reason = last_error.clone().unwrap_or_else(|| WAITED_FOR.to_owned());
            (End::Unconfirmed { reason }, *since, *attempts)
        }
        // A task that has ended has no such lease; were there one, its death would not be known.
        LeaseState::Issuing | LeaseState::Active => {
            let reason = WAITED_FOR.to_owned();
            (End::Unconfirmed { reason }, task_ended, 0)
        }
    }
}

fn how(confirmed: Confirmation) -> How {
    match confirmed {
        Confirmation::RefusedByIntrospection => How::RefusedByIntrospection,
        Confirmation::DeletedAtTarget => How::DeletedAtTarget,
        Confirmation::OnCrl => How::OnCrl,
        Confirmation::OnKrl => How::OnKrl,
        Confirmation::RotatedAtTarget => How::RotatedAtTarget,
        Confirmation::ExpiredAtTarget => How::ExpiredAtTarget,
    }
}
