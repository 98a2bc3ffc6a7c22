//! A credential is intended before it is made, and what is not wanted any more when it is made is unmade.

use quietus::engine::{Error, Target};
use quietus_core::{Cause, Confirmation, LeaseId, LeaseState, Selector};

use crate::inside::once;
use crate::scripted::{Act, Ask, Scripted, fingerprint};
use crate::stage::{Life, Stage, reason, until, waits};

/// The one lease that there is.
fn only(life: &Life) -> LeaseId {
    let leases = life.leases();
    assert_eq!(leases.len(), 1, "{leases:?}");
    leases[0].id
}

fn ended_by(life: &Life, id: LeaseId) -> Cause {
    match life.lease(id).state {
        LeaseState::Ended {
            cause,
            confirmed: Confirmation::DeletedAtTarget,
            ..
        } => cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_intent_is_recorded_before_the_target_is_called_and_the_outcome_after() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    one.on(Ask::Issue, Act::HoldReply);
    let asked = life.ask(task, "one");
    until("the target is called", || one.flying(Ask::Issue) == 1).await;

    let id = only(&life);
    assert!(one.has(id));
    let lease = life.lease(id);
    assert_eq!(
        (lease.state, lease.fingerprint),
        (LeaseState::Issuing, None)
    );
    assert_eq!(life.state("one").held.live, 1);
    assert_eq!(life.settled(id), vec![]);

    one.let_go(Ask::Issue);
    let issued = asked.await.unwrap().unwrap();
    assert_eq!(issued.lease, life.lease(id));
    assert_eq!(issued.lease.state, LeaseState::Active);
    assert_eq!(issued.lease.fingerprint, Some(fingerprint(id)));
    let settled = life.settled(id);
    let told: Vec<_> = settled
        .iter()
        .map(|it| (&*it.state, &it.fingerprint))
        .collect();
    assert_eq!(told, [("Active", &Some(fingerprint(id).to_string()))]);
    life.counts_are_right();
}

#[tokio::test]
async fn a_target_that_says_no_leaves_nothing_behind() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    one.next(Ask::Issue, [Act::No("permission denied")]);
    one.on(Ask::Revoke, Act::Hold);
    let refused = life.request(task, "one").await;
    assert!(
        refused
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("permission denied")
    );
    assert_eq!(reason(refused), "TARGET_REFUSED");

    let id = only(&life);
    let failed = life.lease(id);
    assert_eq!(failed.cause(), Some(&Cause::IssueFailed));
    assert_eq!(waits(&failed), (0, Some("permission denied".to_owned())));
    one.let_all_go();
    life.until_ended(id).await;
    assert_eq!(ended_by(&life, id), Cause::IssueFailed);
    let told: Vec<_> = life.settled(id).into_iter().map(|it| it.state).collect();
    assert_eq!(told, ["Revoking", "Ended"]);
    assert!(life.task(task).is_open());
}

#[tokio::test]
async fn a_target_that_is_away_or_hangs_leaves_nothing_behind() {
    let acts = [
        Act::Away("connection refused"),
        Act::Lost("connection reset"),
        Act::Hold,
        Act::HoldReply,
    ];
    for act in acts {
        let stage = Stage::of(&[("one", 8, "100ms")]);
        let one = stage.script("one");
        let life = stage.start().await;
        let task = life.open().await;
        one.next(Ask::Issue, [act.clone()]);
        let away = life.request(task, "one").await;
        assert!(matches!(away, Err(Error::Away(_))), "{act:?}: {away:?}");
        let id = only(&life);
        life.until_ended(id).await;
        assert_eq!(ended_by(&life, id), Cause::IssueFailed);
        assert!(one.names().is_empty(), "{act:?}");
        life.counts_are_right();
    }
}

#[tokio::test]
async fn an_issuer_that_breaks_off_leaves_nothing_behind() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    one.next(Ask::Issue, [Act::Panic]);
    let broken = life.request(task, "one").await;
    assert!(broken.is_err());
    let id = only(&life);
    life.until_ended(id).await;
    assert_eq!(ended_by(&life, id), Cause::IssueFailed);
}

/// What ends a lease while its credential is being made.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Closed,
    Returned,
    All,
    TargetFloor,
    Task,
    Lease,
    Expiry,
    TaskExpiry,
}

const ENDINGS: [Ending; 8] = [
    Ending::Closed,
    Ending::Returned,
    Ending::All,
    Ending::TargetFloor,
    Ending::Task,
    Ending::Lease,
    Ending::Expiry,
    Ending::TaskExpiry,
];

impl Ending {
    async fn come(self, stage: &Stage, life: &Life, id: LeaseId) {
        let revoke = |target| life.engine.revoke(&life.operator, target, "drill");
        match self {
            Self::Closed => drop(life.close(id.task).await),
            Self::Returned => {
                let returned = life.engine.return_lease(&life.agent, id, once());
                returned.await.unwrap();
            }
            Self::All => drop(revoke(Target::Wide(Selector::All)).await.unwrap()),
            Self::TargetFloor => {
                let target = Selector::Target("one".parse().unwrap());
                revoke(Target::Wide(target)).await.unwrap();
            }
            Self::Task => drop(revoke(Target::Task(id.task)).await.unwrap()),
            Self::Lease => drop(revoke(Target::Lease(id)).await.unwrap()),
            Self::Expiry => {
                let life_left = life.lease(id).expires_at.since(life.engine.now());
                stage.inside.advance(life_left.as_secs() + 1);
                life.engine.run_due().await.unwrap();
                assert!(life.task(id.task).is_open());
            }
            Self::TaskExpiry => {
                stage.inside.advance(30 * 3600);
                life.engine.run_due().await.unwrap();
                assert!(!life.task(id.task).is_open());
            }
        }
    }
}

#[tokio::test]
async fn what_is_ended_while_it_is_made_is_revoked_when_that_is_over() {
    for ending in ENDINGS {
        for act in [Act::Hold, Act::HoldReply, Act::HoldNo("no")] {
            let stage = Stage::one();
            let one = stage.script("one");
            let life = stage.start().await;
            let task = life.open().await;
            // Whoever comes after it shows that the keeper has been at work meanwhile.
            let other = life.issue(task, "one").await;
            one.on(Ask::Issue, act.clone());
            let asked = life.ask(task, "one");
            until("the target is called", || one.flying(Ask::Issue) == 1).await;
            let id = LeaseId { task, number: 1 };
            ending.come(&stage, &life, id).await;
            assert!(matches!(life.lease(id).state, LeaseState::Revoking { .. }));
            end_another(&life, other, &one).await;
            assert_eq!(one.calls_for(Ask::Revoke, id), 0, "{ending:?} {act:?}");
            assert!(!asked.is_finished());

            one.let_all_go();
            let refused = asked.await.unwrap();
            match act {
                Act::HoldNo(_) => assert_eq!(reason(refused), "TARGET_REFUSED"),
                _ => assert_eq!(reason(refused), "LEASE_ENDED"),
            }
            life.until_ended(id).await;
            assert!(one.names().is_empty(), "{ending:?} {act:?}");
            assert_eq!(one.calls_for(Ask::Revoke, id), 1);
            life.counts_are_right();
        }
    }
}

/// Ends another lease, if nothing has ended it, and waits until the keeper has done its work.
async fn end_another(life: &Life, id: LeaseId, one: &Scripted) {
    if life.lease(id).is_live() {
        let returned = life.engine.return_lease(&life.agent, id, once());
        returned.await.unwrap();
    }
    life.until_ended(id).await;
    assert_eq!(one.calls_for(Ask::Revoke, id), 1);
}

#[tokio::test]
async fn what_has_run_out_when_it_is_made_is_not_handed_out() {
    for seconds in [3600, 30 * 3600] {
        let stage = Stage::one();
        let one = stage.script("one");
        let life = stage.start().await;
        let task = life.open().await;
        one.on(Ask::Issue, Act::HoldReply);
        let asked = life.ask(task, "one");
        until("the target is called", || one.flying(Ask::Issue) == 1).await;
        // Nobody has looked at the clock yet.
        stage.inside.advance(seconds);
        one.let_all_go();
        assert_eq!(reason(asked.await.unwrap()), "LEASE_ENDED");
        life.engine.run_due().await.unwrap();
        life.until_ended(only(&life)).await;
        assert!(one.names().is_empty());
    }
}

#[tokio::test]
async fn whoever_asks_and_goes_away_is_settled_all_the_same() {
    for act in [Act::HoldReply, Act::Hold, Act::HoldNo("no")] {
        let stage = Stage::one();
        let one = stage.script("one");
        let life = stage.start().await;
        let task = life.open().await;
        one.on(Ask::Issue, act.clone());
        let asked = life.ask(task, "one");
        until("the target is called", || one.flying(Ask::Issue) == 1).await;
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        let id = only(&life);
        assert_eq!(life.lease(id).state, LeaseState::Issuing);
        one.let_all_go();
        until("it is settled", || {
            life.lease(id).state != LeaseState::Issuing
        })
        .await;
        if !matches!(act, Act::HoldNo(_)) {
            assert_eq!(life.lease(id).state, LeaseState::Active);
            assert!(one.has(id));
            life.close(task).await;
        }
        life.until_ended(id).await;
        assert!(one.names().is_empty());
    }
}

#[tokio::test]
async fn whoever_goes_away_before_the_commit_is_answered_leaves_nothing_undone() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    // The request.
    stage.platter.hold();
    let asked = life.ask(task, "one");
    until("it waits for the disk", || stage.platter.is_waited_for()).await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    stage.platter.let_go();
    until("it is made", || one.names().len() == 1).await;
    let id = only(&life);
    until("it is settled", || {
        life.lease(id).state == LeaseState::Active
    })
    .await;
    // The ending.
    stage.platter.hold();
    let (engine, agent) = (std::sync::Arc::clone(&life.engine), life.agent.clone());
    let closing = life.spawn(async move { engine.close_task(&agent, task, false, once()).await });
    until("it waits for the disk", || stage.platter.is_waited_for()).await;
    closing.abort();
    assert!(closing.await.unwrap_err().is_cancelled());
    stage.platter.let_go();
    life.until_ended(id).await;
    assert!(one.names().is_empty());
}

#[tokio::test]
async fn what_is_ended_while_it_waits_in_line_is_not_made_at_all() {
    let stage = Stage::of(&[("one", 1, "60s")]);
    let one = stage.script("one");
    let life = stage.start().await;
    let (first, second) = (life.open().await, life.open().await);
    one.on(Ask::Issue, Act::Hold);
    let ahead = life.ask(first, "one");
    until("the only way is taken", || one.flying(Ask::Issue) == 1).await;
    let behind = life.ask(second, "one");
    until("it is ordered", || life.task(second).issued == 1).await;
    life.close(second).await;
    one.let_all_go();
    ahead.await.unwrap().unwrap();
    assert_eq!(reason(behind.await.unwrap()), "LEASE_ENDED");
    let id = LeaseId {
        task: second,
        number: 0,
    };
    life.until_ended(id).await;
    assert_eq!(one.calls_for(Ask::Issue, id), 0);
    assert!(!one.has(id));
}
