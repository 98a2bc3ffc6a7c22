//! Unmaking the credential of a lease that is ended.

use std::sync::Arc;
use std::time::Duration;

use quietus_core::{Enforced, Event, Lease, LeaseId, LeaseState, Load, step};

use super::Site;
use super::backoff::delay;
use crate::engine::record::drafts;
use crate::engine::{Engine, Error, Plan, load, view};
use crate::failpoint;
use crate::issuers::{Doomed, Failure};
use crate::store::Retry;

/// What is recorded with a lease whose target has become one whose credentials end with the broker's record.
const OTHER_KIND: &str = "the target is of another kind in the broker's configuration than it was when this was made: \
                          put it back, so that the credential can be revoked there";

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Nothing is left to do.
    Over,
    /// To be tried again after that long.
    Again(Duration),
}

impl Engine {
    /// Ends one lease at its target, or records that it could not be.
    pub(super) async fn unmake(self: &Arc<Self>, site: &Site, id: LeaseId) -> Attempt {
        match self.try_to_unmake(site, id).await {
            Ok(attempt) => attempt,
            Err(error) => {
                tracing::error!(lease = %id, %error, "a revocation could not be recorded; trying again");
                Attempt::Again(delay(id, 4))
            }
        }
    }

    async fn try_to_unmake(self: &Arc<Self>, site: &Site, id: LeaseId) -> Result<Attempt, Error> {
        let Some(lease) = self.store.read().lease(id)? else {
            return Ok(Attempt::Over);
        };
        // Whoever is making it puts it back once that is over.
        let LeaseState::Revoking { attempts, .. } = lease.state else {
            return Ok(Attempt::Over);
        };
        if site.is_making(id) {
            return Ok(Attempt::Over);
        }
        failpoint::reach("revoke.call.before");
        let doomed = Doomed::from(&lease);
        let answer = match site.issuer.abilities().enforced {
            Enforced::AtTarget => {
                let asking = site.call(site.issuer.revoke(&doomed));
                self.confirming(&lease, attempts, asking).await
            }
            // What ends tokens knows nothing of what was made there by the kind that the target was before.
            Enforced::AtBroker => Err(Failure::said(OTHER_KIND)),
        };
        failpoint::reach("revoke.call.after");
        let again = answer.as_ref().err().map(|_| delay(id, attempts));
        if let Err(failure) = &answer {
            tell(&lease, attempts, failure);
        }
        let answer = answer.map_err(|failure| failure.to_string());
        self.settle_revocation(id, Event::RevokeSettled(id, answer), again)
            .await?;
        failpoint::reach("revoke.settled");
        Ok(again.map_or(Attempt::Over, Attempt::Again))
    }

    /// Records how it went. A failure that is like the one before is counted, but not told to the ledger again.
    pub(super) async fn settle_revocation(
        &self,
        id: LeaseId,
        event: Event,
        again: Option<Duration>,
    ) -> Result<(), Error> {
        let plan = || {
            let Some((task, leases)) = load(&self.store.read(), id.task, Load::One(id))? else {
                return Ok(Plan::nothing(()));
            };
            let now = self.now();
            let before = leases.first().and_then(last_error).map(str::to_owned);
            let guards = self.store.guards();
            let step = step(
                &self.rules,
                view(task.clone(), leases, &guards),
                event.clone(),
                now,
            );
            let mut commit = self.commit_if_changed(&task, &step, now);
            let same = step.leases.first().and_then(last_error) == before.as_deref();
            if again.is_none() || !same {
                commit.entries = drafts(self.entry_of(&task, &step, None, now))?;
            }
            if let (Some(change), Some(again)) = (&mut commit.change, again) {
                change.retry = Retry::At(now.after(again));
            }
            Ok(Plan { commit, answer: () })
        };
        self.settle_surely(plan).await?;
        self.confirmed.notify_waiters();
        Ok(())
    }
}

fn last_error(lease: &Lease) -> Option<&str> {
    match &lease.state {
        LeaseState::Revoking { last_error, .. } => last_error.as_deref(),
        _ => None,
    }
}

/// The first time, and then ever more rarely.
fn tell(lease: &Lease, attempts: u32, failure: &Failure) {
    let tried = attempts.saturating_add(1);
    if tried.is_power_of_two() {
        tracing::warn!(lease = %lease.id, target = %lease.target, tried, error = %failure, "a credential could not be revoked; trying again");
    }
}
