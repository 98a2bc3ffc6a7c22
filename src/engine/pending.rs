//! What a broker that is started for looking would end.

use quietus_core::{Lease, LeaseId, Task, TaskId};

use super::{Engine, Error};
use crate::store::{Effect, Snapshot};

/// How many rows are read at a time.
const STRIDE: usize = 1000;

/// Something that would be ended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// A task, and every live lease under it: how many, and the stable word for what ends it.
    Task(TaskId, u32, &'static str),
    /// Among the live leases of an open task are some that have perhaps expired, or that were revoked with their target.
    Leases(TaskId),
    /// A credential whose death at its target is not confirmed yet.
    Revocation(LeaseId),
    /// A credential that was being made when the broker stopped.
    Unfinished(LeaseId),
}

impl Engine {
    /// Everything that would be ended now, `most` at most.
    ///
    /// # Errors
    /// [`Error::Internal`] if the store cannot be read.
    pub fn pending(&self, most: usize) -> Result<Vec<Pending>, Error> {
        let mut pending = Vec::new();
        self.pending_tasks(most, &mut pending)?;
        let snapshot = self.store.read();
        let mut after = None;
        while pending.len() < most {
            let page = snapshot.outbox(after, STRIDE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.lease);
            pending.extend(page.iter().map(|out| match out.effect {
                Effect::Issue => Pending::Unfinished(out.lease),
                Effect::Revoke(_) => Pending::Revocation(out.lease),
            }));
        }
        pending.truncate(most);
        Ok(pending)
    }

    fn pending_tasks(&self, most: usize, pending: &mut Vec<Pending>) -> Result<(), Error> {
        let snapshot = self.store.read();
        let mut after = None;
        while pending.len() < most {
            let page = snapshot.open_tasks(after, STRIDE)?;
            for task in &page.rows {
                pending.extend(self.pending_task(&snapshot, task)?);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn pending_task(&self, snapshot: &Snapshot, task: &Task) -> Result<Option<Pending>, Error> {
        let now = self.now();
        let ends = |cause| Ok(Some(Pending::Task(task.id, task.live, cause)));
        if self.store.restored().is_some() {
            return ends("store_restored");
        }
        if let Some(cause) = task.overdue(now) {
            return ends(cause.reason());
        }
        let guards = self.store.guards();
        if guards.fallen(&task.agent, None, task.epoch).is_some() {
            return ends("operator");
        }
        if !self.is_trusted(task) {
            return ends("identity_untrusted");
        }
        let expired = task.lease_due.is_some_and(|due| due <= now);
        let fallen = |lease: &Lease| {
            let target = Some(&lease.target);
            guards.fallen(&task.agent, target, lease.epoch).is_some()
        };
        let revoked = !guards.floors.is_empty() && snapshot.live_leases(task)?.iter().any(fallen);
        Ok((expired || revoked).then_some(Pending::Leases(task.id)))
    }
}
