//! Reports that are not taken.

use quietus::api::v1;
use tonic::Code;

use crate::common::*;
use crate::desk::*;
use crate::help::*;

fn at(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos })
}

/// Refused as a task that is not there is, and recorded as that.
#[track_caller]
fn refused_and_recorded(desk: &Desk, seq: u64, by: &str) {
    let [entry] = desk.since(seq).try_into().unwrap();
    assert_eq!(entry.event, "request.refused");
    assert_eq!(entry.refusal.as_deref(), Some("NOT_FOUND"));
    assert_eq!(entry.caller.unwrap().id, by);
    assert_eq!((entry.action, entry.task), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agent_cannot_report_and_learns_nothing() {
    let mut desk = Desk::new().await;
    let theirs = desk.report();
    let nobodys = v1::RecordActionRequest {
        task_id: NOBODYS.to_owned(),
        lease_id: String::new(),
        ..theirs.clone()
    };
    let seq = desk.stage.seq();
    let first = not_found(desk.stage.reader.record_action(theirs).await);
    refused_and_recorded(&desk, seq, READER);
    let second = not_found(desk.stage.reader.record_action(nobodys).await);
    assert_eq!(first.message(), second.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_cannot_report() {
    let mut desk = Desk::new().await;
    let (seq, report) = (desk.stage.seq(), desk.report());
    not_found(desk.stage.overseer.record_action(report).await);
    refused_and_recorded(&desk, seq, OPERATOR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_server_of_another_target_cannot_report() {
    let mut desk = Desk::new().await;
    let (seq, report) = (desk.stage.seq(), desk.report());
    not_found(desk.stranger.record_action(report).await);
    refused_and_recorded(&desk, seq, "spiffe://dev.example/rs/payments");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_server_must_name_a_lease_of_this_task_at_its_target() {
    let mut desk = Desk::new().await;
    let other = open(&mut desk.stage.agent).await;
    let (elsewhere, _) = request(&mut desk.stage.agent, &other).await;
    let unknown = format!("{}.77", desk.task.id);
    for lease_id in [String::new(), elsewhere.id, unknown] {
        let seq = desk.stage.seq();
        let report = v1::RecordActionRequest {
            lease_id,
            ..desk.report()
        };
        not_found(desk.server.record_action(report).await);
        refused_and_recorded(&desk, seq, RESOURCE_SERVER);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_cannot_name_a_lease_of_another_task() {
    let mut desk = Desk::new().await;
    let other = open(&mut desk.stage.agent).await;
    let (elsewhere, _) = request(&mut desk.stage.agent, &other).await;
    for lease_id in [elsewhere.id, format!("{}.77", desk.task.id)] {
        let seq = desk.stage.seq();
        let report = v1::RecordActionRequest {
            lease_id,
            ..desk.report()
        };
        not_found(desk.stage.agent.record_action(report).await);
        refused_and_recorded(&desk, seq, AGENT);
    }
}

type Spoil = fn(&mut v1::RecordActionRequest);

const SPOILT: [(&str, Spoil); 24] = [
    ("task_id", |it| it.task_id = "mine".to_owned()),
    ("task_id", |it| it.task_id.clear()),
    ("lease_id", |it| it.lease_id = "7".to_owned()),
    ("tool", |it| it.tool.clear()),
    ("tool", |it| it.tool = "t".repeat(257)),
    ("tool", |it| it.tool = "ps\nql".to_owned()),
    ("tool", |it| it.tool = "\u{202e}lqsp".to_owned()),
    ("resource", |it| it.resource = "r".repeat(1025)),
    ("resource", |it| it.resource = "a\u{1b}[2J".to_owned()),
    ("call_id", |it| it.call_id = "c".repeat(257)),
    ("call_id", |it| it.call_id = "c\u{0}".to_owned()),
    ("text", |it| it.text = "x".repeat(65_537)),
    ("result", |it| it.result = 0),
    ("result", |it| it.result = 4),
    ("result", |it| it.result = -1),
    ("prompt_sha256", |it| it.prompt_sha256 = vec![1; 31]),
    ("arguments_sha256", |it| it.arguments_sha256 = vec![1; 33]),
    ("response_sha256", |it| it.response_sha256 = vec![1; 64]),
    ("started_at", |it| it.started_at = at(-1, 0)),
    ("started_at", |it| it.started_at = at(0, 1_000_000_000)),
    ("ended_at", |it| it.ended_at = at(0, -1)),
    ("ended_at", |it| it.ended_at = at(i64::MAX, 0)),
    ("ended_at", |it| {
        (it.started_at, it.ended_at) = (at(10, 0), at(9, 999_000_000));
    }),
    ("idempotency_key", |it| it.idempotency_key = "k".repeat(65)),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_invalid_and_leaves_nothing() {
    let mut desk = Desk::new().await;
    let seq = desk.stage.seq();
    for (field, spoil) in SPOILT {
        let mut report = desk.report_with("kept by nobody");
        spoil(&mut report);
        invalid(desk.stage.agent.record_action(report).await, field);
    }
    assert_eq!(desk.since(seq), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_all_bounds_is_not_read() {
    let mut desk = Desk::new().await;
    let report = desk.report_with(&"x".repeat(1 << 20));
    let status = desk.stage.agent.record_action(report).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_good_for_one_report_and_one_text() {
    let mut desk = Desk::new().await;
    let keyed = |key: &str, report: v1::RecordActionRequest| v1::RecordActionRequest {
        idempotency_key: key.to_owned(),
        ..report
    };
    let (with, bare) = (desk.report_with("one"), desk.report());
    desk.record(keyed("with", with.clone())).await;
    desk.record(keyed("bare", bare.clone())).await;
    let other_tool = v1::RecordActionRequest {
        tool: "other".to_owned(),
        ..with.clone()
    };
    let seq = desk.stage.seq();
    for report in [
        keyed("with", desk.report_with("two")),
        keyed("with", bare),
        keyed("with", other_tool),
        keyed("bare", with),
    ] {
        let answer = desk.stage.agent.record_action(report).await;
        refused(answer, Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(desk.since(seq), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_disk_short_of_space_nothing_is_recorded_but_texts_can_be_erased() {
    let mut desk = Desk::new().await;
    let report = desk.report_with("to be erased");
    let commitment = desk.record(report.clone()).await;
    let world = desk.stage.stop().await;
    let mut stage = Stage::on(world, |config| config.store.min_free_bytes = u64::MAX).await;
    let seq = stage.seq();
    let answer = stage.agent.record_action(report).await;
    refused(answer, Code::ResourceExhausted, "DISK_SHORT_OF_SPACE");
    assert_eq!(stage.events_since(seq), Vec::<String>::new());
    let of = v1::erase_text_request::Of::Commitment(commitment);
    let erased = stage.operator.erase_text(erases(of)).await.unwrap();
    assert_eq!(erased.into_inner().erased, 1);
}
