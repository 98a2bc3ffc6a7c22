//! What is in the store is in the ledger, and the other way round.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
mod disks;
mod inside;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use disks::Platter;
use inside::rng::Rng;
use inside::*;
use quietus::engine::{Engine, Error, Hold, OpenRequest, RequestOrder, Target};
use quietus_core::{AgentId, LeaseId, Selector, TaskId};
use quietus_identity::VerifiedSvid;

const RUNS: u64 = 12;
const STEPS: usize = 120;

/// Agents and operators at random, and what they have in hand.
struct Run {
    inside: Inside,
    engine: Arc<Engine>,
    rng: Rng,
    tasks: Vec<(TaskId, usize)>,
    leases: Vec<LeaseId>,
    /// Signs of life, which change a task without a word, since its last entry.
    silent: BTreeMap<TaskId, u64>,
    seen: BTreeSet<String>,
}

#[tokio::test]
async fn the_ledger_tells_all_that_is_in_the_store() {
    let mut seen = BTreeSet::new();
    for seed in 0..RUNS {
        let mut inside = Inside::new();
        inside.config.limits.open_tasks_per_agent = 6;
        inside.config.limits.live_leases_per_task = 2;
        inside.config.limits.leases_per_task = 3;
        inside.config.limits.retention = Duration::from_secs(600);
        let platter = Platter::default();
        let engine = inside.start_on(&platter).await.unwrap();
        let mut run = Run {
            inside,
            engine,
            rng: Rng::new(seed),
            tasks: Vec::new(),
            leases: Vec::new(),
            silent: BTreeMap::new(),
            seen: BTreeSet::new(),
        };
        for n in 0..STEPS {
            run.step().await;
            if n % 10 == 0 {
                run.compare();
            }
            if n == STEPS / 2 {
                abandon(run.engine);
                run.engine = run.inside.start_on(&platter).await.unwrap();
                run.notice();
            }
        }
        run.compare();
        let entries = ledger(run.engine.store());
        seen.extend(entries.into_iter().map(|sealed| sealed.entry.event));
        seen.extend(run.seen);
    }
    let expected = [
        "DENIED_BY_POLICY",
        "FROZEN",
        "LEASE_ENDED",
        "TASK_ENDED",
        "TOO_MANY_LEASES",
        "TOO_MANY_LIVE_LEASES",
        "TOO_MANY_OPEN_TASKS",
        "broker.started",
        "freeze.lifted",
        "freeze.set",
        "keys.rotated",
        "lease.ended",
        "lease.issued",
        "lease.renewed",
        "policy.loaded",
        "revoke.ordered",
        "revoke.swept",
        "task.ended",
        "task.opened",
        "task.purged",
    ];
    let missing: Vec<_> = expected
        .into_iter()
        .filter(|one| !seen.contains(*one))
        .collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

impl Run {
    async fn step(&mut self) {
        let before = self.engine.store().header().seq;
        let outcome = self.act().await;
        let entries = ledger(self.engine.store());
        if let Err(Error::Refused(refused)) = &outcome {
            let last = entries.last().unwrap();
            assert!(
                entries.len() as u64 > before,
                "{refused:?} was not recorded"
            );
            assert_eq!(last.entry.refusal.as_ref(), Some(&refused.reason));
            self.seen.insert(refused.reason.clone());
        }
        self.notice();
    }

    /// An entry of a task catches up with its silent changes.
    fn notice(&mut self) {
        let told = replay::Told::by(&ledger(self.engine.store()));
        let snapshot = self.engine.store().read();
        for (id, silent) in &mut self.silent {
            if let (Some(task), Some(told)) =
                (snapshot.task(*id).unwrap(), told.tasks.get(&id.to_string()))
            {
                *silent = (*silent).min(task.version - told.version);
            }
        }
    }

    fn compare(&self) {
        let told = replay::Told::by(&ledger(self.engine.store()));
        let silent = |task: &quietus_core::Task| self.silent.get(&task.id).copied().unwrap_or(0);
        told.is_what_is_in(self.engine.store(), silent);
        let policy = self.engine.status().policy_digest;
        assert_eq!(told.policy, Some(policy));
    }

    async fn act(&mut self) -> Result<(), Error> {
        let engine = Arc::clone(&self.engine);
        let who = self.rng.below(3);
        match self.rng.below(20) {
            0..=3 => {
                let request = OpenRequest {
                    heartbeat: self.rng.one_in(3).then_some(Duration::from_secs(60)),
                    ..OpenRequest::default()
                };
                let opened = engine.open_task(self.agent(who), request, once()).await?;
                self.tasks.push((opened.task.id, who));
            }
            4..=9 => {
                let Some((task, agent)) = self.a_task() else {
                    return Ok(());
                };
                let scope = *self.rng.pick(&[ORDERS, FILES, ORDERS, FORBIDDEN]);
                let order = RequestOrder {
                    task,
                    scopes: vec![scope.parse().unwrap()],
                    ttl: self.rng.one_in(2).then_some(Duration::from_secs(30)),
                    key: None,
                };
                let issued = engine.request_credential(&agent, order, once()).await?;
                self.leases.push(issued.lease.id);
            }
            10 => {
                let Some((lease, agent)) = self.a_lease() else {
                    return Ok(());
                };
                renew(&engine, &agent, lease).await?;
            }
            11 => {
                let Some((lease, agent)) = self.a_lease() else {
                    return Ok(());
                };
                engine.return_lease(&agent, lease, once()).await?;
            }
            12 => {
                let Some((task, agent)) = self.a_task() else {
                    return Ok(());
                };
                engine
                    .close_task(&agent, task, self.rng.one_in(2), once())
                    .await?;
            }
            13 | 14 => {
                let Some((task, agent)) = self.a_task() else {
                    return Ok(());
                };
                engine.heartbeat(&agent, task).await?;
                *self.silent.entry(task).or_default() += 1;
            }
            15 => {
                let seconds = self.rng.below(400) as u64;
                self.inside.advance(seconds);
                // A lease's renewal may leave a deadline that only looks again; its task then changes silently.
                engine.run_due().await?;
                self.count_rescheduled();
            }
            16 => self.revoke().await?,
            17 => self.freeze_or_thaw().await?,
            18 if self.rng.one_in(2) => {
                engine.reload_policy(Some(&self.inside.operator)).await?;
            }
            18 => {
                engine.rotate_keys(&self.inside.operator, once()).await?;
            }
            _ => {
                let unregistered = self.inside.unregistered.clone();
                open(&engine, &unregistered).await?;
            }
        }
        Ok(())
    }

    fn count_rescheduled(&mut self) {
        let told = replay::Told::by(&ledger(self.engine.store()));
        for task in self.engine.store().read().tasks(None, 1000).unwrap().rows {
            let told = &told.tasks[&task.id.to_string()];
            let renewed = told.leases.len() as u64;
            let silent = self.silent.entry(task.id).or_default();
            let more = task.version - told.version - (*silent).min(task.version - told.version);
            assert!(more <= renewed + 1, "{told:?} is at {}", task.version);
            *silent = task.version - told.version;
        }
    }

    async fn revoke(&mut self) -> Result<(), Error> {
        let target = match self.rng.below(4) {
            0 => self.a_task().map(|(task, _)| Target::Task(task)),
            1 => self.a_lease().map(|(lease, _)| Target::Lease(lease)),
            _ => Some(Target::Wide(self.selector())),
        };
        let Some(target) = target else { return Ok(()) };
        let revoked = self
            .engine
            .revoke(&self.inside.operator, target, "drill")
            .await;
        revoked.map(drop)
    }

    async fn freeze_or_thaw(&mut self) -> Result<(), Error> {
        let frozen = self.engine.store().guards().freezes.keys().next().cloned();
        let operator = &self.inside.operator.clone();
        match frozen {
            Some(selector) => self.engine.thaw(operator, &selector).await.map(drop),
            None => {
                let selector = self.selector();
                self.engine.freeze(operator, selector, "drill").await
            }
        }
    }

    fn selector(&mut self) -> Selector {
        let agent = AgentId(self.agent(1).id().to_string());
        let all = [
            Selector::All,
            Selector::TrustDomain(OTHER.to_owned()),
            Selector::Agent(agent),
            Selector::Target("files".parse().unwrap()),
        ];
        self.rng.pick(&all).clone()
    }

    fn agent(&self, number: usize) -> &VerifiedSvid {
        match number {
            2 => &self.inside.stranger,
            n => &self.inside.agents[n],
        }
    }

    /// One that is still in the store, be it closed.
    fn a_task(&mut self) -> Option<(TaskId, VerifiedSvid)> {
        let snapshot = self.engine.store().read();
        self.tasks
            .retain(|(id, _)| snapshot.task(*id).unwrap().is_some());
        if self.tasks.is_empty() {
            return None;
        }
        let (task, who) = *self.rng.pick(&self.tasks);
        Some((task, self.agent(who).clone()))
    }

    fn a_lease(&mut self) -> Option<(LeaseId, VerifiedSvid)> {
        let snapshot = self.engine.store().read();
        self.leases
            .retain(|id| snapshot.lease(*id).unwrap().is_some());
        if self.leases.is_empty() {
            return None;
        }
        let lease = *self.rng.pick(&self.leases);
        let owner = self.tasks.iter().find(|(task, _)| *task == lease.task);
        Some((lease, self.agent(owner?.1).clone()))
    }
}

/// Each way to be refused, and who is told so under which name.
#[tokio::test]
async fn every_refusal_is_recorded() {
    let mut inside = Inside::new();
    inside.config.limits.open_tasks_per_agent = 2;
    inside.config.limits.live_leases_per_task = 1;
    let engine = inside.start_on(&Platter::default()).await.unwrap();
    let (agent, other) = (&inside.agents[0], &inside.agents[1]);
    let task = open(&engine, agent).await.unwrap().id;
    let lease = mint(&engine, agent, task, ORDERS).await.unwrap().lease.id;
    let closed = open(&engine, agent).await.unwrap().id;
    let theirs = open(&engine, other).await.unwrap().id;
    let seen = std::cell::Cell::new(0);
    let recorded = async |reason: &str, refused: Option<Error>| {
        let Some(Error::Refused(refused)) = refused else {
            panic!("{reason}: {refused:?}");
        };
        assert_eq!(refused.reason, reason);
        let entries = ledger(engine.store());
        let before = seen.replace(entries.len());
        assert!(entries.len() > before, "{reason}: nothing was added");
        let entry = &entries.last().unwrap().entry;
        assert_eq!(entry.event, "request.refused", "{reason}");
        assert_eq!(entry.refusal.as_deref(), Some(reason));
        assert!(entry.caller.is_some() && entry.agent.is_some());
    };
    recorded("TOO_MANY_OPEN_TASKS", open(&engine, agent).await.err()).await;
    engine
        .close_task(agent, closed, false, once())
        .await
        .unwrap();
    let stray = &inside.unregistered;
    recorded("AGENT_NOT_REGISTERED", open(&engine, stray).await.err()).await;
    recorded(
        "DENIED_BY_POLICY",
        mint(&engine, agent, task, FORBIDDEN).await.err(),
    )
    .await;
    recorded(
        "TOO_MANY_LIVE_LEASES",
        mint(&engine, agent, task, ORDERS).await.err(),
    )
    .await;
    recorded(
        "TASK_ENDED",
        mint(&engine, agent, closed, ORDERS).await.err(),
    )
    .await;
    recorded("TASK_ENDED", engine.heartbeat(agent, closed).await.err()).await;
    let held = engine.hold(agent, closed).await.err();
    recorded("TASK_ENDED", held).await;
    engine.return_lease(agent, lease, once()).await.unwrap();
    recorded("LEASE_ENDED", renew(&engine, agent, lease).await.err()).await;
    let all = Selector::All;
    engine
        .freeze(&inside.operator, all.clone(), "drill")
        .await
        .unwrap();
    recorded("FROZEN", open(&engine, other).await.err()).await;
    recorded("FROZEN", mint(&engine, other, theirs, ORDERS).await.err()).await;
    engine.thaw(&inside.operator, &all).await.unwrap();
    replay::Told::by(&ledger(engine.store())).is_what_is_in(engine.store(), |_| 0);
}

#[tokio::test]
async fn what_ends_by_itself_is_recorded_like_what_somebody_ended() {
    let endings: [(&str, u64, bool, bool); 4] = [
        ("expired", 3_600, false, false),
        ("heartbeat_missed", 90, true, false),
        ("hold_lost", 40, false, true),
        ("completed", 0, false, false),
    ];
    for (cause, after, heartbeat, hold) in endings {
        let inside = Inside::new();
        let engine = inside.start_on(&Platter::default()).await.unwrap();
        let agent = &inside.agents[0];
        let request = OpenRequest {
            heartbeat: heartbeat.then_some(Duration::from_secs(60)),
            ..OpenRequest::default()
        };
        let task = engine
            .open_task(agent, request, once())
            .await
            .unwrap()
            .task
            .id;
        let held: Option<(Hold, _)> = match hold {
            true => Some(engine.hold(agent, task).await.unwrap()),
            false => None,
        };
        mint(&engine, agent, task, ORDERS).await.unwrap();
        let before = ledger(engine.store()).len();
        inside.advance(after);
        match after {
            0 => drop(engine.close_task(agent, task, false, once()).await.unwrap()),
            _ => drop(engine.run_due().await.unwrap()),
        }
        let entries = ledger(engine.store());
        assert_eq!(
            entries.len(),
            before + 1,
            "{cause}: the task and its lease end in one entry"
        );
        let entry = &entries.last().unwrap().entry;
        assert_eq!(
            (entry.event.as_str(), entry.cause.as_deref()),
            ("task.ended", Some(cause))
        );
        assert_eq!(entry.leases[0].state, "Ended");
        assert_eq!(entry.caller.is_some(), after == 0);
        drop(held);
        replay::Told::by(&entries).is_what_is_in(engine.store(), |_| 0);
    }
}
