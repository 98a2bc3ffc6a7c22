//! Looking at tasks and leases.

use std::time::Duration;

use quietus_core::{Lease, LeaseId, LeaseState, TargetName, Task, TaskId, Timestamp};
use quietus_identity::VerifiedSvid;

use super::{Engine, Error};

/// How many rows one page looks at before it gives what it has.
const LOOKED_AT: usize = 20_000;
const STRIDE: usize = 1000;

/// Which tasks to list; what is not set matches all.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// SPIFFE ID.
    pub agent: Option<String>,
    /// Of the agent.
    pub trust_domain: Option<String>,
    /// By the state's name.
    pub state: Option<&'static str>,
}

/// Which leases to list; what is not set matches all.
#[derive(Clone, Debug, Default)]
pub struct LeaseFilter {
    /// Of one task.
    pub task: Option<TaskId>,
    /// SPIFFE ID.
    pub agent: Option<String>,
    /// For one target.
    pub target: Option<TargetName>,
    /// By the state's name.
    pub state: Option<&'static str>,
    /// Only those whose death has been waited for at least that long.
    pub stuck_for: Option<Duration>,
}

/// One page, and where the next begins, if there may be one.
#[derive(Clone, Debug)]
pub struct Listed<T, K> {
    /// What was found.
    pub rows: Vec<T>,
    /// The last row looked at.
    pub next: Option<K>,
}

impl Engine {
    /// A task with every lease ever issued in it: for the agent whose it is, and for operators.
    pub fn get_task(&self, svid: &VerifiedSvid, id: TaskId) -> Result<(Task, Vec<Lease>), Error> {
        let shown = self.show_task(id)?;
        let id = svid.id().as_str();
        match shown.0.agent.0 == id || self.config.is_operator(id) {
            true => Ok(shown),
            false => Err(Error::NotFound("task")),
        }
    }

    /// Tasks after a given one, in order of opening.
    pub fn list_tasks(
        &self,
        filter: &TaskFilter,
        after: Option<TaskId>,
        most: usize,
    ) -> Result<Listed<Task, TaskId>, Error> {
        let snapshot = self.store.read();
        let mut listed = Listed {
            rows: Vec::new(),
            next: after,
        };
        for _ in 0..LOOKED_AT / STRIDE {
            let page = snapshot.tasks(listed.next, STRIDE)?;
            for task in page.rows {
                listed.next = Some(task.id);
                if filter.matches(&task) {
                    listed.rows.push(task);
                }
                if listed.rows.len() == most {
                    return Ok(listed);
                }
            }
            if page.next.is_none() {
                listed.next = None;
                return Ok(listed);
            }
        }
        Ok(listed)
    }

    /// Leases after a given one, in order of their tasks' opening, each with its agent.
    pub fn list_leases(
        &self,
        filter: &LeaseFilter,
        after: Option<LeaseId>,
        most: usize,
    ) -> Result<Listed<(Lease, String), LeaseId>, Error> {
        if let Some(least) = filter.stuck_for {
            return self.list_stuck(filter, least, after, most);
        }
        let snapshot = self.store.read();
        let mut listed = Listed {
            rows: Vec::new(),
            next: after,
        };
        let mut agent: Option<(TaskId, String)> = None;
        if let (Some(task), None) = (filter.task, after) {
            // Straight to the task: everything before it sorts below its number 0.
            listed.next = task.before();
        }
        for _ in 0..LOOKED_AT / STRIDE {
            let page = snapshot.leases(listed.next, STRIDE)?;
            for lease in page.rows {
                if filter.task.is_some_and(|task| lease.id.task > task) {
                    listed.next = None;
                    return Ok(listed);
                }
                listed.next = Some(lease.id);
                if !filter.matches(&lease) {
                    continue;
                }
                let known = agent.as_ref().filter(|(task, _)| *task == lease.id.task);
                let owner = match known {
                    Some((_, owner)) => owner.clone(),
                    None => snapshot
                        .task(lease.id.task)?
                        .map_or_else(String::new, |t| t.agent.0),
                };
                agent = Some((lease.id.task, owner.clone()));
                if filter.agent.as_ref().is_none_or(|agent| *agent == owner) {
                    listed.rows.push((lease, owner));
                }
                if listed.rows.len() == most {
                    return Ok(listed);
                }
            }
            if page.next.is_none() {
                listed.next = None;
                return Ok(listed);
            }
        }
        Ok(listed)
    }
}

impl Engine {
    /// The same for those whose death is waited for: the outbox names them, so nothing else is looked at.
    fn list_stuck(
        &self,
        filter: &LeaseFilter,
        least: Duration,
        after: Option<LeaseId>,
        most: usize,
    ) -> Result<Listed<(Lease, String), LeaseId>, Error> {
        let (snapshot, now) = (self.store.read(), self.now());
        let mut listed = Listed {
            rows: Vec::new(),
            next: after,
        };
        for _ in 0..LOOKED_AT / STRIDE {
            let page = snapshot.outbox(listed.next, STRIDE)?;
            let more = page.len() == STRIDE;
            for out in page {
                listed.next = Some(out.lease);
                let lease = snapshot.lease(out.lease)?;
                let Some(lease) = lease.filter(|it| filter.matches(it) && is_stuck(it, least, now))
                else {
                    continue;
                };
                let task = snapshot.task(lease.id.task)?;
                let owner = task.map_or_else(String::new, |task| task.agent.0);
                if filter.agent.as_ref().is_none_or(|agent| *agent == owner) {
                    listed.rows.push((lease, owner));
                }
                if listed.rows.len() == most {
                    return Ok(listed);
                }
            }
            if !more {
                listed.next = None;
                return Ok(listed);
            }
        }
        Ok(listed)
    }
}

fn is_stuck(lease: &Lease, least: Duration, now: Timestamp) -> bool {
    match lease.state {
        LeaseState::Revoking { since, .. } => now.since(since) >= least,
        _ => false,
    }
}

impl TaskFilter {
    fn matches(&self, task: &Task) -> bool {
        let domain = || task.agent.trust_domain();
        self.agent
            .as_ref()
            .is_none_or(|agent| *agent == task.agent.0)
            && self
                .trust_domain
                .as_ref()
                .is_none_or(|name| name == domain())
            && self.state.is_none_or(|state| state == task.state_name())
    }
}

impl LeaseFilter {
    fn matches(&self, lease: &Lease) -> bool {
        self.task.is_none_or(|task| task == lease.id.task)
            && self
                .target
                .as_ref()
                .is_none_or(|target| *target == lease.target)
            && self.state.is_none_or(|state| state == lease.state_name())
    }
}

/// The place just before a task's leases.
trait Before {
    fn before(self) -> Option<LeaseId>;
}

impl Before for TaskId {
    fn before(self) -> Option<LeaseId> {
        let number = u128::from_be_bytes(self.to_bytes()).checked_sub(1)?;
        Some(LeaseId {
            task: TaskId::from_bytes(number.to_be_bytes()),
            number: u32::MAX,
        })
    }
}
