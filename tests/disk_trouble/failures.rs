//! A disk that fails once has failed for good.

use quietus::broker::{BrokerError, Options};
use quietus::engine::Error;
use quietus::store::CommitError;

use crate::common::{self, World};
use crate::disks::{Platter, Room, Survives, options};
use crate::inside::commits::{NOW, made, opening, refused};
use crate::inside::rng::Rng;
use crate::inside::{Inside, ORDERS, abandon, ledger, mint, open, replay};

type Fail = fn(&Platter);

/// How the disk fails at the next commit.
const FAILURES: [(&str, Fail); 4] = [
    ("fsync", |platter| platter.fail_sync_after(0)),
    ("second fsync", |platter| platter.fail_sync_after(1)),
    ("write", |platter| platter.die_after(0)),
    ("no room to write", |platter| platter.fill_up_after(0)),
];

#[tokio::test]
async fn after_a_failure_nothing_is_tried_again() {
    for (name, fail) in FAILURES {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let platter = Platter::default();
        let store = platter.open(&Room::plenty(), &options).unwrap();
        for number in 0..20 {
            made(&store, opening(number, "a", NOW).0).await;
        }
        let mut fatal = store.fatal();
        assert!(fatal.borrow().is_none());
        fail(&platter);
        let stopped = refused(&store, opening(20, "a", NOW).0).await;
        assert!(
            matches!(stopped, CommitError::Stopped(_)),
            "{name}: {stopped}"
        );
        fatal.wait_for(Option::is_some).await.unwrap();
        for number in 21..40 {
            let stopped = refused(&store, opening(number, "a", NOW).0).await;
            assert!(matches!(stopped, CommitError::Stopped(_)), "{name}");
        }
        drop(store);
        assert_eq!(platter.counts().after_failure, 0, "{name}");

        let image = platter.after_power_failure(Survives::Nothing, &mut Rng::new(0));
        let store = image.open(&Room::plenty(), &options).unwrap();
        // The commit of the second fsync may count; it was never acknowledged either way.
        assert!([20, 21].contains(&ledger(&store).len()), "{name}");
        replay::Told::by(&ledger(&store)).is_what_is_in(&store, |_| 0);
    }
}

#[tokio::test]
async fn a_committer_that_panics_is_a_store_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let platter = Platter::default();
    let store = platter
        .open(&Room::plenty(), &options(folder.path()))
        .unwrap();
    platter.panic_at_sync();
    let stopped = refused(&store, opening(1, "a", NOW).0).await;
    assert!(matches!(stopped, CommitError::Stopped(_)));
    let mut fatal = store.fatal();
    let reason = fatal.wait_for(Option::is_some).await.unwrap().clone();
    assert!(reason.unwrap().contains("panic"));
}

/// No token leaves the broker whose lease is not on the disk.
#[tokio::test]
async fn a_grant_that_was_not_committed_is_not_handed_out() {
    for (name, fail) in FAILURES {
        let inside = Inside::new();
        let platter = Platter::default();
        let engine = inside.start_on(&platter).await.unwrap();
        let agent = &inside.agents[0];
        let task = open(&engine, agent).await.unwrap().id;
        mint(&engine, agent, task, ORDERS).await.unwrap();
        fail(&platter);
        let stopped = mint(&engine, agent, task, ORDERS).await.unwrap_err();
        assert!(matches!(stopped, Error::Stopped), "{name}: {stopped}");
        let told = open(&engine, agent).await.unwrap_err();
        assert!(
            matches!(told, Error::Stopped | Error::Internal(_)),
            "{name}: {told}"
        );
        abandon(engine);

        let image = platter.after_power_failure(Survives::Nothing, &mut Rng::new(0));
        let engine = inside.start_on(&image).await.unwrap();
        replay::Told::by(&ledger(engine.store())).is_what_is_in(engine.store(), |_| 0);
        abandon(engine);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_stops_when_its_store_fails() {
    let world = World::new();
    let mut config = world.config();
    config.store.cache_bytes = 0;
    let serving = world.serve_with(config, Options::default()).await.unwrap();
    let mut agent = world.broker(&serving, "agent").await;
    let task = common::open(&mut agent).await;
    // Somebody empties the file under it.
    let store = std::fs::OpenOptions::new().write(true).open(world.store());
    store.unwrap().set_len(0).unwrap();
    let failed = agent
        .request_credential(common::wants(&task, &[common::READ]))
        .await
        .unwrap_err();
    assert!(!failed.message().contains("redb"), "{failed}");
    assert!(!failed.message().contains("quietus"), "{failed}");
    let ended = serving.ended().await.unwrap_err();
    assert!(matches!(ended, BrokerError::Store(_)), "{ended}");
    assert!(ended.to_string().contains("look at the disk"));
}
