//! When space runs out, minting stops with a clear error and revoking goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use quietus::engine::{Engine, Error, Target};
use quietus_core::{Cause, Enforced, Event, Selector};

use crate::disks::{Platter, Room, options};
use crate::inside::commits::{NOW, grant, made, moving, opening, refused, task_id};
use crate::inside::{
    FORBIDDEN, Inside, Minted, ORDERS, abandon, ledger, mint, once, open, renew, replay,
};
use quietus::store::{CommitError, Options, Store};

type RunShort = fn(&Room);

/// How a disk can be short of space: of free room, or of its reserve.
const SHORTAGES: [(&str, RunShort); 2] = [
    ("free", |room| room.free.store(1, SeqCst)),
    ("reserve", |room| room.reserve.store(false, SeqCst)),
];

#[tokio::test]
async fn with_no_space_nothing_is_granted_and_everything_can_be_ended() {
    for (name, run_short) in SHORTAGES {
        let inside = Inside::new();
        let platter = Platter::default();
        let room = Room::plenty();
        let options = options(inside.world.folder.path());
        let engine = inside
            .start_in(platter.open(&room, &options).unwrap())
            .await
            .unwrap();
        let agent = &inside.agents[0];
        let mut minted = Vec::new();
        for _ in 0..4 {
            let task = open(&engine, agent).await.unwrap().id;
            minted.push(mint(&engine, agent, task, ORDERS).await.unwrap());
        }

        run_short(&room);
        engine.store().check_space();
        assert!(engine.store().is_short_of_space(), "{name}");
        assert_eq!(engine.status().degraded, ["disk_short_of_space"]);
        nothing_is_granted(&inside, &engine, &minted[0]).await;
        everything_ends(&inside, &engine, &minted).await;
        for Minted { token, .. } in &minted {
            assert!(!inside.honours(&engine, token), "{name}");
        }
        abandon(engine);

        // Durably so, and a broker starts on a full disk.
        let store = platter.open(&room, &options).unwrap();
        assert!(store.is_short_of_space());
        let engine = inside.start_in(store).await.unwrap();
        assert_eq!(engine.status().header.live_leases, 0);
        replay::Told::by(&ledger(engine.store())).is_what_is_in(engine.store(), |_| 0);

        room.free.store(u64::MAX, SeqCst);
        room.reserve.store(true, SeqCst);
        engine.store().check_space();
        let task = open(&engine, agent).await.unwrap().id;
        mint(&engine, agent, task, ORDERS).await.unwrap();
        abandon(engine);
    }
}

async fn nothing_is_granted(inside: &Inside, engine: &Arc<Engine>, minted: &Minted) {
    let agent = &inside.agents[0];
    let task = minted.lease.id.task;
    let seq = engine.status().header.seq;
    let answers = [
        mint(engine, agent, task, ORDERS).await.err(),
        renew(engine, agent, minted.lease.id).await.err(),
        open(engine, agent).await.err(),
        // Nor does an agent fill the disk with refusals.
        mint(engine, agent, task, FORBIDDEN).await.err(),
    ];
    for answer in answers {
        let error = answer.unwrap();
        assert!(matches!(error, Error::NoSpace), "{error}");
        assert!(error.to_string().contains("short of space"));
    }
    assert_eq!(engine.status().header.seq, seq);
    assert!(
        inside.honours(engine, &minted.token),
        "what was granted stays"
    );
}

async fn everything_ends(inside: &Inside, engine: &Arc<Engine>, minted: &[Minted]) {
    let (agent, operator) = (&inside.agents[0], &inside.operator);
    engine
        .close_task(agent, minted[0].lease.id.task, false, once())
        .await
        .unwrap();
    engine
        .return_lease(agent, minted[1].lease.id, once())
        .await
        .unwrap();
    let task = Target::Task(minted[2].lease.id.task);
    engine.revoke(operator, task, "full").await.unwrap();
    engine
        .freeze(operator, Selector::All, "full")
        .await
        .unwrap();
    engine
        .revoke(operator, Target::Wide(Selector::All), "full")
        .await
        .unwrap();
    engine.thaw(operator, &Selector::All).await.unwrap();
}

/// How many tasks are ended in the room that the reserve leaves.
const ENDED: u64 = 5_000;

/// Run with `QUIETUS_SMALL_DISK=/mnt/small cargo test --test disk_trouble -- --ignored` on some 150 MB.
#[tokio::test]
#[ignore = "needs QUIETUS_SMALL_DISK, a folder on a small file system of its own"]
async fn on_a_real_disk_that_is_full_revoking_goes_on() {
    let folder = std::path::PathBuf::from(std::env::var_os("QUIETUS_SMALL_DISK").unwrap());
    let options = Options {
        path: folder.join("quietus.redb"),
        cache_bytes: 8 << 20,
        min_free_bytes: 4 << 20,
        accept_restored: false,
        without_tree: false,
    };
    let store = Arc::new(Store::open(&options).unwrap());
    let opened = grant_until_refused(&store).await;
    assert!(opened > 1000 && store.is_short_of_space());
    // Somebody else takes what is left.
    let mut filler = std::fs::File::create(folder.join("filler")).unwrap();
    while std::io::Write::write_all(&mut filler, &[7; 4096]).is_ok() {}
    store.check_space();
    assert_eq!(
        refused(&store, grants(opening(u64::MAX, "a", NOW).0)).await,
        CommitError::NoSpace
    );
    let mut ending = tokio::task::JoinSet::new();
    for number in 0..opened.min(ENDED) {
        let store = Arc::clone(&store);
        ending.spawn(async move {
            let over = Event::EndTask(Cause::Completed);
            made(&store, moving(&store, task_id(number), over, NOW).0).await;
        });
    }
    ending.join_all().await;
    assert_eq!(store.header().open_tasks, opened - opened.min(ENDED));
    assert!(store.fatal().borrow().is_none());
    drop(store);
    let store = Store::open(&options).unwrap();
    replay::Told::by(&ledger(&store)).is_what_is_in(&store, |_| 0);
}

async fn grant_until_refused(store: &Arc<Store>) -> u64 {
    let mut number = 0;
    loop {
        for n in number..number + 64 {
            let store = Arc::clone(store);
            let commit = grants(opening(n, "a", NOW).0);
            match store.commit(commit).await {
                Ok(_) => {}
                Err(CommitError::NoSpace) => return n,
                Err(error) => panic!("{error}"),
            }
            let issue = Event::Issue(grant("a", Enforced::AtBroker));
            made(&store, moving(&store, task_id(n), issue, NOW).0).await;
        }
        number += 64;
        store.check_space();
    }
}

fn grants(mut commit: quietus::store::Commit) -> quietus::store::Commit {
    commit.grant = true;
    commit
}
