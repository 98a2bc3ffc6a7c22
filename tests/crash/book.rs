//! What was asked for, and what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Mutex;

use quietus::api::v1;
use quietus_core::LeaseId;
use tokio::sync::watch;

use crate::inside::rng::Rng;
use crate::world::lease_of;

/// What must be found of a lease, or of all leases of a task; each outweighs those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Alive,
    /// Its end was asked for and not acknowledged.
    Uncertain,
    Dead,
    /// A receipt says that its death is confirmed.
    Confirmed,
}

/// A credential that was handed out.
#[derive(Clone, Debug)]
pub struct Entry {
    pub task: String,
    pub user: String,
    pub password: String,
    /// It may end at any time, by itself.
    pub short: bool,
    pub fate: Fate,
    /// Already found logging in after a crash.
    pub proved: bool,
}

#[derive(Default)]
struct Pages {
    leases: BTreeMap<LeaseId, Entry>,
    tasks: BTreeMap<String, Fate>,
    /// Requests that were never answered.
    unanswered: Vec<v1::RequestCredentialRequest>,
    /// How many idempotency keys were used with a task.
    keys: BTreeMap<String, u32>,
    /// Ended, confirmed, and not to be seen again.
    buried: Vec<LeaseId>,
    numbers: Numbers,
}

/// Counted for the tally.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    pub minted: u64,
    pub unanswered: u64,
    pub lease_ends: u64,
    pub task_ends: u64,
    pub complete: u64,
}

/// Shared by all who work.
#[derive(Default)]
pub struct Book {
    pages: Mutex<Pages>,
    acknowledged: watch::Sender<u64>,
}

impl Book {
    pub fn acknowledged(&self) -> watch::Receiver<u64> {
        self.acknowledged.subscribe()
    }

    pub fn numbers(&self) -> Numbers {
        self.pages.lock().unwrap().numbers
    }

    pub fn opened(&self, task: &str) {
        let mut pages = self.pages.lock().unwrap();
        pages.tasks.insert(task.to_owned(), Fate::Alive);
    }

    /// Before it is sent.
    pub fn asks(&self, request: &v1::RequestCredentialRequest) {
        let mut pages = self.pages.lock().unwrap();
        *pages.keys.entry(request.task_id.clone()).or_default() += 1;
        pages.unanswered.push(request.clone());
    }

    /// The broker was gone before it answered.
    pub fn left_unanswered(&self) {
        self.pages.lock().unwrap().numbers.unanswered += 1;
    }

    /// Whatever the answer was.
    pub fn answered(&self, request: &v1::RequestCredentialRequest) {
        let mut pages = self.pages.lock().unwrap();
        let key = &request.idempotency_key;
        pages
            .unanswered
            .retain(|other| other.idempotency_key != *key);
    }

    /// Requests whose answers were lost, to be sent again.
    pub fn unanswered(&self) -> Vec<v1::RequestCredentialRequest> {
        self.pages.lock().unwrap().unanswered.clone()
    }

    pub fn minted(&self, reply: v1::RequestCredentialResponse, short: bool) -> LeaseId {
        let lease = reply.lease.unwrap();
        let id: LeaseId = lease.id.parse().unwrap();
        let Some(v1::credential::Kind::Postgres(made)) = reply.credential.unwrap().kind else {
            panic!("no role");
        };
        assert_eq!(lease_of(&made.user), id);
        let entry = Entry {
            task: lease.task_id,
            user: made.user,
            password: made.password,
            short,
            fate: Fate::Alive,
            proved: false,
        };
        let mut pages = self.pages.lock().unwrap();
        assert!(pages.leases.insert(id, entry).is_none(), "{id} twice");
        pages.numbers.minted += 1;
        drop(pages);
        self.acknowledge();
        id
    }

    pub fn lease_is(&self, id: LeaseId, fate: Fate) {
        let mut pages = self.pages.lock().unwrap();
        let entry = pages.leases.get_mut(&id).unwrap();
        entry.fate = entry.fate.max(fate);
        pages.numbers.lease_ends += u64::from(fate == Fate::Dead);
        drop(pages);
        self.acknowledge();
    }

    pub fn task_is(&self, task: &str, fate: Fate) {
        let mut pages = self.pages.lock().unwrap();
        let known = pages.tasks.entry(task.to_owned()).or_insert(fate);
        *known = fate.max(*known);
        pages.numbers.task_ends += u64::from(fate >= Fate::Dead);
        pages.numbers.complete += u64::from(fate == Fate::Confirmed);
        drop(pages);
        self.acknowledge();
    }

    /// An open task, if there are more than so many.
    pub fn an_open_task(&self, rng: &mut Rng, more_than: usize) -> Option<String> {
        let pages = self.pages.lock().unwrap();
        let open = pages.tasks.iter().filter(|(_, fate)| **fate == Fate::Alive);
        let open: Vec<_> = open.map(|(task, _)| task).collect();
        (open.len() > more_than).then(|| rng.pick(&open).to_string())
    }

    /// Every credential that is not buried, and what must be found of it.
    pub fn entries(&self) -> BTreeMap<LeaseId, Entry> {
        let pages = self.pages.lock().unwrap();
        let leases = pages.leases.iter().map(|(id, entry)| {
            let of_task = pages.tasks.get(&entry.task).copied();
            let fate = of_task.unwrap_or(Fate::Alive).max(entry.fate);
            (
                *id,
                Entry {
                    fate,
                    ..entry.clone()
                },
            )
        });
        leases.collect()
    }

    pub fn buried(&self) -> Vec<LeaseId> {
        self.pages.lock().unwrap().buried.clone()
    }

    /// Tasks that are not known to have ended, with the number of keys used with each.
    pub fn tasks(&self) -> Vec<(String, Fate, u32)> {
        let pages = self.pages.lock().unwrap();
        let tasks = pages.tasks.iter().map(|(task, fate)| {
            let keys = pages.keys.get(task).copied().unwrap_or_default();
            (task.clone(), *fate, keys)
        });
        tasks.collect()
    }

    /// From here on it is what it was found to be, while nobody was at work.
    pub fn settle_task(&self, task: &str, open: bool) {
        let mut pages = self.pages.lock().unwrap();
        if open {
            pages.tasks.insert(task.to_owned(), Fate::Alive);
            return;
        }
        let fate = pages.tasks.remove(task).unwrap_or(Fate::Dead);
        pages.keys.remove(task);
        for entry in pages.leases.values_mut().filter(|it| it.task == task) {
            entry.fate = entry.fate.max(fate).max(Fate::Dead);
        }
    }

    pub fn settle_lease(&self, id: LeaseId, fate: Fate) {
        self.pages.lock().unwrap().leases.get_mut(&id).unwrap().fate = fate;
    }

    pub fn bury(&self, id: LeaseId) {
        let mut pages = self.pages.lock().unwrap();
        pages.leases.remove(&id).unwrap();
        pages.buried.push(id);
    }

    pub fn prove(&self, id: LeaseId) {
        self.pages
            .lock()
            .unwrap()
            .leases
            .get_mut(&id)
            .unwrap()
            .proved = true;
    }

    fn acknowledge(&self) {
        self.acknowledged.send_modify(|count| *count += 1);
    }
}
