//! Signs of life: heartbeats and held tasks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quietus_core::{Event, Load, Outcome, Task, TaskId, Timestamp, step};
use quietus_identity::VerifiedSvid;
use tokio::sync::watch;

use super::record::drafts;
use super::{Engine, Error, Once, Plan, caller_of, view};

/// Who waits for which task to end.
#[derive(Default)]
pub(super) struct Holds(Mutex<HashMap<TaskId, watch::Sender<bool>>>);

/// A held task. When it is dropped the grace begins to run.
pub struct Hold {
    engine: Arc<Engine>,
    task: TaskId,
    ended: watch::Receiver<bool>,
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
        let ended = self.holds.watch(id);
        let task = self.alive(svid, id, Event::Held).await?;
        let engine = Arc::clone(self);
        let hold = Hold {
            engine,
            task: id,
            ended,
        };
        Ok((hold, task))
    }

    async fn alive(
        &self,
        svid: &VerifiedSvid,
        id: TaskId,
        event: fn(quietus_core::Caller) -> Event,
    ) -> Result<Task, Error> {
        self.settle(|| {
            let now = self.now();
            let (task, leases) = self.load_own(svid, id, Load::Nothing)?;
            let guards = self.store.guards();
            let event = event(caller_of(svid));
            let step = step(&self.rules, view(task.clone(), leases, &guards), event, now);
            if let Outcome::Refused(refusal) = &step.outcome {
                let entry = self.entry_of(&task, &step, Some(svid), now);
                let (reason, message) = (refusal.reason(), refusal.to_string());
                let entry = entry.ok_or(Error::Busy)?;
                return self.plan_refusal(&task, entry, reason, message, &Once::unkeyed(), now);
            }
            let mut commit = self.commit_if_changed(&task, &step, now);
            commit.entries = drafts(self.entry_of(&task, &step, Some(svid), now))?;
            let answer = Ok(step.task.unwrap_or(task));
            Ok(Plan { commit, answer })
        })
        .await?
    }
}

impl Hold {
    /// How often a hold must be renewed to be safe from the grace.
    pub fn every(&self) -> Duration {
        self.engine.rules.grace / 3
    }

    /// The stream is still up.
    pub async fn renew(&self, svid: &VerifiedSvid) -> Result<Task, Error> {
        self.engine.alive(svid, self.task, Event::Held).await
    }

    /// Waits until the task has ended; the task as it then is.
    pub async fn ended(&mut self) -> Result<Task, Error> {
        let _ = self.ended.wait_for(|ended| *ended).await;
        Ok(self.engine.show_task(self.task)?.0)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let engine = Arc::clone(&self.engine);
        let task = self.task;
        engine.holds.forget(task);
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

    fn forget(&self, task: TaskId) {
        let mut holds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The one that is being dropped still counts.
        if holds
            .get(&task)
            .is_some_and(|sender| sender.receiver_count() <= 1)
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
