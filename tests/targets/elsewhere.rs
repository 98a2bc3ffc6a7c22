//! Targets that are taken out of the configuration, sweeps, renewals, and what operators are told.

use quietus::engine::Error;
use quietus_core::{LeaseId, LeaseState, TargetName, TaskId};

use crate::inside::once;
use crate::scripted::{Act, Ask, Scripted};
use crate::stage::{Life, Stage, reason, until, waits};

fn name(text: &str) -> TargetName {
    text.parse().unwrap()
}

#[tokio::test]
async fn what_is_alive_at_a_target_that_is_taken_out_is_ended_there_all_the_same() {
    let mut stage = Stage::of(&[("one", 8, "60s"), ("two", 8, "60s")]);
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let ids = [life.issue(task, "one").await, life.issue(task, "one").await];
    life.crash().await;

    stage.configure(&["one"]);
    let life = stage.start().await;
    let state = life.state("one");
    assert!(state.configured.is_none());
    assert_eq!((state.held.live, state.held.revoking), (2, 0));
    assert!(life.request(task, "one").await.is_err(), "nothing new");
    one.on(Ask::Revoke, Act::No("in use"));
    life.close(task).await;
    for id in ids {
        until("it is tried", || waits(&life.lease(id)).0 > 0).await;
    }
    one.on(Ask::Revoke, Act::Answer);
    for id in ids {
        life.until_ended(id).await;
    }
    assert!(one.names().is_empty());
    assert!(crate::receipts::verified(&stage, &life, task).complete);
    life.counts_are_right();
    life.crash().await;

    // Once nothing is alive there, it is forgotten.
    let life = stage.start().await;
    let kept = life.engine.store().read().settings().unwrap();
    assert!(!kept.contains_key("one"));
    assert!(
        life.engine
            .target_states()
            .unwrap()
            .iter()
            .all(|it| it.name != "one")
    );
}

#[tokio::test]
async fn a_target_that_is_taken_out_and_cannot_be_reached_keeps_its_leases_until_it_is_put_back() {
    let mut stage = Stage::of(&[("one", 8, "60s"), ("two", 8, "60s")]);
    let one = stage.script("one");
    let life = stage.start().await;
    let (task, other) = (life.open().await, life.open().await);
    let ids = [life.issue(task, "one").await, life.issue(task, "one").await];
    let goes_on = life.issue(other, "two").await;
    life.crash().await;

    stage.configure(&["one"]);
    stage.break_files("one", true);
    let life = stage.start().await;
    let state = life.state("one");
    assert!(state.configured.is_none());
    assert_eq!((state.held.live, state.held.revoking), (2, 0));
    assert!(life.state("two").configured.is_some());
    life.close(task).await;
    for id in ids {
        until("it is said why it waits", || waits(&life.lease(id)).0 == 1).await;
        let error = waits(&life.lease(id)).1.unwrap();
        assert!(error.contains("put it back"), "{error}");
    }
    assert_eq!(life.state("one").held.revoking, 2);
    let receipt = crate::receipts::verified(&stage, &life, task);
    assert!(!receipt.complete);
    let denied = life.request(other, "one").await;
    assert!(denied.is_err());
    life.close(other).await;
    life.until_ended(goes_on).await;
    assert_eq!(one.names().len(), 2);
    life.counts_are_right();
    life.crash().await;

    stage.configure(&[]);
    stage.break_files("one", false);
    let life = stage.start().await;
    for id in ids {
        life.until_ended(id).await;
    }
    assert!(one.names().is_empty());
    assert!(crate::receipts::verified(&stage, &life, task).complete);
    life.counts_are_right();
}

#[tokio::test]
async fn a_target_that_is_taken_out_in_the_midst_of_a_making_or_revocation_loses_nothing() {
    let mut stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let dying = life.issue(task, "one").await;
    one.on(Ask::Revoke, Act::No("in use"));
    one.on(Ask::Issue, Act::HoldReply);
    let asked = life.ask(task, "one");
    until("it is being made", || one.flying(Ask::Issue) == 1).await;
    life.engine
        .return_lease(&life.agent, dying, once())
        .await
        .unwrap();
    until("it is tried", || waits(&life.lease(dying)).0 > 0).await;
    life.crash().await;
    assert!(asked.await.is_err());

    stage.configure(&["one"]);
    stage.break_files("one", true);
    let life = stage.start().await;
    let made = LeaseId { task, number: 1 };
    for id in [dying, made] {
        until("it is said why it waits", || {
            waits(&life.lease(id)).1.unwrap().contains("put it back")
        })
        .await;
    }
    life.crash().await;
    stage.configure(&[]);
    stage.break_files("one", false);
    one.on(Ask::Revoke, Act::Answer);
    let life = stage.start().await;
    life.until_ended(dying).await;
    life.until_ended(made).await;
    assert!(one.names().is_empty());
}

fn stray(number: u32) -> LeaseId {
    LeaseId {
        task: TaskId::from_bytes([9; 16]),
        number,
    }
}

/// One lease of each state there, and three that nobody knows.
async fn littered(stage: &Stage, life: &Life) -> [LeaseId; 3] {
    let one = stage.script("one");
    let task = life.open().await;
    let active = life.issue(task, "one").await;
    let revoking = life.issue(task, "one").await;
    let ended = life.issue(task, "one").await;
    let back = |id| life.engine.return_lease(&life.agent, id, once());
    back(ended).await.unwrap();
    life.until_ended(ended).await;
    one.on(Ask::Revoke, Act::Hold);
    back(revoking).await.unwrap();
    until("it is being revoked", || one.flying(Ask::Revoke) == 1).await;
    one.on(Ask::Revoke, Act::Answer);
    one.on(Ask::Issue, Act::HoldReply);
    drop(life.ask(task, "one"));
    until("one is being made", || one.flying(Ask::Issue) == 1).await;
    one.plant(ended);
    one.plant(stray(1));
    one.plant(stray(2));
    assert_eq!(one.names().len(), 6);
    [active, revoking, LeaseId { task, number: 3 }]
}

#[tokio::test]
async fn a_sweep_removes_what_no_lease_names_and_nothing_else() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let kept = littered(&stage, &life).await;
    let looked = life.sweep("one", true);
    let looked = looked.await.unwrap();
    assert_eq!(
        (looked.listed, looked.found, looked.strays.len()),
        (true, 6, 3)
    );
    assert_eq!(one.names().len(), 6, "a dry run removes nothing");
    assert_eq!(life.entries("target.swept"), vec![]);

    let swept = life.sweep("one", false);
    let swept = swept.await.unwrap();
    assert_eq!(swept, looked);
    assert_eq!(one.names(), kept.into());
    let told = life.entries("target.swept").remove(0);
    let expected = [
        ("failures", "0"),
        ("found", "6"),
        ("strays", "3"),
        ("target", "one"),
    ];
    let detail = told.detail.iter().map(|(key, value)| (&**key, &**value));
    assert!(detail.eq(expected));
    assert_eq!(told.caller.unwrap().id, life.operator.id().to_string());

    let again = life.sweep("one", false);
    assert_eq!(again.await.unwrap().strays, Vec::<String>::new());
    assert_eq!(life.entries("target.swept").len(), 1, "nothing was done");
    one.let_all_go();
    until("it is revoked", || one.names().len() == 2).await;
}

#[tokio::test]
async fn a_stray_that_cannot_be_removed_is_reported() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    one.plant(stray(1));
    one.plant(stray(2));
    one.next(Ask::Revoke, [Act::No("owns a table")]);
    let swept = life.sweep("one", false);
    let swept = swept.await.unwrap();
    assert_eq!((swept.strays.len(), swept.failures.len()), (2, 1));
    assert!(
        swept.failures[0].ends_with("owns a table"),
        "{:?}",
        swept.failures
    );
    assert_eq!(one.names(), [stray(1)].into());
    assert_eq!(life.entries("target.swept")[0].detail["failures"], "1");
}

#[tokio::test]
async fn a_sweep_whose_caller_goes_away_is_recorded_all_the_same() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    one.plant(stray(1));
    one.on(Ask::Revoke, Act::HoldReply);
    let (engine, by) = (std::sync::Arc::clone(&life.engine), life.operator.clone());
    let sweep = life.spawn(async move { engine.sweep_target(&by, &name("one"), false).await });
    until("it is being removed", || one.flying(Ask::Revoke) == 1).await;
    sweep.abort();
    assert!(sweep.await.unwrap_err().is_cancelled());
    one.let_all_go();
    until("it is recorded", || life.entries("target.swept").len() == 1).await;
}

#[tokio::test]
async fn a_target_that_keeps_no_list_does_not_answer_or_is_not_there_cannot_be_swept() {
    let mut stage = Stage::one();
    let silent = Scripted {
        keeps_list: false,
        ..Scripted::plain()
    };
    stage.add("silent", 1, "60s", silent.into());
    let life = stage.start().await;
    let silent = stage.script("silent");
    silent.plant(stray(1));
    assert!(!life.sweep("silent", false).await.unwrap().listed);
    assert!(silent.has(stray(1)));
    let nowhere = life.sweep("nowhere", false).await;
    assert!(matches!(nowhere, Err(Error::NotFound("target"))));
    let one = stage.script("one");
    one.next(Ask::List, [Act::Away("gone"), Act::No("no")]);
    for _ in 0..2 {
        assert_eq!(reason(life.sweep("one", false).await), "TARGET_UNAVAILABLE");
    }
}

#[tokio::test]
async fn a_check_says_whether_the_target_answers() {
    let stage = Stage::of(&[("one", 1, "100ms")]);
    let one = stage.script("one");
    let life = stage.start().await;
    let checks = [
        (Act::Answer, true, "a script"),
        (Act::No("no such database"), false, "no such database"),
        (Act::Away("refused"), false, "refused"),
        (Act::Hold, false, "no answer within 100ms"),
    ];
    for (act, ok, message) in checks {
        one.next(Ask::Check, [act]);
        let checked = life.engine.check_target(&name("one")).await.unwrap();
        assert_eq!((checked.ok, checked.message.as_str()), (ok, message));
    }
    let unknown = life.engine.check_target(&name("nowhere")).await;
    assert!(matches!(unknown, Err(Error::NotFound("target"))));
}

#[tokio::test]
async fn a_renewal_is_told_to_the_target_and_stands_even_if_it_cannot_be() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    let mut end = life.lease(id).expires_at;
    let renew = || life.engine.renew_lease(&life.agent, id, None, once());
    stage.inside.advance(60);
    let renewed = renew().await.unwrap();
    assert_eq!(one.calls_for(Ask::Renew, id), 1);
    assert!(renewed.lease.expires_at > end);
    end = renewed.lease.expires_at;

    one.next(Ask::Renew, [Act::Away("gone"), Act::No("no"), Act::Panic]);
    for expected in ["", "TARGET_REFUSED", "TARGET_REFUSED"] {
        stage.inside.advance(60);
        match renew().await {
            Err(Error::Away(_)) => assert_eq!(expected, ""),
            other => assert_eq!(reason(other), expected),
        }
        let lease = life.lease(id);
        assert_eq!(lease.state, LeaseState::Active);
        assert!(
            lease.expires_at > end,
            "the broker's own end is the later one"
        );
        end = lease.expires_at;
    }
    assert!(one.has(id));
    renew().await.unwrap();
    life.close(task).await;
    life.until_ended(id).await;
    assert!(renew().await.is_err());
}

#[tokio::test]
async fn a_target_that_cannot_renew_is_not_asked() {
    let mut stage = Stage::one();
    let fixed = Scripted {
        renewable: false,
        ..Scripted::plain()
    };
    stage.add("fixed", 1, "60s", fixed.into());
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "fixed").await;
    let refused = life.engine.renew_lease(&life.agent, id, None, once()).await;
    assert_eq!(reason(refused), "LEASE_NOT_RENEWABLE");
    assert_eq!(stage.script("fixed").calls(Ask::Renew), 0);
    assert_eq!(life.lease(id).renewals, 0);
}

#[tokio::test]
async fn a_revocation_waits_for_every_renewal_under_way() {
    let stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let (id, other) = (life.issue(task, "one").await, life.issue(task, "one").await);
    one.on(Ask::Renew, Act::HoldReply);
    let renewals: Vec<_> = (0..2)
        .map(|_| {
            let (engine, agent) = (std::sync::Arc::clone(&life.engine), life.agent.clone());
            life.spawn(async move { engine.renew_lease(&agent, id, None, once()).await })
        })
        .collect();
    until("both are under way", || one.flying(Ask::Renew) == 2).await;
    life.close(task).await;
    life.until_ended(other).await;
    assert_eq!(one.calls_for(Ask::Revoke, id), 0);
    one.let_go(Ask::Renew);
    until("one is over", || one.flying(Ask::Renew) == 1).await;
    // The keeper has worked on something since.
    let task = life.open().await;
    let another = life.issue(task, "one").await;
    life.close(task).await;
    life.until_ended(another).await;
    assert_eq!(one.calls_for(Ask::Revoke, id), 0);
    one.let_all_go();
    for renewal in renewals {
        assert_eq!(reason(renewal.await.unwrap()), "LEASE_ENDED");
    }
    life.until_ended(id).await;
    assert!(one.names().is_empty());
}

#[tokio::test]
async fn a_target_that_becomes_one_of_tokens_confirms_nothing_that_was_made_there_before() {
    let mut stage = Stage::one();
    let one = stage.script("one");
    let life = stage.start().await;
    let task = life.open().await;
    let id = life.issue(task, "one").await;
    life.crash().await;
    stage.become_tokens("one");
    let life = stage.start().await;
    let refused = life.engine.renew_lease(&life.agent, id, None, once()).await;
    assert_eq!(reason(refused), "LEASE_NOT_RENEWABLE");
    life.close(task).await;
    until("it is said why it waits", || waits(&life.lease(id)).0 == 1).await;
    let error = waits(&life.lease(id)).1.unwrap();
    assert!(error.contains("of another kind"), "{error}");
    assert_eq!(life.state("one").held.revoking, 1);
    life.crash().await;
    stage.become_scripted("one", &one);
    let life = stage.start().await;
    life.until_ended(id).await;
    assert!(one.names().is_empty());
}
