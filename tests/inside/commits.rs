//! Commits made by hand with the lifecycle's own steps, without an engine.

use std::time::Duration;

use quietus::store::{Change, Commit, CommitError, Read, Retry, Store};
use quietus_core::{
    AgentId, Caller, Digest, Enforced, Event, Grant, Guards, Identity, Lease, Load, OpenOrder,
    Outcome, Rules, Step, Task, TaskId, Timestamp, View, next_deadline, open, step,
};
use quietus_ledger::{self as ledger, Draft, Entry};

use super::replay::tell;

pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

pub fn rules() -> Rules {
    let minute = Duration::from_secs(60);
    Rules {
        default_ttl: 5 * minute,
        max_ttl: 60 * minute,
        default_task: 60 * minute,
        max_task: 24 * 60 * minute,
        max_live: 64,
        max_issued: 10_000,
        grace: minute / 6,
        retention: 60 * minute,
    }
}

pub fn task_id(number: u64) -> TaskId {
    TaskId::from_bytes(u128::from(number).to_be_bytes())
}

pub fn caller(agent: &str) -> Caller {
    Caller {
        agent: AgentId(format!("spiffe://dev.example/agent/{agent}")),
        identity: Identity {
            certificate: Digest([1; 32]),
            anchor: Digest([2; 32]),
            until: Timestamp(u64::MAX / 2),
        },
    }
}

pub fn grant(agent: &str, enforced: Enforced) -> Grant {
    Grant {
        caller: caller(agent),
        target: "orders-db".parse().unwrap(),
        scopes: vec![super::ORDERS.parse().unwrap()],
        enforced,
        renewable: true,
        ttl: None,
        policy_max: None,
    }
}

/// A commit that opens a task, and the task.
pub fn opening(number: u64, agent: &str, now: Timestamp) -> (Commit, Task) {
    let order = OpenOrder {
        id: task_id(number),
        caller: caller(agent),
        purpose: String::new(),
        ticket: String::new(),
        environment: "dev".to_owned(),
        trace: [7; 16],
        duration: None,
        heartbeat: None,
    };
    let step = open(&rules(), &Guards::default(), order, now);
    let task = step.task.clone().unwrap();
    let mut commit = commit_of(&task, &step, now);
    commit.reads = vec![Read::Task(task.id, 0)];
    (commit, task)
}

/// A commit that moves a task on as the store has it, and the step.
pub fn moving(store: &Store, id: TaskId, event: Event, now: Timestamp) -> (Commit, Step) {
    let snapshot = store.read();
    let task = snapshot.task(id).unwrap().expect("a task in the store");
    let leases = match event.loads() {
        Load::Nothing => Vec::new(),
        Load::One(id) => snapshot.lease(id).unwrap().into_iter().collect(),
        Load::Live => snapshot.live_leases(&task).unwrap(),
    };
    let guards = Guards::default();
    let view = View {
        task: task.clone(),
        leases,
        guards: &guards,
    };
    let step = step(&rules(), view, event, now);
    (commit_of(&task, &step, now), step)
}

/// What the engine would commit, with an entry that tells all of it.
pub fn commit_of(before: &Task, step: &Step, now: Timestamp) -> Commit {
    let mut commit = Commit {
        now,
        reads: vec![Read::Task(before.id, before.version)],
        ..Commit::default()
    };
    let Some(task) = &step.task else {
        return commit;
    };
    commit.entries = vec![Draft::new(&entry(task, step, now)).unwrap()];
    if step.outcome == Outcome::Purged {
        commit.purge = Some(task.id);
        return commit;
    }
    commit.change = Some(Change {
        task: task.clone(),
        due: next_deadline(task, rules().retention),
        leases: step.leases.clone(),
        retry: Retry::Now,
    });
    commit
}

fn entry(task: &Task, step: &Step, now: Timestamp) -> Entry {
    let event = match step.outcome {
        Outcome::Opened { .. } => "task.opened",
        Outcome::TaskEnded => "task.ended",
        Outcome::Purged => "task.purged",
        _ => "lease.moved",
    };
    Entry {
        agent: Some(task.agent.0.clone()),
        cause: task.ending().map(|ending| ending.cause.reason().to_owned()),
        event: event.to_owned(),
        leases: step.leases.iter().map(fact).collect(),
        task: Some(ledger::Task {
            id: task.id.to_string(),
            state: task.state_name().to_owned(),
            version: task.version,
            ..ledger::Task::default()
        }),
        time: now.0,
        v: ledger::VERSION,
        ..Entry::default()
    }
}

fn fact(lease: &Lease) -> ledger::Lease {
    let told = tell(lease);
    ledger::Lease {
        cause: told.cause,
        confirmed: told.confirmed,
        expires_at: Some(told.expires_at),
        fingerprint: told.fingerprint,
        id: lease.id.to_string(),
        scopes: told.scopes,
        state: told.state,
        target: told.target,
        ..ledger::Lease::default()
    }
}

pub async fn made(store: &Store, commit: Commit) {
    store.commit(commit).await.unwrap();
}

pub async fn refused(store: &Store, commit: Commit) -> CommitError {
    store.commit(commit).await.unwrap_err()
}
