//! Ledgers with much in them.

use std::time::Duration;

use quietus::engine::Engine;
use quietus::store::Commit;
use quietus_core::{Digest, Timestamp};
use quietus_ledger::audit::{self, Beside, Report, Trust};
use quietus_ledger::note::{Cosigner, Verifier};
use quietus_ledger::{Action, Draft, Entry, Lease, VERSION};

use crate::common::World;

pub fn entry(time: Timestamp) -> Entry {
    Entry {
        broker: "spiffe://dev.example/broker".to_owned(),
        event: "test.counted".to_owned(),
        time: time.0,
        v: VERSION,
        ..Entry::default()
    }
}

/// An entry with a list that is too large for it.
pub fn large(time: Timestamp, name: &str) -> Entry {
    let lease = |n| Lease {
        id: format!("{name}.{n}"),
        state: "Ended".to_owned(),
        target: "orders-db".to_owned(),
        scopes: vec!["orders-db:read:public.orders".to_owned(); 16],
        ..Lease::default()
    };
    Entry {
        leases: (0..200).map(lease).collect(),
        ..entry(time)
    }
}

/// An entry whose text is kept apart.
pub fn with_text(time: Timestamp, commitment: Digest) -> Entry {
    Entry {
        action: Some(Action {
            resource: "orders".to_owned(),
            result: "succeeded".to_owned(),
            text: Some(commitment.to_string()),
            tool: "psql".to_owned(),
            ..Action::default()
        }),
        ..entry(time)
    }
}

pub async fn write(engine: &Engine, entries: Vec<Entry>) -> Vec<Digest> {
    let drafts: Vec<_> = entries.iter().map(|it| Draft::new(it).unwrap()).collect();
    let lists = drafts.iter().flat_map(Draft::attachments);
    let lists = lists.map(|list| Digest(list.digest)).collect();
    let commit = Commit {
        now: engine.now(),
        entries: drafts,
        checkpoint: true,
        ..Commit::default()
    };
    engine.store().commit(commit).await.unwrap();
    lists
}

/// Plain entries, until there are so many.
pub async fn fill(engine: &Engine, size: u64) {
    let more = size.checked_sub(engine.store().header().seq).unwrap();
    let plain = (0..more).map(|_| entry(engine.now())).collect();
    write(engine, plain).await;
}

/// Has everything there is signed.
pub async fn sign(engine: &Engine) -> u64 {
    write(engine, Vec::new()).await;
    engine.store().header().checkpoint
}

/// The public key that the log's checkpoints are believed by.
pub fn log_key(world: &World) -> Verifier {
    let dir = world.config().keys.dir;
    let file = std::fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).ok()?;
        let verifier: Verifier = text.trim_end().parse().ok()?;
        (verifier.name() == "dev.example/broker").then_some(verifier)
    });
    file.unwrap()
}

pub fn trust(world: &World, witnesses: Vec<Cosigner>) -> Trust {
    Trust {
        log: vec![log_key(world)],
        witnesses,
        origin: Some("dev.example/broker".to_owned()),
    }
}

/// What an auditor finds who reads all of it.
pub fn verify(files: &impl audit::Files<Error = String>, trust: Trust) -> Report {
    audit::verify(files, trust, &Beside::default(), |_, _| {}).unwrap()
}

/// Waits for what must come.
pub async fn until(mut holds: impl FnMut() -> bool) {
    let patience = Duration::from_secs(60);
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(patience, waiting).await.unwrap();
}

/// Has everything forgotten that is to be, which is all up to this entry and no more. The broker may be at it as well.
pub async fn forgets(engine: &Engine, through: u64) {
    let pruned = || engine.store().header().pruned;
    let pruning = async {
        engine.prune().await.unwrap();
        while pruned() < through {
            tokio::task::yield_now().await;
            engine.prune().await.unwrap();
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, pruning).await.unwrap();
    assert_eq!(pruned(), through);
}
