//! What happens at targets: outside the commit path, each target by itself, so that a slow or dead one delays nobody
//! else.
//!
//! Two rules keep a credential from outliving its lease. What is to be made is committed before its target is called
//! (`make.rs`), and a lease that is ended while its credential is being made is revoked only after that call is over
//! (`Site::making`). What is to be unmade lies in the store until its death is confirmed (`keeper.rs`).

mod backoff;
mod breaker;
mod keeper;
mod look;
mod make;
mod retired;
mod unmake;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use quietus_core::{Enforced, LeaseId, LeaseState, TargetName, Timestamp};
use tokio::sync::{Notify, Semaphore, mpsc};

use super::Error;
use crate::config::{Config, Target};
use crate::issuers::{BuildError, Builder, Failure, Issuer, Shared};
use crate::store::{Commit, Then};

pub use look::{Checked, Swept, TargetState};
pub(super) use retired::retired;

use breaker::Breaker;

/// Every configured target.
pub(super) struct Targets {
    sites: BTreeMap<TargetName, Arc<Site>>,
    /// Leases to end at targets that are not configured.
    homeless: Inbox,
}

/// One target: what makes its credentials, and how it is doing.
pub(super) struct Site {
    /// As configured.
    pub(super) target: Target,
    /// What makes its credentials.
    pub(super) issuer: Arc<dyn Issuer>,
    /// Whether it is worth calling.
    pub(super) breaker: Breaker,
    /// Whether it is only there to be told of the ends of leases.
    pub(super) retired: bool,
    permits: Semaphore,
    /// How many calls are making or renewing the credential of a lease.
    making: Mutex<BTreeMap<LeaseId, u32>>,
    inbox: Inbox,
    /// Told when the target answers after it was away.
    back: Notify,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Leases that are to be ended at a target, as they come.
struct Inbox {
    send: mpsc::UnboundedSender<LeaseId>,
    /// Until its keeper starts.
    receive: Mutex<Option<mpsc::UnboundedReceiver<LeaseId>>>,
}

/// A lease whose credential is being made or renewed; until every such guard is dropped nobody unmakes it.
pub(super) struct Making<'a> {
    site: &'a Site,
    lease: LeaseId,
}

impl Targets {
    /// Builds the issuer of each; opens no connection.
    pub(super) fn build(
        config: &Config,
        shared: &Shared,
        build: &Builder,
        retired: Vec<Target>,
    ) -> Result<Self, BuildError> {
        let mut sites = BTreeMap::new();
        for target in config.targets() {
            let issuer = build(target, shared)?;
            let site = Site::new(target.clone(), issuer, Arc::clone(&shared.now));
            sites.insert(target.name.clone(), Arc::new(site));
        }
        for target in retired {
            // Where it is now its credentials are not, and would be found absent.
            sites.remove(&target.name);
            if let Some(site) = Site::retired(target, shared, build) {
                sites.insert(site.target.name.clone(), Arc::new(site));
            }
        }
        Ok(Self {
            sites,
            homeless: Inbox::new(),
        })
    }

    /// The target of this name.
    pub(super) fn site(&self, name: &TargetName) -> Result<&Arc<Site>, Error> {
        self.sites.get(name).ok_or_else(|| {
            let message = format!("there is no target {name}: see `quietus target list`");
            Error::invalid("scopes", message)
        })
    }

    /// Whether credentials of this target are made there, and not by the broker alone.
    pub(super) fn must_be_told(&self, name: &TargetName) -> bool {
        let site = self.sites.get(name);
        site.is_some_and(|site| site.issuer.abilities().enforced == Enforced::AtTarget)
    }

    /// The target of this name, if there is one.
    pub(super) fn named(&self, name: &TargetName) -> Option<&Arc<Site>> {
        self.sites.get(name)
    }

    /// Every target, by name.
    pub(super) fn sites(&self) -> impl Iterator<Item = &Arc<Site>> {
        self.sites.values()
    }

    /// Has these ended.
    fn heed(&self, doomed: Vec<(TargetName, LeaseId)>) {
        for (target, lease) in doomed {
            let inbox = match self.sites.get(&target) {
                Some(site) => &site.inbox,
                None => &self.homeless,
            };
            inbox.put(lease);
        }
    }
}

/// Has the leases ended that a commit leaves to be ended at their targets; none if there are none.
pub(super) fn heed_once_made(targets: &Arc<Targets>, commit: &Commit) -> Option<Then> {
    let leases = commit.change.iter().flat_map(|change| &change.leases);
    let doomed: Vec<_> = leases
        .filter(|lease| lease.enforced == Enforced::AtTarget)
        .filter(|lease| matches!(lease.state, LeaseState::Revoking { .. }))
        .map(|lease| (lease.target.clone(), lease.id))
        .collect();
    let targets = Arc::clone(targets);
    (!doomed.is_empty()).then(|| Box::new(move || targets.heed(doomed)) as Then)
}

impl Site {
    fn new(
        target: Target,
        issuer: Arc<dyn Issuer>,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Self {
        Self {
            permits: Semaphore::new(target.concurrency.get() as usize),
            breaker: Breaker::default(),
            making: Mutex::default(),
            inbox: Inbox::new(),
            back: Notify::new(),
            retired: false,
            target,
            issuer,
            now,
        }
    }

    /// Whether the target is told of the ends of leases.
    pub(super) fn is_told(&self) -> bool {
        self.issuer.abilities().enforced == Enforced::AtTarget
    }

    /// Whether the target is worth asking for another credential.
    pub(super) fn admit(&self) -> Result<(), Error> {
        if self.retired {
            let message = format!(
                "the target {} was moved while leases are alive at its old place: nothing is issued for it until they are gone and the broker was started again",
                self.target.name
            );
            return Err(Error::refused("TARGET_MOVED", message));
        }
        match self.issuer.abilities().enforced == Enforced::AtBroker || self.breaker.passes() {
            true => Ok(()),
            false => Err(Error::Away(self.target.name.clone())),
        }
    }

    /// Calls the target, within its limits on time and on calls at once.
    pub(super) async fn call<T>(
        &self,
        calling: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let answer = self.call_if(|| true, calling).await;
        answer.unwrap_or_else(|| Err(self.too_late()))
    }

    /// The same if it is still wanted when its turn comes; none if not.
    pub(super) async fn call_if<T>(
        &self,
        wanted: impl FnOnce() -> bool,
        calling: impl Future<Output = Result<T, Failure>>,
    ) -> Option<Result<T, Failure>> {
        let limited = async {
            let _permit = self.permits.acquire().await;
            match wanted() {
                true => Some(tokio::time::timeout(self.target.timeout, calling).await),
                false => None,
            }
        };
        // Who waits in line that long finds a target that does not keep up.
        let answer = match tokio::time::timeout(2 * self.target.timeout, limited).await {
            Ok(None) => return None,
            Ok(Some(Ok(answer))) => answer,
            Ok(Some(Err(_))) | Err(_) => Err(self.too_late()),
        };
        self.heed_answer(&answer);
        Some(answer)
    }

    /// What an answer says of the target.
    fn heed_answer<T>(&self, answer: &Result<T, Failure>) {
        let now = (self.now)();
        let back = match answer {
            Ok(_) => self.breaker.answered(now, None),
            Err(Failure::Said(no)) => self.breaker.answered(now, Some(no)),
            Err(Failure::Away(why)) => {
                self.breaker.is_away_now(now, why);
                false
            }
        };
        if back {
            self.back.notify_one();
        }
    }

    fn too_late(&self) -> Failure {
        let limit = humantime::format_duration(self.target.timeout);
        Failure::away(format_args!("no answer within {limit}"))
    }

    /// Keeps the lease's credential from being unmade until the guard is dropped.
    pub(super) fn making(&self, lease: LeaseId) -> Making<'_> {
        *self.makings().entry(lease).or_default() += 1;
        Making { site: self, lease }
    }

    fn is_making(&self, lease: LeaseId) -> bool {
        self.makings().contains_key(&lease)
    }

    fn makings(&self) -> std::sync::MutexGuard<'_, BTreeMap<LeaseId, u32>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever found it being made left it to us.
impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut makings = self.site.makings();
        let left = makings.get(&self.lease).map_or(0, |calls| calls - 1);
        match left {
            0 => drop(makings.remove(&self.lease)),
            left => drop(makings.insert(self.lease, left)),
        }
        drop(makings);
        self.site.inbox.put(self.lease);
    }
}

impl Inbox {
    fn new() -> Self {
        let (send, receive) = mpsc::unbounded_channel();
        Self {
            send,
            receive: Mutex::new(Some(receive)),
        }
    }

    /// A broker that is stopping takes no more; the store has it.
    fn put(&self, lease: LeaseId) {
        let _ = self.send.send(lease);
    }

    fn take(&self) -> Option<mpsc::UnboundedReceiver<LeaseId>> {
        let mut receive = self.receive.lock().unwrap_or_else(PoisonError::into_inner);
        receive.take()
    }
}
