//! A broker between agents and scripted targets, with a disk that outlives it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quietus::clock::TimeSource;
use quietus::config::Target as Configured;
use quietus::engine::{Engine, Error, Issued, Mode, RequestOrder, StartError, Swept, TargetState};
use quietus::issuers::{BuildError, Issuer, Shared, build};
use quietus_core::{Lease, LeaseId, LeaseState, Task, TaskId};
use quietus_identity::VerifiedSvid;
use quietus_ledger::Entry;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::common::DOMAIN;
use crate::disks::{Platter, Room, options};
use crate::inside::{Inside, ledger, once, open};
use crate::scripted::{Double, Scripted};

/// How long anything may take that is waited for.
const BOUND: Duration = Duration::from_secs(60);

/// What outlives a broker.
pub struct Stage {
    pub inside: Inside,
    pub platter: Platter,
    scripts: BTreeMap<String, Arc<Scripted>>,
    /// The configuration without any of the scripted targets.
    plain: String,
    tables: BTreeMap<String, String>,
}

/// One life of a broker, on a runtime of its own, so that it can be ended at any moment.
pub struct Life {
    pub engine: Arc<Engine>,
    pub agent: VerifiedSvid,
    pub operator: VerifiedSvid,
    scripts: BTreeMap<String, Arc<Scripted>>,
    runtime: Option<Runtime>,
}

impl Stage {
    /// With targets of this name, so many calls at once, and this limit on each.
    pub fn of(targets: &[(&str, u32, &str)]) -> Self {
        let inside = Inside::new();
        let plain = std::fs::read_to_string(inside.world.domain.config()).unwrap();
        let mut stage = Self {
            inside,
            platter: Platter::default(),
            scripts: BTreeMap::new(),
            plain,
            tables: BTreeMap::new(),
        };
        for (name, concurrency, timeout) in targets {
            stage.add(name, *concurrency, timeout, Scripted::new());
        }
        stage
    }

    /// One target that is called `one`, and is given time.
    pub fn one() -> Self {
        Self::of(&[("one", 8, "60s")])
    }

    pub fn add(&mut self, name: &str, concurrency: u32, timeout: &str, script: Arc<Scripted>) {
        let table = format!(
            r#"
[[target]]
name = "{name}"
kind = "jwt"
environment = "dev"
sensitivity = 1
resource_servers = ["spiffe://{DOMAIN}/rs/orders"]
concurrency = {concurrency}
timeout = "{timeout}"
"#
        );
        self.tables.insert(name.to_owned(), table);
        self.scripts.insert(name.to_owned(), script);
        self.configure(&[]);
    }

    /// Writes a configuration without these targets, and loads it.
    pub fn configure(&mut self, without: &[&str]) {
        let tables = self.tables.iter();
        let there = tables.filter(|(name, _)| !without.contains(&name.as_str()));
        let tables: String = there.map(|(_, table)| table.as_str()).collect();
        let text = format!("{}{tables}", self.plain);
        std::fs::write(self.inside.world.domain.config(), text).unwrap();
        self.inside.config = self.inside.world.config();
    }

    /// The target of this name is what its table says.
    pub fn become_tokens(&mut self, name: &str) {
        self.scripts.remove(name);
    }

    pub fn become_scripted(&mut self, name: &str, script: &Arc<Scripted>) {
        self.scripts.insert(name.to_owned(), Arc::clone(script));
    }

    pub fn script(&self, name: &str) -> Arc<Scripted> {
        Arc::clone(&self.scripts[name])
    }

    /// A broker that keeps its targets.
    pub async fn start(&self) -> Life {
        let life = self.start_idle(Mode::default()).await.unwrap();
        life.keep();
        life
    }

    /// A broker whose keepers do not run yet.
    pub async fn start_idle(&self, mode: Mode) -> Result<Life, StartError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let store = self
            .platter
            .open(&Room::plenty(), &options(self.inside.world.folder.path()))
            .unwrap();
        let (config, trust) = (self.inside.config.clone(), Arc::clone(&self.inside.trust));
        let id = format!("spiffe://{DOMAIN}/broker");
        let time = Arc::clone(&self.inside.world.time) as Arc<dyn TimeSource>;
        let scripts = self.scripts.clone();
        let started = runtime.spawn(async move {
            let builder =
                move |target: &Configured, shared: &Shared| issuer(&scripts, target, shared);
            Engine::start_in(store, config, id, trust, time, mode, &builder).await
        });
        let engine = started.await.unwrap()?;
        for script in self.scripts.values() {
            script.meet(&engine);
        }
        Ok(Life {
            engine,
            agent: self.inside.agents[0].clone(),
            operator: self.inside.operator.clone(),
            scripts: self.scripts.clone(),
            runtime: Some(runtime),
        })
    }
}

fn issuer(
    scripts: &BTreeMap<String, Arc<Scripted>>,
    target: &Configured,
    shared: &Shared,
) -> Result<Arc<dyn Issuer>, BuildError> {
    match scripts.get(target.name.as_str()) {
        Some(script) => Ok(Arc::new(Double(Arc::clone(script)))),
        None => build(target, shared),
    }
}

impl Life {
    pub fn keep(&self) {
        drop(self.spawn(Arc::clone(&self.engine).keep_targets()));
    }

    /// On the broker's runtime, as its servers would.
    pub fn spawn<T: Send + 'static>(
        &self,
        doing: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.as_ref().unwrap().spawn(doing)
    }

    /// Ends it in the midst of whatever it does; the disk is closed when this returns.
    pub async fn crash(mut self) {
        self.right();
        let runtime = self.runtime.take().unwrap();
        let over = move || runtime.shutdown_timeout(BOUND);
        tokio::task::spawn_blocking(over).await.unwrap();
        let mut engine = Arc::clone(&self.engine);
        drop(self);
        let last = async {
            loop {
                match Arc::try_unwrap(engine) {
                    Ok(last) => return drop(last),
                    Err(shared) => engine = shared,
                }
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(BOUND, last).await;
        ended.expect("somebody holds on to the engine");
    }

    /// No target saw anything wrong.
    pub fn right(&self) {
        for (name, script) in &self.scripts {
            assert_eq!(script.wrong(), Vec::<String>::new(), "at {name}");
        }
    }

    pub async fn open(&self) -> TaskId {
        open(&self.engine, &self.agent).await.unwrap().id
    }

    pub async fn request(&self, task: TaskId, target: &str) -> Result<Issued, Error> {
        self.ask(task, target).await.unwrap()
    }

    /// A request that is under way.
    pub fn ask(&self, task: TaskId, target: &str) -> JoinHandle<Result<Issued, Error>> {
        let (engine, agent) = (Arc::clone(&self.engine), self.agent.clone());
        let order = order(task, target);
        self.spawn(async move { engine.request_credential(&agent, order, once()).await })
    }

    /// One that must succeed.
    pub async fn issue(&self, task: TaskId, target: &str) -> LeaseId {
        self.request(task, target).await.unwrap().lease.id
    }

    pub async fn close(&self, task: TaskId) -> Task {
        let closed = self.engine.close_task(&self.agent, task, false, once());
        closed.await.unwrap().0
    }

    pub async fn sweep(&self, target: &str, dry_run: bool) -> Result<Swept, Error> {
        let target = target.parse().unwrap();
        let swept = self.engine.sweep_target(&self.operator, &target, dry_run);
        swept.await
    }

    pub fn lease(&self, id: LeaseId) -> Lease {
        self.engine.store().read().lease(id).unwrap().unwrap()
    }

    pub fn task(&self, id: TaskId) -> Task {
        self.engine.store().read().task(id).unwrap().unwrap()
    }

    pub fn leases(&self) -> Vec<Lease> {
        let page = self.engine.store().read().leases(None, usize::MAX);
        page.unwrap().rows
    }

    pub fn state(&self, target: &str) -> TargetState {
        let states = self.engine.target_states().unwrap();
        states.into_iter().find(|it| it.name == target).unwrap()
    }

    pub async fn until_ended(&self, id: LeaseId) {
        until("the lease is ended", || self.lease(id).is_ended()).await;
    }

    /// What the ledger says of one lease once it is settled for the first time.
    pub fn settled(&self, id: LeaseId) -> Vec<quietus_ledger::Lease> {
        let id = id.to_string();
        let entries = self.entries("lease.settled").into_iter();
        let leases = entries.flat_map(|entry| entry.leases);
        leases.filter(|lease| lease.id == id).collect()
    }

    pub fn entries(&self, event: &str) -> Vec<Entry> {
        let entries = ledger(self.engine.store()).into_iter();
        let entries = entries.map(|sealed| sealed.entry);
        entries.filter(|entry| entry.event == event).collect()
    }

    /// The counts that are kept for each target are what counting every lease gives.
    pub fn counts_are_right(&self) {
        crate::inside::replay::counters_are_a_full_scan(self.engine.store());
        let mut counted: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for lease in self.leases() {
            if lease.enforced == quietus_core::Enforced::AtBroker || lease.is_ended() {
                continue;
            }
            let count = counted.entry(lease.target.to_string()).or_default();
            match lease.is_live() {
                true => count.0 += 1,
                false => count.1 += 1,
            }
        }
        let held = self.engine.store().read().held().unwrap().into_iter();
        let kept = held.map(|(name, held)| (name, (held.live, held.revoking)));
        assert_eq!(kept.collect::<BTreeMap<_, _>>(), counted);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if !std::thread::panicking() {
            self.right();
        }
    }
}

pub fn order(task: TaskId, target: &str) -> RequestOrder {
    RequestOrder {
        task,
        scopes: vec![format!("{target}:read:all").parse().unwrap()],
        ttl: None,
        key: None,
    }
}

/// Waits for something that will surely come.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(BOUND, waiting).await;
    assert!(waited.is_ok(), "in vain: {what}");
}

/// What a lease that waits for its target is waited for with.
pub fn waits(lease: &Lease) -> (u32, Option<String>) {
    match &lease.state {
        LeaseState::Revoking {
            attempts,
            last_error,
            ..
        } => (*attempts, last_error.clone()),
        other => panic!("{other:?}"),
    }
}

/// The stable word of a refusal.
pub fn reason<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Refused(refused)) => refused.reason,
        other => panic!("no refusal but {other:?}"),
    }
}
