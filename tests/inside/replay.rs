//! The ledger played back into a small model of its own, and compared with the store.

use std::collections::{BTreeMap, BTreeSet};

use quietus::store::{Snapshot, Store};
use quietus_core::{Guards, Lease, Selector, Task};
use quietus_ledger::{Entry, Sealed};

/// What the ledger says there is.
#[derive(Default)]
pub struct Told {
    pub tasks: BTreeMap<String, ToldTask>,
    pub freezes: BTreeSet<String>,
    pub floors: BTreeSet<String>,
    pub policy: Option<String>,
}

#[derive(Default, Debug)]
pub struct ToldTask {
    pub agent: String,
    pub state: String,
    pub cause: Option<String>,
    pub version: u64,
    pub leases: BTreeMap<String, ToldLease>,
}

#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct ToldLease {
    pub state: String,
    pub target: String,
    pub cause: Option<String>,
    pub confirmed: Option<String>,
    pub expires_at: u64,
    pub scopes: Vec<String>,
    pub fingerprint: Option<String>,
}

impl Told {
    pub fn by(entries: &[Sealed]) -> Self {
        let mut told = Self::default();
        for sealed in entries {
            told.take(sealed);
        }
        told
    }

    fn take(&mut self, sealed: &Sealed) {
        let entry = &sealed.entry;
        match entry.event.as_str() {
            "task.opened" => self.opened(entry),
            "task.purged" => {
                let gone = self.tasks.remove(&task_of(entry).id);
                assert_eq!(gone.unwrap().state, "Closed", "entry {}", sealed.seq);
            }
            "freeze.set" => drop(self.freezes.insert(selector_of(entry))),
            "freeze.lifted" => assert!(self.freezes.remove(&selector_of(entry))),
            "revoke.ordered" => drop(self.floors.insert(selector_of(entry))),
            "revoke.swept" => assert!(self.floors.remove(&selector_of(entry))),
            "policy.loaded" => self.policy.clone_from(&entry.policy),
            "request.refused" => self.refused(sealed),
            event if event.starts_with("task.") || event.starts_with("lease.") => {
                self.moved(sealed)
            }
            "action.recorded" => self.untouched(entry),
            "broker.started"
            | "broker.stopped"
            | "trust.changed"
            | "clock.stepped_back"
            | "clock.stepped_forward"
            | "clock.suspended"
            | "keys.rotated"
            | "target.swept"
            | "text.erased" => {}
            other => panic!("entry {} is of an unknown kind: {other}", sealed.seq),
        }
    }

    fn opened(&mut self, entry: &Entry) {
        let task = task_of(entry);
        let opened = ToldTask {
            agent: entry.agent.clone().unwrap(),
            state: task.state.clone(),
            version: task.version,
            ..ToldTask::default()
        };
        assert_eq!((task.state.as_str(), task.version), ("Open", 1));
        assert!(self.tasks.insert(task.id.clone(), opened).is_none());
    }

    /// A refusal changes nothing: it shows the task as it was.
    fn refused(&self, sealed: &Sealed) {
        assert!(sealed.entry.refusal.is_some(), "entry {}", sealed.seq);
        if let Some(task) = &sealed.entry.task {
            let known = &self.tasks[&task.id];
            assert_eq!(known.state, task.state, "entry {}", sealed.seq);
        }
    }

    /// What is only reported leaves the task as it was.
    fn untouched(&self, entry: &Entry) {
        let fact = task_of(entry);
        assert_eq!(self.tasks[&fact.id].state, fact.state);
        assert_eq!(fact.previous, fact.version);
    }

    fn moved(&mut self, sealed: &Sealed) {
        let entry = &sealed.entry;
        let fact = task_of(entry);
        let task = self
            .tasks
            .get_mut(&fact.id)
            .expect("a task that was opened");
        assert!(fact.version > task.version, "entry {}", sealed.seq);
        assert_eq!(task.agent, *entry.agent.as_ref().unwrap());
        assert_ne!(
            task.state, "Closed",
            "entry {}: nothing follows the end",
            sealed.seq
        );
        task.version = fact.version;
        task.state.clone_from(&fact.state);
        if entry.event == "task.ended" {
            task.cause.clone_from(&entry.cause);
        }
        for lease in &entry.leases {
            let told = task.leases.entry(lease.id.clone()).or_default();
            assert_ne!(told.state, "Ended", "entry {}: no second life", sealed.seq);
            told.state.clone_from(&lease.state);
            told.target.clone_from(&lease.target);
            told.cause.clone_from(&lease.cause);
            told.confirmed.clone_from(&lease.confirmed);
            if let Some(expires_at) = lease.expires_at {
                told.expires_at = expires_at;
                told.scopes.clone_from(&lease.scopes);
            }
            if lease.fingerprint.is_some() {
                told.fingerprint.clone_from(&lease.fingerprint);
            }
        }
    }

    /// The store holds what the ledger tells, no more and no less. `silent` says how often a task changed in a
    /// way that is not recorded (a plain sign of life).
    pub fn is_what_is_in(&self, store: &Store, silent: impl Fn(&Task) -> u64) {
        let snapshot = store.read();
        let tasks = snapshot.tasks(None, usize::MAX).unwrap().rows;
        let ids: Vec<_> = tasks.iter().map(|task| task.id.to_string()).collect();
        assert_eq!(ids, self.tasks.keys().cloned().collect::<Vec<_>>());
        for task in &tasks {
            let told = &self.tasks[&task.id.to_string()];
            assert_eq!(told.agent, task.agent.0);
            assert_eq!(told.state, task.state_name());
            let cause = task.ending().map(|ending| ending.cause.reason().to_owned());
            assert_eq!(told.cause, cause);
            assert_eq!(told.version + silent(task), task.version, "{told:?}");
            told.has_the_leases_of(&snapshot, task);
        }
        self.guards_are(&snapshot.guards().unwrap());
        counters_are_a_full_scan(store);
    }

    fn guards_are(&self, guards: &Guards) {
        let names = |selectors: Vec<&Selector>| selectors.into_iter().map(name).collect();
        let freezes: BTreeSet<_> = names(guards.freezes.keys().collect());
        let floors: BTreeSet<_> = names(guards.floors.keys().collect());
        assert_eq!((&self.freezes, &self.floors), (&freezes, &floors));
    }
}

impl ToldTask {
    fn has_the_leases_of(&self, snapshot: &Snapshot, task: &Task) {
        let leases = snapshot.leases_of(task.id, usize::MAX).unwrap();
        let stored: BTreeMap<_, _> = leases.iter().map(|l| (l.id.to_string(), tell(l))).collect();
        assert_eq!(self.leases, stored);
        let live = leases.iter().filter(|lease| lease.is_live()).count();
        assert_eq!(
            (task.live as usize, task.issued as usize),
            (live, leases.len())
        );
    }
}

/// What the ledger would say of a lease.
pub fn tell(lease: &Lease) -> ToldLease {
    use quietus_core::LeaseState::Ended;
    ToldLease {
        state: lease.state_name().to_owned(),
        target: lease.target.to_string(),
        cause: lease.cause().map(|cause| cause.reason().to_owned()),
        confirmed: match &lease.state {
            Ended { confirmed, .. } => Some(confirmed.as_str().to_owned()),
            _ => None,
        },
        expires_at: lease.expires_at.0,
        scopes: lease.scopes.iter().map(ToString::to_string).collect(),
        fingerprint: lease.fingerprint.map(|digest| digest.to_string()),
    }
}

/// The header's counters are what counting every row gives.
pub fn counters_are_a_full_scan(store: &Store) {
    let snapshot = store.read();
    let tasks = snapshot.tasks(None, usize::MAX).unwrap().rows;
    let leases = snapshot.leases(None, usize::MAX).unwrap().rows;
    let header = store.header();
    let open = tasks.iter().filter(|task| task.is_open()).count();
    let live = leases.iter().filter(|lease| lease.is_live()).count();
    let ended = leases.iter().filter(|lease| lease.is_ended()).count();
    let counted = [open, live, leases.len() - live - ended].map(|n| n as u64);
    let kept = [
        header.open_tasks,
        header.live_leases,
        header.revoking_leases,
    ];
    assert_eq!(kept, counted, "open tasks, live leases, revoking leases");
}

pub fn task_of(entry: &Entry) -> &quietus_ledger::Task {
    entry.task.as_ref().expect("an entry about a task")
}

pub fn selector_of(entry: &Entry) -> String {
    let wide = ["all", "trust_domain", "agent", "target"];
    let mut found = wide.into_iter().filter_map(|kind| {
        let value = entry.detail.get(kind)?;
        Some(format!("{kind}={value}"))
    });
    found.next().expect("an entry with a selector")
}

pub fn name(selector: &Selector) -> String {
    match selector {
        Selector::All => "all=true".to_owned(),
        Selector::TrustDomain(name) => format!("trust_domain={name}"),
        Selector::Agent(id) => format!("agent={id}"),
        Selector::Target(name) => format!("target={name}"),
    }
}
