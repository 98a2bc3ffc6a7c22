//! The real program, killed at any moment: what it acknowledged holds when it is back.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "kill/clients.rs"]
mod clients;
mod common;
mod disks;
mod inside;
#[path = "kill/process.rs"]
mod process;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use clients::{Book, Clients, Fate};
use inside::rng::Rng;
use inside::{Inside, replay};
use process::Process;
use quietus::api::v1;
use quietus::store::{OpenError, Options, Store};
use tonic::Code;

const CYCLES: u64 = 30;

fn options(inside: &Inside) -> Options {
    Options {
        path: inside.config.store.path.clone(),
        cache_bytes: 8 << 20,
        min_free_bytes: 1 << 20,
        accept_restored: false,
        without_tree: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_holds_after_any_kill() {
    let inside = Inside::new();
    process::listen_anywhere(&inside);
    let mut rng = Rng::new(9);
    let book = Arc::new(Book::default());
    for cycle in 0..CYCLES {
        let process = Process::start(&inside);
        let clients = Clients::connect(&inside, &process.address).await;
        book.holds(&clients).await;
        let enough = book.acknowledged() + 5 + rng.next() % 60;
        let work = clients.work(&book, rng.next());
        while book.acknowledged() < enough {
            tokio::task::yield_now().await;
        }
        process.kill();
        work.join_all().await;
        if cycle % 3 == 0 {
            the_store_is_sound(&inside);
        }
    }
    let process = Process::start(&inside);
    book.holds(&Clients::connect(&inside, &process.address).await)
        .await;
    process.kill();
    the_store_is_sound(&inside);
    let fates = book.fates();
    assert!(
        fates.iter().all(|count| *count > 0),
        "alive, dead, uncertain: {fates:?}"
    );
}

fn the_store_is_sound(inside: &Inside) {
    let store = Store::open(&options(inside)).unwrap();
    let entries = inside::ledger(&store);
    replay::Told::by(&entries).is_what_is_in(&store, |_| 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_to_stop_lets_calls_finish_and_sends_holders_elsewhere() {
    let inside = Inside::new();
    process::listen_anywhere(&inside);
    let process = Process::start(&inside);
    let mut clients = Clients::connect(&inside, &process.address).await;
    let task = common::open(&mut clients.agent).await;
    let hold = v1::HoldTaskRequest {
        task_id: task.id.clone(),
    };
    let mut held = clients.agent.hold_task(hold).await.unwrap().into_inner();
    assert!(held.message().await.unwrap().is_some());

    let book = Arc::new(Book::default());
    let calls = clients.mint_many(&book, &task, 64);
    while book.acknowledged() == 0 {
        tokio::task::yield_now().await;
    }
    process.terminate();
    let told = held.message().await.unwrap_err();
    assert_eq!(told.code(), Code::Unavailable, "{told}");
    calls.join_all().await;
    assert_eq!(process.exit_code(), Some(0));

    // No call took effect and went unanswered.
    let store = Store::open(&options(&inside)).unwrap();
    let entries = inside::ledger(&store);
    let issued = entries
        .iter()
        .filter(|e| e.entry.event == "lease.issued")
        .count();
    assert_eq!(issued as u64, book.acknowledged());
    assert_eq!(entries.last().unwrap().entry.event, "broker.stopped");
}

#[tokio::test]
async fn a_second_broker_on_the_same_store_is_refused() {
    let inside = Inside::new();
    process::listen_anywhere(&inside);
    let first = Process::start(&inside);
    let here = Store::open(&options(&inside)).err().unwrap();
    assert!(matches!(here, OpenError::Database { .. }), "{here}");
    let told = process::refused(&inside);
    assert!(told.contains("quietus.redb"), "{told}");
    first.terminate();
    assert_eq!(first.exit_code(), Some(0));
}

/// With a limit on the size of its files, the store cannot grow, and that is not for want of room.
#[tokio::test]
async fn a_store_that_fails_ends_the_process_with_its_own_exit_code() {
    let inside = Inside::new();
    process::listen_anywhere(&inside);
    let process = Process::start(&inside);
    process.terminate();
    assert_eq!(process.exit_code(), Some(0));
    let process = Process::start_with_small_files(&inside);
    let clients = Clients::connect(&inside, &process.address).await;
    let book = Arc::new(Book::default());
    clients.work(&book, 1).join_all().await;
    assert_eq!(process.exit_code(), Some(74));
    the_store_is_sound(&inside);
    assert!(book.uncertain.load(SeqCst) > 0);
    let process = Process::start(&inside);
    book.holds(&Clients::connect(&inside, &process.address).await)
        .await;
    assert!(book.fates()[Fate::Alive as usize] > 0);
}
