//! What a collector is sent: one task, one trace.

use std::collections::{BTreeMap, BTreeSet};

use quietus::api::otlp::metrics::v1::metric::Data;
use quietus::api::otlp::trace::v1::Span;
use quietus::api::otlp::trace::v1::span::SpanKind;
use quietus::api::v1;
use quietus::telemetry::{self, ToolCall, TraceContext};

use crate::collector::{Collector, texts};
use crate::common::{READ, open, request, wants};
use crate::stage::{KEYS, Stage, bytes, closing, until, within};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: [u8; 16] = [
    0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36,
];
const SPAN: [u8; 8] = [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

/// The spans of one trace.
struct Trace(Vec<Span>);

impl Trace {
    /// Once this many of this name have come.
    async fn with(collector: &Collector, trace: &[u8], name: &str, count: usize) -> Self {
        let found = until(async || {
            let spans = collector.spans();
            let of_trace = spans.into_iter().filter(|span| span.trace_id == trace);
            let found = Self(of_trace.collect());
            (found.all(name).len() >= count).then_some(found)
        });
        let found = found.await;
        found.unwrap_or_else(|| panic!("no {name} in {:#?}", collector.spans()))
    }

    fn all(&self, name: &str) -> Vec<&Span> {
        self.0.iter().filter(|span| span.name == name).collect()
    }

    #[track_caller]
    fn one(&self, name: &str) -> &Span {
        match self.all(name).as_slice() {
            [one] => one,
            other => panic!("{name}: {other:#?}"),
        }
    }
}

fn about(span: &Span) -> BTreeMap<String, String> {
    texts(&span.attributes)
}

async fn collected() -> (Collector, Stage) {
    let collector = Collector::start().await;
    let stage = Stage::start(Some(collector.url())).await;
    (collector, stage)
}

#[tokio::test]
async fn a_task_is_one_trace_from_its_opening_to_the_last_confirmation() {
    let (collector, stage) = collected().await;
    let mut agent = stage.agent().await;
    let task = open(&mut agent).await;
    let (lease, _) = request(&mut agent, &task).await;
    agent.close_task(closing(&task)).await.unwrap();
    let trace = Trace::with(&collector, &bytes(&task), "task", 1).await;
    assert_eq!(trace.0.len(), 6, "{:#?}", trace.0);
    let whole = trace.one("task");
    assert!(whole.parent_span_id.is_empty(), "{whole:#?}");
    for (part, of) in [
        ("open", "task"),
        ("issue", "task"),
        ("decision", "issue"),
        ("revoke", "task"),
        ("confirm", "revoke"),
    ] {
        let (part, of) = (trace.one(part), trace.one(of));
        assert_eq!(part.parent_span_id, of.span_id, "{part:#?}");
        assert!(
            part.start_time_unix_nano <= part.end_time_unix_nano,
            "{part:#?}"
        );
        assert!(part.status.is_none(), "{part:#?}");
    }
    let said = |name: &str, key: &str| about(trace.one(name)).get(key).cloned();
    let is = |text: &str| Some(text.to_owned());
    assert_eq!(said("issue", "quietus.lease.id"), is(&lease.id));
    assert_eq!(said("issue", "quietus.target"), is("orders-db"));
    assert_eq!(said("issue", "quietus.kind"), is("jwt"));
    assert_eq!(said("decision", "quietus.outcome"), is("permit"));
    assert_eq!(said("revoke", "quietus.cause"), is("task_ended"));
    assert_eq!(
        said("confirm", "quietus.confirmed"),
        is("refused_by_introspection")
    );
    assert_eq!(said("task", "quietus.cause"), is("completed"));
    assert_eq!(
        said("open", "gen_ai.agent.id"),
        is("spiffe://dev.example/agent/builder")
    );
    assert_eq!(trace.one("open").kind, i32::from(SpanKind::Server));
    let sender = collector.sender();
    assert_eq!(sender["service.name"], "quietus");
    assert_eq!(sender["service.instance.id"], "spiffe://dev.example/broker");
}

#[tokio::test]
async fn a_task_that_is_opened_within_a_trace_belongs_to_it() {
    let (collector, stage) = collected().await;
    let mut agent = stage.agent().await;
    let opening = within(CALLER, v1::OpenTaskRequest::default());
    let task = agent.open_task(opening).await.unwrap().into_inner();
    let task = task.task.unwrap();
    request(&mut agent, &task).await;
    // From another place in the same trace, and from another trace.
    let inner = CALLER.replace("00f067aa0ba902b7", "00000000000000aa");
    let inner = within(&inner, wants(&task, &[READ]));
    agent.request_credential(inner).await.unwrap();
    let other = within(&CALLER.replace("4bf9", "0000"), wants(&task, &[READ]));
    agent.request_credential(other).await.unwrap();
    agent.close_task(closing(&task)).await.unwrap();
    let trace = Trace::with(&collector, &TRACE, "task", 1).await;
    assert_eq!(trace.one("task").parent_span_id, SPAN);
    assert_eq!(trace.one("open").parent_span_id, trace.one("task").span_id);
    let issues = trace.all("issue");
    let parents: Vec<_> = issues
        .iter()
        .map(|span| span.parent_span_id.clone())
        .collect();
    let own = trace.one("task").span_id.clone();
    assert_eq!(parents, [own.clone(), vec![0, 0, 0, 0, 0, 0, 0, 0xaa], own]);
    assert!(issues[0].links.is_empty() && issues[1].links.is_empty());
    assert_eq!(issues[2].links[0].trace_id[..4], [0, 0, 0x2f, 0x35]);
    let strangers = collector
        .spans()
        .into_iter()
        .filter(|span| span.trace_id != TRACE);
    assert_eq!(strangers.count(), 0);
}

#[tokio::test]
async fn what_is_no_trace_context_is_not_heeded() {
    let (collector, stage) = collected().await;
    let mut agent = stage.agent().await;
    for odd in [
        CALLER.to_uppercase(),
        CALLER.replacen("00", "ff", 1),
        CALLER.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
        CALLER.replace("00f067aa0ba902b7", &"0".repeat(16)),
        format!("{CALLER}-more"),
        CALLER[..54].to_owned(),
        "x".to_owned(),
        String::new(),
    ] {
        let opening = within(&odd, v1::OpenTaskRequest::default());
        let task = agent.open_task(opening).await.unwrap().into_inner();
        Trace::with(&collector, &bytes(&task.task.unwrap()), "open", 1).await;
    }
    // Neither is one that is said twice.
    let mut twice = within(CALLER, v1::OpenTaskRequest::default());
    twice
        .metadata_mut()
        .append("traceparent", CALLER.parse().unwrap());
    let task = agent.open_task(twice).await.unwrap().into_inner();
    Trace::with(&collector, &bytes(&task.task.unwrap()), "open", 1).await;
}

#[tokio::test]
async fn a_target_is_told_which_span_its_call_is_a_part_of() {
    let (collector, stage) = collected().await;
    let issuer = stage.issuer();
    let mut agent = stage.agent().await;
    let opening = within(CALLER, v1::OpenTaskRequest::default());
    let task = agent.open_task(opening).await.unwrap().into_inner();
    let task = task.task.unwrap();
    agent
        .request_credential(wants(&task, &[KEYS]))
        .await
        .unwrap();
    agent.close_task(closing(&task)).await.unwrap();
    let trace = Trace::with(&collector, &TRACE, "task", 1).await;
    let (issue, confirm) = (trace.one("issue"), trace.one("confirm"));
    assert_eq!(confirm.kind, i32::from(SpanKind::Client));
    assert_eq!(confirm.parent_span_id, trace.one("revoke").span_id);
    let heard = issuer.heard();
    for span in [issue, confirm] {
        let id: String = span
            .span_id
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let expected = CALLER.replace("00f067aa0ba902b7", &id);
        assert!(heard.contains(&expected), "no {expected} in {heard:?}");
    }
}

#[tokio::test]
async fn without_a_collector_a_trace_is_passed_on_all_the_same() {
    let stage = Stage::start(None).await;
    let issuer = stage.issuer();
    let mut agent = stage.agent().await;
    let opening = within(CALLER, v1::OpenTaskRequest::default());
    let task = agent.open_task(opening).await.unwrap().into_inner();
    let task = task.task.unwrap();
    agent
        .request_credential(wants(&task, &[KEYS]))
        .await
        .unwrap();
    let heard = issuer.heard();
    let own: String = bytes(&task)[8..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let expected = CALLER.replace("00f067aa0ba902b7", &own);
    assert!(heard.contains(&expected), "no {expected} in {heard:?}");
}

#[tokio::test]
async fn a_tool_call_is_a_part_of_its_task_or_of_its_callers_span() {
    let (collector, stage) = collected().await;
    let mut agent = stage.agent().await;
    let opening = within(CALLER, v1::OpenTaskRequest::default());
    let task = agent.open_task(opening).await.unwrap().into_inner();
    let task = task.task.unwrap();
    let call = ToolCall {
        tool: "query_orders",
        call: Some("call_7"),
        agent: &task.agent,
        error: Some("failed"),
        start: 1,
        end: 2,
    };
    let engine = &stage.serving.engine;
    let id = task.id.parse().unwrap();
    engine.trace_tool_call(id, &call);
    let inner = TraceContext::new(TRACE, [9; 8], 1);
    telemetry::within(inner, async { engine.trace_tool_call(id, &call) }).await;
    let foreign = TraceContext::new([9; 16], [9; 8], 1);
    telemetry::within(foreign, async { engine.trace_tool_call(id, &call) }).await;
    let trace = Trace::with(&collector, &TRACE, "execute_tool query_orders", 3).await;
    let calls = trace.all("execute_tool query_orders");
    let parents: Vec<_> = calls
        .iter()
        .map(|call| call.parent_span_id.clone())
        .collect();
    let own = bytes(&task)[8..].to_vec();
    assert_eq!(parents, [own.clone(), vec![9; 8], own]);
    assert_eq!(about(calls[0])["gen_ai.operation.name"], "execute_tool");
    assert_eq!(about(calls[0])["gen_ai.tool.call.id"], "call_7");
    assert_eq!(about(calls[0])["error.type"], "failed");
    assert_eq!(about(calls[0])["quietus.task.id"], task.id);
}

#[tokio::test]
async fn what_others_reach_for_is_not_in_its_trace() {
    let (collector, stage) = collected().await;
    let mut agent = stage.agent().await;
    let task = open(&mut agent).await;
    let mut reader = stage.world.broker(&stage.serving, "reader").await;
    let nowhere = v1::Task {
        id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        ..Default::default()
    };
    for task in [&task, &nowhere] {
        reader
            .request_credential(wants(task, &[READ]))
            .await
            .unwrap_err();
    }
    agent.close_task(closing(&task)).await.unwrap();
    let trace = Trace::with(&collector, &bytes(&task), "task", 1).await;
    assert!(trace.all("issue").is_empty() && trace.all("decision").is_empty());
    assert_eq!(collector.spans().len(), trace.0.len());
}

#[tokio::test]
async fn refusals_have_their_spans_and_no_texts() {
    let (collector, stage) = collected().await;
    let mut agent = stage.agent().await;
    let opening = v1::OpenTaskRequest {
        purpose: "a most private purpose".to_owned(),
        ticket: "TICKET-7".to_owned(),
        ..Default::default()
    };
    let task = agent.open_task(opening).await.unwrap().into_inner();
    let task = task.task.unwrap();
    let wanted = wants(&task, &["payments-api:write:payouts"]);
    agent.request_credential(wanted).await.unwrap_err();
    let (_, token) = request(&mut agent, &task).await;
    agent.close_task(closing(&task)).await.unwrap();
    let trace = Trace::with(&collector, &bytes(&task), "task", 1).await;
    let refused = trace.all("issue")[0];
    assert_eq!(about(refused)["error.type"], "denied_by_policy");
    assert!(refused.status.is_some(), "{refused:#?}");
    assert_eq!(about(trace.all("decision")[0])["quietus.outcome"], "deny");
    let all = format!("{:?}", collector.spans());
    let signature = token.rsplit('.').next().unwrap();
    for absent in ["private purpose", "TICKET-7", "payouts", signature] {
        assert!(!all.contains(absent), "{absent} is in {all}");
    }
}

#[tokio::test]
async fn a_revocation_that_outlives_a_broker_stays_one_trace() {
    let (collector, stage) = collected().await;
    let issuer = stage.issuer();
    let mut agent = stage.agent().await;
    let task = open(&mut agent).await;
    agent
        .request_credential(wants(&task, &[KEYS]))
        .await
        .unwrap();
    drop(issuer);
    std::fs::remove_file(stage.world.path("issuer.sock")).unwrap();
    agent.close_task(closing(&task)).await.unwrap();
    let trace = Trace::with(&collector, &bytes(&task), "confirm", 1).await;
    assert_eq!(about(trace.all("confirm")[0])["error.type"], "target_away");
    drop(agent);
    let stage = stage.restart(Some(collector.url())).await;
    let _issuer = stage.issuer();
    let trace = Trace::with(&collector, &bytes(&task), "task", 1).await;
    let revoke = trace.one("revoke");
    assert_eq!(revoke.parent_span_id, trace.one("task").span_id);
    let confirms = trace.all("confirm");
    assert!(confirms.len() > 1, "{confirms:#?}");
    for confirm in &confirms {
        assert_eq!(confirm.parent_span_id, revoke.span_id, "{confirm:#?}");
    }
    let done = confirms.iter().filter(|confirm| confirm.status.is_none());
    assert_eq!(done.count(), 1);
}

#[tokio::test]
async fn a_collector_gets_the_metrics_as_well() {
    let (collector, stage) = collected().await;
    let mut agent = stage.agent().await;
    let task = open(&mut agent).await;
    request(&mut agent, &task).await;
    let scraped = stage.scrape().await;
    drop(agent);
    // What is left is sent when the broker stops.
    stage.serving.stop().await.unwrap();
    let metrics = collector.metrics();
    let names: Vec<&str> = metrics.keys().map(String::as_str).collect();
    let exported: BTreeSet<String> = scraped.types.keys().map(|name| plain(name)).collect();
    assert_eq!(names, Vec::from_iter(&exported));
    let Some(Data::Sum(decisions)) = &metrics["quietus_decisions"].data else {
        panic!("{metrics:?}");
    };
    assert!(decisions.is_monotonic);
    assert_eq!(decisions.data_points.len(), 3);
    let Some(Data::Histogram(commits)) = &metrics["quietus_commit"].data else {
        panic!("{metrics:?}");
    };
    let point = &commits.data_points[0];
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
    assert!(point.start_time_unix_nano <= point.time_unix_nano);
}

/// Without the unit, which OTLP has apart.
fn plain(name: &str) -> String {
    let plain = name
        .strip_suffix("_seconds")
        .or(name.strip_suffix("_bytes"));
    plain.unwrap_or(name).to_owned()
}
