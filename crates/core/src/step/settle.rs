//! What targets answered. Answers may come twice or late: only the one that is waited for changes anything.

use super::end::{close_if_settled, end_one};
use super::{Effect, Outcome, Step, View};
use crate::{Cause, Confirmation, Digest, Lease, LeaseId, LeaseState, Timestamp};

/// A credential that could not be made is revoked all the same: the target may have made it and lost the reply.
pub(super) fn issued(
    view: View<'_>,
    id: LeaseId,
    answer: Result<Option<Digest>, String>,
    now: Timestamp,
) -> Step {
    let mut task = view.task;
    let found = view.leases.into_iter().find(|lease| lease.id == id);
    let Some(mut lease) = found.filter(|lease| lease.state == LeaseState::Issuing) else {
        return Step::unchanged();
    };
    let effects = match answer {
        Ok(fingerprint) => {
            lease.state = LeaseState::Active;
            lease.fingerprint = fingerprint.or(lease.fingerprint);
            Vec::new()
        }
        Err(error) => {
            task.live -= 1;
            task.revoking += 1;
            lease = failed(lease, error, now);
            vec![Effect::Revoke(id)]
        }
    };
    Step {
        leases: vec![lease],
        effects,
        ..Step::of(task, Outcome::Settled)
    }
}

/// A failed revocation stays due for ever; a confirmed one ends the lease, and perhaps the task with it.
pub(super) fn revoked(
    view: View<'_>,
    id: LeaseId,
    answer: Result<Confirmation, String>,
    now: Timestamp,
) -> Step {
    let mut task = view.task;
    let found = view.leases.into_iter().find(|lease| lease.id == id);
    let Some(mut lease) = found else {
        return Step::unchanged();
    };
    let LeaseState::Revoking {
        cause,
        since,
        attempts,
        ..
    } = lease.state
    else {
        return Step::unchanged();
    };
    let effects = match answer {
        Ok(confirmed) => {
            task.revoking -= 1;
            close_if_settled(&mut task, now);
            lease.state = LeaseState::Ended {
                cause,
                since,
                at: now,
                confirmed,
                attempts,
            };
            Vec::new()
        }
        Err(error) => {
            lease.state = LeaseState::Revoking {
                cause,
                since,
                attempts: attempts.saturating_add(1),
                last_error: Some(error),
            };
            vec![Effect::Revoke(id)]
        }
    };
    Step {
        leases: vec![lease],
        effects,
        ..Step::of(task, Outcome::Settled)
    }
}

fn failed(lease: Lease, error: String, now: Timestamp) -> Lease {
    let mut lease = end_one(lease, Cause::IssueFailed, now);
    if let LeaseState::Revoking { last_error, .. } = &mut lease.state {
        *last_error = Some(error);
    }
    lease
}
