//! Orders as the lifecycle writes them, and an issuer to carry them out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quietus::config::{
    OnOwned, PostgresForAgents, PostgresSettings, PostgresTls, Settings, SslMode, Target,
};
use quietus::dev::{DevPostgres, POSTGRES_ADMIN};
use quietus::issuers::Shared;
use quietus::issuers::postgres::PostgresIssuer;
use quietus::keys::Keys;
use quietus::tls::SvidFiles;
use quietus_core::*;

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_seconds(since.as_secs())
}

/// A new lease in a new task, from now on for that many seconds.
pub fn order(scopes: &[&str], ttl: u64) -> IssueOrder {
    order_at(scopes, ttl, now())
}

pub fn order_at(scopes: &[&str], ttl: u64, now: Timestamp) -> IssueOrder {
    let (task, caller) = task(now);
    let event = Event::Issue(grant(caller, scopes, ttl));
    match run(task, vec![], event, now).outcome {
        Outcome::Issued(order) => order,
        other => panic!("{other:?}"),
    }
}

/// The same lease, renewed for that many seconds from now.
pub fn renewal(order: &IssueOrder, ttl: u64) -> IssueOrder {
    let lease = Lease {
        state: LeaseState::Active,
        ..order.lease().clone()
    };
    let (mut task, caller) = task(lease.issued_at);
    task.id = lease.id.task;
    task.issued = 1;
    task.live = 1;
    let scopes: Vec<String> = lease.scopes.iter().map(ToString::to_string).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let event = Event::Renew(lease.id, grant(caller, &scopes, ttl));
    let now = lease.issued_at;
    match run(task, vec![lease], event, now).outcome {
        Outcome::Renewed(order) => order,
        other => panic!("{other:?}"),
    }
}

fn run(task: Task, leases: Vec<Lease>, event: Event, now: Timestamp) -> Step {
    let guards = Guards::default();
    let view = View {
        task,
        leases,
        guards: &guards,
    };
    step(&rules(), view, event, now)
}

fn task(now: Timestamp) -> (Task, Caller) {
    let caller = Caller {
        agent: AgentId("spiffe://dev.example/agent/builder".to_owned()),
        identity: Identity {
            certificate: Digest([1; 32]),
            anchor: Digest([2; 32]),
            until: now.after(Duration::from_secs(86_400)),
        },
    };
    let order = OpenOrder {
        id: TaskId(random_uuid()),
        caller: caller.clone(),
        purpose: String::new(),
        ticket: String::new(),
        environment: "dev".to_owned(),
        trace: [7; 16],
        duration: None,
        heartbeat: None,
    };
    let task = open(&rules(), &Guards::default(), order, now).task;
    (task.unwrap(), caller)
}

fn random_uuid() -> uuid::Uuid {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).unwrap();
    uuid::Uuid::from_bytes(bytes)
}

fn grant(caller: Caller, scopes: &[&str], ttl: u64) -> Grant {
    Grant {
        caller,
        target: "db".parse().unwrap(),
        scopes: scopes.iter().map(|it| it.parse().unwrap()).collect(),
        enforced: Enforced::AtTarget,
        renewable: true,
        ttl: Some(Duration::from_secs(ttl)),
        policy_max: None,
    }
}

fn rules() -> Rules {
    let hour = Duration::from_secs(3600);
    Rules {
        default_ttl: hour,
        max_ttl: hour,
        default_task: hour,
        max_task: hour,
        max_live: 100,
        max_issued: 100,
        grace: Duration::from_secs(10),
        retention: hour,
    }
}

pub fn settings(server: &DevPostgres, database: &str) -> PostgresSettings {
    PostgresSettings {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        database: database.to_owned(),
        user: POSTGRES_ADMIN.to_owned(),
        password_file: Some(server.password_file()),
        tls: match server.ca_file() {
            Some(ca_file) => PostgresTls::VerifyFull { ca_file },
            None => PostgresTls::Disable,
        },
        agents: PostgresForAgents {
            host: "127.0.0.1".to_owned(),
            port: server.port(),
            sslmode: SslMode::Disable,
        },
        connection_limit: 5,
        on_owned: OnOwned::Drop,
        templates: BTreeMap::new(),
    }
}

pub fn issuer(settings: &PostgresSettings) -> PostgresIssuer {
    issuer_within(settings, Duration::from_secs(30))
}

pub fn issuer_within(settings: &PostgresSettings, timeout: Duration) -> PostgresIssuer {
    // Tests share a server: each is a broker of its own there.
    let broker = format!("spiffe://dev.example/broker/{}", settings.database);
    try_issuer(settings, timeout, &broker).unwrap()
}

pub fn try_issuer(
    settings: &PostgresSettings,
    timeout: Duration,
    broker: &str,
) -> Result<PostgresIssuer, String> {
    let target = Target {
        name: "db".parse().unwrap(),
        settings: Settings::Postgres(Box::new(settings.clone())),
        environment: "dev".to_owned(),
        sensitivity: 1,
        resource_servers: vec![],
        concurrency: 4.try_into().unwrap(),
        timeout,
    };
    PostgresIssuer::new(&target, settings, &shared(broker))
}

fn shared(broker: &str) -> Shared {
    Shared {
        keys: keys(),
        issuer: "https://quietus.dev.example".to_owned(),
        broker: broker.to_owned(),
        svid: SvidFiles {
            chain: "unused.pem".into(),
            key: "unused.key".into(),
        },
        now: Arc::new(now),
    }
}

/// None of them is used.
fn keys() -> Arc<Keys> {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(&folder.path().join("keys"), Duration::from_secs(60), now());
    Arc::new(keys.unwrap())
}
