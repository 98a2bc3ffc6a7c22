//! Backups that are put back.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use quietus::engine::{Engine, StartError};
use quietus::store::{OpenError, Options, Store};
use quietus_core::Cause;

use crate::inside::*;

/// The files of a store, to be put aside and put back while no broker runs.
struct Files {
    store: PathBuf,
    mark: PathBuf,
}

impl Files {
    fn of(inside: &Inside) -> Self {
        let store = inside.config.store.path.clone();
        let mark = store.with_extension("mark");
        Self { store, mark }
    }

    fn copy(&self) -> Vec<u8> {
        fs::read(&self.store).unwrap()
    }

    fn put_back(&self, copy: &[u8]) {
        fs::write(&self.store, copy).unwrap();
    }
}

/// A store with a live credential, as it was and as it is after that was revoked.
struct Restored {
    inside: Inside,
    files: Files,
    minted: Minted,
    older: Vec<u8>,
    newer: Vec<u8>,
}

async fn restored() -> Restored {
    let inside = Inside::new();
    let files = Files::of(&inside);
    let engine = inside.start().await.unwrap();
    let agent = &inside.agents[0];
    let task = open(&engine, agent).await.unwrap().id;
    let minted = mint(&engine, agent, task, ORDERS).await.unwrap();
    stop(engine).await;
    let older = files.copy();
    let engine = inside.start().await.unwrap();
    engine.close_task(agent, task, false, once()).await.unwrap();
    stop(engine).await;
    let newer = files.copy();
    files.put_back(&older);
    Restored {
        inside,
        files,
        minted,
        older,
        newer,
    }
}

async fn refused(inside: &Inside) -> OpenError {
    match inside.start().await {
        Err(StartError::Store(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn an_older_copy_is_refused_as_often_as_it_is_tried() {
    let Restored {
        inside,
        files,
        minted,
        newer,
        ..
    } = restored().await;
    for _ in 0..3 {
        let error = refused(&inside).await;
        let OpenError::Restored {
            found, expected, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(found < expected);
        assert!(error.to_string().contains("--accept-restored-store"));
    }
    files.put_back(&newer);
    let engine = inside.start().await.unwrap();
    assert!(!inside.honours(&engine, &minted.token));
    abandon(engine);
}

#[tokio::test]
async fn an_older_copy_is_refused_though_nothing_was_recorded_since() {
    let inside = Inside::new();
    let files = Files::of(&inside);
    let options = Options {
        path: files.store.clone(),
        cache_bytes: 1 << 20,
        min_free_bytes: 0,
        accept_restored: false,
        without_tree: false,
    };
    stop(inside.start().await.unwrap()).await;
    let older = files.copy();
    drop(Store::open(&options).unwrap());
    files.put_back(&older);
    assert!(matches!(refused(&inside).await, OpenError::Restored { .. }));
}

#[tokio::test]
async fn without_its_mark_a_store_is_refused() {
    let Restored {
        inside,
        files,
        newer,
        ..
    } = restored().await;
    files.put_back(&newer);
    for spoil in [Vec::new(), vec![1; 5]] {
        fs::write(&files.mark, &spoil).unwrap();
        assert!(
            matches!(refused(&inside).await, OpenError::Unmarked { .. }),
            "{spoil:?}"
        );
    }
    fs::remove_file(&files.mark).unwrap();
    let error = refused(&inside).await;
    assert!(matches!(error, OpenError::Unmarked { .. }), "{error}");
    assert!(error.to_string().contains("quietus.mark"));
    // Being refused did not make one.
    assert!(matches!(refused(&inside).await, OpenError::Unmarked { .. }));
}

#[tokio::test]
async fn another_store_is_refused() {
    let Restored { inside, files, .. } = restored().await;
    let other = Inside::new();
    let engine = other.start().await.unwrap();
    for _ in 0..50 {
        open(&engine, &other.agents[0]).await.unwrap();
    }
    stop(engine).await;
    files.put_back(&Files::of(&other).copy());
    assert!(matches!(refused(&inside).await, OpenError::Restored { .. }));
    fs::remove_file(&files.store).unwrap();
    assert!(matches!(
        refused(&inside).await,
        OpenError::Restored { found: 0, .. }
    ));
}

#[tokio::test]
async fn a_store_that_is_ahead_of_its_mark_is_the_newest_there_is() {
    let Restored {
        inside,
        files,
        newer,
        ..
    } = restored().await;
    files.put_back(&newer);
    let mark = fs::read(&files.mark).unwrap();
    let engine = inside.start().await.unwrap();
    let agent = &inside.agents[0];
    let task = open(&engine, agent).await.unwrap().id;
    let minted = mint(&engine, agent, task, ORDERS).await.unwrap();
    abandon(engine);
    fs::write(&files.mark, mark).unwrap();
    let engine = inside.start().await.unwrap();
    assert!(inside.honours(&engine, &minted.token));
    assert_eq!(engine.store().restored(), None);
    abandon(engine);
}

#[tokio::test]
async fn an_older_copy_that_is_accepted_begins_with_the_end_of_everything_in_it() {
    for unmarked in [false, true] {
        let Restored {
            inside,
            files,
            minted,
            ..
        } = restored().await;
        if unmarked {
            fs::remove_file(&files.mark).unwrap();
        }
        let engine = inside.start_with(true).await.unwrap();
        everything_is_ended(&inside, &engine, &minted);
        // From here on it is a store like any other.
        let agent = &inside.agents[0];
        let task = open(&engine, agent).await.unwrap().id;
        let after = mint(&engine, agent, task, ORDERS).await.unwrap();
        stop(engine).await;
        let engine = inside.start().await.unwrap();
        assert_eq!(engine.store().restored(), None);
        assert!(inside.honours(&engine, &after.token));
        abandon(engine);
    }
}

#[tokio::test]
async fn a_crash_after_a_copy_was_accepted_does_not_let_it_live() {
    let Restored {
        inside,
        files,
        minted,
        older,
        ..
    } = restored().await;
    let accept = Options {
        path: files.store.clone(),
        cache_bytes: 1 << 20,
        min_free_bytes: 0,
        accept_restored: true,
        without_tree: false,
    };
    // The store was opened and marked as the newest; then the broker died before it had ended anything.
    drop(Store::open(&accept).unwrap());
    assert!(files.copy() != older);
    let engine = inside.start().await.unwrap();
    everything_is_ended(&inside, &engine, &minted);
    abandon(engine);
}

fn everything_is_ended(inside: &Inside, engine: &Arc<Engine>, minted: &Minted) {
    assert!(!inside.honours(engine, &minted.token));
    let snapshot = engine.store().read();
    let task = snapshot.task(minted.lease.id.task).unwrap().unwrap();
    assert_eq!(task.ending().unwrap().cause, Cause::Restored);
    assert!(snapshot.lease(minted.lease.id).unwrap().unwrap().is_ended());
    assert_eq!(engine.status().header.live_leases, 0);
    let entries = ledger(engine.store());
    let started = entries
        .iter()
        .rfind(|e| e.entry.event == "broker.started")
        .unwrap();
    assert!(started.entry.detail.contains_key("restored_at_entry"));
    let ended = entries
        .iter()
        .rfind(|e| e.entry.event == "task.ended")
        .unwrap();
    assert_eq!(ended.entry.cause.as_deref(), Some("store_restored"));
    assert!(ended.seq > started.seq);
    replay::Told::by(&entries).is_what_is_in(engine.store(), |_| 0);
}
