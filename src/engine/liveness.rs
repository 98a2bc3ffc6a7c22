//! Signs of life: heartbeats and held tasks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quietus_core::{Event, Load, Outcome, Step, Task, TaskId, Timestamp, step};
use quietus_identity::VerifiedSvid;
use tokio::sync::watch;

use super::record::drafts;
use super::{Engine, Error, Once, Plan, caller_of, view};

/// Who waits for which task to end.
#[derive(Default)]
pub(super) struct Holds(Mutex<HashMap<TaskId, watch::Sender<bool>>>);

/// A held task. When it is dropped the grace begins to run.
pub struct Hold(Watch);

/// Hears of a task's end, be the task somebody else's or nobody's. When it is dropped nothing of it is left.
struct Watch {
    engine: Arc<Engine>,
    task: TaskId,
    ended: Option<watch::Receiver<bool>>,
}

impl Engine {
    /// The agent is alive; when the next sign of life is due, if one is.
    pub async fn heartbeat(
        &self,
        svid: &VerifiedSvid,
        id: TaskId,
    ) -> Result<Option<Timestamp>, Error> {
        let task = self.alive(svid, id, Event::Heartbeat).await?;
        Ok(alive_until(&task))
    }

    /// Holds a task for the calling agent, as long as the answer lives and [`Hold::renew`] is called in time.
    pub async fn hold(
        self: &Arc<Self>,
        svid: &VerifiedSvid,
        id: TaskId,
    ) -> Result<(Hold, Task), Error> {
        // Before anything is committed, so that no end goes unheard.
        let watch = Watch {
            engine: Arc::clone(self),
            task: id,
            ended: Some(self.holds.watch(id)),
        };
        let task = self.alive(svid, id, Event::Held).await?;
        Ok((Hold(watch), task))
    }

    /// How many tasks are being held.
    pub fn held_tasks(&self) -> usize {
        self.holds.len()
    }

    async fn alive(
        &self,
        svid: &VerifiedSvid,
        id: TaskId,
        event: fn(quietus_core::Caller) -> Event,
    ) -> Result<Task, Error> {
        self.settle(|| {
            let (task, leases) = self.load_own(svid, id, Load::Nothing)?;
            let now = self.now();
            let guards = self.store.guards();
            let event = event(caller_of(svid));
            let step = step(&self.rules, view(task.clone(), leases, &guards), event, now);
            if let Outcome::Refused(refusal) = &step.outcome {
                let entry = self.entry_of(&task, &step, Some(svid), now);
                let (reason, message) = (refusal.reason(), refusal.to_string());
                let entry = entry.ok_or(Error::Busy)?;
                return self.plan_refusal(&task, entry, reason, message, &Once::unkeyed(), now);
            }
            if !self.gains(&task, &step) {
                return Ok(Plan::nothing(Ok(task)));
            }
            let mut commit = self.commit_if_changed(&task, &step, now);
            commit.entries = drafts(self.entry_of(&task, &step, Some(svid), now))?;
            let answer = Ok(step.task.unwrap_or(task));
            Ok(Plan { commit, answer })
        })
        .await?
    }
}

impl Engine {
    /// Whether a sign of life is worth a commit: it brings a newer SVID, or moves a clock by more than a little.
    /// However many streams and heartbeats a task gets, it is written a few times a grace.
    fn gains(&self, before: &Task, step: &Step) -> bool {
        let a_little = self.rules.grace / 6;
        let clocks = |task: &Task| [task.liveness.heartbeat_due, task.liveness.hold_due];
        let Some(after) = &step.task else {
            return false;
        };
        let moved = clocks(before).into_iter().zip(clocks(after));
        let far = |(before, after): (Option<Timestamp>, Option<Timestamp>)| match (before, after) {
            (Some(before), Some(after)) => after.since(before) > a_little,
            (before, after) => before != after,
        };
        before.identity != after.identity || moved.into_iter().any(far)
    }
}

impl Hold {
    /// How often a hold must be renewed to be safe from the grace.
    pub fn every(&self) -> Duration {
        self.0.engine.rules.grace / 3
    }

    /// The stream is still up.
    pub async fn renew(&self, svid: &VerifiedSvid) -> Result<Task, Error> {
        self.0.engine.alive(svid, self.0.task, Event::Held).await
    }

    /// Waits until the task has ended; the task as it then is.
    pub async fn ended(&mut self) -> Result<Task, Error> {
        if let Some(ended) = &mut self.0.ended {
            let _ = ended.wait_for(|ended| *ended).await;
        }
        Ok(self.0.engine.show_task(self.0.task)?.0)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let engine = Arc::clone(&self.0.engine);
        let task = self.0.task;
        // Without a runtime the process is going down, and the hold runs out by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = engine.step_task(task, &Event::HoldDropped, None).await {
                    tracing::debug!(%task, %error, "the hold runs out by itself");
                }
            });
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.engine.holds.forget(self.task, self.ended.take());
    }
}

impl Holds {
    fn watch(&self, task: TaskId) -> watch::Receiver<bool> {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = holds.entry(task).or_insert_with(|| watch::channel(false).0);
        sender.subscribe()
    }

    /// Called after the commit that ended the task.
    pub(super) fn ended(&self, task: TaskId) {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = holds.remove(&task) {
            sender.send_replace(true);
        }
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn forget(&self, task: TaskId, watcher: Option<watch::Receiver<bool>>) {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that of two who go at once the second sees that it is the last.
        drop(watcher);
        if holds
            .get(&task)
            .is_some_and(|sender| sender.receiver_count() == 0)
        {
            holds.remove(&task);
        }
    }
}

/// When the next sign of life is due, if the task depends on one.
pub fn alive_until(task: &Task) -> Option<Timestamp> {
    let liveness = &task.liveness;
    [liveness.heartbeat_due, liveness.hold_due]
        .into_iter()
        .flatten()
        .min()
}
