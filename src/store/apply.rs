//! What a commit does to the tables, inside the transaction that it is part of.

use quietus_core::{AgentId, Enforced, Lease, LeaseId, TaskId, Timestamp};
use quietus_ledger::note::add_cosignatures;
use quietus_ledger::{Attachment, Draft};
use redb::{
    Database, Durability, Key, ReadableDatabase, ReadableTable, Table, TableDefinition, Value,
    WriteTransaction,
};
use ring::rand::{SecureRandom, SystemRandom};

use super::commit::{Change, Commit, Cosigned, PURGED, Prune, Read, Retry};
use super::rows::{self, Effect, Header, RequestKey, RequestRow, Stub};
use super::tree::{Notary, Tree};
use super::{CommitError, StoreError};

/// The tables of a write transaction.
pub(super) struct Tables<'t> {
    tasks: Table<'t, &'static [u8; 16], &'static [u8]>,
    leases: Table<'t, &'static [u8; 20], &'static [u8]>,
    deadlines: Table<'t, &'static [u8; 24], ()>,
    ledger: Table<'t, u64, &'static [u8]>,
    meta: Table<'t, &'static str, &'static [u8]>,
    agents: Table<'t, &'static str, u32>,
    requests: Rare<'t, &'static [u8; 20], &'static [u8]>,
    outbox: Rare<'t, &'static [u8; 20], &'static [u8]>,
    targets: Rare<'t, &'static str, &'static [u8]>,
    tiles: Rare<'t, (u8, u64), &'static [u8]>,
    checkpoints: Rare<'t, u64, &'static [u8]>,
    write: &'t WriteTransaction,
}

/// A table that not every transaction needs: opened when it is first asked for, and then kept open.
pub(super) struct Rare<'t, K: Key + 'static, V: Value + 'static> {
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

    pub(super) fn open(&mut self) -> Result<&mut Table<'t, K, V>, StoreError> {
        let table = match self.table.take() {
            Some(table) => table,
            None => self.write.open_table(self.definition)?,
        };
        Ok(self.table.insert(table))
    }
}

impl<'t> Tables<'t> {
    pub(super) fn open(write: &'t WriteTransaction) -> Result<Self, StoreError> {
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
            tiles: Rare::new(write, rows::TILES),
            checkpoints: Rare::new(write, rows::CHECKPOINTS),
            write,
        })
    }

    pub(super) fn write_header(&mut self, header: &Header) -> Result<(), StoreError> {
        let row = rows::encode("meta", header)?;
        self.meta.insert(rows::HEADER, row.as_slice())?;
        Ok(())
    }
}

/// One commit's try.
pub(super) struct Attempt<'a, 't> {
    pub(super) tables: &'a mut Tables<'t>,
    pub(super) header: &'a mut Header,
    pub(super) epoch: u64,
    pub(super) short: bool,
    pub(super) tree: Option<&'a mut Tree>,
    pub(super) notary: Option<&'a Notary>,
}

impl Attempt<'_, '_> {
    pub(super) fn check(&mut self, commit: &Commit) -> Result<Result<(), CommitError>, StoreError> {
        if commit.grant && self.short {
            return Ok(Err(CommitError::NoSpace));
        }
        if commit
            .prune
            .as_ref()
            .is_some_and(|prune| !self.may_prune(prune))
        {
            return Ok(Err(CommitError::Conflict));
        }
        for read in &commit.reads {
            if let Err(error) = self.holds(read, commit.now)? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Whole bundles only that are still there, and what a signed checkpoint covers.
    fn may_prune(&self, prune: &Prune) -> bool {
        let whole = prune.through.is_multiple_of(rows::BUNDLE);
        whole && (self.header.pruned + 1..=self.header.checkpoint).contains(&prune.through)
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
            Read::Text(commitment) => {
                let texts = self.tables.write.open_table(rows::TEXTS)?;
                texts.get(&commitment.0)?.is_some()
            }
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

    pub(super) fn apply(&mut self, commit: Commit) -> Result<(), StoreError> {
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
        for (digest, text) in commit.texts {
            let mut texts = self.tables.write.open_table(rows::TEXTS)?;
            match text {
                Some(text) => texts.insert(&digest.0, text.row())?,
                None => texts.remove(&digest.0)?,
            };
        }
        for draft in commit.entries {
            self.record(draft)?;
        }
        if commit.checkpoint {
            self.sign_head()?;
        }
        if let Some(cosigned) = commit.cosigned {
            self.cosign(&cosigned)?;
        }
        match commit.prune {
            Some(prune) => self.prune(&prune),
            None => Ok(()),
        }
    }

    /// Adds to whatever others have signed meanwhile. A checkpoint that was superseded meanwhile is kept from here on.
    fn cosign(&mut self, cosigned: &Cosigned) -> Result<(), StoreError> {
        let Cosigned { size, witness, .. } = cosigned;
        let checkpoints = self.tables.checkpoints.open()?;
        let kept = checkpoints.get(size)?.map(|note| note.value().to_vec());
        let kept = kept.unwrap_or_else(|| cosigned.note.clone());
        match add_cosignatures(&kept, &cosigned.lines, std::slice::from_ref(witness)) {
            Ok(note) => drop(checkpoints.insert(size, note.as_bytes())?),
            Err(error) => tracing::error!(%error, size, "a cosignature could not be kept"),
        }
        Ok(())
    }

    fn record(&mut self, draft: Draft) -> Result<(), StoreError> {
        for Attachment { digest, bytes } in draft.attachments() {
            let mut attachments = self.tables.write.open_table(rows::ATTACHMENTS)?;
            attachments.insert(digest, bytes.as_slice())?;
            let mut attached = self.tables.write.open_table(rows::ATTACHED)?;
            attached.insert(digest, self.header.seq + 1)?;
        }
        self.header.seq += 1;
        let entry = draft.seal(self.header.seq);
        self.tables
            .ledger
            .insert(self.header.seq, entry.as_slice())?;
        let Some(tree) = &mut self.tree else {
            return Ok(());
        };
        match tree.push(&entry, &mut self.tables.tiles)? {
            true => self.sign_head(),
            false => Ok(()),
        }
    }

    /// Signs the head of the tree. What is signed is handed out only once it is on the disk.
    fn sign_head(&mut self) -> Result<(), StoreError> {
        let (Some(tree), Some(notary)) = (&self.tree, self.notary) else {
            return Ok(());
        };
        let (size, before) = (tree.size(), self.header.checkpoint);
        if size == before {
            return Ok(());
        }
        let note = match notary(size, &tree.root()) {
            Ok(note) => note,
            Err(error) => {
                tracing::error!(%error, size, "the head of the ledger's tree could not be signed");
                return Ok(());
            }
        };
        let checkpoints = self.tables.checkpoints.open()?;
        checkpoints.insert(size, note.as_slice())?;
        let superseded = checkpoints.get(before)?;
        let superseded = superseded.is_some_and(|note| !is_lasting(before, note.value()));
        if superseded {
            checkpoints.remove(before)?;
        }
        self.header.checkpoint = size;
        Ok(())
    }

    fn prune(&mut self, prune: &Prune) -> Result<(), StoreError> {
        let entries = self.header.pruned + 1..=prune.through;
        for entry in entries {
            self.tables.ledger.remove(entry)?;
        }
        let mut attachments = self.tables.write.open_table(rows::ATTACHMENTS)?;
        let mut attached = self.tables.write.open_table(rows::ATTACHED)?;
        for digest in &prune.attachments {
            let last = attached.get(&digest.0)?.map(|last| last.value());
            // A list that a later entry refers to as well stays.
            if last.is_none_or(|last| last <= prune.through) {
                attachments.remove(&digest.0)?;
                attached.remove(&digest.0)?;
            }
        }
        self.header.pruned = self.header.pruned.max(prune.through);
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

/// Whether a checkpoint is kept when there is a newer one: at the end of each full bundle, and what others have signed.
fn is_lasting(size: u64, note: &[u8]) -> bool {
    let signatures = note.windows(4).filter(|at| *at == "\n\u{2014}".as_bytes());
    size.is_multiple_of(rows::BUNDLE) || signatures.count() > 1
}

fn adjust(counter: &mut u64, before: u64, after: u64) {
    *counter = counter.saturating_sub(before).saturating_add(after);
}

/// Every transaction is durable and two-phase: agents influence the bytes that are written. Each also records which
/// pages are in use, or a start after a crash would first read the whole file.
pub(super) fn begin(db: &Database) -> Result<WriteTransaction, StoreError> {
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
        write.open_table(rows::TILES)?;
        write.open_table(rows::CHECKPOINTS)?;
        write.open_table(rows::ATTACHMENTS)?;
        write.open_table(rows::ATTACHED)?;
        write.open_table(rows::TEXTS)?;
    }
    write.commit()?;
    let mut store = [0; 16];
    SystemRandom::new()
        .fill(&mut store)
        .map_err(|_| StoreError::Row { table: "meta" })?;
    Ok(Header {
        schema: rows::SCHEMA,
        store,
        root: quietus_ledger::merkle::empty(),
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
