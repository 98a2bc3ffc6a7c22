//! One task is one trace.

use quietus::api::v1;
use quietus::api::v1::selector::Of;
use quietus_ledger::Trace;
use tonic::Code;

use crate::common::*;
use crate::desk::*;
use crate::help::*;

/// Another trace than [`TRACE`], and a span in it.
const ELSEWHERE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn trace(id: &str, span: Option<&str>) -> Option<Trace> {
    Some(Trace {
        id: id.to_owned(),
        span: span.map(str::to_owned),
    })
}

/// The task's id without its dashes.
fn plain(task: &v1::Task) -> String {
    task.id.replace('-', "")
}

/// From the prompt to what came of it: everything that one trace has to tell.
#[tokio::test(flavor = "multi_thread")]
async fn prompt_decision_credential_call_and_result_are_under_one_trace() {
    let mut desk = Desk::new().await;
    let seq = desk.stage.seq();
    let opening = v1::OpenTaskRequest {
        prompt_sha256: sha256(b"refund order 1234").to_vec(),
        ..opens("refund")
    };
    let opened = desk.stage.agent.open_task(within(PARENT, opening)).await;
    let task = opened.unwrap().into_inner().task.unwrap();
    assert_eq!(task.trace_id, TRACE);

    let asking = within(PARENT, wants(&task, &[READ]));
    let issued = desk.stage.agent.request_credential(asking).await;
    let lease = issued.unwrap().into_inner().lease.unwrap();
    let seen = v1::RecordActionRequest {
        task_id: task.id.clone(),
        lease_id: lease.id.clone(),
        arguments_sha256: sha256(b"select").to_vec(),
        ..desk.report_with("one row")
    };
    let commitment = record(&mut desk.server, seen.clone()).await;
    let closing = within(PARENT, closes(&task));
    desk.stage.agent.close_task(closing).await.unwrap();

    let entries = desk.since(seq);
    let events: Vec<_> = entries.iter().map(|entry| &*entry.event).collect();
    assert_eq!(
        events,
        [
            "task.opened",
            "lease.issued",
            "action.recorded",
            "task.ended"
        ]
    );
    for entry in &entries {
        assert_eq!(entry.trace.as_ref().unwrap().id, TRACE);
        assert_eq!(entry.task.as_ref().unwrap().id, task.id);
    }
    let [opened, issued, acted, ended] = entries.try_into().unwrap();
    let prompt = opened.task.unwrap().prompt;
    assert_eq!(prompt, Some(hex(&sha256(b"refund order 1234"))));
    assert_eq!(issued.decisions[0].outcome, "permit");
    assert_eq!(issued.leases[0].id, lease.id);
    let action = acted.action.unwrap();
    assert_eq!(action.lease, Some(lease.id));
    assert_eq!(action.arguments, Some(hex(&sha256(b"select"))));
    assert_eq!(
        (action.result.as_str(), action.text),
        ("succeeded", Some(commitment))
    );
    // The agent said where in the trace it was; the resource server did not.
    assert_eq!(opened.trace, trace(TRACE, Some(SPAN)));
    assert_eq!(issued.trace, trace(TRACE, Some(SPAN)));
    assert_eq!(acted.trace, trace(TRACE, None));
    assert_eq!(ended.trace, trace(TRACE, Some(SPAN)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_was_opened_within_no_trace_has_one_of_its_own() {
    let mut desk = Desk::new().await;
    assert_eq!(desk.task.trace_id, plain(&desk.task));
    for entry in desk.since(0) {
        let own = trace(&plain(&desk.task), None);
        let is_about_it = entry.task.is_some();
        assert_eq!(entry.trace, own.filter(|_| is_about_it));
    }
    let shown = desk.stage.look(&desk.task.id).await.0;
    assert_eq!(shown.trace_id, desk.task.trace_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_makes_no_sense_is_not_heeded() {
    let mut desk = Desk::new().await;
    let zeros = format!("00-{}-{SPAN}-01", "0".repeat(32));
    let nonsense = [
        "00-xyz",
        &PARENT.to_uppercase(),
        &zeros,
        &format!("{PARENT}-more"),
        "",
    ];
    for said in nonsense {
        let opened = desk.stage.agent.open_task(within(said, opens("x"))).await;
        let task = opened.unwrap().into_inner().task.unwrap();
        assert_eq!(task.trace_id, plain(&task), "{said}");
    }
    // Nor one that is said twice.
    let mut twice = within(PARENT, opens("x"));
    let again = ELSEWHERE.parse().unwrap();
    twice.metadata_mut().append("traceparent", again);
    let opened = desk.stage.agent.open_task(twice).await.unwrap();
    let task = opened.into_inner().task.unwrap();
    assert_eq!(task.trace_id, plain(&task));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_stays_in_its_trace_whatever_a_call_says() {
    let mut desk = Desk::new().await;
    let own = plain(&desk.task);
    let span = &ELSEWHERE[36..52];
    let seq = desk.stage.seq();
    let (report, task) = (desk.report(), desk.task.clone());
    let agent = &mut desk.stage.agent;
    agent
        .record_action(within(ELSEWHERE, report))
        .await
        .unwrap();
    let forbidden = wants(&task, &["payments-api:write:refunds"]);
    let answer = agent.request_credential(within(ELSEWHERE, forbidden)).await;
    answer.unwrap_err();
    let giving = within(ELSEWHERE, returns(&desk.lease));
    agent.revoke_lease(giving).await.unwrap();
    agent
        .close_task(within(ELSEWHERE, closes(&task)))
        .await
        .unwrap();
    let entries = desk.since(seq);
    let events: Vec<_> = entries.iter().map(|entry| &*entry.event).collect();
    let expected = [
        "action.recorded",
        "request.refused",
        "lease.ended",
        "task.ended",
    ];
    assert_eq!(events, expected);
    for entry in entries {
        assert_eq!(entry.trace, trace(&own, Some(span)), "{}", entry.event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_survives_a_restart() {
    let mut desk = Desk::new().await;
    let opened = desk.stage.agent.open_task(within(PARENT, opens("x"))).await;
    let task = opened.unwrap().into_inner().task.unwrap();
    let mut stage = desk.stage.restart().await;
    assert_eq!(stage.look(&task.id).await.0.trace_id, TRACE);
    let seq = stage.seq();
    stage.pass(86_400).await;
    let ended = stage.since(seq).into_iter();
    let mut ended = ended.filter(|it| {
        it.entry
            .task
            .as_ref()
            .is_some_and(|fact| fact.id == task.id)
    });
    assert_eq!(ended.next().unwrap().entry.trace, trace(TRACE, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_order_is_in_the_tasks_trace_and_at_the_operators_span() {
    let mut desk = Desk::new().await;
    let seq = desk.stage.seq();
    let order = v1::RevokeRequest {
        selector: of(Of::TaskId(desk.task.id.clone())),
        ..Default::default()
    };
    let operator = &mut desk.stage.operator;
    operator.revoke(within(PARENT, order)).await.unwrap();
    let freeze = v1::FreezeRequest {
        selector: of(Of::Agent(AGENT.to_owned())),
        reason: String::new(),
    };
    operator.freeze(within(PARENT, freeze)).await.unwrap();
    let reload = v1::ReloadPolicyRequest {};
    operator
        .reload_policy(within(PARENT, reload))
        .await
        .unwrap();
    let rotation = v1::RotateKeysRequest::default();
    operator
        .rotate_keys(within(PARENT, rotation))
        .await
        .unwrap();
    let found: Vec<_> = desk
        .since(seq)
        .into_iter()
        .map(|it| (it.event, it.trace))
        .collect();
    let own = plain(&desk.task);
    // What is not about a task is in the caller's own trace.
    let expected = [
        ("task.ended", &*own),
        ("freeze.set", TRACE),
        ("policy.loaded", TRACE),
        ("keys.rotated", TRACE),
    ];
    let expected = expected.map(|(event, id)| (event.to_owned(), trace(id, Some(SPAN))));
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reaches_for_anothers_task_does_not_get_into_its_trace() {
    let mut desk = Desk::new().await;
    let seq = desk.stage.seq();
    let theirs = desk.report();
    let answer = desk
        .stage
        .reader
        .record_action(within(PARENT, theirs))
        .await;
    not_found(answer);
    let without = desk.stage.reader.close_task(closes(&desk.task)).await;
    not_found(without);
    let traces: Vec<_> = desk.since(seq).into_iter().map(|it| it.trace).collect();
    assert_eq!(traces, [trace(TRACE, Some(SPAN)), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompts_digest_is_thirty_two_bytes_and_part_of_the_request() {
    let mut desk = Desk::new().await;
    for length in [1, 31, 33, 64] {
        let opening = v1::OpenTaskRequest {
            prompt_sha256: vec![1; length],
            ..opens("x")
        };
        invalid(desk.stage.agent.open_task(opening).await, "prompt_sha256");
    }
    let opening = |prompt: u8| v1::OpenTaskRequest {
        idempotency_key: "k".to_owned(),
        prompt_sha256: vec![prompt; 32],
        ..opens("x")
    };
    let first = open_with(&mut desk.stage.agent, opening(1)).await;
    let again = open_with(&mut desk.stage.agent, opening(1)).await;
    assert_eq!(first.task.unwrap().id, again.task.unwrap().id);
    let other = desk.stage.agent.open_task(opening(2)).await;
    refused(other, Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
}
