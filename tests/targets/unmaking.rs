//! A revocation is tried until it is confirmed, and every attempt is in the store.

use quietus::engine::Error;
use quietus_core::{Confirmation, LeaseId, LeaseState, TaskState};

use crate::inside::once;
use crate::scripted::{Act, Ask};
use crate::stage::{Life, Stage, until, waits};

async fn until_tried(life: &Life, id: LeaseId, times: u32) {
    let tried = || match life.lease(id).state {
        LeaseState::Revoking { attempts, .. } => attempts >= times,
        _ => true,
    };
    until("it is tried again", tried).await;
}

fn told(life: &Life, id: LeaseId) -> Vec<(String, Option<u32>, Option<String>)> {
    let settled = life.settled(id).into_iter();
    let ending = settled.filter(|it| it.state != "Active");
    ending.map(|it| (it.state, it.attempts, it.error)).collect()
}

#[tokio::test]
async fn each_failure_is_counted_over_restarts_but_told_only_when_it_says_something_new() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    one.on(Ask::Revoke, Act::Hold);
    let failures = ["in use", "in use", "locked"];
    one.next(Ask::Revoke, failures.map(Act::No));
    life.close(task).await;
    until_tried(&life, id, 3).await;
    assert_eq!(waits(&life.lease(id)), (3, Some("locked".to_owned())));
    assert!(matches!(life.task(task).state, TaskState::Closing(_)));
    life.crash().await;

    one.next(Ask::Revoke, [Act::No("locked"), Act::No("in use")]);
    let life = stage.start().await;
    until_tried(&life, id, 5).await;
    assert_eq!(waits(&life.lease(id)), (5, Some("in use".to_owned())));
    assert!(one.has(id));
    one.let_all_go();
    life.until_ended(id).await;
    let ended = life.lease(id).state;
    let LeaseState::Ended {
        attempts: 5,
        confirmed: Confirmation::DeletedAtTarget,
        ..
    } = ended
    else {
        panic!("{ended:?}")
    };
    assert!(matches!(life.task(task).state, TaskState::Closed { .. }));
    let say = |attempts, error: &str| {
        let error = Some(error.to_owned());
        ("Revoking".to_owned(), Some(attempts), error)
    };
    let confirmed = ("Ended".to_owned(), None, None);
    assert_eq!(
        told(&life, id),
        [
            say(1, "in use"),
            say(3, "locked"),
            say(5, "in use"),
            confirmed
        ]
    );
    let receipt = crate::receipts::verified(&stage, &life, task);
    assert_eq!(receipt.credentials[0].attempts, 5);
    life.counts_are_right();
}

#[tokio::test]
async fn an_issuer_that_breaks_off_is_asked_again() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    one.next(Ask::Revoke, [Act::Panic]);
    life.close(task).await;
    life.until_ended(id).await;
    assert_eq!(one.calls_for(Ask::Revoke, id), 2);
}

#[tokio::test]
async fn a_reply_that_was_lost_is_settled_by_asking_again() {
    let stage = Stage::of(&[("one", 8, "100ms")]);
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    one.next(Ask::Revoke, [Act::Lost("reset"), Act::HoldReply]);
    life.close(task).await;
    until_tried(&life, id, 1).await;
    assert!(!one.has(id));
    assert!(!life.lease(id).is_ended(), "nobody has confirmed it");
    life.until_ended(id).await;
    assert_eq!(one.calls_for(Ask::Revoke, id), 3);
}

#[tokio::test]
async fn a_target_that_is_away_is_spared_and_when_it_is_back_all_that_waited_is_revoked() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let mut leases = Vec::new();
    for _ in 0..4 {
        let task = life.open().await;
        for _ in 0..5 {
            leases.push(life.issue(task, "one").await);
        }
    }
    one.on_all(&Act::Away("connection refused"));
    for lease in &leases {
        life.close(lease.task).await;
    }
    until("it counts as away", || life.state("one").away).await;
    let state = life.state("one");
    assert!(state.failures >= 3);
    assert_eq!(state.last_error.unwrap().0, "connection refused");
    assert_eq!(state.held.revoking, 20);

    refused_without_a_trace(&life).await;
    one.on_all(&Act::Answer);
    until("all are revoked", || one.names().is_empty()).await;
    for lease in leases {
        life.until_ended(lease).await;
    }
    assert!(!life.state("one").away);
    let task = life.open().await;
    life.issue(task, "one").await;
    life.counts_are_right();
}

/// Asks until a request is not one of those that find out whether the target is back.
async fn refused_without_a_trace(life: &Life) {
    let task = life.open().await;
    let mut last = 0;
    loop {
        let refused = life.request(task, "one").await;
        assert!(matches!(refused, Err(Error::Away(_))), "{refused:?}");
        let issued = life.task(task).issued;
        if issued == last {
            return;
        }
        last = issued;
    }
}

#[tokio::test]
async fn refusals_do_not_count_as_being_away() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    one.next(Ask::Issue, std::iter::repeat_n(Act::No("no"), 10));
    for _ in 0..10 {
        let refused = crate::stage::reason(life.request(task, "one").await);
        assert_eq!(refused, "TARGET_REFUSED");
    }
    assert!(!life.state("one").away);
    life.issue(task, "one").await;
}

#[tokio::test]
async fn no_more_calls_at_once_than_the_target_takes() {
    let stage = Stage::of(&[("one", 3, "60s")]);
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let mut leases = Vec::new();
    for _ in 0..12 {
        leases.push(life.issue(task, "one").await);
    }
    one.on(Ask::Issue, Act::Hold);
    one.on(Ask::Revoke, Act::Hold);
    for id in &leases {
        let returned = life.engine.return_lease(&life.agent, *id, once());
        returned.await.unwrap();
    }
    let other = life.open().await;
    let asked: Vec<_> = (0..12).map(|_| life.ask(other, "one")).collect();
    until("all ways are taken", || {
        one.flying(Ask::Issue) + one.flying(Ask::Revoke) == 3
    })
    .await;
    until("all are ordered", || life.task(other).issued == 12).await;
    one.let_all_go();
    for asked in asked {
        asked.await.unwrap().unwrap();
    }
    for id in leases {
        life.until_ended(id).await;
    }
    assert_eq!(one.most(), 3);
}

#[tokio::test]
async fn a_lease_that_ends_at_any_moment_of_its_making_is_never_forgotten() {
    let stage = Stage::of(&[("one", 2, "60s")]);
    let one = stage.script("one");
    let life = stage.start().await;
    for round in 0..150 {
        let task = life.open().await;
        let asked = life.ask(task, "one");
        for _ in 0..round % 30 {
            tokio::task::yield_now().await;
        }
        // Too early, in the midst, or too late.
        let id = LeaseId { task, number: 0 };
        let _ = life.engine.return_lease(&life.agent, id, once()).await;
        let _ = asked.await.unwrap();
        life.close(task).await;
    }
    until("all are revoked", || {
        life.leases().iter().all(|it| it.is_ended())
    })
    .await;
    assert!(one.names().is_empty());
    life.counts_are_right();
}
