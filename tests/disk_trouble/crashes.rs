//! The power goes at any moment, and takes any part of what was not synced.

use std::collections::BTreeMap;
use std::sync::Arc;

use quietus::store::{CommitError, Options, Store};
use quietus_core::{Cause, Enforced, Event, TaskId};
use tokio::task::JoinSet;

use crate::disks::{Platter, Room, Survives, options};
use crate::inside::commits::{NOW, grant, moving, opening, task_id};
use crate::inside::rng::Rng;
use crate::inside::{ledger, replay};

const CRASHES: u64 = 300;
const SURVIVALS: [Survives; 4] = [
    Survives::Nothing,
    Survives::Everything,
    Survives::Blocks(512),
    Survives::Blocks(4096),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_and_nothing_is_there_in_part() {
    let mut seen = [0; 3];
    for seed in 0..CRASHES {
        let mut rng = Rng::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let platter = Platter::default();
        platter.die_after(rng.next() % 700);
        let acknowledged = live(&platter, &options, &mut rng).await;
        seen[0] += u64::from(acknowledged.is_empty());
        let mark = options.path.with_extension("mark");
        let marked = std::fs::read(&mark).unwrap_or_default();
        for survives in SURVIVALS {
            std::fs::write(&mark, &marked).unwrap();
            let image = platter.after_power_failure(survives, &mut rng);
            match reopened(&image, &options, &acknowledged) {
                Ok(extra) => seen[if extra { 1 } else { 2 }] += 1,
                // It was still being made, and nobody was ever answered.
                Err(error) => assert!(
                    marked.is_empty() && error.contains("magic number"),
                    "seed {seed}, {survives:?}: {error}"
                ),
            }
        }
    }
    // Crashes before anything, crashes that leave more than was acknowledged, and others.
    assert!(seen.iter().all(|seen| *seen > 10), "{seen:?}");
}

/// Agents work until the disk is gone. The highest version of each task that was acknowledged.
async fn live(platter: &Platter, options: &Options, rng: &mut Rng) -> BTreeMap<TaskId, u64> {
    let mut acknowledged = BTreeMap::new();
    let Ok(store) = platter.open(&Room::plenty(), options) else {
        return acknowledged;
    };
    let store = Arc::new(store);
    let mut agents = JoinSet::new();
    for number in 0..4 {
        agents.spawn(work(Arc::clone(&store), number, Rng::new(rng.next())));
    }
    for done in agents.join_all().await {
        acknowledged.extend(done);
    }
    acknowledged
}

/// Opens tasks, issues in them and ends them, one commit after the other.
async fn work(store: Arc<Store>, agent: u64, mut rng: Rng) -> BTreeMap<TaskId, u64> {
    let mut acknowledged = BTreeMap::new();
    for n in 0.. {
        let id = task_id(1 + agent * 1_000_000 + n);
        for step in 0..2 + rng.next() % 4 {
            let commit = match step {
                0 => opening(1 + agent * 1_000_000 + n, "a", NOW).0,
                3 => moving(&store, id, Event::EndTask(Cause::Completed), NOW).0,
                4.. => break,
                _ => {
                    let enforced = *rng.pick(&[Enforced::AtBroker, Enforced::AtTarget]);
                    let Ok(Some(_)) = store.read().task(id) else {
                        return acknowledged;
                    };
                    moving(&store, id, Event::Issue(grant("a", enforced)), NOW).0
                }
            };
            match store.commit(commit).await {
                Ok(_) => *acknowledged.entry(id).or_default() += 1,
                Err(CommitError::Stopped(_)) => return acknowledged,
                Err(error) => panic!("{error}"),
            }
        }
    }
    acknowledged
}

/// Whether there is more than was acknowledged.
fn reopened(
    image: &Platter,
    options: &Options,
    acknowledged: &BTreeMap<TaskId, u64>,
) -> Result<bool, String> {
    let store = image
        .open(&Room::plenty(), options)
        .map_err(|error| error.to_string())?;
    let entries = ledger(&store);
    replay::Told::by(&entries).is_what_is_in(&store, |_| 0);
    let snapshot = store.read();
    for (id, version) in acknowledged {
        let task = snapshot.task(*id).unwrap();
        if task.is_none_or(|task| task.version < *version) {
            return Err(format!("{id} was acknowledged at version {version}"));
        }
    }
    Ok(entries.len() as u64 > acknowledged.values().sum())
}
