//! What the broker signs about an ended task is true at that moment, and verifies without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use quietus::engine::{Error, Target};
use quietus::evidence::VERIFIER_FILE;
use quietus_core::{LeaseId, TaskId};
use quietus_ledger::note::Verifier;
use quietus_ledger::receipt::{End, How, Receipt, State, verify};

use crate::inside::{FILES, mint, once, open};
use crate::scripted::{Act, Ask, fingerprint};
use crate::stage::{Life, Stage, reason, until};

const LONG: Duration = Duration::from_secs(600);

/// The receipt as outsiders read it.
pub fn verified(stage: &Stage, life: &Life, task: TaskId) -> Receipt {
    let signed = life.engine.receipt(&life.agent, task).unwrap();
    let file = stage.inside.config.keys.dir.join(VERIFIER_FILE);
    let published = std::fs::read_to_string(file).unwrap();
    assert_eq!(published.trim_end(), signed.verifier);
    let verifier: Verifier = published.trim_end().parse().unwrap();
    let receipt = verify(signed.note.as_bytes(), &[verifier]).unwrap();
    assert_eq!(receipt.complete, signed.complete);
    assert_eq!(receipt.task, task.to_string());
    receipt
}

#[tokio::test]
async fn an_open_task_has_none_and_another_agents_is_not_shown() {
    let stage = Stage::one();
    let life = stage.start().await;
    let task = life.open().await;
    life.issue(task, "one").await;
    let of = |svid| life.engine.receipt(svid, task);
    assert_eq!(reason(of(&life.agent)), "TASK_OPEN");
    assert_eq!(reason(of(&life.operator)), "TASK_OPEN");
    life.close(task).await;
    assert_eq!(
        of(&life.agent).unwrap().verifier,
        of(&life.operator).unwrap().verifier
    );
    for other in [
        &stage.inside.agents[1],
        &stage.inside.stranger,
        &stage.inside.unregistered,
    ] {
        assert!(matches!(of(other), Err(Error::NotFound("task"))));
    }
    let unknown = TaskId::from_bytes([7; 16]);
    let none = life.engine.receipt(&life.operator, unknown);
    assert!(matches!(none, Err(Error::NotFound("task"))));
}

#[tokio::test]
async fn it_says_what_is_not_confirmed_and_a_later_one_says_that_it_is() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    mint(&life.engine, &life.agent, task, FILES).await.unwrap();
    one.on(Ask::Revoke, Act::Hold);
    stage.inside.advance(5);
    life.close(task).await;
    until("the target is asked", || one.flying(Ask::Revoke) == 1).await;
    let asked = verified(&stage, &life, task);
    assert_eq!((asked.state, asked.complete), (State::Closing, false));
    let End::Unconfirmed { reason } = &asked.credentials[0].end else {
        panic!("{asked:?}")
    };
    assert!(reason.contains("not answered yet"), "{reason}");
    assert_eq!(confirmed_by(&asked, 1), How::RefusedByIntrospection);

    one.next(Ask::Revoke, [Act::No("in use")]);
    one.on(Ask::Revoke, Act::Answer);
    stage.inside.advance(5);
    one.let_go(Ask::Revoke);
    life.until_ended(id).await;
    let done = verified(&stage, &life, task);
    assert_eq!((done.state, done.complete), (State::Closed, true));
    assert!(done.version > asked.version);
    assert_eq!(done.ended_at, asked.ended_at);
    assert_eq!(confirmed_by(&done, 0), How::DeletedAtTarget);
    let credential = &done.credentials[0];
    assert_eq!(credential.fingerprint, Some(fingerprint(id).to_string()));
    assert_eq!(
        (credential.target.as_str(), credential.cause.as_str()),
        ("one", "task_ended")
    );
    // Asked for again it is the same but for its time.
    stage.inside.advance(5);
    let again = verified(&stage, &life, task);
    assert_eq!(
        Receipt {
            at: done.at,
            ..again
        },
        done
    );
}

#[tokio::test]
async fn it_tells_what_the_target_last_said() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    one.on(Ask::Revoke, Act::Hold);
    one.next(Ask::Revoke, [Act::No("in use")]);
    life.close(task).await;
    until("it is tried again", || one.calls_for(Ask::Revoke, id) == 2).await;
    let receipt = verified(&stage, &life, task);
    let reason = "in use".to_owned();
    assert_eq!(receipt.credentials[0].end, End::Unconfirmed { reason });
    one.let_all_go();
    life.until_ended(id).await;
}

fn confirmed_by(receipt: &Receipt, number: usize) -> How {
    match &receipt.credentials[number].end {
        End::Confirmed { how, .. } => *how,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_tells_the_first_issue_and_the_last_end_of_what_was_renewed() {
    let stage = Stage::one();
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    let first = life.lease(id);
    for _ in 0..3 {
        stage.inside.advance(60);
        let renewed = life.engine.renew_lease(&life.agent, id, None, once());
        renewed.await.unwrap();
    }
    life.close(task).await;
    life.engine.wait_closed(task, LONG).await.unwrap();
    let credential = verified(&stage, &life, task).credentials.remove(0);
    assert_eq!(credential.issued_at, first.issued_at.0);
    assert_eq!(credential.renewals, 3);
    assert_eq!(credential.expires_at, first.expires_at.0 + 180_000);
}

#[tokio::test]
async fn what_was_never_made_is_told_of_too() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    one.next(Ask::Issue, [Act::No("no")]);
    assert!(life.request(task, "one").await.is_err());
    life.close(task).await;
    life.engine.wait_closed(task, LONG).await.unwrap();
    let credential = verified(&stage, &life, task).credentials.remove(0);
    assert_eq!(
        (credential.cause.as_str(), credential.fingerprint),
        ("issue_failed", None)
    );
}

#[tokio::test]
async fn waiting_for_the_end_ends_with_the_last_confirmation_and_not_before() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    for _ in 0..3 {
        life.issue(task, "one").await;
    }
    one.on(Ask::Revoke, Act::Hold);
    life.close(task).await;
    let engine = Arc::clone(&life.engine);
    let waiting = life.spawn(async move { engine.wait_closed(task, LONG).await });
    until("all are asked", || one.flying(Ask::Revoke) == 3).await;
    for number in 0..2 {
        one.let_go(Ask::Revoke);
        until("one is confirmed", || {
            life.task(task).revoking == 2 - number
        })
        .await;
        assert!(!waiting.is_finished());
    }
    // Who will not wait is not kept.
    life.engine.wait_closed(task, Duration::ZERO).await.unwrap();
    assert!(!life.engine.receipt(&life.agent, task).unwrap().complete);
    one.let_go(Ask::Revoke);
    waiting.await.unwrap().unwrap();
    assert!(verified(&stage, &life, task).complete);
    // Nor who waits for nothing.
    life.engine.wait_closed(task, LONG).await.unwrap();
    let unknown = TaskId::from_bytes([7; 16]);
    life.engine.wait_closed(unknown, LONG).await.unwrap();
    let open = life.open().await;
    life.engine.wait_closed(open, LONG).await.unwrap();
}

#[tokio::test]
async fn no_confirmation_is_missed_by_whoever_waits_for_it() {
    let stage = Stage::one();
    let life = stage.start().await;
    for _ in 0..200 {
        let task = life.open().await;
        life.issue(task, "one").await;
        life.close(task).await;
        life.engine.wait_closed(task, LONG).await.unwrap();
        assert!(verified(&stage, &life, task).complete);
    }
}

/// Time passes as fast as it can while leases are issued, renewed and ended side by side: whatever was read, nothing
/// is recorded to have happened before what it followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_seems_to_end_before_it_began_however_time_passes() {
    let stage = Arc::new(Stage::one());
    let life = Arc::new(stage.start().await);
    let over = Arc::new(AtomicBool::new(false));
    let (time, stop) = (Arc::clone(&stage.inside.world.time), Arc::clone(&over));
    let ticking = std::thread::spawn(move || {
        while !stop.load(SeqCst) {
            time.advance(Duration::from_millis(1));
            std::thread::sleep(Duration::from_micros(50));
        }
    });
    for _ in 0..150 {
        let agent = &stage.inside.agents[1];
        let task = open(&life.engine, agent).await.unwrap().id;
        let (engine, agent) = (Arc::clone(&life.engine), agent.clone());
        let minting =
            life.spawn(async move { while mint(&engine, &agent, task, FILES).await.is_ok() {} });
        until("one is issued", || life.task(task).issued > 3).await;
        let revoked = life
            .engine
            .revoke(&life.operator, Target::Task(task), "drill");
        revoked.await.unwrap();
        minting.await.unwrap();
        life.engine.receipt(&life.operator, task).unwrap();
    }
    over.store(true, SeqCst);
    ticking.join().unwrap();
}

#[tokio::test]
async fn a_clock_that_steps_back_makes_no_receipt_impossible() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    stage.inside.advance(60);
    let id: LeaseId = life.issue(task, "one").await;
    let began = stage.inside.world.time.clone();
    began.set_wall(quietus_core::Timestamp(0));
    one.on(Ask::Revoke, Act::Hold);
    life.close(task).await;
    verified(&stage, &life, task);
    life.crash().await;
    let life = stage.start().await;
    verified(&stage, &life, task);
    one.let_all_go();
    life.until_ended(id).await;
    assert!(verified(&stage, &life, task).complete);
}

#[tokio::test]
async fn a_task_that_is_forgotten_has_none_any_more() {
    let stage = Stage::one();
    let life = stage.start().await;
    let task = life.open().await;
    life.issue(task, "one").await;
    life.close(task).await;
    life.engine.wait_closed(task, LONG).await.unwrap();
    stage.inside.advance(400 * 86_400);
    life.engine.run_due().await.unwrap();
    let none = life.engine.receipt(&life.agent, task);
    assert!(matches!(none, Err(Error::NotFound("task"))));
}
