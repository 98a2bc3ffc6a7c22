//! Reports that are taken.

use quietus::api::v1;

use crate::common::*;
use crate::desk::*;
use crate::help::*;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_recorded_as_it_was_made_and_by_whom() {
    let mut desk = Desk::new().await;
    let report = v1::RecordActionRequest {
        call_id: "call_7".to_owned(),
        result: v1::ActionResult::Failed.into(),
        started_at: at(1_700_000_000),
        ended_at: at(1_700_000_000),
        prompt_sha256: vec![1; 32],
        arguments_sha256: vec![2; 32],
        response_sha256: vec![3; 32],
        ..desk.report()
    };
    let seq = desk.stage.seq();
    assert_eq!(desk.record(report).await, "");
    let [entry] = desk.since(seq).try_into().unwrap();
    assert_eq!(entry.event, "action.recorded");
    assert_eq!(entry.agent.as_deref(), Some(AGENT));
    let caller = entry.caller.unwrap();
    let certificate = hex(&thumbprint(&desk.stage.world, "agent"));
    assert_eq!((&*caller.id, caller.certificate), (AGENT, certificate));
    let action = entry.action.unwrap();
    assert_eq!(
        (&*action.tool, &*action.resource),
        ("psql", "public.orders")
    );
    assert_eq!(action.lease.as_ref(), Some(&desk.lease.id));
    assert_eq!(
        (action.call.as_deref(), &*action.result),
        (Some("call_7"), "failed")
    );
    let times = (action.started_at, action.ended_at);
    assert_eq!(times, (Some(1_700_000_000_000), Some(1_700_000_000_000)));
    assert_eq!(action.prompt, Some(hex(&[1; 32])));
    assert_eq!(action.arguments, Some(hex(&[2; 32])));
    assert_eq!(action.response, Some(hex(&[3; 32])));
    assert_eq!(action.text, None);
    assert_eq!(entry.trace.unwrap().id, desk.task.trace_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_left_out_is_absent() {
    let mut desk = Desk::new().await;
    let report = v1::RecordActionRequest {
        lease_id: String::new(),
        resource: String::new(),
        ..desk.report()
    };
    let seq = desk.stage.seq();
    desk.record(report).await;
    let action = desk.since(seq)[0].action.clone().unwrap();
    let expected = quietus_ledger::Action {
        tool: "psql".to_owned(),
        result: "succeeded".to_owned(),
        ..Default::default()
    };
    assert_eq!(action, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_targets_resource_server_may_report_and_is_told_apart() {
    let mut desk = Desk::new().await;
    let seq = desk.stage.seq();
    let report = desk.report();
    record(&mut desk.server, report).await;
    let [entry] = desk.since(seq).try_into().unwrap();
    assert_eq!(entry.event, "action.recorded");
    assert_eq!(entry.caller.unwrap().id, RESOURCE_SERVER);
    assert_eq!(entry.agent.as_deref(), Some(AGENT));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_changes_nothing_of_the_task() {
    let mut desk = Desk::with(|config| {
        config.limits.min_heartbeat = std::time::Duration::from_secs(1);
    })
    .await;
    let request = v1::OpenTaskRequest {
        heartbeat_interval: seconds(60),
        ..opens("beats")
    };
    let agent = &mut desk.stage.agent;
    let task = open_with(agent, request).await.task.unwrap();
    let before = desk.stage.look(&task.id).await;
    desk.stage.advance(30);
    let report = v1::RecordActionRequest {
        task_id: task.id.clone(),
        lease_id: String::new(),
        ..desk.report()
    };
    let seq = desk.stage.seq();
    desk.record(report).await;
    // Nor is it a sign of life.
    assert_eq!(desk.stage.look(&task.id).await, before);
    let fact = desk.since(seq)[0].task.clone().unwrap();
    assert_eq!((fact.previous, &*fact.state), (fact.version, "Open"));
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_may_come_late_but_not_when_the_task_is_forgotten() {
    let mut desk = Desk::new().await;
    let task = desk.task.clone();
    desk.stage.agent.close_task(closes(&task)).await.unwrap();
    for as_server in [false, true] {
        let (seq, report) = (desk.stage.seq(), desk.report());
        match as_server {
            true => record(&mut desk.server, report).await,
            false => desk.record(report).await,
        };
        assert_eq!(desk.since(seq)[0].task.as_ref().unwrap().state, "Closed");
    }
    let kept = desk.stage.serving.engine.config().limits.retention;
    desk.stage.pass(kept.as_secs() + 1).await;
    let report = desk.report();
    // Its SVID is of a development domain, and lasts longer.
    not_found(desk.stage.agent.record_action(report).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_records_once_and_gives_the_same_commitment() {
    let mut desk = Desk::new().await;
    let keyed = v1::RecordActionRequest {
        idempotency_key: "k".to_owned(),
        ..desk.report_with("the text")
    };
    let seq = desk.stage.seq();
    let first = desk.record(keyed.clone()).await;
    let again = desk.record(keyed).await;
    assert_eq!((first.len(), &again), (64, &first));
    assert_eq!(desk.since(seq).len(), 1);

    let without = v1::RecordActionRequest {
        idempotency_key: "other".to_owned(),
        ..desk.report()
    };
    assert_eq!(desk.record(without.clone()).await, "");
    assert_eq!(desk.record(without).await, "");
    assert_eq!(desk.since(seq).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_of_everything_is_taken() {
    let mut desk = Desk::new().await;
    let longest = v1::RecordActionRequest {
        idempotency_key: "k".repeat(64),
        tool: "t".repeat(256),
        resource: "r".repeat(1024),
        call_id: "c".repeat(256),
        prompt_sha256: vec![1; 32],
        arguments_sha256: vec![2; 32],
        response_sha256: vec![3; 32],
        ..desk.report_with(&"\u{0}".repeat(65_536))
    };
    let commitment = desk.record(longest).await;
    let kept = desk.text(&commitment).await.unwrap();
    assert_eq!(kept.text.len(), 65_536);
}
