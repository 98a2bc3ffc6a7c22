//! The commit path: conditional writes, grouped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use quietus_core::{AgentId, Digest, Enforced, Guards, Lease, LeaseId, Task, TaskId, Timestamp};
use quietus_ledger::Draft;
use redb::{
    Database, Durability, Key, ReadableDatabase, ReadableTable, Table, TableDefinition, Value,
    WriteTransaction,
};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, oneshot, watch};

use super::mark::Mark;
use super::rows::{self, Effect, Header, RequestKey, RequestRow, Stub};
use super::snapshot::Snapshot;
use super::{CommitError, StoreError};
use crate::telemetry::Commits;

/// How many commits may wait.
pub(super) const QUEUE: usize = 4096;
/// How many leases one commit forgets.
pub(crate) const PURGED: usize = 256;
/// How many go into one transaction.
const BATCH: usize = 256;
/// How often a batch that waits for company looks for it, and how often at most.
const NAP: Duration = Duration::from_micros(200);
const NAPS: u32 = 20;

/// A change that is made if nothing in its read-set has changed, and not at all otherwise.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The effective time at which it was decided.
    pub now: Timestamp,
    /// What it rests on.
    pub reads: Vec<Read>,
    /// The task and leases as they are to be.
    pub change: Option<Change>,
    /// A task to forget, with its leases: a portion of them, if they are many. Its version must be in the read-set.
    pub purge: Option<TaskId>,
    /// Freezes and floors as they are to be. Their epoch must be in the read-set.
    pub guards: Option<Guards>,
    /// The policy set that is to be in force, with its archived form.
    pub policy: Option<(Digest, Vec<u8>)>,
    /// Settings of targets that are to be kept, and of those that are to be forgotten.
    pub settings: Vec<Kept>,
    /// What an idempotency key came to. It must be in the read-set as unused.
    pub request: Option<(RequestKey, RequestRow)>,
    /// What to record.
    pub entries: Vec<Draft>,
    /// Whether it gives someone more authority, and so stops when the disk is short of space.
    pub grant: bool,
    /// Whether it is to be made though it changes nothing but the high-water mark of the effective time.
    pub mark: bool,
}

impl Commit {
    /// Whether it changes a task, a lease, a guard, or what was answered.
    pub fn is_change(&self) -> bool {
        let state = self.change.is_some() || self.purge.is_some() || self.guards.is_some();
        state || self.request.is_some()
    }

    /// Whether there is nothing to make.
    pub fn is_empty(&self) -> bool {
        let changes = self.change.is_some() || self.purge.is_some() || self.guards.is_some();
        let rows = self.policy.is_some() || self.request.is_some() || !self.entries.is_empty();
        !changes && !rows && !self.mark && self.settings.is_empty()
    }
}

/// The settings of a target, encoded; none if they are to be forgotten.
pub type Kept = (String, Option<Vec<u8>>);

/// Something a commit rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The task had this version; 0 if it did not exist.
    Task(TaskId, u64),
    /// The guards had this epoch.
    Guards(u64),
    /// This policy set was in force.
    Policy(Digest),
    /// The idempotency key was unused.
    Unused(RequestKey),
    /// The agent had fewer open tasks than this.
    OpenTasksBelow(AgentId, u32),
}

/// A task and those of its leases that changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// As it is to be.
    pub task: Task,
    /// When it must next be looked at.
    pub due: Option<Timestamp>,
    /// As they are to be.
    pub leases: Vec<Lease>,
    /// When a revocation among them is to be tried.
    pub retry: Retry,
}

/// When a revocation is to be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// At once.
    #[default]
    Now,
    /// Not before this.
    At(Timestamp),
}

/// A commit was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The place of its last ledger entry.
    pub seq: u64,
}

/// What is done as soon as a commit is made, whether or not anybody still waits for it. It must not block.
pub type Then = Box<dyn FnOnce() + Send>;

pub(super) struct Job {
    pub(super) commit: Commit,
    pub(super) reply: Reply,
}

/// Where a verdict goes.
pub(super) struct Reply {
    pub(super) to: oneshot::Sender<Verdict>,
    pub(super) then: Option<Then>,
}

pub(super) struct Committer {
    pub(super) db: Arc<Database>,
    pub(super) latest: Arc<ArcSwap<Snapshot>>,
    pub(super) guards: Arc<ArcSwap<Guards>>,
    pub(super) header: Arc<ArcSwap<Header>>,
    pub(super) short: Arc<AtomicBool>,
    pub(super) mark: Arc<Mark>,
    pub(super) commits: Arc<Commits>,
    pub(super) failed: watch::Sender<Option<String>>,
}

/// A panic is a failure of the store like any other: nothing can be committed any more.
impl Drop for Committer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the committer panicked".to_owned();
            self.failed.send_replace(Some(reason));
        }
    }
}

impl Committer {
    /// Runs until nobody is left to commit, or the store fails. It never tries again after a failure: after a
    /// failed fsync nothing is known of what is on the disk.
    pub(super) fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut batches = Batches::default();
        while let Some(first) = jobs.blocking_recv() {
            let batch = batches.gather(first, &mut jobs);
            if let Err(error) = self.commit(batch) {
                self.failed.send_replace(Some(error.to_string()));
                return;
            }
        }
    }

    /// Dropping a job unanswered tells its sender that the store has failed.
    fn commit(&self, batch: Vec<Job>) -> Result<(), StoreError> {
        let _counted = self.commits.begin(batch.len());
        let mut header = **self.header.load();
        let mut guards = None;
        let mut verdicts = Vec::with_capacity(batch.len());
        let write = begin(&self.db)?;
        {
            let mut tables = Tables::open(&write)?;
            for job in batch {
                let mut attempt = Attempt {
                    tables: &mut tables,
                    header: &mut header,
                    epoch: guards.as_ref().unwrap_or(&**self.guards.load()).epoch,
                    short: self.short.load(Ordering::Relaxed),
                };
                let verdict = attempt.check(&job.commit)?;
                if verdict.is_ok() {
                    guards = job.commit.guards.clone().or(guards);
                    attempt.apply(job.commit)?;
                }
                verdicts.push((job.reply, verdict.map(|()| Committed { seq: header.seq })));
            }
            tables
                .meta
                .insert(rows::HEADER, rows::encode("meta", &header)?.as_slice())?;
        }
        if verdicts.iter().all(|(_, verdict)| verdict.is_err()) {
            write.abort()?;
            answer(verdicts);
            return Ok(());
        }
        write.commit()?;
        if let Err(error) = self.mark.write(&header.mark()) {
            tracing::error!(%error, "the mark beside the store cannot be written: an older copy would not be noticed");
        }
        // What is read from here on must show this commit, and so must be in place before anyone is answered; the
        // snapshot before the guards, as readers take them.
        self.latest.store(Arc::new(Snapshot::take(&self.db)?));
        if let Some(guards) = guards {
            self.guards.store(Arc::new(guards));
        }
        self.header.store(Arc::new(header));
        answer(verdicts);
        Ok(())
    }
}

pub(super) type Verdict = Result<Committed, CommitError>;

fn answer(verdicts: Vec<(Reply, Verdict)>) {
    for (reply, verdict) in verdicts {
        if let (Ok(_), Some(then)) = (&verdict, reply.then) {
            then();
        }
        // Whoever has gone away meanwhile does not need to know.
        let _ = reply.to.send(verdict);
    }
}

/// Gathers what goes into one transaction.
///
/// A transaction costs much more than one more commit in it. So when there is company, a batch waits as long as
/// somebody keeps coming: right after a batch was answered, the first of its callers is back before the others, and
/// a transaction for it alone would have all of them wait for two. A caller that is alone never waits.
#[derive(Default)]
struct Batches {
    before: usize,
}

impl Batches {
    fn gather(&mut self, first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
        let mut batch = Vec::with_capacity(self.before.max(16));
        batch.push(first);
        drain(jobs, &mut batch);
        if self.before > 1 || batch.len() > 1 {
            wait_for_company(jobs, &mut batch);
        }
        self.before = batch.len();
        batch
    }
}

fn wait_for_company(jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
    for _ in 0..NAPS {
        let before = batch.len();
        std::thread::sleep(NAP);
        drain(jobs, batch);
        if batch.len() == before || batch.len() == BATCH {
            return;
        }
    }
}

fn drain(jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
    while batch.len() < BATCH
        && let Ok(job) = jobs.try_recv()
    {
        batch.push(job);
    }
}

struct Tables<'t> {
    tasks: Table<'t, &'static [u8; 16], &'static [u8]>,
    leases: Table<'t, &'static [u8; 20], &'static [u8]>,
    deadlines: Table<'t, &'static [u8; 24], ()>,
    ledger: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, &'static [u8]>,
    agents: Table<'t, &'static str, u32>,
    requests: Rare<'t, &'static [u8; 20], &'static [u8]>,
    outbox: Rare<'t, &'static [u8; 20], &'static [u8]>,
    targets: Rare<'t, &'static str, &'static [u8]>,
    write: &'t WriteTransaction,
}

/// A table that not every transaction needs: opened when it is first asked for, and then kept open.
struct Rare<'t, K: Key + 'static, V: Value + 'static> {
    write: &'t WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    table: Option<Table<'t, K, V>>,
}

impl<'t, K: Key + 'static, V: Value + 'static> Rare<'t, K, V> {
    fn new(write: &'t WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Self {
            write,
            definition,
            table: None,
        }
    }

    fn open(&mut self) -> Result<&mut Table<'t, K, V>, StoreError> {
        let table = match self.table.take() {
            Some(table) => table,
            None => self.write.open_table(self.definition)?,
        };
        Ok(self.table.insert(table))
    }
}

impl<'t> Tables<'t> {
    fn open(write: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            tasks: write.open_table(rows::TASKS)?,
            leases: write.open_table(rows::LEASES)?,
            deadlines: write.open_table(rows::DEADLINES)?,
            ledger: write.open_table(rows::LEDGER)?,
            meta: write.open_table(rows::META)?,
            agents: write.open_table(rows::AGENTS)?,
            requests: Rare::new(write, rows::REQUESTS),
            outbox: Rare::new(write, rows::OUTBOX),
            targets: Rare::new(write, rows::TARGETS),
            write,
        })
    }
}

struct Attempt<'a, 't> {
    tables: &'a mut Tables<'t>,
    header: &'a mut Header,
    epoch: u64,
    short: bool,
}

impl Attempt<'_, '_> {
    fn check(&mut self, commit: &Commit) -> Result<Result<(), CommitError>, StoreError> {
        if commit.grant && self.short {
            return Ok(Err(CommitError::NoSpace));
        }
        for read in &commit.reads {
            if let Err(error) = self.holds(read, commit.now)? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    fn holds(
        &mut self,
        read: &Read,
        now: Timestamp,
    ) -> Result<Result<(), CommitError>, StoreError> {
        let holds = match read {
            Read::Task(id, version) => self.version(*id)? == *version,
            Read::Guards(epoch) => self.epoch == *epoch,
            Read::Policy(digest) => self.header.policy == digest.0,
            Read::Unused(key) => self.unused(*key, now)?,
            Read::OpenTasksBelow(agent, limit) => {
                let open = self.tables.agents.get(agent.0.as_str())?;
                match open.is_some_and(|open| open.value() >= *limit) {
                    true => return Ok(Err(CommitError::OpenTasks(*limit))),
                    false => true,
                }
            }
        };
        Ok(if holds {
            Ok(())
        } else {
            Err(CommitError::Conflict)
        })
    }

    fn version(&self, id: TaskId) -> Result<u64, StoreError> {
        let row = self.tables.tasks.get(&id.to_bytes())?;
        row.map_or(Ok(0), |row| Ok(Stub::from_row(row.value())?.version))
    }

    fn unused(&mut self, key: RequestKey, now: Timestamp) -> Result<bool, StoreError> {
        let requests = self.tables.requests.open()?;
        for place in key.places(now) {
            if requests.get(&place)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn apply(&mut self, commit: Commit) -> Result<(), StoreError> {
        self.header.high_water = self.header.high_water.max(commit.now.0);
        if let Some(change) = commit.change {
            self.write_task(&change)?;
            for lease in &change.leases {
                self.write_lease(lease, change.retry, commit.now)?;
            }
        }
        if let Some(task) = commit.purge {
            self.purge(task)?;
        }
        if let Some(guards) = commit.guards {
            let row = rows::encode("meta", &guards)?;
            self.tables.meta.insert(rows::GUARDS, row.as_slice())?;
            self.epoch = guards.epoch;
        }
        if let Some((digest, archived)) = commit.policy {
            let mut policies = self.tables.write.open_table(rows::POLICIES)?;
            policies.insert(&digest.0, archived.as_slice())?;
            self.header.policy = digest.0;
        }
        for (target, settings) in commit.settings {
            let mut kept = self.tables.write.open_table(rows::SETTINGS)?;
            match settings {
                Some(row) => kept.insert(target.as_str(), row.as_slice())?,
                None => kept.remove(target.as_str())?,
            };
        }
        if let Some((key, row)) = commit.request {
            self.write_request(key, &row, commit.now)?;
        }
        for draft in commit.entries {
            self.header.seq += 1;
            let entry = draft.seal(self.header.seq);
            self.tables
                .ledger
                .insert(self.header.seq, entry.as_slice())?;
        }
        Ok(())
    }

    fn write_task(&mut self, change: &Change) -> Result<(), StoreError> {
        let task = &change.task;
        let key = task.id.to_bytes();
        let stub = Stub::of(task, change.due);
        let row = rows::task_row(task, stub)?;
        let before = {
            let old = self.tables.tasks.insert(&key, row.as_slice())?;
            old.map_or(Ok(Stub::default()), |old| Stub::from_row(old.value()))?
        };
        self.move_deadline(key, before.due, stub.due)?;
        self.count(&task.agent, before, stub)
    }

    fn move_deadline(&mut self, task: [u8; 16], from: u64, to: u64) -> Result<(), StoreError> {
        if from == to {
            return Ok(());
        }
        if from != 0 {
            self.tables
                .deadlines
                .remove(&rows::deadline_key(from, task))?;
        }
        if to != 0 {
            self.tables
                .deadlines
                .insert(&rows::deadline_key(to, task), ())?;
        }
        Ok(())
    }

    fn count(&mut self, agent: &AgentId, before: Stub, after: Stub) -> Result<(), StoreError> {
        let header = &mut *self.header;
        adjust(
            &mut header.live_leases,
            u64::from(before.live),
            u64::from(after.live),
        );
        adjust(
            &mut header.revoking_leases,
            u64::from(before.revoking),
            u64::from(after.revoking),
        );
        adjust(
            &mut header.open_tasks,
            u64::from(before.open),
            u64::from(after.open),
        );
        if before.open == after.open {
            return Ok(());
        }
        let agents = &mut self.tables.agents;
        let open = agents.get(agent.0.as_str())?.map_or(0, |open| open.value());
        match (after.open, open) {
            (true, _) => agents.insert(agent.0.as_str(), open.saturating_add(1))?,
            (false, 0 | 1) => agents.remove(agent.0.as_str())?,
            (false, _) => agents.insert(agent.0.as_str(), open - 1)?,
        };
        Ok(())
    }

    fn write_lease(
        &mut self,
        lease: &Lease,
        retry: Retry,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = rows::lease_key(lease.id);
        let row = rows::encode("leases", lease)?;
        let old = self.tables.leases.insert(&key, row.as_slice())?;
        if lease.enforced == Enforced::AtBroker {
            return Ok(());
        }
        let old = old.map(|old| rows::decode::<Lease>("leases", old.value()));
        self.count_at_target(old.transpose()?.as_ref(), lease)?;
        let retry_at = match retry {
            Retry::Now => now,
            Retry::At(at) => at,
        };
        let outbox = self.tables.outbox.open()?;
        match Effect::of(lease, retry_at) {
            Some(effect) => outbox.insert(&key, rows::encode("outbox", &effect)?.as_slice())?,
            None => outbox.remove(&key)?,
        };
        Ok(())
    }

    fn count_at_target(&mut self, before: Option<&Lease>, after: &Lease) -> Result<(), StoreError> {
        let before = before.map(|lease| &lease.state);
        let targets = self.tables.targets.open()?;
        let name = after.target.as_str();
        let held = match targets.get(name)? {
            Some(row) => rows::decode::<rows::Held>("targets", row.value())?,
            None => rows::Held::default(),
        };
        let now = held.moved(before, &after.state);
        match now.is_empty() {
            true => targets.remove(name)?,
            false if now == held => return Ok(()),
            false => targets.insert(name, rows::encode("targets", &now)?.as_slice())?,
        };
        Ok(())
    }

    fn write_request(
        &mut self,
        key: RequestKey,
        row: &RequestRow,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let requests = self.tables.requests.open()?;
        let [today, _] = key.places(now);
        requests.insert(&today, rows::encode("requests", row)?.as_slice())?;
        // A few rows of older days go with each new one, so none pile up.
        for _ in 0..4 {
            let stale = rows::stale_before(now);
            let Some((key, _)) = requests
                .first()?
                .map(|(key, row)| (*key.value(), row.value().len()))
            else {
                break;
            };
            if key >= stale {
                break;
            }
            requests.remove(&key)?;
        }
        Ok(())
    }

    /// Forgets the oldest leases of a task, a portion at a time and, once there are no more, the task.
    fn purge(&mut self, task: TaskId) -> Result<(), StoreError> {
        let first = rows::lease_key(LeaseId { task, number: 0 });
        let last = rows::lease_key(LeaseId {
            task,
            number: u32::MAX,
        });
        let mut portion = Vec::new();
        for row in self
            .tables
            .leases
            .range::<&[u8; 20]>(&first..=&last)?
            .take(PURGED)
        {
            portion.push(*row?.0.value());
        }
        for key in &portion {
            self.tables.leases.remove(key)?;
        }
        if portion.len() == PURGED {
            return Ok(());
        }
        let key = task.to_bytes();
        let removed = self.tables.tasks.remove(&key)?;
        let stub = removed.map_or(Ok(Stub::default()), |row| Stub::from_row(row.value()))?;
        self.move_deadline(key, stub.due, 0)
    }
}

fn adjust(counter: &mut u64, before: u64, after: u64) {
    *counter = counter.saturating_sub(before).saturating_add(after);
}

/// Every transaction is durable and two-phase: agents influence the bytes that are written. Each also records which
/// pages are in use, or a start after a crash would first read the whole file.
fn begin(db: &Database) -> Result<WriteTransaction, StoreError> {
    let mut write = db.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    write.set_two_phase_commit(true);
    write.set_quick_repair(true);
    Ok(write)
}

/// Makes every table, and the header of a new store.
pub(super) fn prepare(db: &Database) -> Result<Header, StoreError> {
    if let Some(header) = read_header(db)? {
        return match header.schema {
            rows::SCHEMA => Ok(header),
            found => Err(StoreError::Schema {
                found,
                expected: rows::SCHEMA,
            }),
        };
    }
    let write = begin(db)?;
    {
        Tables::open(&write)?;
        write.open_table(rows::REQUESTS)?;
        write.open_table(rows::OUTBOX)?;
        write.open_table(rows::TARGETS)?;
        write.open_table(rows::SETTINGS)?;
        write.open_table(rows::POLICIES)?;
    }
    write.commit()?;
    let mut store = [0; 16];
    SystemRandom::new()
        .fill(&mut store)
        .map_err(|_| StoreError::Row { table: "meta" })?;
    Ok(Header {
        schema: rows::SCHEMA,
        store,
        ..Header::default()
    })
}

/// Writes the header of a store that is being opened and, if it is an older copy, that it is one: the mark beside
/// the store will not tell again.
pub(super) fn write_opened(
    db: &Database,
    header: &Header,
    restored: Option<u64>,
) -> Result<(), StoreError> {
    let write = begin(db)?;
    {
        let mut meta = write.open_table(rows::META)?;
        meta.insert(rows::HEADER, rows::encode("meta", header)?.as_slice())?;
        if let Some(seq) = restored {
            meta.insert(rows::RESTORED, rows::encode("meta", &seq)?.as_slice())?;
        }
    }
    Ok(write.commit()?)
}

pub(super) fn forget_restored(db: &Database) -> Result<(), StoreError> {
    let write = begin(db)?;
    write.open_table(rows::META)?.remove(rows::RESTORED)?;
    Ok(write.commit()?)
}

fn read_header(db: &Database) -> Result<Option<Header>, StoreError> {
    let read = db.begin_read()?;
    let meta = match read.open_table(rows::META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let row = meta.get(rows::HEADER)?;
    row.map(|row| rows::decode("meta", row.value())).transpose()
}
