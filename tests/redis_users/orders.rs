//! Orders for issuers, which only the lifecycle can write, and targets, which only a configuration holds.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quietus::config::{Config, ConfigError, Target};
use quietus::issuers::{self, BuildError, Credential, Failure, Issuer, Shared};
use quietus::keys::Keys;
use quietus_core::*;
use tempfile::TempDir;

pub const NOW: Timestamp = Timestamp(1_000_000);

/// Leave to make a credential for these scopes, all of one target.
pub fn order(number: u8, scopes: &[&str]) -> IssueOrder {
    let guards = Guards::default();
    let scopes: Vec<Scope> = scopes.iter().map(|text| text.parse().unwrap()).collect();
    let opening = OpenOrder {
        id: TaskId::from_bytes([number; 16]),
        caller: caller(),
        purpose: "a test".to_owned(),
        ticket: String::new(),
        environment: "dev".to_owned(),
        trace: [7; 16],
        duration: None,
        heartbeat: None,
    };
    let task = open(&rules(), &guards, opening, NOW).task.unwrap();
    let grant = Grant {
        caller: caller(),
        target: scopes[0].target().clone(),
        scopes,
        enforced: Enforced::AtTarget,
        renewable: true,
        ttl: None,
        policy_max: None,
    };
    let view = View {
        task,
        leases: Vec::new(),
        guards: &guards,
    };
    match step(&rules(), view, Event::Issue(grant), NOW).outcome {
        Outcome::Issued(order) => order,
        other => panic!("{other:?}"),
    }
}

fn caller() -> Caller {
    Caller {
        agent: AgentId("spiffe://dev.example/agent".to_owned()),
        identity: Identity {
            certificate: Digest([1; 32]),
            anchor: Digest([7; 32]),
            until: NOW.after(Duration::from_secs(3600)),
        },
    }
}

fn rules() -> Rules {
    let minute = Duration::from_secs(60);
    Rules {
        default_ttl: minute,
        max_ttl: 5 * minute,
        default_task: 10 * minute,
        max_task: 60 * minute,
        max_live: 8,
        max_issued: 8,
        grace: minute,
        retention: minute,
    }
}

/// The target that these lines of configuration describe, relative to the folder.
pub fn target(folder: &Path, table: &str) -> Result<Target, ConfigError> {
    let text = format!(
        r#"[broker]
listen = "127.0.0.1:8443"
svid = "broker.pem"
key = "broker.key"
[store]
path = "quietus.redb"
[keys]
dir = "keys"
[policy]
dir = "policies"
[[trust_domain]]
name = "dev.example"
bundle = "bundle.pem"
[[operator]]
id = "spiffe://dev.example/operator/alice"
{table}"#
    );
    let path = folder.join("quietus.toml");
    fs::write(&path, text).unwrap();
    let config = Config::load(path)?;
    Ok(config.targets().next().unwrap().clone())
}

pub fn shared(folder: &TempDir) -> Shared {
    let keys = folder.path().join("keys");
    let _ = fs::create_dir(&keys);
    Shared {
        svid: quietus::tls::SvidFiles {
            chain: "unused.pem".into(),
            key: "unused.key".into(),
        },
        keys: Arc::new(Keys::open(&keys, Duration::from_secs(300), NOW).unwrap()),
        issuer: "spiffe://dev.example/broker".to_owned(),
        broker: "spiffe://dev.example/broker".to_owned(),
        now: Arc::new(|| NOW),
    }
}

pub fn build(folder: &TempDir, table: &str) -> Result<Arc<dyn Issuer>, BuildError> {
    let target = target(folder.path(), table).unwrap();
    issuers::build(&target, &shared(folder))
}

/// Makes what is ordered.
pub async fn make(issuer: &dyn Issuer, order: &IssueOrder) -> Result<Credential, Failure> {
    let prepared = issuer.issue(order, None).unwrap();
    assert!(prepared.fingerprint().is_some());
    prepared.run().await.map(|made| made.credential)
}

pub fn write_mode(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) {
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .unwrap();
    file.write_all(bytes.as_ref()).unwrap();
}
