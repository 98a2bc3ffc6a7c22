//! Everything that changes something leaves an entry that says what, by whom, and on what it rests.

use std::time::Duration;

use quietus::api::v1;
use quietus::api::v1::selector::Of;
use quietus_ledger::Entry;

use crate::common::*;
use crate::desk::*;
use crate::help::*;

/// The entry that shows a task says on which version it rests.
#[track_caller]
fn rests_on(entry: &Entry, task: &v1::Task, state: &str, previous: u64, version: u64) {
    let fact = entry.task.as_ref().unwrap();
    assert_eq!(fact.id, task.id);
    let found = (&*fact.state, fact.previous, fact.version);
    assert_eq!(found, (state, previous, version), "{}", entry.event);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entry_says_on_which_version_of_its_task_it_rests() {
    let mut desk = Desk::new().await;
    let (task, report) = (desk.task.clone(), desk.report());
    desk.record(report).await;
    let admin = wants(&task, &["orders-db:admin:public.orders"]);
    desk.stage
        .agent
        .request_credential(admin)
        .await
        .unwrap_err();
    desk.stage
        .agent
        .renew_lease(renews(&desk.lease))
        .await
        .unwrap();
    desk.stage
        .agent
        .revoke_lease(returns(&desk.lease))
        .await
        .unwrap();
    desk.stage.agent.close_task(closes(&task)).await.unwrap();
    desk.stage
        .agent
        .request_credential(wants(&task, &[READ]))
        .await
        .unwrap_err();
    let kept = desk.stage.serving.engine.config().limits.retention;
    desk.stage.pass(kept.as_secs() + 1).await;
    let entries: Vec<_> = desk
        .since(0)
        .into_iter()
        .filter(|it| it.task.is_some())
        .collect();
    let events: Vec<_> = entries.iter().map(|entry| &*entry.event).collect();
    let expected = [
        ("task.opened", "Open", 0, 1),
        ("lease.issued", "Open", 1, 2),
        ("action.recorded", "Open", 2, 2),
        ("request.refused", "Open", 2, 2),
        ("lease.renewed", "Open", 2, 3),
        ("lease.ended", "Open", 3, 4),
        ("task.ended", "Closed", 4, 5),
        ("request.refused", "Closed", 5, 5),
        ("task.purged", "Closed", 5, 5),
    ];
    assert_eq!(events, expected.map(|(event, ..)| event));
    for (entry, (_, state, previous, version)) in entries.iter().zip(expected) {
        rests_on(entry, &task, state, previous, version);
        assert_eq!(entry.trace.as_ref().unwrap().id, task.trace_id);
        assert_eq!(entry.agent.as_deref(), Some(AGENT));
        assert_eq!(entry.broker, BROKER);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ending_that_nobody_ordered_has_no_caller_and_no_span() {
    let desk = Desk::new().await;
    let seq = desk.stage.seq();
    // First the lease is over, then the task.
    desk.stage.pass(600).await;
    desk.stage.pass(86_400).await;
    let [lease, task] = desk.since(seq).try_into().unwrap();
    for (entry, event) in [(&lease, "lease.ended"), (&task, "task.ended")] {
        assert_eq!((&*entry.event, entry.caller.as_ref()), (event, None));
        assert_eq!(entry.cause.as_deref(), Some("expired"));
        let trace = entry.trace.as_ref().unwrap();
        assert_eq!(
            (&trace.id, trace.span.as_ref()),
            (&desk.task.trace_id, None)
        );
    }
}

/// Who looks leaves nothing; who changes something does.
#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_an_operator_leaves_one_entry_and_looking_leaves_none() {
    let mut desk = Desk::new().await;
    let commitment = desk.record(desk.report_with("a text")).await;
    let seq = desk.stage.seq();
    desk.text(&commitment).await.unwrap();
    desk.stage.status().await;
    desk.stage.look(&desk.task.id).await;
    let all = || of(Of::All(true));
    let operator = &mut desk.stage.operator;
    operator
        .list_targets(v1::ListTargetsRequest {})
        .await
        .unwrap();
    let explain = v1::ExplainDecisionRequest {
        agent: AGENT.to_owned(),
        scopes: vec![READ.to_owned()],
        ..Default::default()
    };
    operator.explain_decision(explain).await.unwrap();
    let dry = v1::RevokeRequest {
        selector: all(),
        dry_run: true,
        ..Default::default()
    };
    operator.revoke(dry).await.unwrap();
    assert_eq!(desk.since(seq), []);

    let operator = &mut desk.stage.operator;
    let freeze = v1::FreezeRequest {
        selector: all(),
        reason: "a test".to_owned(),
    };
    operator.freeze(freeze).await.unwrap();
    operator
        .thaw(v1::ThawRequest { selector: all() })
        .await
        .unwrap();
    operator
        .reload_policy(v1::ReloadPolicyRequest {})
        .await
        .unwrap();
    operator
        .rotate_keys(v1::RotateKeysRequest::default())
        .await
        .unwrap();
    let of_text = v1::erase_text_request::Of::Commitment(commitment);
    operator.erase_text(erases(of_text)).await.unwrap();
    let of_task = Of::TaskId(desk.task.id.clone());
    desk.stage.revoke(of_task).await;
    let entries = desk.since(seq);
    let events: Vec<_> = entries.iter().map(|entry| &*entry.event).collect();
    let expected = [
        "freeze.set",
        "freeze.lifted",
        "policy.loaded",
        "keys.rotated",
        "text.erased",
        "task.ended",
    ];
    assert_eq!(events, expected);
    let certificate = hex(&thumbprint(&desk.stage.world, "operator"));
    for entry in &entries {
        let caller = entry.caller.as_ref().unwrap();
        assert_eq!((&*caller.id, &caller.certificate), (OPERATOR, &certificate));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_give_orders_is_recorded_with_what_it_tried() {
    let desk = Desk::new().await;
    let channel = desk.stage.world.connect(&desk.stage.serving, "agent").await;
    let mut agent = v1::operator_client::OperatorClient::new(channel);
    let seq = desk.stage.seq();
    let erasing = erases(v1::erase_text_request::Of::TaskId(desk.task.id.clone()));
    agent.erase_text(within(PARENT, erasing)).await.unwrap_err();
    let [entry] = desk.since(seq).try_into().unwrap();
    assert_eq!(entry.event, "request.refused");
    assert_eq!(entry.refusal.as_deref(), Some("NOT_AN_OPERATOR"));
    assert_eq!(entry.detail["call"], "EraseText");
    assert_eq!(entry.caller.unwrap().id, AGENT);
    assert_eq!(entry.trace.unwrap().span.as_deref(), Some(SPAN));
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_and_stops_are_there() {
    let desk = Desk::new().await;
    let stage = desk.stage.restart().await;
    let events = stage.events_since(0);
    let found = |event: &str| events.iter().filter(|it| *it == event).count();
    assert_eq!((found("broker.started"), found("broker.stopped")), (2, 1));
    assert_eq!(events[0], "broker.started");
    let stopped = stage
        .since(0)
        .into_iter()
        .find(|it| it.entry.event == "broker.stopped");
    assert_eq!(stopped.unwrap().entry.broker, BROKER);
}

/// Waits for upkeep to have looked at the clock.
async fn told(stage: &Stage, event: &str) -> Entry {
    let found = || {
        stage
            .since(0)
            .into_iter()
            .map(|it| it.entry)
            .find(|it| it.event == event)
    };
    until(event, || async { found().is_some() }).await;
    found().unwrap()
}

fn millis(entry: &Entry, name: &str) -> u128 {
    entry.detail[name].parse().unwrap()
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_forward_is_recorded() {
    let desk = Desk::new().await;
    let time = &desk.stage.world.time;
    time.set_wall(desk.stage.serving.engine.now().after(HOUR));
    let entry = told(&desk.stage, "clock.stepped_forward").await;
    assert_eq!(millis(&entry, "by_ms"), HOUR.as_millis());
    assert_eq!((entry.caller, entry.trace), (None, None));
    let events = desk.stage.events_since(0);
    assert!(
        !events
            .iter()
            .any(|it| it == "clock.suspended" || it == "clock.stepped_back")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_suspended_is_recorded() {
    let desk = Desk::new().await;
    desk.stage.world.time.suspend(HOUR);
    let entry = told(&desk.stage, "clock.suspended").await;
    assert_eq!(millis(&entry, "for_ms"), HOUR.as_millis());
    let events = desk.stage.events_since(0);
    assert!(!events.iter().any(|it| it == "clock.stepped_forward"));
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_only_passes_is_not_worth_an_entry() {
    let desk = Desk::new().await;
    let engine = &desk.stage.serving.engine;
    desk.stage.world.time.advance(HOUR);
    desk.stage.world.time.set_wall(engine.now().after(HOUR));
    // By the entry of the step it has looked at the hour that passed before it, too.
    let entry = told(&desk.stage, "clock.stepped_forward").await;
    assert_eq!(millis(&entry, "by_ms"), HOUR.as_millis());
}
