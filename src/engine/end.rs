//! Ending: by the agent, by the clock, or by whatever else ends one task or lease.

use quietus_core::{Cause, Event, Lease, LeaseId, Load, Outcome, Step, Task, TaskId, Which, step};
use quietus_identity::VerifiedSvid;

use super::open::with_request;
use super::record::{because, drafts};
use super::{Engine, Error, Once, Plan, load, view};
use crate::store::{Answer, Commit};

/// How many leases are shown with a task: its newest. `ListLeases` pages through all.
const SHOWN: usize = 1000;
/// As many leases as one commit forgets.
const PORTION: usize = crate::store::PURGED;

impl Engine {
    /// Ends a task of the calling agent, and every credential under it, in one commit.
    pub async fn close_task(
        &self,
        svid: &VerifiedSvid,
        id: TaskId,
        failed: bool,
        once: Once,
    ) -> Result<(Task, Vec<Lease>), Error> {
        let cause = if failed {
            Cause::Failed
        } else {
            Cause::Completed
        };
        let plan = || {
            if self.answered(&once, self.now())?.is_some() {
                return Ok(Plan::nothing(()));
            }
            let (task, leases) = self.load_own(svid, id, Load::Live)?;
            let now = self.now();
            let guards = self.store.guards();
            // A task that an operator or the clock has ended ended by that, though the agent is the first to say so.
            let fallen = guards.fallen(&task.agent, None, task.epoch);
            let revoked = fallen.map(|(_, floor)| Cause::Operator(floor.by.clone()));
            let cause = revoked
                .or_else(|| task.overdue(now))
                .unwrap_or_else(|| cause.clone());
            let step = step(
                &self.rules,
                view(task.clone(), leases, &guards),
                Event::EndTask(cause),
                now,
            );
            let entry = self.entry_of(&task, &step, Some(svid), now);
            let mut commit = self.commit_if_changed(&task, &step, now);
            if !commit.is_empty() {
                commit.entries = drafts(entry.map(|entry| with_request(entry, &once)))?;
            }
            // The key is taken even if there is nothing left to do.
            self.answer_once(&mut commit, &once, Answer::Task(id));
            Ok(Plan { commit, answer: () })
        };
        if let Err(error) = self.settle_surely(plan).await {
            return Err(self.refused_early(svid, Some(id), &once, error).await);
        }
        self.holds.ended(id);
        self.show_task(id)
    }

    /// Gives one credential back.
    pub async fn return_lease(
        &self,
        svid: &VerifiedSvid,
        id: LeaseId,
        once: Once,
    ) -> Result<(Task, Lease), Error> {
        let plan = || {
            if self.answered(&once, self.now())?.is_some() {
                return Ok(Plan::nothing(()));
            }
            let (task, leases) = self.load_own(svid, id.task, Load::One(id))?;
            let now = self.now();
            let renewals = leases.first().ok_or(Error::NotFound("lease"))?.renewals;
            let guards = self.store.guards();
            let event = Event::EndLeases(Which::One(id), Cause::Returned);
            let step = step(&self.rules, view(task.clone(), leases, &guards), event, now);
            let entry = self.entry_of(&task, &step, Some(svid), now);
            let mut commit = self.commit_if_changed(&task, &step, now);
            if !commit.is_empty() {
                commit.entries = drafts(entry.map(|entry| with_request(entry, &once)))?;
            }
            self.answer_once(&mut commit, &once, Answer::Lease(id, renewals));
            Ok(Plan { commit, answer: () })
        };
        if let Err(error) = self.settle_surely(plan).await {
            return Err(self.refused_early(svid, Some(id.task), &once, error).await);
        }
        self.show_lease(id)
    }

    /// Moves one task on by an event that needs no caller's leave; what it did, or nothing.
    pub(super) async fn step_task(
        &self,
        id: TaskId,
        event: &Event,
        by: Option<&VerifiedSvid>,
    ) -> Result<Option<Step>, Error> {
        self.step_task_because(id, event, by, "").await
    }

    /// The same, for a reason that is recorded.
    pub(super) async fn step_task_because(
        &self,
        id: TaskId,
        event: &Event,
        by: Option<&VerifiedSvid>,
        reason: &str,
    ) -> Result<Option<Step>, Error> {
        let plan = || {
            let Some((task, leases)) = load(&self.store.read(), id, event.loads())? else {
                return Ok(Plan::nothing(None));
            };
            let now = self.now();
            let guards = self.store.guards();
            let step = step(
                &self.rules,
                view(task.clone(), leases, &guards),
                event.clone(),
                now,
            );
            let mut commit = self.commit_if_changed(&task, &step, now);
            let entry = self.entry_of(&task, &step, by, now);
            commit.entries = drafts(entry.map(|entry| because(entry, reason)))?;
            if step.outcome == Outcome::Purged {
                commit.change = None;
                commit.purge = Some(id);
                // Many leases go in portions, and the task with the last: that is what is recorded.
                if self.store.read().leases_of(id, PORTION)?.len() == PORTION {
                    commit.entries = Vec::new();
                }
            }
            let answer = Some(step);
            Ok(Plan { commit, answer })
        };
        let step = self.settle_surely(plan).await?;
        if step
            .as_ref()
            .is_some_and(|step| step.outcome == Outcome::TaskEnded)
        {
            self.holds.ended(id);
        }
        Ok(step)
    }

    pub(super) fn commit_if_changed(
        &self,
        task: &Task,
        step: &Step,
        now: quietus_core::Timestamp,
    ) -> Commit {
        match step.task {
            Some(_) => self.commit_of(task, step, now),
            None => Commit {
                now,
                ..Commit::default()
            },
        }
    }

    pub(super) fn show_task(&self, id: TaskId) -> Result<(Task, Vec<Lease>), Error> {
        let snapshot = self.store.read();
        let task = snapshot.task(id)?.ok_or(Error::NotFound("task"))?;
        Ok((task, snapshot.leases_of(id, SHOWN)?))
    }

    pub(super) fn show_lease(&self, id: LeaseId) -> Result<(Task, Lease), Error> {
        let snapshot = self.store.read();
        let task = snapshot.task(id.task)?.ok_or(Error::NotFound("task"))?;
        let lease = snapshot.lease(id)?.ok_or(Error::NotFound("lease"))?;
        Ok((task, lease))
    }
}
