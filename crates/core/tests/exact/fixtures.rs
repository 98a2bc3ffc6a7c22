//! A task, its leases and its agent, as most cases find them.

use std::time::Duration;

use quietus_core::*;

/// A whole second; cases count seconds from here.
pub const NOW: Timestamp = at(0);

pub const fn at(seconds: u64) -> Timestamp {
    Timestamp((1_000 + seconds) * 1000)
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn rules() -> Rules {
    Rules {
        default_ttl: secs(60),
        max_ttl: secs(300),
        default_task: secs(600),
        max_task: secs(3600),
        max_live: 3,
        max_issued: 5,
        grace: secs(10),
        retention: secs(100),
    }
}

pub fn coder() -> AgentId {
    AgentId("spiffe://prod.example/coder".to_owned())
}

pub fn tester() -> AgentId {
    AgentId("spiffe://prod.example/tester".to_owned())
}

pub fn operator() -> AgentId {
    AgentId("spiffe://prod.example/operator".to_owned())
}

pub fn svid(certificate: u8, until: Timestamp) -> Identity {
    Identity {
        certificate: Digest([certificate; 32]),
        anchor: Digest([7; 32]),
        until,
    }
}

/// The task's own agent with the SVID that the task knows.
pub fn caller() -> Caller {
    showing(svid(1, at(1000)))
}

pub fn showing(identity: Identity) -> Caller {
    Caller {
        agent: coder(),
        identity,
    }
}

/// Opened now, for 600 seconds, without promises; nothing issued yet.
pub fn task() -> Task {
    Task {
        id: TaskId::from_bytes([5; 16]),
        agent: coder(),
        identity: svid(1, at(1000)),
        purpose: "nightly report".to_owned(),
        ticket: "OPS-1".to_owned(),
        environment: "prod".to_owned(),
        trace: [7; 16],
        opened_at: NOW,
        deadline: at(600),
        liveness: Liveness::default(),
        epoch: 0,
        state: TaskState::Open,
        issued: 0,
        live: 0,
        revoking: 0,
        lease_due: None,
        version: 4,
    }
}

/// A heartbeat every 30 seconds, the next within 40, and a stream that is held, due within 10.
pub fn living() -> Task {
    Task {
        liveness: Liveness {
            interval: Some(secs(30)),
            heartbeat_due: Some(at(40)),
            hold_due: Some(at(10)),
        },
        ..task()
    }
}

pub fn closing() -> Task {
    ended(TaskState::Closing(ending()))
}

pub fn closed(at: Timestamp) -> Task {
    ended(TaskState::Closed {
        ending: ending(),
        at,
    })
}

pub fn ending() -> Ending {
    Ending {
        cause: Cause::Completed,
        at: NOW,
    }
}

fn ended(state: TaskState) -> Task {
    Task { state, ..task() }
}

/// The task once these were issued in it.
pub fn with(task: Task, leases: &[Lease]) -> Task {
    let live = leases.iter().filter(|lease| lease.is_live());
    let dying = leases.iter().filter(|l| !l.is_live() && !l.is_ended());
    Task {
        issued: u32::try_from(leases.len()).unwrap(),
        live: u32::try_from(live.clone().count()).unwrap(),
        revoking: u32::try_from(dying.count()).unwrap(),
        lease_due: live.map(|lease| lease.expires_at).min(),
        ..task
    }
}

pub fn id(number: u32) -> LeaseId {
    LeaseId {
        task: task().id,
        number,
    }
}

pub fn target(name: &str) -> TargetName {
    name.parse().unwrap()
}

pub fn scopes(texts: &[&str]) -> Vec<Scope> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Issued now for 60 seconds, enforced at the broker.
pub fn lease(number: u32) -> Lease {
    Lease {
        id: id(number),
        target: target("orders-db"),
        scopes: scopes(&["orders-db:read:orders"]),
        enforced: Enforced::AtBroker,
        issued_at: NOW,
        renewed_at: None,
        expires_at: at(60),
        bound: Bound::Config,
        certificate: Digest([1; 32]),
        fingerprint: None,
        epoch: 0,
        renewals: 0,
        state: LeaseState::Active,
    }
}

/// The same, enforced at its target.
pub fn far(number: u32, state: LeaseState) -> Lease {
    Lease {
        enforced: Enforced::AtTarget,
        state,
        ..lease(number)
    }
}

pub fn revoking(cause: Cause, since: Timestamp) -> LeaseState {
    LeaseState::Revoking {
        cause,
        since,
        attempts: 0,
        last_error: None,
    }
}

/// Ended at the broker, in one commit.
pub fn refused_from(cause: Cause, at: Timestamp) -> LeaseState {
    LeaseState::Ended {
        cause,
        since: at,
        at,
        confirmed: Confirmation::RefusedByIntrospection,
        attempts: 0,
    }
}

pub fn deleted(cause: Cause, since: Timestamp, at: Timestamp) -> LeaseState {
    LeaseState::Ended {
        cause,
        since,
        at,
        confirmed: Confirmation::DeletedAtTarget,
        attempts: 0,
    }
}

/// A grant of what [`lease`] holds.
pub fn grant() -> Grant {
    Grant {
        caller: caller(),
        target: target("orders-db"),
        scopes: scopes(&["orders-db:read:orders"]),
        enforced: Enforced::AtBroker,
        renewable: true,
        ttl: None,
        policy_max: None,
    }
}

pub fn by(caller: Caller) -> Grant {
    Grant { caller, ..grant() }
}

pub fn freeze() -> Freeze {
    Freeze {
        by: operator(),
        at: NOW,
        reason: "incident 7".to_owned(),
    }
}

pub fn frozen(selector: &Selector) -> Refusal {
    Refusal::Frozen(selector.clone(), "incident 7".to_owned())
}

/// A step with no guards in force; the view holds what the event loads of these leases.
pub fn run(task: &Task, leases: &[Lease], event: Event, now: Timestamp) -> Step {
    run_under(&Guards::default(), task, leases, event, now)
}

pub fn run_under(
    guards: &Guards,
    task: &Task,
    leases: &[Lease],
    event: Event,
    now: Timestamp,
) -> Step {
    run_with(&rules(), guards, task, leases, event, now)
}

pub fn run_with(
    rules: &Rules,
    guards: &Guards,
    task: &Task,
    leases: &[Lease],
    event: Event,
    now: Timestamp,
) -> Step {
    let loads = event.loads();
    let loaded = leases.iter().filter(|lease| match loads {
        Load::Nothing => false,
        Load::One(id) => lease.id == id,
        Load::Live => lease.is_live(),
    });
    let view = View {
        task: task.clone(),
        leases: loaded.cloned().collect(),
        guards,
    };
    step(rules, view, event, now)
}

pub fn nothing(outcome: Outcome) -> Step {
    Step {
        task: None,
        leases: vec![],
        effects: vec![],
        outcome,
    }
}

pub fn unchanged() -> Step {
    nothing(Outcome::Unchanged)
}

pub fn refused(refusal: Refusal) -> Step {
    nothing(Outcome::Refused(refusal))
}

/// What is written when `task` became this; its version rises.
pub fn became(task: Task) -> Option<Task> {
    Some(Task {
        version: task.version + 1,
        ..task
    })
}
