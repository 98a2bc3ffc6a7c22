//! Signs of life.

use super::{Caller, Outcome, Rules, Step, View, admit, renew_identity};
use crate::{Task, Timestamp};

pub(super) fn heartbeat(rules: &Rules, view: View<'_>, caller: &Caller, now: Timestamp) -> Step {
    alive(rules, view, caller, now, |_| {})
}

pub(super) fn held(rules: &Rules, view: View<'_>, caller: &Caller, now: Timestamp) -> Step {
    alive(rules, view, caller, now, |task| {
        task.liveness.hold_due = Some(now.after(rules.grace));
    })
}

/// From now on the grace runs, unless it already runs out sooner.
pub(super) fn hold_dropped(rules: &Rules, view: View<'_>, now: Timestamp) -> Step {
    let mut task = view.task;
    let gone = now.after(rules.grace);
    if !task.is_open() || task.liveness.hold_due.is_none_or(|due| due == gone) {
        return Step::unchanged();
    }
    task.liveness.hold_due = task.liveness.hold_due.min(Some(gone));
    Step::of(task, Outcome::HoldDropped)
}

fn alive(
    rules: &Rules,
    view: View<'_>,
    caller: &Caller,
    now: Timestamp,
    note: impl FnOnce(&mut Task),
) -> Step {
    if let Err(refusal) = admit(&view, caller, now) {
        return Step::refused(refusal);
    }
    let mut task = view.task;
    let identity_renewed = renew_identity(&mut task, caller);
    if let Some(every) = task.liveness.interval {
        task.liveness.heartbeat_due = Some(now.after(every).after(rules.grace));
    }
    note(&mut task);
    Step::of(task, Outcome::Alive { identity_renewed })
}
