//! A broker that dies in the midst of calls, and one that is started for looking only.

use quietus::engine::{Engine, Error, Mode, OpenRequest, Pending, Target};
use quietus::store::{Commit, Read};
use quietus_core::{AgentId, Cause, LeaseId, LeaseState, Selector};

use crate::inside::{ledger, once};
use crate::scripted::{Act, Ask};
use crate::stage::{Life, Stage, order, until, waits};

/// Leaves one being made, one being revoked and one alive, all with their calls in mid-air.
async fn torn(stage: &Stage, life: Life) -> [LeaseId; 3] {
    let one = stage.script("one");
    let (task, other) = (life.open().await, life.open().await);
    let active = life.issue(other, "one").await;
    let revoking = life.issue(task, "one").await;
    one.on(Ask::Revoke, Act::Hold);
    let returned = life.engine.return_lease(&life.agent, revoking, once());
    returned.await.unwrap();
    until("it is being revoked", || one.flying(Ask::Revoke) == 1).await;
    one.on(Ask::Issue, Act::HoldReply);
    let asked = life.ask(task, "one");
    until("it is being made", || one.flying(Ask::Issue) == 1).await;
    life.counts_are_right();
    life.crash().await;
    assert!(asked.await.is_err());
    [active, revoking, LeaseId { task, number: 1 }]
}

#[tokio::test]
async fn what_was_in_mid_air_is_unmade_after_the_next_start() {
    let stage = Stage::one();
    let one = stage.script("one");
    let [active, revoking, issuing] = torn(&stage, stage.start().await).await;
    let life = stage.start_idle(Mode::default()).await.unwrap();
    assert_eq!(life.lease(issuing).cause(), Some(&Cause::IssueFailed));
    let why = waits(&life.lease(issuing)).1.unwrap();
    assert!(why.contains("the broker stopped"), "{why}");
    assert_eq!(waits(&life.lease(revoking)).0, 0);
    assert_eq!(life.lease(active).state, LeaseState::Active);
    life.counts_are_right();
    one.on(Ask::Revoke, Act::Answer);
    life.keep();
    life.until_ended(issuing).await;
    life.until_ended(revoking).await;
    assert_eq!(one.names(), [active].into());
    life.counts_are_right();
    let task = life.open().await;
    one.on(Ask::Issue, Act::Answer);
    life.issue(task, "one").await;
}

#[tokio::test]
async fn however_often_it_dies_nothing_is_lost() {
    let stage = Stage::one();
    let one = stage.script("one");
    let [active, revoking, issuing] = torn(&stage, stage.start().await).await;
    for _ in 0..5 {
        let before = one.calls(Ask::Revoke);
        let life = stage.start().await;
        until("both are being revoked", || {
            one.calls(Ask::Revoke) == before + 2
        })
        .await;
        life.counts_are_right();
        life.crash().await;
    }
    one.on(Ask::Revoke, Act::Answer);
    let life = stage.start().await;
    life.until_ended(revoking).await;
    life.until_ended(issuing).await;
    assert_eq!(one.names(), [active].into());
}

const LOOKING: Mode = Mode {
    accept_restored: false,
    maintenance: true,
    without_tree: false,
};

#[tokio::test]
async fn a_broker_for_looking_says_what_it_would_end_and_ends_nothing() {
    let stage = Stage::one();
    let one = stage.script("one");
    let [active, revoking, issuing] = torn(&stage, stage.start().await).await;
    let life = stage.start_idle(LOOKING).await.unwrap();
    let seen = life.engine.pending(1000).unwrap();
    assert_eq!(
        seen,
        [Pending::Revocation(revoking), Pending::Unfinished(issuing)]
    );
    assert_eq!(life.engine.pending(1).unwrap().len(), 1);
    life.crash().await;

    // The task of the live one runs out.
    stage.inside.advance(30 * 3600);
    let life = stage.start_idle(LOOKING).await.unwrap();
    let before = (
        life.leases(),
        life.task(active.task),
        ledger(life.engine.store()).len(),
    );
    let calls = one.calls(Ask::Revoke);
    life.keep();
    drop(life.spawn(std::sync::Arc::clone(&life.engine).keep_time()));
    let seen = life.engine.pending(1000).unwrap();
    let tasks = [active.task, issuing.task].map(|task| Pending::Task(task, 1, "expired"));
    let [of_active, of_issuing] = tasks;
    let rest = [Pending::Revocation(revoking), Pending::Unfinished(issuing)];
    for expected in [of_active, of_issuing].into_iter().chain(rest) {
        assert!(seen.contains(&expected), "{expected:?} in {seen:?}");
    }
    assert_eq!(seen.len(), 4);
    nothing_can_be_changed(&life, active).await;
    let after = (
        life.leases(),
        life.task(active.task),
        ledger(life.engine.store()).len(),
    );
    assert_eq!(before, after);
    assert_eq!(one.calls(Ask::Revoke), calls, "the target is left alone");
    let events: Vec<_> = ledger(life.engine.store())
        .into_iter()
        .rev()
        .take(2)
        .map(|sealed| sealed.entry.event)
        .collect();
    assert_eq!(events, ["policy.loaded", "broker.started"]);
    assert!(life.engine.status().degraded.contains(&"maintenance"));
    life.crash().await;

    one.on(Ask::Revoke, Act::Answer);
    let life = stage.start().await;
    for id in [active, revoking, issuing] {
        life.until_ended(id).await;
    }
    assert!(one.names().is_empty());
    assert_eq!(life.engine.pending(1000).unwrap(), []);
}

fn is_maintenance<T: std::fmt::Debug>(what: &str, done: Result<T, Error>) {
    assert!(matches!(done, Err(Error::Maintenance)), "{what}: {done:?}");
}

async fn nothing_can_be_changed(life: &Life, id: LeaseId) {
    let (engine, agent, operator): (&std::sync::Arc<Engine>, _, _) =
        (&life.engine, &life.agent, &life.operator);
    let opened = engine.open_task(agent, OpenRequest::default(), once());
    is_maintenance("open", opened.await);
    is_maintenance(
        "close",
        engine.close_task(agent, id.task, false, once()).await,
    );
    is_maintenance("return", engine.return_lease(agent, id, once()).await);
    let targets = [
        Target::Task(id.task),
        Target::Lease(id),
        Target::Wide(Selector::All),
    ];
    for target in targets {
        is_maintenance("revoke", engine.revoke(operator, target, "").await);
    }
    is_maintenance("freeze", engine.freeze(operator, Selector::All, "").await);
    is_maintenance("reload", engine.reload_policy(Some(operator)).await);
    is_maintenance("rotate", engine.rotate_keys(operator, once()).await);
    is_maintenance("trust", engine.trust_changed().await);
    let one = "one".parse().unwrap();
    is_maintenance("sweep", engine.sweep_target(operator, &one, false).await);
}

#[tokio::test]
async fn a_broker_for_looking_grants_renews_and_hears_nothing() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    life.crash().await;
    let life = stage.start_idle(LOOKING).await.unwrap();
    assert_eq!(life.engine.pending(1000).unwrap(), []);
    let (engine, agent) = (&life.engine, &life.agent);
    let asked = engine.request_credential(agent, order(task, "one"), once());
    is_maintenance("request", asked.await);
    is_maintenance("renew", engine.renew_lease(agent, id, None, once()).await);
    nothing_can_be_changed(&life, id).await;
    assert_eq!((one.calls(Ask::Issue), one.calls(Ask::Renew)), (1, 0));
    let looked = life.sweep("one", true);
    assert_eq!(looked.await.unwrap().found, 1);
}

#[tokio::test]
async fn a_revocation_that_was_only_begun_is_seen_and_then_ended() {
    let selectors = [Selector::All, Selector::Target("one".parse().unwrap())];
    for selector in selectors {
        let stage = Stage::one();
        let life = stage.start().await;
        let (task, spared) = (life.open().await, life.open().await);
        let id = life.issue(task, "one").await;
        begin_to_revoke(&life, &selector).await;
        life.crash().await;
        let life = stage.start_idle(LOOKING).await.unwrap();
        let expected = match selector {
            Selector::All => vec![
                Pending::Task(task, 1, "operator"),
                Pending::Task(spared, 0, "operator"),
            ],
            _ => vec![Pending::Leases(task)],
        };
        let seen = life.engine.pending(1000).unwrap();
        // Tasks of one millisecond are in no order.
        assert_eq!(seen.len(), expected.len());
        for expected in expected {
            assert!(seen.contains(&expected), "{expected:?} in {seen:?}");
        }
        life.crash().await;
        let life = stage.start().await;
        life.until_ended(id).await;
        assert!(stage.script("one").names().is_empty());
    }
}

/// The first commit of a wide revocation.
async fn begin_to_revoke(life: &Life, selector: &Selector) {
    let guards = (*life.engine.store().guards()).clone();
    let by = AgentId(life.operator.id().to_string());
    let commit = Commit {
        now: life.engine.now(),
        reads: vec![Read::Guards(guards.epoch)],
        guards: Some(guards.revoke(selector.clone(), by)),
        ..Commit::default()
    };
    life.engine.store().commit(commit).await.unwrap();
}
