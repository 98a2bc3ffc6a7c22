//! Tables and the form of their rows.

use quietus_core::{Digest, Guards, Lease, LeaseId, LeaseState, Task, TaskId, Timestamp};
use redb::{ReadTransaction, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use super::mark::Reached;

/// The version of the rows.
pub(super) const SCHEMA: u32 = 3;

type Bytes = &'static [u8];

/// Task → [`Stub`], then the task.
pub(super) const TASKS: TableDefinition<&[u8; 16], Bytes> = TableDefinition::new("tasks");
/// Task and number → lease.
pub(super) const LEASES: TableDefinition<&[u8; 20], Bytes> = TableDefinition::new("leases");
/// Time and task → nothing: one row for each task that has a deadline.
pub(super) const DEADLINES: TableDefinition<&[u8; 24], ()> = TableDefinition::new("deadlines");
/// Place → ledger entry.
pub(super) const LEDGER: TableDefinition<u64, Bytes> = TableDefinition::new("ledger");
/// Level and index → hashes of a tile: of the lowest level full ones only, above it also the last.
pub(super) const TILES: TableDefinition<(u8, u64), Bytes> = TableDefinition::new("tiles");
/// Size → signed checkpoint.
pub(super) const CHECKPOINTS: TableDefinition<u64, Bytes> = TableDefinition::new("checkpoints");
/// SHA-256 → what an entry refers to.
pub(super) const ATTACHMENTS: TableDefinition<&[u8; 32], Bytes> =
    TableDefinition::new("attachments");
/// SHA-256 → the last entry that refers to it.
pub(super) const ATTACHED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("attached");
/// Commitment → salt and text.
pub(super) const TEXTS: TableDefinition<&[u8; 32], Bytes> = TableDefinition::new("texts");
/// Entries in a bundle.
pub(super) const BUNDLE: u64 = quietus_ledger::tiles::WIDTH as u64;
/// Day and digest → what was answered to an idempotency key.
pub(super) const REQUESTS: TableDefinition<&[u8; 20], Bytes> = TableDefinition::new("requests");
/// Lease → what is still to do at its target.
pub(super) const OUTBOX: TableDefinition<&[u8; 20], Bytes> = TableDefinition::new("outbox");
/// Target → [`Held`]: only for targets that must be told.
pub(super) const TARGETS: TableDefinition<&str, Bytes> = TableDefinition::new("targets");
/// Target → its settings, as long as it is configured or leases are alive there.
pub(super) const SETTINGS: TableDefinition<&str, Bytes> = TableDefinition::new("settings");
/// SPIFFE ID → open tasks.
pub(super) const AGENTS: TableDefinition<&str, u32> = TableDefinition::new("agents");
/// Digest → policy set, archived.
pub(super) const POLICIES: TableDefinition<&[u8; 32], Bytes> = TableDefinition::new("policies");
/// Name → single values.
pub(super) const META: TableDefinition<&str, Bytes> = TableDefinition::new("meta");

pub(super) const HEADER: &str = "header";
pub(super) const GUARDS: &str = "guards";
/// The entry at which an older copy ended, as long as its tasks are not all ended.
pub(super) const RESTORED: &str = "restored";

/// Counters that change with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Header {
    pub(super) schema: u32,
    pub(super) store: [u8; 16],
    /// Counts openings of the store.
    pub generation: u64,
    /// The last ledger entry.
    pub seq: u64,
    pub(super) high_water: u64,
    /// Tasks that are open.
    pub open_tasks: u64,
    /// Leases that have not begun to end.
    pub live_leases: u64,
    /// Leases that have begun to end without being confirmed dead.
    pub revoking_leases: u64,
    /// The policy set in force.
    pub policy: [u8; 32],
    /// The root of the tree over the ledger.
    pub root: [u8; 32],
    /// The size of the tree when its head was last signed.
    pub checkpoint: u64,
    /// The last entry that was forgotten; 0 if none was.
    pub pruned: u64,
}

impl Header {
    pub(super) fn mark(&self) -> Reached {
        Reached {
            store: self.store,
            generation: self.generation,
            seq: self.seq,
        }
    }
}

/// What the committer must know of a stored task without decoding it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stub {
    pub(super) version: u64,
    /// Zero for none.
    pub(super) due: u64,
    pub(super) live: u32,
    pub(super) revoking: u32,
    pub(super) open: bool,
}

const STUB: usize = 25;
/// Most rows fit, and then nothing is moved while they grow.
const ROOM: usize = 512;

impl Stub {
    pub(super) fn of(task: &Task, due: Option<Timestamp>) -> Self {
        Self {
            version: task.version,
            due: due.map_or(0, |due| due.0),
            live: task.live,
            revoking: task.revoking,
            open: task.is_open(),
        }
    }

    fn to_bytes(self) -> [u8; STUB] {
        let mut bytes = [0; STUB];
        bytes[..8].copy_from_slice(&self.version.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.due.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.live.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.revoking.to_be_bytes());
        bytes[24] = u8::from(self.open);
        bytes
    }

    pub(super) fn from_row(row: &[u8]) -> Result<Self, StoreError> {
        let broken = || StoreError::Row { table: "tasks" };
        let (version, rest) = row.split_first_chunk().ok_or_else(broken)?;
        let (due, rest) = rest.split_first_chunk().ok_or_else(broken)?;
        let (live, rest) = rest.split_first_chunk().ok_or_else(broken)?;
        let (revoking, rest) = rest.split_first_chunk().ok_or_else(broken)?;
        Ok(Self {
            version: u64::from_be_bytes(*version),
            due: u64::from_be_bytes(*due),
            live: u32::from_be_bytes(*live),
            revoking: u32::from_be_bytes(*revoking),
            open: *rest.first().ok_or_else(broken)? == 1,
        })
    }
}

pub(super) fn task_row(task: &Task, stub: Stub) -> Result<Vec<u8>, StoreError> {
    let mut head = Vec::with_capacity(ROOM);
    head.extend_from_slice(&stub.to_bytes());
    postcard::to_extend(task, head).map_err(|_| StoreError::Row { table: "tasks" })
}

pub(super) fn read_task(row: &[u8]) -> Result<Task, StoreError> {
    let body = row.get(STUB..).unwrap_or_default();
    decode("tasks", body)
}

pub(super) fn encode<T: Serialize>(table: &'static str, value: &T) -> Result<Vec<u8>, StoreError> {
    let row = Vec::with_capacity(ROOM);
    postcard::to_extend(value, row).map_err(|_| StoreError::Row { table })
}

pub(super) fn decode<T: DeserializeOwned>(
    table: &'static str,
    row: &[u8],
) -> Result<T, StoreError> {
    postcard::from_bytes(row).map_err(|_| StoreError::Row { table })
}

pub(super) fn lease_key(id: LeaseId) -> [u8; 20] {
    let mut key = [0; 20];
    key[..16].copy_from_slice(&id.task.to_bytes());
    key[16..].copy_from_slice(&id.number.to_be_bytes());
    key
}

pub(super) fn lease_id(key: &[u8; 20]) -> LeaseId {
    let mut task = [0; 16];
    let mut number = [0; 4];
    task.copy_from_slice(&key[..16]);
    number.copy_from_slice(&key[16..]);
    LeaseId {
        task: TaskId::from_bytes(task),
        number: u32::from_be_bytes(number),
    }
}

pub(super) fn deadline_key(due: u64, task: [u8; 16]) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&due.to_be_bytes());
    key[8..].copy_from_slice(&task);
    key
}

pub(super) fn deadline(key: &[u8; 24]) -> (Timestamp, TaskId) {
    let mut due = [0; 8];
    let mut task = [0; 16];
    due.copy_from_slice(&key[..8]);
    task.copy_from_slice(&key[8..]);
    (Timestamp(u64::from_be_bytes(due)), TaskId::from_bytes(task))
}

/// How many leases are alive at a target that must be told of their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Held {
    /// Those that have not begun to end.
    pub live: u64,
    /// Those that have begun to end without being confirmed dead.
    pub revoking: u64,
}

impl Held {
    /// The target counts them no longer.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One lease was this and is that now.
    pub(super) fn moved(mut self, before: Option<&LeaseState>, after: &LeaseState) -> Self {
        match before {
            Some(LeaseState::Issuing | LeaseState::Active) => {
                self.live = self.live.saturating_sub(1)
            }
            Some(LeaseState::Revoking { .. }) => self.revoking = self.revoking.saturating_sub(1),
            Some(LeaseState::Ended { .. }) | None => {}
        }
        match after {
            LeaseState::Issuing | LeaseState::Active => self.live += 1,
            LeaseState::Revoking { .. } => self.revoking += 1,
            LeaseState::Ended { .. } => {}
        }
        self
    }
}

/// Names one idempotency key of one caller for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey(pub [u8; 16]);

const DAY: u64 = 86_400_000;

impl RequestKey {
    /// Where it is kept if it was used today, and if it was used yesterday. Rows of older days are dropped.
    pub(super) fn places(self, now: Timestamp) -> [[u8; 20]; 2] {
        let today = now.0 / DAY;
        [today, today.saturating_sub(1)].map(|day| {
            let mut key = [0; 20];
            key[..4].copy_from_slice(&day_bytes(day));
            key[4..].copy_from_slice(&self.0);
            key
        })
    }
}

/// The first key of yesterday: rows before it are of no more use.
pub(super) fn stale_before(now: Timestamp) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&day_bytes((now.0 / DAY).saturating_sub(1)));
    key
}

fn day_bytes(day: u64) -> [u8; 4] {
    u32::try_from(day).unwrap_or(u32::MAX).to_be_bytes()
}

/// What was answered to an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct RequestRow {
    /// Digest of the request, so that the key cannot be used for another.
    pub body: Digest,
    /// What it came to.
    pub answer: Answer,
}

/// What a request came to: enough to say it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum Answer {
    /// It opened, or ended, this task.
    Task(TaskId),
    /// It issued, renewed for the so-many-th time, or ended this lease.
    Lease(LeaseId, u32),
    /// It made this signing key the one in use, instead of that one.
    Rotated(String, String),
    /// It was refused, with this reason and message.
    Refused(String, String),
    /// It recorded an action, and kept a text under this commitment if there was one.
    Action(Option<Digest>),
}

/// What is still to do at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum Effect {
    /// Make the credential.
    Issue,
    /// Unmake it, not before the given time.
    Revoke(Timestamp),
}

impl Effect {
    /// What a lease's state calls for.
    pub(super) fn of(lease: &Lease, retry_at: Timestamp) -> Option<Self> {
        match lease.state {
            LeaseState::Issuing => Some(Self::Issue),
            LeaseState::Revoking { .. } => Some(Self::Revoke(retry_at)),
            LeaseState::Active | LeaseState::Ended { .. } => None,
        }
    }
}

pub(super) fn read_guards(read: &ReadTransaction) -> Result<Guards, StoreError> {
    let meta = read.open_table(META)?;
    match meta.get(GUARDS)? {
        Some(row) => decode("meta", row.value()),
        None => Ok(Guards::default()),
    }
}

pub(super) fn read_restored(read: &ReadTransaction) -> Result<Option<u64>, StoreError> {
    let meta = read.open_table(META)?;
    let row = meta.get(RESTORED)?;
    row.map(|row| decode("meta", row.value())).transpose()
}
