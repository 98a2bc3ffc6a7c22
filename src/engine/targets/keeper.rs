//! The keeper of one target: ends there what has ended here, for as long as it takes.
//!
//! It works through its leases in the order in which they are due, a few side by side. A target that counts as away is
//! asked by one call at a time, as its breaker lets pass; as soon as it answers again, all that waited is due at once.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use quietus_core::{Event, LeaseId};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::backoff::delay;
use super::unmake::Attempt;
use super::{Site, Targets};
use crate::engine::{Engine, Error};
use crate::store::Effect;

/// How often an issuer is asked for its upkeep.
const UPKEEP: Duration = Duration::from_secs(60);
/// How many rows of the outbox are read at a time.
const STRIDE: usize = 1000;
/// What is recorded with a lease whose target is gone from the configuration.
const HOMELESS: &str = "the target is not in the broker's configuration any more: put it back, so that the \
                        credential can be revoked there";

impl Engine {
    /// Takes up what earlier lives of the broker left undone: what was being made is to be unmade, since whoever
    /// asked for it was never answered, and what was being unmade still is.
    pub(in crate::engine) async fn take_up_leftovers(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.store.read().outbox(after, STRIDE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.lease);
            for out in page {
                match out.effect {
                    Effect::Issue => self.give_up_issue(out.lease).await?,
                    Effect::Revoke(_) => self.put_back(out.lease)?,
                }
            }
        }
    }

    /// Keeps every target until the broker stops.
    pub async fn keep_targets(self: Arc<Self>) {
        if self.maintenance {
            return;
        }
        let mut keepers = JoinSet::new();
        for site in self.targets.sites() {
            if let Some(inbox) = site.inbox.take() {
                let keeper = Keeper::new(Arc::clone(&self), Arc::clone(site));
                keepers.spawn(keeper.run(inbox));
                keepers.spawn(upkeep(Arc::clone(site)));
            }
        }
        if let Some(inbox) = self.targets.homeless.take() {
            keepers.spawn(keep_homeless(Arc::clone(&self), inbox));
        }
        while keepers.join_next().await.is_some() {}
    }

    async fn give_up_issue(&self, id: LeaseId) -> Result<(), Error> {
        let why = "the broker stopped before the target's answer was recorded".to_owned();
        let event = Event::IssueSettled(id, Err(why));
        self.step_task(id.task, &event, None).await.map(|_| ())
    }

    fn put_back(&self, id: LeaseId) -> Result<(), Error> {
        if let Some(lease) = self.store.read().lease(id)? {
            self.targets.heed(vec![(lease.target, id)]);
        }
        Ok(())
    }
}

impl Targets {
    /// Whether it is there as the configuration has it.
    pub(in crate::engine) fn is_configured(&self, name: &str) -> bool {
        self.sites()
            .any(|site| site.target.name.as_str() == name && !site.retired)
    }
}

struct Keeper {
    engine: Arc<Engine>,
    site: Arc<Site>,
    /// By when they are due.
    waiting: BinaryHeap<Reverse<(Instant, LeaseId)>>,
    /// Waiting or running, and whether it has come again since it was started.
    known: HashMap<LeaseId, bool>,
    running: JoinSet<Attempt>,
    /// What each of the running is for.
    leases: HashMap<Id, LeaseId>,
    was_away: bool,
}

impl Keeper {
    fn new(engine: Arc<Engine>, site: Arc<Site>) -> Self {
        Self {
            engine,
            site,
            waiting: BinaryHeap::new(),
            known: HashMap::new(),
            running: JoinSet::new(),
            leases: HashMap::new(),
            was_away: false,
        }
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<LeaseId>) {
        loop {
            let wake = self.start_what_is_due();
            tokio::select! {
                lease = inbox.recv() => match lease {
                    Some(lease) => self.take_in(lease),
                    None => return,
                },
                Some(done) = self.running.join_next_with_id() => self.settle(done),
                () = self.site.back.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// What comes again while it runs may have changed after it was looked at.
    fn take_in(&mut self, lease: LeaseId) {
        match self.known.entry(lease) {
            Entry::Occupied(mut known) => drop(known.insert(true)),
            Entry::Vacant(unknown) => {
                unknown.insert(false);
                self.waiting.push(Reverse((Instant::now(), lease)));
            }
        }
    }

    /// When there may be more to start, if nothing happens before.
    fn start_what_is_due(&mut self) -> Option<Instant> {
        let most = self.site.target.concurrency.get() as usize;
        loop {
            let shut = self.site.breaker.shut_until();
            if std::mem::replace(&mut self.was_away, shut.is_some()) && shut.is_none() {
                self.all_due();
            }
            let Reverse((due, _)) = *self.waiting.peek()?;
            match shut {
                // Whoever is first finds out whether the target is back, due or not.
                Some(_) if !self.running.is_empty() => return None,
                Some(until) if !self.site.breaker.passes() => return Some(until),
                None if due > Instant::now() => return Some(due),
                None if self.running.len() >= most => return None,
                _ => self.start_first(),
            }
        }
    }

    fn start_first(&mut self) {
        let Some(Reverse((_, lease))) = self.waiting.pop() else {
            return;
        };
        self.known.insert(lease, false);
        let (engine, site) = (Arc::clone(&self.engine), Arc::clone(&self.site));
        let unmaking = async move { engine.unmake(&site, lease).await };
        let running = self.running.spawn(unmaking);
        self.leases.insert(running.id(), lease);
    }

    fn settle(&mut self, done: Result<(Id, Attempt), JoinError>) {
        let id = match &done {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(lease) = self.leases.remove(&id) else {
            return;
        };
        let attempt = done.map_or_else(|_| broke_off(lease), |(_, attempt)| attempt);
        match attempt {
            Attempt::Over => {
                if self.known.remove(&lease) == Some(true) {
                    self.take_in(lease);
                }
            }
            Attempt::Again(delay) => self.waiting.push(Reverse((Instant::now() + delay, lease))),
        }
    }

    fn all_due(&mut self) {
        let now = Instant::now();
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        self.waiting = waiting
            .map(|Reverse((_, lease))| Reverse((now, lease)))
            .collect();
    }
}

/// A panic: nothing is known of how it went.
fn broke_off(lease: LeaseId) -> Attempt {
    tracing::error!(%lease, "a revocation broke off; trying again");
    Attempt::Again(delay(lease, 4))
}

/// Says of each lease, once, why it does not get on.
async fn keep_homeless(engine: Arc<Engine>, mut inbox: mpsc::UnboundedReceiver<LeaseId>) {
    let mut told = HashSet::new();
    while let Some(id) = inbox.recv().await {
        if !told.insert(id) {
            continue;
        }
        let event = Event::RevokeSettled(id, Err(HOMELESS.to_owned()));
        if let Err(error) = engine.settle_revocation(id, event, Some(UPKEEP)).await {
            tracing::error!(lease = %id, %error, "a lease whose target is gone could not be marked");
        }
    }
}

async fn upkeep(site: Arc<Site>) {
    let mut tick = tokio::time::interval(UPKEEP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // It says nothing of how the target is doing: most kinds have nothing to keep up.
        let kept = tokio::time::timeout(site.target.timeout, site.issuer.upkeep()).await;
        if let Err(error) = kept.unwrap_or_else(|_| Err(site.too_late())) {
            tracing::warn!(target = %site.target.name, %error, "a target's upkeep failed; trying again in a minute");
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
