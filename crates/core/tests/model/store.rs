//! What is: a store that holds what the steps wrote, and what must hold of any such store.

use std::collections::BTreeMap;

use quietus_core::*;

#[derive(Default)]
pub struct Store {
    pub guards: Guards,
    pub tasks: BTreeMap<TaskId, Task>,
    pub leases: BTreeMap<LeaseId, Lease>,
}

impl Store {
    pub fn view(&self, id: TaskId, event: &Event) -> View<'_> {
        let of_task = |lease: &&Lease| lease.id.task == id;
        let leases = match event.loads() {
            Load::Nothing => vec![],
            Load::One(one) => self
                .leases
                .get(&one)
                .into_iter()
                .filter(of_task)
                .cloned()
                .collect(),
            Load::Live => self
                .leases
                .values()
                .filter(of_task)
                .filter(|lease| lease.is_live())
                .cloned()
                .collect(),
        };
        View {
            task: self.tasks[&id].clone(),
            leases,
            guards: &self.guards,
        }
    }

    /// Writes a step down, and sees to it that nothing goes back.
    pub fn write(&mut self, step: &Step) {
        if let Some(task) = &step.task
            && let Some(old) = self.tasks.insert(task.id, task.clone())
        {
            assert!(task_rank(&old) <= task_rank(task), "the task went back");
            assert_eq!(task.version, old.version + 1);
        }
        for lease in &step.leases {
            assert!(
                step.task.is_some(),
                "a lease changed without its task's version"
            );
            if let Some(old) = self.leases.insert(lease.id, lease.clone()) {
                assert!(!old.is_ended(), "an ended lease changed: {old:?}");
                assert_eq!(old.issued_at, lease.issued_at, "issued twice");
                assert!(
                    old.fingerprint.is_none() || lease.fingerprint.is_some(),
                    "nobody knows what to revoke any more: {old:?}"
                );
                assert!(
                    lease_rank(&old) <= lease_rank(lease),
                    "the lease went back: {old:?}"
                );
            }
        }
    }

    pub fn purge(&mut self, id: TaskId) {
        self.tasks.remove(&id);
        self.leases.retain(|lease, _| lease.task != id);
    }

    pub fn leases_of(&self, id: TaskId) -> Vec<&Lease> {
        self.leases.values().filter(|l| l.id.task == id).collect()
    }

    /// What holds of every store, however it came about.
    pub fn audit(&self, rules: &Rules) {
        for task in self.tasks.values() {
            let leases = self.leases_of(task.id);
            let live: Vec<_> = leases.iter().filter(|l| l.is_live()).collect();
            let ended = leases.iter().filter(|l| l.is_ended()).count();
            assert_eq!(task.issued as usize, leases.len());
            assert_eq!(task.live as usize, live.len());
            assert_eq!(task.revoking as usize, leases.len() - live.len() - ended);
            assert!(task.live <= rules.max_live && task.issued <= rules.max_issued);
            for lease in &leases {
                assert!(lease.expires_at <= task.deadline, "outlives its task");
                let last = lease.renewed_at.unwrap_or(lease.issued_at);
                assert!(lease.expires_at.since(last) <= rules.max_ttl);
                assert!(last >= lease.issued_at);
                assert_eq!(lease.renewed_at.is_some(), lease.renewals > 0);
                assert_eq!(lease.expires_at.0 % 1000, 0);
            }
            assert!(task.is_open() || task.lease_due.is_none());
            match task.state {
                TaskState::Open => audit_clocks(task, &live, rules),
                TaskState::Closing(_) => assert!(live.is_empty() && ended < leases.len()),
                TaskState::Closed { .. } => assert_eq!(ended, leases.len(), "closed too soon"),
            }
        }
    }
}

fn audit_clocks(task: &Task, live: &[&&Lease], rules: &Rules) {
    let wakes = next_deadline(task, rules.retention).unwrap();
    let first = live.iter().map(|lease| lease.expires_at).min();
    if let Some(first) = first {
        assert!(
            task.lease_due.unwrap() <= first,
            "a lease would expire unseen"
        );
        assert!(wakes <= first);
    }
    for lease in live {
        assert!(
            lease.expires_at <= task.identity.until,
            "outlives every SVID"
        );
    }
    let clocks = [
        Some(task.deadline),
        Some(task.identity.until),
        task.liveness.heartbeat_due,
        task.liveness.hold_due,
    ];
    assert!(clocks.into_iter().flatten().all(|due| wakes <= due));
}

fn task_rank(task: &Task) -> u8 {
    match task.state {
        TaskState::Open => 0,
        TaskState::Closing(_) => 1,
        TaskState::Closed { .. } => 2,
    }
}

fn lease_rank(lease: &Lease) -> u8 {
    match lease.state {
        LeaseState::Issuing => 0,
        LeaseState::Active => 1,
        LeaseState::Revoking { .. } => 2,
        LeaseState::Ended { .. } => 3,
    }
}
