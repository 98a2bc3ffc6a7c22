//! Once a revocation or a freeze is acknowledged, nothing under it is honoured or can be given more, whoever was
//! minting at that moment.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;
mod disks;
mod inside;
#[path = "linear_revocation/order.rs"]
mod order;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use disks::Platter;
use inside::rng::Rng;
use inside::*;
use quietus::engine::{Engine, Error, Target};
use quietus::store::{Commit, Read};
use quietus_core::{AgentId, Cause, LeaseId, Selector, TaskId, Timestamp};
use quietus_identity::VerifiedSvid;
use quietus_ledger::{Draft, Entry};

const ROUNDS: u64 = 700;
/// How many orders an operator gives in each round, side by side.
const ORDERS_A_ROUND: usize = 3;

/// One attempt to get a credential, with the moments between which it happened.
#[derive(Debug)]
struct Attempt {
    began: u64,
    ended: u64,
    /// When its task was opened.
    opened: (u64, u64),
    task: TaskId,
    agent: AgentId,
    target: &'static str,
    /// The lease whose renewal was asked for, and when it was first granted.
    renews: Option<(LeaseId, u64)>,
    result: Result<Minted, Error>,
}

#[derive(Clone, Debug)]
enum Order {
    Revoke(Target),
    Freeze(Selector),
}

/// An order, and the moments between which it took effect.
struct Given {
    order: Order,
    began: u64,
    ended: u64,
}

/// What agents and operators of one round share.
struct Round {
    engine: Arc<Engine>,
    moment: AtomicU64,
    over: AtomicBool,
    done: Mutex<Vec<Attempt>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_outlives_its_revocation_whoever_is_minting() {
    let mut inside = Inside::new();
    inside.config.limits.retention = std::time::Duration::from_secs(1);
    inside.config.limits.live_leases_per_task = 10_000;
    let inside = Arc::new(inside);
    let engine = inside.start_on(&Platter::default()).await.unwrap();
    let mut rng = Rng::new(0x0071_e705);
    for _ in 0..ROUNDS {
        round(&inside, &engine, &mut rng).await;
    }
    let entries = ledger(engine.store());
    order::every_lease_is_wholly_before_or_after(&entries);
    replay::Told::by(&entries).is_what_is_in(engine.store(), |_| 0);
}

async fn round(inside: &Arc<Inside>, engine: &Arc<Engine>, rng: &mut Rng) {
    let round = Arc::new(Round {
        engine: Arc::clone(engine),
        moment: AtomicU64::new(1),
        over: AtomicBool::new(false),
        done: Mutex::default(),
    });
    let callers = [&inside.agents[0], &inside.agents[1], &inside.stranger];
    let mut agents = tokio::task::JoinSet::new();
    let mut known = Vec::new();
    for (i, svid) in callers.into_iter().enumerate() {
        let opened = round.open(svid).await.unwrap();
        let first = round.mint(svid, opened, ORDERS, None).await;
        known.push((opened.task, first.result.as_ref().unwrap().lease.id));
        round.note(first);
        let scope = *rng.pick(&[ORDERS, FILES]);
        agents.spawn(Arc::clone(&round).keep_minting(svid.clone(), opened, scope));
        if i == 0 {
            agents.spawn(Arc::clone(&round).keep_opening(svid.clone()));
        }
    }
    for _ in 0..rng.below(12) {
        tokio::task::yield_now().await;
    }
    let mut operators = tokio::task::JoinSet::new();
    for _ in 0..ORDERS_A_ROUND {
        let order = any_order(inside, &known, rng);
        operators.spawn(Arc::clone(&round).give(Arc::clone(inside), order));
    }
    let given = operators.join_all().await;
    // Everybody tries once more after everything is said.
    round.over.store(true, SeqCst);
    agents.join_all().await;
    let attempts = std::mem::take(&mut *round.done.lock().unwrap());
    for attempt in &attempts {
        check(inside, engine, attempt, &given);
    }
    tidy(inside, engine, &given, &attempts).await;
}

#[derive(Clone, Copy)]
struct OpenedTask {
    task: TaskId,
    between: (u64, u64),
}

impl Round {
    fn now(&self) -> u64 {
        self.moment.fetch_add(1, SeqCst)
    }

    fn note(&self, attempt: Attempt) {
        self.done.lock().unwrap().push(attempt);
    }

    async fn open(&self, svid: &VerifiedSvid) -> Result<OpenedTask, Error> {
        let began = self.now();
        let task = open(&self.engine, svid).await?.id;
        let between = (began, self.now());
        Ok(OpenedTask { task, between })
    }

    async fn mint(
        &self,
        svid: &VerifiedSvid,
        opened: OpenedTask,
        scope: &'static str,
        renews: Option<(LeaseId, u64)>,
    ) -> Attempt {
        let began = self.now();
        let result = match renews {
            Some((id, _)) => renew(&self.engine, svid, id).await,
            None => mint(&self.engine, svid, opened.task, scope).await,
        };
        Attempt {
            began,
            ended: self.now(),
            opened: opened.between,
            task: opened.task,
            agent: AgentId(svid.id().to_string()),
            target: scope.split(':').next().unwrap(),
            renews,
            result,
        }
    }

    /// Mints and renews under one task until all is said, and then once more each.
    async fn keep_minting(
        self: Arc<Self>,
        svid: VerifiedSvid,
        opened: OpenedTask,
        scope: &'static str,
    ) {
        let mut last = None;
        loop {
            let over = self.over.load(SeqCst);
            let minted = self.mint(&svid, opened, scope, None).await;
            if let Ok(minted) = &minted.result {
                last = last.or(Some((minted.lease.id, self.now())));
            }
            self.note(minted);
            if last.is_some() {
                self.note(self.mint(&svid, opened, scope, last).await);
            }
            if over {
                return;
            }
        }
    }

    /// Opens tasks and mints once under each.
    async fn keep_opening(self: Arc<Self>, svid: VerifiedSvid) {
        loop {
            let over = self.over.load(SeqCst);
            if let Ok(opened) = self.open(&svid).await {
                self.note(self.mint(&svid, opened, ORDERS, None).await);
            }
            if over {
                return;
            }
        }
    }

    async fn give(self: Arc<Self>, inside: Arc<Inside>, order: Order) -> Given {
        let operator = &inside.operator;
        let began = self.now();
        let done = match order.clone() {
            Order::Revoke(target) => self
                .engine
                .revoke(operator, target, "drill")
                .await
                .map(drop),
            Order::Freeze(selector) => self.engine.freeze(operator, selector, "drill").await,
        };
        done.unwrap();
        let given = Given {
            order,
            began,
            ended: self.now(),
        };
        // At once, while everybody is still minting: what was handed out before is dead.
        for attempt in self.done.lock().unwrap().iter() {
            if let (true, Ok(minted)) = (given.kills(attempt), &attempt.result) {
                assert!(!inside.honours(&self.engine, &minted.token), "{attempt:?}");
            }
        }
        given
    }
}

impl Given {
    fn covers(&self, attempt: &Attempt) -> bool {
        let lease = match (&attempt.renews, &attempt.result) {
            (Some((id, _)), _) => Some(*id),
            (None, Ok(minted)) => Some(minted.lease.id),
            (None, Err(_)) => None,
        };
        match &self.order {
            Order::Revoke(Target::Task(id)) => attempt.task == *id,
            Order::Revoke(Target::Lease(id)) => lease == Some(*id),
            Order::Revoke(Target::Wide(selector)) | Order::Freeze(selector) => {
                selector.covers(&attempt.agent, Some(&attempt.target.parse().unwrap()))
            }
        }
    }

    /// Whether what the attempt was for existed before the order was given.
    fn is_after_its_root(&self, attempt: &Attempt) -> bool {
        match &self.order {
            Order::Revoke(Target::Wide(Selector::Target(_)) | Target::Lease(_)) => attempt
                .renews
                .is_some_and(|(_, granted)| granted < self.began),
            _ => attempt.opened.1 < self.began,
        }
    }

    /// Whether a token of this attempt is dead once the order is acknowledged.
    fn kills(&self, attempt: &Attempt) -> bool {
        let revokes = matches!(self.order, Order::Revoke(_));
        revokes && self.covers(attempt) && attempt.ended < self.began
    }

    /// Whether this attempt, made after the order was acknowledged, must fail.
    fn forbids(&self, attempt: &Attempt) -> bool {
        let rooted = matches!(self.order, Order::Freeze(_)) || self.is_after_its_root(attempt);
        self.ended < attempt.began && self.covers(attempt) && rooted
    }

    /// Whether it cannot have touched this attempt.
    fn spares(&self, attempt: &Attempt) -> bool {
        let freeze_came_later =
            matches!(self.order, Order::Freeze(_)) && attempt.ended < self.began;
        !self.covers(attempt) || freeze_came_later
    }
}

fn check(inside: &Inside, engine: &Engine, attempt: &Attempt, given: &[Given]) {
    let forbidden = given.iter().any(|given| given.forbids(attempt));
    assert!(!(forbidden && attempt.result.is_ok()), "{attempt:?}");
    if let Ok(minted) = &attempt.result {
        let honoured = inside.honours(engine, &minted.token);
        assert!(
            !(honoured && given.iter().any(|given| given.kills(attempt))),
            "{attempt:?}"
        );
        // And nobody else's credential is harmed. A renewal may have come after its lease's own revocation.
        let spared = given.iter().all(|given| given.spares(attempt));
        assert!(honoured || !spared, "{attempt:?} died of nothing");
    }
}

fn any_order(inside: &Inside, known: &[(TaskId, LeaseId)], rng: &mut Rng) -> Order {
    let agent = AgentId(inside.agents[rng.below(2)].id().to_string());
    let (task, lease) = *rng.pick(known);
    let wide = [
        Selector::All,
        Selector::TrustDomain(rng.pick(&[common::DOMAIN, OTHER]).to_string()),
        Selector::Agent(agent),
        Selector::Target(rng.pick(&["orders-db", "files"]).parse().unwrap()),
    ];
    match rng.below(8) {
        0 => Order::Revoke(Target::Task(task)),
        1 => Order::Revoke(Target::Lease(lease)),
        2 => Order::Freeze(rng.pick(&wide).clone()),
        _ => Order::Revoke(Target::Wide(rng.pick(&wide).clone())),
    }
}

/// Ends the round's tasks and lifts its freezes; now and then the closed tasks are purged.
async fn tidy(inside: &Inside, engine: &Arc<Engine>, given: &[Given], attempts: &[Attempt]) {
    let frozen = given.iter().filter_map(|given| match &given.order {
        Order::Freeze(selector) => Some(selector),
        Order::Revoke(_) => None,
    });
    for selector in frozen {
        engine.thaw(&inside.operator, selector).await.unwrap();
    }
    let tasks: std::collections::BTreeSet<_> = attempts.iter().map(|a| a.task).collect();
    let mut closing = tokio::task::JoinSet::new();
    for task in tasks {
        let (engine, operator) = (Arc::clone(engine), inside.operator.clone());
        closing.spawn(async move { engine.revoke(&operator, Target::Task(task), "").await });
    }
    closing.join_all().await;
    inside.advance(2);
    engine.run_due().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_floor_and_its_sweep_leaves_nothing_alive() {
    let inside = Inside::new();
    let agent = AgentId(inside.agents[0].id().to_string());
    let selectors = [
        Selector::All,
        Selector::TrustDomain(common::DOMAIN.to_owned()),
        Selector::Agent(agent),
        Selector::Target("orders-db".parse().unwrap()),
    ];
    for selector in selectors {
        let folder = tempfile::tempdir().unwrap();
        let platter = Platter::default();
        let options = disks::options(folder.path());
        let open_store = || platter.open(&disks::Room::plenty(), &options).unwrap();
        let engine = inside.start_in(open_store()).await.unwrap();
        let agent = &inside.agents[0];
        let task = open(&engine, agent).await.unwrap().id;
        let minted = mint(&engine, agent, task, ORDERS).await.unwrap();
        let bystander = open(&engine, &inside.stranger).await.unwrap().id;
        let theirs = mint(&engine, &inside.stranger, bystander, FILES)
            .await
            .unwrap();

        order_without_sweep(&inside, &engine, &selector).await;
        assert!(!inside.honours(&engine, &minted.token), "{selector:?}");
        assert!(
            renew(&engine, agent, minted.lease.id).await.is_err(),
            "{selector:?}"
        );
        abandon(engine);

        let engine = inside.start_in(open_store()).await.unwrap();
        let snapshot = engine.store().read();
        let lease = snapshot.lease(minted.lease.id).unwrap().unwrap();
        assert!(lease.is_ended(), "{selector:?}");
        assert!(snapshot.guards().unwrap().floors.is_empty());
        let ending = snapshot.task(task).unwrap().unwrap();
        let by_operator = matches!(
            (ending.ending().map(|ending| &ending.cause), lease.cause()),
            (Some(Cause::Operator(_)), _) | (None, Some(Cause::Operator(_)))
        );
        assert!(by_operator, "{selector:?}");
        let spared = inside.honours(&engine, &theirs.token);
        assert_eq!(spared, selector != Selector::All, "{selector:?}");
        drop(snapshot);
        replay::Told::by(&ledger(engine.store())).is_what_is_in(engine.store(), |_| 0);
        abandon(engine);
    }
}

/// The first commit of a wide revocation, as if the broker had died right after it.
async fn order_without_sweep(inside: &Inside, engine: &Engine, selector: &Selector) {
    let guards = (*engine.store().guards()).clone();
    let (kind, value) = replay::name(selector).split_once('=').map(owned).unwrap();
    let entry = Entry {
        event: "revoke.ordered".to_owned(),
        detail: [(kind, value)].into(),
        v: quietus_ledger::VERSION,
        ..Entry::default()
    };
    let commit = Commit {
        now: Timestamp(engine.now().0),
        reads: vec![Read::Guards(guards.epoch)],
        guards: Some(guards.revoke(selector.clone(), AgentId(inside.operator.id().to_string()))),
        entries: vec![Draft::new(&entry).unwrap()],
        ..Commit::default()
    };
    engine.store().commit(commit).await.unwrap();
}

fn owned((a, b): (&str, &str)) -> (String, String) {
    (a.to_owned(), b.to_owned())
}
