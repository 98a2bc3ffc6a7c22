//! Texts are kept apart from the ledger, and can be erased.

use std::io;
use std::sync::{Arc, Mutex};

use quietus::api::v1;
use quietus::api::v1::audit_client::AuditClient;
use quietus::api::v1::erase_text_request::Of;
use quietus::store::SaltedText;
use quietus_core::Digest;
use ring::hmac;
use tonic::Code;

use crate::common::*;
use crate::desk::*;
use crate::help::*;

const TEXT: &str = "the customer, Jane Roe, wants her order back";

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_commits_to_a_text_and_auditors_can_open_the_commitment() {
    let mut desk = Desk::new().await;
    let (seq, report) = (desk.stage.seq(), desk.report_with(TEXT));
    let commitment = desk.record(report).await;
    let action = desk.since(seq)[0].action.clone().unwrap();
    assert_eq!(action.text.as_ref(), Some(&commitment));
    let kept = desk.text(&commitment).await.unwrap();
    assert_eq!((&*kept.text, kept.salt.len()), (TEXT, 32));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &kept.salt);
    let expected = hmac::sign(&key, TEXT.as_bytes());
    assert_eq!(commitment, hex(expected.as_ref()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_is_never_committed_to_alike() {
    let mut desk = Desk::new().await;
    let report = desk.report_with(TEXT);
    let first = desk.record(report.clone()).await;
    let second = desk.record(report).await;
    assert_ne!(first, second);
    let (first, second) = (desk.text(&first).await, desk.text(&second).await);
    assert_ne!(first.unwrap().salt, second.unwrap().salt);
}

/// Neither the text nor any digest that somebody who guesses it could compare.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_the_ledger_tells_of_a_text() {
    let mut desk = Desk::new().await;
    let report = v1::RecordActionRequest {
        idempotency_key: "k".to_owned(),
        ..desk.report_with(TEXT)
    };
    let seq = desk.stage.seq();
    let commitment = desk.record(report.clone()).await;
    let salt = desk.text(&commitment).await.unwrap().salt;
    let ledger = desk.ledger_bytes();
    assert!(contains(&ledger, commitment.as_bytes()));
    for secret in [
        TEXT.as_bytes(),
        hex(&salt).as_bytes(),
        hex(&sha256(TEXT.as_bytes())).as_bytes(),
    ] {
        assert!(!contains(&ledger, secret));
    }
    // The request's digest is that of the request without its text.
    let entry = desk.since(seq)[0].clone();
    let other = v1::RecordActionRequest {
        idempotency_key: String::new(),
        text: "something else".to_owned(),
        ..report
    };
    let seq = desk.stage.seq();
    desk.record(other).await;
    assert_eq!(desk.since(seq)[0].request, entry.request);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_text_is_in_no_table_and_the_entry_says_who_erased_it() {
    let mut desk = Desk::new().await;
    let report = v1::RecordActionRequest {
        idempotency_key: "k".to_owned(),
        ..desk.report_with(TEXT)
    };
    let commitment = desk.record(report.clone()).await;
    let other = desk.record(desk.report_with("another")).await;
    let before = desk.ledger_bytes();
    let seq = desk.stage.seq();
    let erased = erases(Of::Commitment(commitment.clone()));
    let erased = desk.stage.operator.erase_text(erased).await.unwrap();
    assert_eq!(erased.into_inner().erased, 1);
    let [entry] = desk.since(seq).try_into().unwrap();
    assert_eq!(entry.event, "text.erased");
    assert_eq!(entry.caller.unwrap().id, OPERATOR);
    assert_eq!(entry.detail["commitments"], commitment);
    assert_eq!(entry.detail["reason"], "request 17");

    let digest: Digest = commitment.parse().unwrap();
    let store = desk.stage.serving.engine.store();
    assert_eq!(store.read().text(digest).unwrap(), None);
    refused_text(&mut desk, &commitment).await;
    assert_eq!(desk.text(&other).await.unwrap().text, "another");
    // What was recorded is as it was.
    assert!(desk.ledger_bytes().starts_with(&before));
    // Nobody can tell any more whether the key is used for the same text.
    let again = desk.stage.agent.record_action(report).await;
    refused(again, Code::FailedPrecondition, "IDEMPOTENCY_KEY_STALE");

    let world = desk.stage.stop().await;
    let mut stage = Stage::on(world, |_| {}).await;
    let again = erases(Of::Commitment(commitment));
    not_found(stage.operator.erase_text(again).await);
}

async fn refused_text(desk: &mut Desk, commitment: &str) {
    let commitment = commitment.to_owned();
    not_found(desk.audit.get_text(v1::GetTextRequest { commitment }).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_erased_once() {
    let mut desk = Desk::new().await;
    let commitment = desk.record(desk.report_with(TEXT)).await;
    let erasing = erases(Of::Commitment(commitment));
    let (mut one, mut two) = (desk.stage.operator.clone(), desk.stage.operator.clone());
    let seq = desk.stage.seq();
    let (first, second) = tokio::join!(
        one.erase_text(erasing.clone()),
        two.erase_text(erasing.clone())
    );
    assert_eq!(u8::from(first.is_ok()) + u8::from(second.is_ok()), 1);
    not_found(desk.stage.operator.erase_text(erasing).await);
    assert_eq!(desk.stage.events_since(seq), ["text.erased"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_texts_of_a_task_and_of_no_other_are_erased() {
    let mut desk = Desk::new().await;
    let mut own = Vec::new();
    for text in ["one", "two", "three"] {
        let report = desk.report_with(text);
        own.push(desk.record(report).await);
    }
    let report = desk.report_with("seen by the server");
    own.push(record(&mut desk.server, report).await);
    let other = open(&mut desk.stage.agent).await;
    // It names the first task wherever it can.
    let names_it = v1::RecordActionRequest {
        task_id: other.id,
        lease_id: String::new(),
        tool: desk.task.id.clone(),
        resource: desk.task.id.clone(),
        call_id: desk.task.id.clone(),
        ..desk.report_with("another's")
    };
    let kept = desk.record(names_it).await;

    let seq = desk.stage.seq();
    let erasing = erases(Of::TaskId(desk.task.id.clone()));
    let erased = desk.stage.operator.erase_text(erasing.clone()).await;
    assert_eq!(erased.unwrap().into_inner().erased, 4);
    let [entry] = desk.since(seq).try_into().unwrap();
    assert_eq!(entry.detail["commitments"], own.join(" "));
    assert_eq!(entry.detail["task"], desk.task.id);
    assert_eq!(entry.trace.unwrap().id, desk.task.trace_id);
    for commitment in &own {
        refused_text(&mut desk, commitment).await;
    }
    assert_eq!(desk.text(&kept).await.unwrap().text, "another's");
    not_found(desk.stage.operator.erase_text(erasing).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_of_a_task_that_is_forgotten_can_still_be_erased() {
    let mut desk = Desk::new().await;
    let commitment = desk.record(desk.report_with(TEXT)).await;
    let task = desk.task.clone();
    desk.stage.agent.close_task(closes(&task)).await.unwrap();
    let kept = desk.stage.serving.engine.config().limits.retention;
    desk.stage.pass(kept.as_secs() + 1).await;
    let erasing = erases(Of::TaskId(task.id));
    let erased = desk.stage.operator.erase_text(erasing).await.unwrap();
    assert_eq!(erased.into_inner().erased, 1);
    refused_text(&mut desk, &commitment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_cannot_be_erased() {
    let mut desk = Desk::new().await;
    let nothing = [
        Of::Commitment(hex(&[7; 32])),
        Of::TaskId(desk.task.id.clone()),
        Of::TaskId(NOBODYS.to_owned()),
    ];
    let seq = desk.stage.seq();
    for of in nothing {
        not_found(desk.stage.operator.erase_text(erases(of)).await);
    }
    let senseless = [
        (erases(Of::Commitment("abc".to_owned())), "commitment"),
        (
            erases(Of::Commitment(hex(&[0xab; 32]).to_uppercase())),
            "commitment",
        ),
        (erases(Of::TaskId("mine".to_owned())), "task_id"),
        (v1::EraseTextRequest::default(), "of"),
    ];
    for (request, field) in senseless {
        invalid(desk.stage.operator.erase_text(request).await, field);
    }
    for reason in ["r".repeat(1025), "because\n".to_owned()] {
        let request = v1::EraseTextRequest {
            reason,
            ..erases(Of::TaskId(desk.task.id.clone()))
        };
        invalid(desk.stage.operator.erase_text(request).await, "reason");
    }
    assert_eq!(desk.since(seq), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_erase_and_only_auditors_read() {
    let mut desk = Desk::new().await;
    let commitment = desk.record(desk.report_with(TEXT)).await;
    let hour = std::time::Duration::from_secs(3_600);
    desk.stage
        .agent_named("auditor", "/auditor/one", hour)
        .await;
    for (name, may_read) in [
        ("auditor", true),
        ("agent", false),
        ("resource-server", false),
    ] {
        let channel = desk.stage.world.connect(&desk.stage.serving, name).await;
        let mut operator = v1::operator_client::OperatorClient::new(channel.clone());
        let erasing = erases(Of::Commitment(commitment.clone()));
        let answer = operator.erase_text(erasing).await;
        refused(answer, Code::PermissionDenied, "NOT_AN_OPERATOR");
        let reading = v1::GetTextRequest {
            commitment: commitment.clone(),
        };
        let answer = AuditClient::new(channel).get_text(reading).await;
        match may_read {
            true => assert_eq!(answer.unwrap().into_inner().text, TEXT),
            false => drop(refused(answer, Code::PermissionDenied, "NOT_AN_AUDITOR")),
        }
    }
    assert_eq!(desk.text(&commitment).await.unwrap().text, TEXT);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_text_is_no_text() {
    let mut desk = Desk::new().await;
    let seq = desk.stage.seq();
    assert_eq!(desk.record(desk.report()).await, "");
    assert_eq!(desk.since(seq)[0].action.as_ref().unwrap().text, None);
    let empty = SaltedText::new([0; 32], "").commitment().to_string();
    refused_text(&mut desk, &empty).await;
}

/// Keeps what the broker logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_not_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let mut desk = Desk::new().await;
    let text = "a text that no other test has";
    let commitment = desk.record(desk.report_with(text)).await;
    let mut spoilt = desk.report_with(text);
    spoilt.tool.clear();
    invalid(desk.stage.agent.record_action(spoilt).await, "tool");
    let theirs = desk.report_with(text);
    not_found(desk.stage.reader.record_action(theirs).await);
    desk.text(&commitment).await.unwrap();
    let erasing = erases(Of::Commitment(commitment));
    desk.stage.operator.erase_text(erasing).await.unwrap();
    tracing::info!("the log is kept");
    let log = log.0.lock().unwrap().clone();
    assert!(contains(&log, b"the log is kept"));
    assert!(!contains(&log, text.as_bytes()));
}
