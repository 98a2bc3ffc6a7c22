//! Opening a task.

use super::{OpenOrder, Outcome, Rules, Step, thawed};
use crate::{Bound, Guards, Liveness, Task, TaskState, Timestamp};

/// Makes a task, unless a freeze covers its agent. The new task's version is 1.
pub fn open(rules: &Rules, guards: &Guards, order: OpenOrder, now: Timestamp) -> Step {
    if let Err(refusal) = thawed(guards, &order.caller.agent, None) {
        return Step::refused(refusal);
    }
    let (lasts, bound) = match order.duration {
        Some(asked) if asked <= rules.max_task => (asked, Bound::Request),
        Some(_) => (rules.max_task, Bound::Config),
        None => (rules.default_task.min(rules.max_task), Bound::Config),
    };
    let task = Task {
        id: order.id,
        agent: order.caller.agent,
        identity: order.caller.identity,
        purpose: order.purpose,
        ticket: order.ticket,
        environment: order.environment,
        trace: order.trace,
        opened_at: now,
        deadline: now.after(lasts),
        liveness: Liveness {
            interval: order.heartbeat,
            heartbeat_due: order
                .heartbeat
                .map(|every| now.after(every).after(rules.grace)),
            hold_due: None,
        },
        epoch: guards.epoch,
        state: TaskState::Open,
        issued: 0,
        live: 0,
        revoking: 0,
        lease_due: None,
        version: 0,
    };
    Step::of(task, Outcome::Opened { bound })
}
