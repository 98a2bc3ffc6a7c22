//! Endings that come by themselves, and upkeep.
//!
//! Nothing rests on this being prompt: whatever is overdue is refused by everything that looks at it. It is what
//! records the endings and tells the targets.

use std::sync::Arc;
use std::time::Duration;

use quietus_core::{Event, Outcome, next_deadline};

use super::record::drafts;
use super::{Engine, Error, Plan};
use crate::clock::Glance;
use crate::store::{Change, Commit, Read, Retry};

/// How many tasks are ended side by side: few enough that grants in between do not wait long.
const AT_ONCE: usize = 64;
/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often everything else is looked after.
const UPKEEP: Duration = Duration::from_secs(1);
/// How often the head of the ledger is signed if it has grown: a checkpoint is never older than a second.
const SIGNING: Duration = Duration::from_millis(500);
/// How often what is past its retention is looked for.
const PRUNING: Duration = Duration::from_secs(3_600);
/// How far effective time may run ahead of the wall clock, or a clock jump, before it is worth a word.
const ANOMALY: Duration = Duration::from_secs(2);
/// How old the recorded high-water mark may become.
const MARK_AGE: Duration = Duration::from_secs(10);

/// What was seen of the clocks when they were last looked at.
struct Watched {
    /// The wall clock is behind effective time, and that is recorded.
    is_behind: bool,
    glance: Glance,
}

impl Engine {
    /// Ends everything that is due; how many tasks were looked at. One that cannot be ended now holds up no other,
    /// and is tried again the next time.
    pub async fn run_due(self: &Arc<Self>) -> Result<usize, Error> {
        let mut looked_at = 0;
        let mut after = None;
        let mut failed = false;
        loop {
            let due = self.store.read().due(self.now(), after, AT_ONCE)?;
            let Some(last) = due.last() else {
                if failed {
                    self.probe().await;
                }
                return Ok(looked_at);
            };
            after = Some(*last);
            looked_at += due.len();
            let mut running = tokio::task::JoinSet::new();
            for due in due {
                let engine = Arc::clone(self);
                running.spawn(async move { (due.task, engine.run_one(due.task).await) });
            }
            while let Some(Ok((task, ended))) = running.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%task, %error, "what is due could not be ended; trying again");
                    failed = true;
                }
            }
        }
    }

    /// Keeps time, and keeps up everything else that has its time.
    pub async fn keep_time(self: Arc<Self>) {
        if self.maintenance {
            // What is recorded meanwhile is as good as at any other time.
            return self.keep_signing().await;
        }
        tokio::join!(self.end_what_is_due(), self.keep_up(), self.keep_signing());
    }

    async fn end_what_is_due(self: &Arc<Self>) {
        let mut tick = every(TICK);
        loop {
            tick.tick().await;
            if let Err(error) = self.run_due().await {
                tracing::error!(%error, "what is due could not be looked up; trying again");
                self.probe().await;
            }
        }
    }

    async fn keep_up(self: &Arc<Self>) {
        let mut tick = every(UPKEEP);
        let mut watched = Watched {
            is_behind: false,
            glance: self.clock.glance(),
        };
        loop {
            tick.tick().await;
            if let Err(error) = self.upkeep(&mut watched).await {
                tracing::error!(%error, "upkeep failed; trying again");
            }
        }
    }

    async fn keep_signing(&self) {
        let mut tick = every(SIGNING);
        loop {
            tick.tick().await;
            if let Err(error) = self.sign_head().await {
                tracing::error!(%error, "the head of the ledger could not be signed; trying again");
            }
        }
    }

    /// Forgets what is past its retention: beside everything else, which does not wait for it.
    pub async fn keep_retention(self: Arc<Self>) {
        if self.maintenance {
            return std::future::pending().await;
        }
        let mut tick = every(PRUNING);
        loop {
            tick.tick().await;
            if let Err(error) = self.prune().await {
                tracing::error!(%error, "old entries could not be pruned; trying again in an hour");
            }
        }
    }

    /// A disk that failed under a reader fails the store only once somebody commits, and nobody gets as far as that.
    async fn probe(&self) {
        let commit = Commit {
            now: self.now(),
            mark: true,
            ..Commit::default()
        };
        if let Err(error) = self.store.commit(commit).await {
            tracing::error!(%error, "the store takes nothing more");
        }
    }

    async fn run_one(&self, id: quietus_core::TaskId) -> Result<(), Error> {
        let step = self.step_task(id, &Event::Due, None).await?;
        match step {
            Some(step) if step.task.is_none() && step.outcome == Outcome::Unchanged => {
                self.reschedule(id).await
            }
            _ => Ok(()),
        }
    }

    /// The row said due and the task says not yet, as after a change of the configured retention.
    async fn reschedule(&self, id: quietus_core::TaskId) -> Result<(), Error> {
        self.settle(|| {
            let Some(task) = self.store.read().task(id)? else {
                return Ok(Plan::nothing(()));
            };
            let due = next_deadline(&task, self.rules.retention);
            let reads = vec![Read::Task(id, task.version)];
            let change = Change {
                task,
                due,
                leases: Vec::new(),
                retry: Retry::Now,
            };
            let commit = Commit {
                now: self.now(),
                reads,
                change: Some(change),
                ..Commit::default()
            };
            Ok(Plan { commit, answer: () })
        })
        .await
    }

    async fn upkeep(self: &Arc<Self>, watched: &mut Watched) -> Result<(), Error> {
        self.store.check_space();
        if let Err(error) = self.store.sync_mark() {
            tracing::warn!(%error, "the mark beside the store could not be synced");
        }
        self.retire_keys()?;
        self.sweep_leftovers().await?;
        self.watch_clock(watched).await
    }

    /// Forgets the signing keys whose tokens have all expired.
    pub fn retire_keys(&self) -> Result<(), Error> {
        let retired = self.keys.retire(self.now())?;
        if !retired.is_empty() {
            self.signed.forget_all();
            tracing::info!(?retired, "signing keys retired");
        }
        Ok(())
    }

    /// Records what the clocks did that no clock does by itself, and the high-water mark while anything depends on it.
    async fn watch_clock(&self, watched: &mut Watched) -> Result<(), Error> {
        let (ahead, glance) = (self.clock.ahead(), self.clock.glance());
        let strange = glance.since(&watched.glance);
        // Once, as long as it lasts.
        let stepped_back = if watched.is_behind {
            Duration::ZERO
        } else {
            ahead
        };
        let seen = [
            ("clock.stepped_back", "ahead_ms", stepped_back),
            ("clock.stepped_forward", "by_ms", strange.forward),
            ("clock.suspended", "for_ms", strange.suspended),
        ];
        let now = self.now();
        let mut entries = Vec::new();
        for (event, name, much) in seen.into_iter().filter(|(_, _, much)| *much > ANOMALY) {
            tracing::warn!(
                event,
                ?much,
                "the machine's clocks did what they should not; effective time goes on"
            );
            let mut entry = self.entry(event, None, now);
            let much = much.as_millis().to_string();
            entry.detail.insert(name.to_owned(), much);
            entries.extend(drafts(Some(entry))?);
        }
        let header = self.store.header();
        let stale = now.since(header.high_water()) > MARK_AGE && header.open_tasks > 0;
        if !entries.is_empty() || stale {
            let commit = Commit {
                now,
                entries,
                mark: true,
                ..Commit::default()
            };
            self.store.commit(commit).await?;
        }
        *watched = Watched {
            is_behind: ahead > ANOMALY,
            glance,
        };
        Ok(())
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}
