//! Reading the state as of one commit.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};

use quietus_core::{Digest, Guards, Lease, LeaseId, Task, TaskId, Timestamp};
use quietus_ledger::merkle::Hash;
use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};

use super::StoreError;
use super::rows::{self, Effect, Header, Held, RequestKey, RequestRow, Stub};

/// The state as of one commit; later ones do not show.
pub struct Snapshot {
    pub(super) read: ReadTransaction,
    // What nearly every request looks into.
    tasks: ReadOnlyTable<&'static [u8; 16], &'static [u8]>,
    leases: ReadOnlyTable<&'static [u8; 20], &'static [u8]>,
    requests: ReadOnlyTable<&'static [u8; 20], &'static [u8]>,
    pub(super) header: Header,
    /// The hashes of the entries behind the last full bundle.
    pub(super) tail: Vec<Hash>,
}

/// A task that must be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Since when.
    pub at: Timestamp,
    /// Which.
    pub task: TaskId,
}

/// Something still to do at a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// For which lease.
    pub lease: LeaseId,
    /// What.
    pub effect: Effect,
}

/// Some rows, and where to go on.
#[derive(Clone, Debug)]
pub struct Page<T, K> {
    /// In order of their keys.
    pub rows: Vec<T>,
    /// The key of the last row that was looked at, if there may be more.
    pub next: Option<K>,
}

impl Snapshot {
    /// The state as of the last commit.
    pub(super) fn take(db: &Database, header: Header, tail: Vec<Hash>) -> Result<Self, StoreError> {
        let read = db.begin_read()?;
        Ok(Self {
            tasks: read.open_table(rows::TASKS)?,
            leases: read.open_table(rows::LEASES)?,
            requests: read.open_table(rows::REQUESTS)?,
            read,
            header,
            tail,
        })
    }

    /// One task.
    pub fn task(&self, id: TaskId) -> Result<Option<Task>, StoreError> {
        let row = self.tasks.get(&id.to_bytes())?;
        row.map(|row| rows::read_task(row.value())).transpose()
    }

    /// One lease.
    pub fn lease(&self, id: LeaseId) -> Result<Option<Lease>, StoreError> {
        let row = self.leases.get(&rows::lease_key(id))?;
        row.map(|row| rows::decode("leases", row.value()))
            .transpose()
    }

    /// The newest leases of a task, no more than `most`, in order of issue.
    pub fn leases_of(&self, task: TaskId, most: usize) -> Result<Vec<Lease>, StoreError> {
        let first = rows::lease_key(LeaseId { task, number: 0 });
        let last = rows::lease_key(LeaseId {
            task,
            number: u32::MAX,
        });
        let mut found = Vec::new();
        let newest_first = self.leases.range::<&[u8; 20]>(&first..=&last)?.rev();
        for row in newest_first.take(most) {
            found.push(rows::decode("leases", row?.1.value())?);
        }
        found.reverse();
        Ok(found)
    }

    /// The leases of a task that have not begun to end; looks no further once it has them all.
    pub fn live_leases(&self, task: &Task) -> Result<Vec<Lease>, StoreError> {
        let mut found = Vec::new();
        if task.live == 0 {
            return Ok(found);
        }
        let id = |number| {
            rows::lease_key(LeaseId {
                task: task.id,
                number,
            })
        };
        // From the newest: those are the likeliest to be live.
        for row in self
            .leases
            .range::<&[u8; 20]>(&id(0)..=&id(u32::MAX))?
            .rev()
        {
            let lease: Lease = rows::decode("leases", row?.1.value())?;
            if lease.is_live() {
                found.push(lease);
            }
            if found.len() == task.live as usize {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    /// The tasks whose deadline is at `now` or before, the longest overdue first, from behind `after` on.
    pub fn due(
        &self,
        now: Timestamp,
        after: Option<Due>,
        most: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let deadlines = self.read.open_table(rows::DEADLINES)?;
        let first = after.map(|due| rows::deadline_key(due.at.0, due.task.to_bytes()));
        let last = rows::deadline_key(now.0, [0xff; 16]);
        let mut due = Vec::new();
        if first.is_some_and(|first| first >= last) {
            return Ok(due);
        }
        let first = first.as_ref().map_or(Unbounded, Excluded);
        let range = deadlines.range::<&[u8; 24]>((first, Included(&last)))?;
        for row in range.take(most) {
            let (at, task) = rows::deadline(row?.0.value());
            due.push(Due { at, task });
        }
        Ok(due)
    }

    /// When the next deadline is.
    pub fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let deadlines = self.read.open_table(rows::DEADLINES)?;
        let first = deadlines.first()?;
        Ok(first.map(|(key, _)| rows::deadline(key.value()).0))
    }

    /// Tasks after `after` in order of opening, looking at no more than `most`.
    pub fn tasks(
        &self,
        after: Option<TaskId>,
        most: usize,
    ) -> Result<Page<Task, TaskId>, StoreError> {
        let after = after.map(TaskId::to_bytes);
        let mut page = Page {
            rows: Vec::new(),
            next: None,
        };
        let range = match &after {
            Some(after) => self.tasks.range::<&[u8; 16]>((
                std::ops::Bound::Excluded(after),
                std::ops::Bound::Unbounded,
            ))?,
            None => self.tasks.iter()?,
        };
        for row in range.take(most) {
            let task = rows::read_task(row?.1.value())?;
            page.next = Some(task.id);
            page.rows.push(task);
        }
        page.end_unless(most);
        Ok(page)
    }

    /// Tasks that are open, after `after` in order of opening, looking at no more than `most` tasks of any state. Those
    /// that are not open are hardly looked at.
    pub fn open_tasks(
        &self,
        after: Option<TaskId>,
        most: usize,
    ) -> Result<Page<Task, TaskId>, StoreError> {
        let after = after.map(TaskId::to_bytes);
        let first = after.as_ref().map_or(Unbounded, Excluded);
        let mut page = Page {
            rows: Vec::new(),
            next: None,
        };
        let mut looked_at = 0;
        for row in self
            .tasks
            .range::<&[u8; 16]>((first, Unbounded))?
            .take(most)
        {
            let (key, row) = row?;
            looked_at += 1;
            page.next = Some(TaskId::from_bytes(*key.value()));
            if Stub::from_row(row.value())?.open {
                page.rows.push(rows::read_task(row.value())?);
            }
        }
        if looked_at < most {
            page.next = None;
        }
        Ok(page)
    }

    /// Leases after `after` in order of their tasks' opening, looking at no more than `most`.
    pub fn leases(
        &self,
        after: Option<LeaseId>,
        most: usize,
    ) -> Result<Page<Lease, LeaseId>, StoreError> {
        let after = after.map(rows::lease_key);
        let mut page = Page {
            rows: Vec::new(),
            next: None,
        };
        let range = match &after {
            Some(after) => self.leases.range::<&[u8; 20]>((
                std::ops::Bound::Excluded(after),
                std::ops::Bound::Unbounded,
            ))?,
            None => self.leases.iter()?,
        };
        for row in range.take(most) {
            let lease: Lease = rows::decode("leases", row?.1.value())?;
            page.next = Some(lease.id);
            page.rows.push(lease);
        }
        page.end_unless(most);
        Ok(page)
    }

    /// Freezes and floors.
    pub fn guards(&self) -> Result<Guards, StoreError> {
        rows::read_guards(&self.read)
    }

    /// The entry at which an older copy ended, as long as its tasks are not all ended.
    pub(super) fn restored(&self) -> Result<Option<u64>, StoreError> {
        rows::read_restored(&self.read)
    }

    /// What an idempotency key came to, if it was used today or yesterday.
    pub fn request(
        &self,
        key: RequestKey,
        now: Timestamp,
    ) -> Result<Option<RequestRow>, StoreError> {
        for place in key.places(now) {
            if let Some(row) = self.requests.get(&place)? {
                return rows::decode("requests", row.value()).map(Some);
            }
        }
        Ok(None)
    }

    /// What is still to do at targets.
    pub fn outbox(&self, after: Option<LeaseId>, most: usize) -> Result<Vec<Outgoing>, StoreError> {
        let outbox = self.read.open_table(rows::OUTBOX)?;
        let from = after.map_or([0; 20], rows::lease_key);
        let mut out = Vec::new();
        for row in outbox.range::<&[u8; 20]>(&from..)? {
            let (key, row) = row?;
            let lease = rows::lease_id(key.value());
            if Some(lease) != after {
                let effect = rows::decode("outbox", row.value())?;
                out.push(Outgoing { lease, effect });
            }
            if out.len() == most {
                break;
            }
        }
        Ok(out)
    }

    /// How many leases are alive at each target that must be told of their ends; targets without any are left out.
    pub fn held(&self) -> Result<BTreeMap<String, Held>, StoreError> {
        let targets = self.read.open_table(rows::TARGETS)?;
        let mut held = BTreeMap::new();
        for row in targets.iter()? {
            let (name, row) = row?;
            held.insert(
                name.value().to_owned(),
                rows::decode("targets", row.value())?,
            );
        }
        Ok(held)
    }

    /// The settings of targets that were kept.
    pub fn settings(&self) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
        let settings = self.read.open_table(rows::SETTINGS)?;
        let mut kept = BTreeMap::new();
        for row in settings.iter()? {
            let (name, row) = row?;
            kept.insert(name.value().to_owned(), row.value().to_vec());
        }
        Ok(kept)
    }

    /// An archived policy set.
    pub fn policy(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let policies = self.read.open_table(rows::POLICIES)?;
        Ok(policies.get(&digest.0)?.map(|row| row.value().to_vec()))
    }
}

impl<T, K> Page<T, K> {
    fn end_unless(&mut self, most: usize) {
        if self.rows.len() < most {
            self.next = None;
        }
    }
}
