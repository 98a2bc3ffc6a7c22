//! Ending leases and tasks.

use super::{Effect, Outcome, Rules, Step, View, Which};
use crate::{Cause, Confirmation, Ending, Enforced, Lease, LeaseState, Task, TaskState, Timestamp};

pub(super) fn leases(view: View<'_>, which: &Which, cause: &Cause, now: Timestamp) -> Step {
    let covered = |lease: &Lease| match which {
        Which::One(id) => lease.id == *id,
        Which::Target(target, epoch) => lease.target == *target && lease.epoch < *epoch,
    };
    end_some(view, now, |lease| covered(lease).then(|| cause.clone()))
}

pub(super) fn task(view: View<'_>, cause: Cause, now: Timestamp) -> Step {
    if !view.task.is_open() {
        return Step::unchanged();
    }
    let mut task = view.task;
    let (leases, effects) = end_each(&mut task, view.leases, now, |_| Some(Cause::TaskEnded));
    task.lease_due = None;
    task.state = TaskState::Closing(Ending { cause, at: now });
    close_if_settled(&mut task, now);
    Step {
        leases,
        effects,
        ..Step::of(task, Outcome::TaskEnded)
    }
}

pub(super) fn due(rules: &Rules, view: View<'_>, now: Timestamp) -> Step {
    match &view.task.state {
        TaskState::Open => match view.task.overdue(now) {
            Some(cause) => task(view, cause, now),
            None => expire(view, now),
        },
        TaskState::Closed { at, .. } if at.after(rules.retention) <= now => Step {
            task: Some(view.task),
            ..Step::nothing(Outcome::Purged)
        },
        TaskState::Closing(_) | TaskState::Closed { .. } => Step::unchanged(),
    }
}

fn expire(view: View<'_>, now: Timestamp) -> Step {
    let before = view.task.lease_due;
    let step = end_some(view.clone(), now, |lease| {
        (lease.expires_at <= now).then_some(Cause::Expired)
    });
    if step.outcome != Outcome::Unchanged || before.is_none_or(|due| now < due) {
        return step;
    }
    // A renewal moved the expiry on: look again when it is really due.
    let mut task = view.task;
    task.lease_due = earliest(&view.leases);
    Step::of(task, Outcome::Unchanged)
}

/// Ends the leases that `cause` names, if any; the view may hold some or all of the live ones.
fn end_some(view: View<'_>, now: Timestamp, cause: impl Fn(&Lease) -> Option<Cause>) -> Step {
    let mut task = view.task;
    let sees_all = view.leases.len() == task.live as usize;
    let (rest, ending): (Vec<_>, Vec<_>) = view
        .leases
        .into_iter()
        .partition(|lease| !lease.is_live() || cause(lease).is_none());
    if ending.is_empty() {
        return Step::unchanged();
    }
    let (leases, effects) = end_each(&mut task, ending, now, cause);
    if sees_all {
        task.lease_due = earliest(&rest);
    }
    Step {
        leases,
        effects,
        ..Step::of(task, Outcome::LeasesEnded)
    }
}

fn earliest(leases: &[Lease]) -> Option<Timestamp> {
    leases
        .iter()
        .filter(|lease| lease.is_live())
        .map(|lease| lease.expires_at)
        .min()
}

fn end_each(
    task: &mut Task,
    leases: Vec<Lease>,
    now: Timestamp,
    cause: impl Fn(&Lease) -> Option<Cause>,
) -> (Vec<Lease>, Vec<Effect>) {
    let mut effects = Vec::new();
    let mut ended = Vec::new();
    for lease in leases.into_iter().filter(Lease::is_live) {
        let Some(cause) = cause(&lease) else { continue };
        task.live -= 1;
        if lease.enforced == Enforced::AtTarget {
            task.revoking += 1;
            effects.push(Effect::Revoke(lease.id));
        }
        ended.push(end_one(lease, cause, now));
    }
    (ended, effects)
}

pub(super) fn end_one(mut lease: Lease, cause: Cause, now: Timestamp) -> Lease {
    lease.state = match lease.enforced {
        Enforced::AtBroker => LeaseState::Ended {
            cause,
            since: now,
            at: now,
            confirmed: Confirmation::RefusedByIntrospection,
            attempts: 0,
        },
        Enforced::AtTarget => LeaseState::Revoking {
            cause,
            since: now,
            attempts: 0,
            last_error: None,
        },
    };
    lease
}

/// A closing task is closed once nothing under it is left to confirm.
pub(super) fn close_if_settled(task: &mut Task, now: Timestamp) {
    if let (TaskState::Closing(ending), 0, 0) = (&task.state, task.live, task.revoking) {
        let ending = ending.clone();
        task.state = TaskState::Closed { ending, at: now };
    }
}
