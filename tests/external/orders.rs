//! Orders, as only the lifecycle writes them.

use std::time::Duration;

use quietus::clock::{SystemTime, TimeSource};
use quietus_core::*;
use ring::rand::{SecureRandom, SystemRandom};

pub const AGENT: &str = "spiffe://dev.example/agent/builder";
pub const TARGET: &str = "billing-keys";

/// A task with one lease, and leave to make its credential.
pub struct Ordered {
    pub order: IssueOrder,
    task: Task,
}

pub fn now() -> Timestamp {
    SystemTime.wall()
}

/// An order for a key that may read invoices, for a minute.
pub fn order() -> Ordered {
    let opened = open(&rules(), &Guards::default(), opening(), now());
    issued(opened.task.unwrap(), "read:invoices")
}

pub fn order_for(scope: &str) -> Ordered {
    let opened = open(&rules(), &Guards::default(), opening(), now());
    issued(opened.task.unwrap(), scope)
}

impl Ordered {
    pub fn id(&self) -> LeaseId {
        self.order.lease().id
    }

    /// The order for a longer life, once the credential was made.
    pub fn renewed(&self) -> IssueOrder {
        let settled = Event::IssueSettled(self.id(), Ok(None));
        let made = run(self.task.clone(), vec![self.order.lease().clone()], settled);
        let lease = made.leases[0].clone();
        let grant = Grant {
            ttl: Some(Duration::from_secs(120)),
            ..grant(lease.scopes.clone())
        };
        let event = Event::Renew(lease.id, grant);
        match run(made.task.unwrap(), vec![lease], event).outcome {
            Outcome::Renewed(order) => order,
            other => panic!("{other:?}"),
        }
    }
}

fn issued(task: Task, scope: &str) -> Ordered {
    let scopes = vec![format!("{TARGET}:{scope}").parse().unwrap()];
    let step = run(task, vec![], Event::Issue(grant(scopes)));
    match step.outcome {
        Outcome::Issued(order) => Ordered {
            order,
            task: step.task.unwrap(),
        },
        other => panic!("{other:?}"),
    }
}

fn run(task: Task, leases: Vec<Lease>, event: Event) -> Step {
    let guards = Guards::default();
    let view = View {
        task,
        leases,
        guards: &guards,
    };
    step(&rules(), view, event, now())
}

fn grant(scopes: Vec<Scope>) -> Grant {
    Grant {
        caller: caller(),
        target: TARGET.parse().unwrap(),
        scopes,
        enforced: Enforced::AtTarget,
        renewable: true,
        ttl: None,
        policy_max: None,
    }
}

fn opening() -> OpenOrder {
    let mut id = [0; 16];
    SystemRandom::new().fill(&mut id).unwrap();
    OpenOrder {
        id: TaskId::from_bytes(id),
        caller: caller(),
        purpose: "a test".to_owned(),
        ticket: String::new(),
        environment: "dev".to_owned(),
        trace: [7; 16],
        duration: None,
        heartbeat: None,
    }
}

fn caller() -> Caller {
    Caller {
        agent: AgentId(AGENT.to_owned()),
        identity: Identity {
            certificate: Digest([1; 32]),
            anchor: Digest([2; 32]),
            until: now().after(Duration::from_secs(3600)),
        },
    }
}

fn rules() -> Rules {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    Rules {
        default_ttl: minutes(1),
        max_ttl: minutes(5),
        default_task: minutes(10),
        max_task: minutes(60),
        max_live: 8,
        max_issued: 8,
        grace: minutes(1),
        retention: minutes(1),
    }
}
