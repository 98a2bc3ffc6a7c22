//! Revocation by operators, narrow and wide, and freezes.
//!
//! A wide revocation is one commit: a floor in the guards. From then on whatever it covers is refused everywhere,
//! since every grant rests on the guards' epoch and introspection looks at the floors. A sweep then ends the tasks
//! or leases one by one, and the floor goes when it is through; a crash in between leaves the floor, and the sweep
//! goes on at the next start.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quietus_core::{
    AgentId, Cause, Event, Freeze, Guards, Lease, LeaseId, Selector, Step, Task, TaskId, Which,
};
use quietus_identity::VerifiedSvid;
use quietus_ledger::Entry;
use tokio::task::JoinSet;

use super::open::bounded;
use super::record::{because, drafts};
use super::{Engine, Error, Plan};
use crate::store::{Commit, Read};

/// How many tasks a sweep reads at a time.
const PAGE: usize = 512;
/// How many ids an answer names.
const NAMED: usize = 1000;
const MAX_REASON: usize = 1024;

/// What to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One task.
    Task(TaskId),
    /// One lease.
    Lease(LeaseId),
    /// All that a selector covers.
    Wide(Selector),
}

/// What ended, or would end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// How many tasks.
    pub tasks: u64,
    /// How many leases.
    pub leases: u64,
    /// The first of the tasks.
    pub task_ids: Vec<TaskId>,
    /// The first of the leases.
    pub lease_ids: Vec<LeaseId>,
}

impl Engine {
    /// Ends what the target covers. Once this returns nothing of it is honoured or can be given more.
    pub async fn revoke(
        self: &Arc<Self>,
        by: &VerifiedSvid,
        target: Target,
        reason: &str,
    ) -> Result<Revoked, Error> {
        bounded("reason", reason, MAX_REASON)?;
        let cause = Cause::Operator(AgentId(by.id().to_string()));
        match target {
            Target::Task(id) => {
                let event = Event::EndTask(cause);
                let step = self.step_task_because(id, &event, Some(by), reason).await?;
                Ok(Revoked::of(&step.ok_or(Error::NotFound("task"))?))
            }
            Target::Lease(id) => {
                self.show_lease(id)?;
                let event = Event::EndLeases(Which::One(id), cause);
                let step = self
                    .step_task_because(id.task, &event, Some(by), reason)
                    .await?;
                Ok(Revoked::of(&step.ok_or(Error::NotFound("lease"))?))
            }
            Target::Wide(selector) => self.revoke_wide(by, selector, reason).await,
        }
    }

    /// What [`Engine::revoke`] would end.
    pub fn would_revoke(&self, target: &Target) -> Result<Revoked, Error> {
        let mut found = Revoked::default();
        match target {
            Target::Task(id) => {
                let (task, leases) = self.show_task(*id)?;
                found.add(task.is_open().then_some(&task), &leases);
            }
            Target::Lease(id) => found.add(None, &[self.show_lease(*id)?.1]),
            Target::Wide(selector) => {
                let snapshot = self.store.read();
                let mut after = None;
                loop {
                    let page = snapshot.open_tasks(after, PAGE)?;
                    for task in page.rows.iter().filter(|task| concerned(task, selector)) {
                        let leases = snapshot.live_leases(task)?;
                        let ends = selector.covers(&task.agent, None);
                        let covered =
                            |lease: &Lease| selector.covers(&task.agent, Some(&lease.target));
                        let leases: Vec<_> = leases.into_iter().filter(covered).collect();
                        found.add(ends.then_some(task), &leases);
                    }
                    after = page.next;
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
        Ok(found)
    }

    /// Refuses new tasks and credentials to what the selector covers, until thawed.
    pub async fn freeze(
        &self,
        by: &VerifiedSvid,
        selector: Selector,
        reason: &str,
    ) -> Result<(), Error> {
        bounded("reason", reason, MAX_REASON)?;
        let change = |guards: Guards| {
            let freeze = Freeze {
                by: AgentId(by.id().to_string()),
                at: self.now(),
                reason: reason.to_owned(),
            };
            Some(guards.freeze(selector.clone(), freeze))
        };
        let entry = self.order_entry("freeze.set", by, &selector, reason);
        self.change_guards(change, &entry).await.map(|_| ())
    }

    /// Lifts a freeze; whether there was one.
    pub async fn thaw(&self, by: &VerifiedSvid, selector: &Selector) -> Result<bool, Error> {
        let entry = self.order_entry("freeze.lifted", by, selector, "");
        let changed = self
            .change_guards(|guards| guards.thaw(selector), &entry)
            .await?;
        Ok(changed.is_some())
    }

    async fn revoke_wide(
        self: &Arc<Self>,
        by: &VerifiedSvid,
        selector: Selector,
        reason: &str,
    ) -> Result<Revoked, Error> {
        let operator = AgentId(by.id().to_string());
        let change = |guards: Guards| Some(guards.revoke(selector.clone(), operator.clone()));
        let entry = self.order_entry("revoke.ordered", by, &selector, reason);
        self.change_guards(change, &entry).await?;
        self.sweep(&selector).await
    }

    /// Ends what floors still cover whose sweep did not come to its end.
    pub(super) async fn sweep_leftovers(self: &Arc<Self>) -> Result<(), Error> {
        if self.sweeps.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        let floors: Vec<_> = self.store.guards().floors.keys().cloned().collect();
        for selector in floors {
            self.sweep(&selector).await?;
        }
        Ok(())
    }

    /// Ends what a floor covers, then takes the floor away.
    async fn sweep(self: &Arc<Self>, selector: &Selector) -> Result<Revoked, Error> {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        let swept = self.sweep_counted(selector).await;
        self.sweeps.fetch_sub(1, Ordering::Relaxed);
        swept
    }

    async fn sweep_counted(self: &Arc<Self>, selector: &Selector) -> Result<Revoked, Error> {
        let Some(floor) = self.store.guards().floors.get(selector).cloned() else {
            return Ok(Revoked::default());
        };
        let cause = Cause::Operator(floor.by);
        let event = match selector {
            Selector::Target(target) => {
                Event::EndLeases(Which::Target(target.clone(), floor.epoch), cause)
            }
            _ => Event::EndTask(cause),
        };
        let old = |task: &Task| {
            // Leases are looked at one by one; a task is as old as it is.
            concerned(task, selector)
                && (matches!(selector, Selector::Target(_)) || task.epoch < floor.epoch)
        };
        let revoked = self.end_all(old, &event).await?;
        let mut entry = self.entry("revoke.swept", None, self.now());
        entry.detail = selector_detail(selector);
        entry
            .detail
            .insert("tasks".to_owned(), revoked.tasks.to_string());
        entry
            .detail
            .insert("leases".to_owned(), revoked.leases.to_string());
        self.change_guards(|guards| guards.swept(selector, floor.epoch), &entry)
            .await?;
        Ok(revoked)
    }

    /// Applies an event to every task that it concerns.
    pub(super) async fn end_all(
        self: &Arc<Self>,
        concerned: impl Fn(&Task) -> bool,
        event: &Event,
    ) -> Result<Revoked, Error> {
        let mut revoked = Revoked::default();
        let mut after = None;
        loop {
            let page = self.store.read().open_tasks(after, PAGE)?;
            let tasks = page
                .rows
                .iter()
                .filter(|task| concerned(task))
                .map(|task| task.id);
            for step in self.step_each(tasks, event).await? {
                revoked.count(&step);
            }
            after = page.next;
            if after.is_none() {
                return Ok(revoked);
            }
        }
    }

    /// Applies an event to several tasks side by side, so that their commits are grouped.
    pub(super) async fn step_each(
        self: &Arc<Self>,
        tasks: impl Iterator<Item = TaskId>,
        event: &Event,
    ) -> Result<Vec<Step>, Error> {
        let mut running = JoinSet::new();
        for task in tasks {
            let engine = Arc::clone(self);
            let event = event.clone();
            running.spawn(async move { engine.step_task(task, &event, None).await });
        }
        // One that fails holds up no other; that it failed is told when all have been tried.
        let mut steps = Vec::new();
        let mut failed = None;
        while let Some(done) = running.join_next().await {
            match done.unwrap_or(Err(Error::Stopped)) {
                Ok(step) => steps.extend(step),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(steps)
    }

    /// Changes freezes and floors; none if there was nothing to change.
    pub(super) async fn change_guards(
        &self,
        change: impl Fn(Guards) -> Option<Guards>,
        entry: &Entry,
    ) -> Result<Option<u64>, Error> {
        self.settle(|| {
            let before = self.store.guards();
            let Some(after) = change((*before).clone()) else {
                return Ok(Plan::nothing(None));
            };
            let epoch = after.epoch;
            let commit = Commit {
                now: self.now(),
                reads: vec![Read::Guards(before.epoch)],
                guards: Some(after),
                entries: drafts(Some(entry.clone()))?,
                ..Commit::default()
            };
            let answer = Some(epoch);
            Ok(Plan { commit, answer })
        })
        .await
    }

    fn order_entry(
        &self,
        event: &str,
        by: &VerifiedSvid,
        selector: &Selector,
        reason: &str,
    ) -> Entry {
        let mut entry = self.entry(event, Some(by), self.now());
        entry.detail = selector_detail(selector);
        because(entry, reason)
    }
}

/// Whether a task may have something that the selector covers.
fn concerned(task: &Task, selector: &Selector) -> bool {
    match selector {
        Selector::Target(_) => task.live > 0,
        _ => task.is_open() && selector.covers(&task.agent, None),
    }
}

fn selector_detail(selector: &Selector) -> std::collections::BTreeMap<String, String> {
    let (kind, value) = match selector {
        Selector::All => ("all", "true".to_owned()),
        Selector::TrustDomain(domain) => ("trust_domain", domain.clone()),
        Selector::Agent(agent) => ("agent", agent.0.clone()),
        Selector::Target(target) => ("target", target.to_string()),
    };
    std::collections::BTreeMap::from([(kind.to_owned(), value)])
}

impl Revoked {
    fn of(step: &Step) -> Self {
        let mut revoked = Self::default();
        revoked.count(step);
        revoked
    }

    fn count(&mut self, step: &Step) {
        let ended = step.outcome == quietus_core::Outcome::TaskEnded;
        self.note(step.task.as_ref().filter(|_| ended), &step.leases);
    }

    fn add(&mut self, task: Option<&Task>, leases: &[Lease]) {
        let live: Vec<Lease> = leases
            .iter()
            .filter(|lease| lease.is_live())
            .cloned()
            .collect();
        self.note(task, &live);
    }

    fn note(&mut self, task: Option<&Task>, leases: &[Lease]) {
        self.tasks += u64::from(task.is_some());
        self.leases += leases.len() as u64;
        let room = NAMED.saturating_sub(self.task_ids.len());
        self.task_ids
            .extend(task.iter().take(room).map(|task| task.id));
        let room = NAMED.saturating_sub(self.lease_ids.len());
        self.lease_ids
            .extend(leases.iter().take(room).map(|lease| lease.id));
    }
}
