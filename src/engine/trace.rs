//! Spans of what happens to a task, and what is counted once it is recorded.
//!
//! One task is one trace. Its own span, `task`, lasts as long as the task; `open`, `issue` and `revoke` are parts of
//! that, `decision` of an `issue`, `confirm` of a `revoke`. The ids of `task` and `revoke` follow from the names of the
//! task and the lease, so their parts find them across restarts. If nobody gets spans, none are made.

use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use quietus_core::{
    Cause, Lease, LeaseId, LeaseState, TargetName, Task, TaskId, TaskState, Timestamp,
};

use super::decide::{Question, Verdict};
use super::{Engine, Error};
use crate::clock::Stopwatch;
use crate::issuers::Failure;
use crate::store::{Commit, Read};
use crate::telemetry::span::{SpanId, new_id, of_revocation, of_task};
use crate::telemetry::{
    Outcome, Span, SpanKind, Spans, Telemetry, ToolCall, TraceContext, current, tool_call_span,
    within,
};

const NANOSECONDS: u64 = 1_000_000;

/// Something of which a span will be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    id: SpanId,
    at: Timestamp,
    watch: Stopwatch,
}

/// A request for a credential, from the question to the answer.
pub(super) struct Asking<'a> {
    engine: &'a Engine,
    task: TaskId,
    begun: Option<Begun>,
    /// How often each outcome came, in the plan that was made last.
    outcomes: [AtomicU32; Outcome::ALL.len()],
    /// When policy was asked for that plan, after the beginning, and how long it took, in nanoseconds.
    asked: AtomicU64,
    took: AtomicU64,
}

/// What a commit ends for good.
#[derive(Default)]
pub(super) struct Endings {
    /// The kinds of credentials that are confirmed dead, and how long it took.
    lags: Vec<(&'static str, Duration)>,
    closed: Option<TaskId>,
    /// Both only if somebody gets spans.
    leases: Vec<Lease>,
    task: Option<Task>,
}

impl Begun {
    /// Its span, which is over now.
    fn over(&self, trace: [u8; 16], name: &'static str) -> Span {
        let start = nanoseconds(self.at);
        let end = start.saturating_add(self.watch.nanoseconds());
        Span::new(trace, self.id, name, (start, end))
    }
}

impl Engine {
    /// What is counted, and where spans go.
    pub fn telemetry(&self) -> &std::sync::Arc<Telemetry> {
        &self.telemetry
    }

    /// Something begins of which a span is to be made; none if nobody gets spans.
    pub(super) fn begin(&self) -> Option<Begun> {
        self.telemetry.spans().map(|_| Begun {
            id: new_id(),
            at: self.now(),
            watch: Stopwatch::start(),
        })
    }

    /// A request for a credential begins.
    pub(super) fn asking(&self, task: TaskId) -> Asking<'_> {
        Asking {
            engine: self,
            task,
            begun: self.begin(),
            outcomes: Default::default(),
            asked: AtomicU64::default(),
            took: AtomicU64::default(),
        }
    }

    /// A task was opened, within whatever trace its caller said.
    pub(super) fn trace_opened(&self, begun: Option<Begun>, task: &Task) {
        // A repeated request may tell of a task that is over.
        if let Some(context) = current()
            && task.is_open()
        {
            self.telemetry.opened_in(task.id, context);
        }
        let Some((spans, context, begun)) = self.traced(task.id, begun) else {
            return;
        };
        let span = begun.over(context.trace(), "open").under(context.span());
        spans.put(of(span.kind(SpanKind::Server), task));
    }

    /// What a commit ends for good; nothing if it ends nothing.
    pub(super) fn endings(&self, commit: &Commit) -> Endings {
        let Some(change) = &commit.change else {
            return Endings::default();
        };
        let task = &change.task;
        let ended = change.leases.iter().filter(|lease| lease.is_ended());
        let closed = matches!(task.state, TaskState::Closed { .. });
        // Closed tasks are written again when they are to be forgotten at another time.
        let closed = closed && !commit.reads.contains(&Read::Task(task.id, task.version));
        let traced = self.telemetry.spans().is_some();
        Endings {
            lags: ended.clone().filter_map(|lease| self.lag(lease)).collect(),
            closed: closed.then_some(task.id),
            leases: ended.filter(|_| traced).cloned().collect(),
            task: (closed && traced).then(|| task.clone()),
        }
    }

    /// What was ended is recorded now.
    pub(super) fn tell_endings(&self, endings: Endings) {
        for (kind, lag) in endings.lags {
            self.telemetry.metrics().confirmed(kind, lag);
        }
        for lease in &endings.leases {
            self.trace_death(lease);
        }
        if let Some(task) = &endings.task {
            self.trace_task(task);
        }
        if let Some(task) = endings.closed {
            self.telemetry.forget(task);
        }
    }

    fn lag(&self, lease: &Lease) -> Option<(&'static str, Duration)> {
        match lease.state {
            LeaseState::Ended { since, at, .. } => {
                Some((self.kind_at(&lease.target), at.since(since)))
            }
            _ => None,
        }
    }

    fn trace_death(&self, lease: &Lease) {
        let LeaseState::Ended {
            since,
            at,
            confirmed,
            attempts,
            cause,
        } = &lease.state
        else {
            return;
        };
        let kind = self.kind_at(&lease.target);
        let Some((spans, context)) = self.telemetry.spans().zip(self.context(lease.id.task)) else {
            return;
        };
        let times = (nanoseconds(*since), nanoseconds(*at));
        let revoke = Span::new(context.trace(), of_revocation(lease.id), "revoke", times);
        let revoke = about(revoke.under(context.span()), lease, kind)
            .with("quietus.cause", cause.reason())
            .with("quietus.confirmed", confirmed.as_str())
            .with("quietus.attempts", *attempts);
        if lease.enforced == quietus_core::Enforced::AtBroker {
            // The commit is the confirmation.
            let at = (times.1, times.1);
            let confirm = Span::new(context.trace(), new_id(), "confirm", at).under(revoke.id);
            let confirm = about(confirm, lease, kind);
            spans.put(confirm.with("quietus.confirmed", confirmed.as_str()));
        }
        spans.put(revoke);
    }

    fn trace_task(&self, task: &Task) {
        let (TaskState::Closed { ending, at }, Some((spans, context))) = (
            &task.state,
            self.telemetry.spans().zip(self.context(task.id)),
        ) else {
            return;
        };
        let times = (nanoseconds(task.opened_at), nanoseconds(*at));
        let span = Span::new(context.trace(), of_task(task.id), "task", times);
        let failed = (ending.cause != Cause::Completed).then(|| ending.cause.reason());
        let mut span = of(span, task)
            .with("quietus.cause", ending.cause.reason())
            .with("quietus.leases", task.issued)
            .failed(failed);
        span.parent = self.telemetry.origin(task.id).map(|origin| origin.span());
        spans.put(span);
    }

    /// Asks a target to confirm a death, as a part of the lease's revocation.
    pub(super) async fn confirming<T>(
        &self,
        lease: &Lease,
        tried: u32,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let begun = self.begin();
        let context = self.context(lease.id.task);
        let part =
            context.and_then(|it| part_of(it, begun.map_or(of_revocation(lease.id), |b| b.id)));
        let answer = within(part, asking).await;
        if let Some((spans, context, begun)) = self.traced(lease.id.task, begun) {
            let kind = self.kind_at(&lease.target);
            let confirm = begun.over(context.trace(), "confirm");
            let confirm = about(confirm.under(of_revocation(lease.id)), lease, kind)
                .kind(SpanKind::Client)
                .with("quietus.attempt", tried.saturating_add(1))
                .failed(answer.as_ref().err().map(word));
            spans.put(confirm);
        }
        answer
    }

    /// A tool call was reported: a part of what its reporter says, if that is of the task's trace, or else of the task.
    pub fn trace_tool_call(&self, task: TaskId, call: &ToolCall<'_>) {
        let Some((spans, context)) = self.telemetry.spans().zip(self.context(task)) else {
            return;
        };
        let caller = current().filter(|caller| caller.trace() == context.trace());
        let span = tool_call_span(call, caller.unwrap_or(context));
        spans.put(span.with("quietus.task.id", task.to_string()));
    }

    /// The kind of credentials that a target makes.
    pub(super) fn kind_at(&self, target: &TargetName) -> &'static str {
        let site = self.targets.named(target);
        site.map_or("unknown", |site| site.target.kind().as_str())
    }

    /// The place of a task's own span.
    fn context(&self, task: TaskId) -> Option<TraceContext> {
        // What is remembered is whose part the task is; its trace is its own.
        let context = self.telemetry.context_of(task)?;
        let task = self.store.read().task(task).ok().flatten();
        let trace = task.map_or(context.trace(), |task| task.trace);
        let flags = u8::from(context.is_sampled());
        TraceContext::new(trace, context.span(), flags)
    }

    fn traced(&self, task: TaskId, begun: Option<Begun>) -> Option<(&Spans, TraceContext, Begun)> {
        Some((self.telemetry.spans()?, self.context(task)?, begun?))
    }
}

impl Asking<'_> {
    /// Asks policy; what it says of a plan that is made anew counts in the place of what it said before.
    pub(super) fn decide(
        &self,
        ask: impl FnOnce() -> Result<(Question, Verdict), Error>,
    ) -> Result<(Question, Verdict), Error> {
        let began = self.so_far();
        let answer = ask()?;
        self.asked.store(began, Ordering::Relaxed);
        self.took
            .store(self.so_far().saturating_sub(began), Ordering::Relaxed);
        for outcome in Outcome::ALL {
            let said = |decision: &&quietus_ledger::Decision| decision.outcome == outcome.as_str();
            let count = answer.1.decisions.iter().filter(said).count();
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.outcomes[outcome as usize].store(count, Ordering::Relaxed);
        }
        Ok(answer)
    }

    /// What policy said last is recorded now.
    pub(super) fn recorded<T>(&self, answer: T) -> T {
        for outcome in Outcome::ALL {
            let metrics = self.engine.telemetry.metrics();
            metrics.decided(outcome, self.count(outcome).into());
        }
        self.trace_decision();
        answer
    }

    fn trace_decision(&self) {
        let worst = Outcome::ALL
            .into_iter()
            .rev()
            .find(|outcome| self.count(*outcome) > 0);
        let traced = self.engine.traced(self.task, self.begun);
        let (Some(outcome), Some((spans, context, begun))) = (worst, traced) else {
            return;
        };
        let start = nanoseconds(begun.at).saturating_add(self.asked.load(Ordering::Relaxed));
        let end = start.saturating_add(self.took.load(Ordering::Relaxed));
        let decision = Span::new(context.trace(), new_id(), "decision", (start, end))
            .under(begun.id)
            .with("quietus.task.id", self.task.to_string())
            .with("quietus.outcome", outcome.as_str())
            .with(
                "quietus.scopes",
                Outcome::ALL.iter().map(|it| self.count(*it)).sum::<u32>(),
            );
        spans.put(decision);
    }

    /// Has a target make what was asked for, as a part of this request.
    pub(super) async fn making<T>(&self, making: impl Future<Output = T>) -> T {
        let context = self.engine.context(self.task);
        let id = self.begun.map(|begun| begun.id);
        within(
            context.and_then(|it| part_of(it, id.unwrap_or(it.span()))),
            making,
        )
        .await
    }

    /// The request is answered: with a lease, or with a word for why not.
    pub(super) fn answered(&self, answer: Result<&Lease, &Error>) {
        // Whoever reaches for what is not there, or not its own, is not in its trace.
        let is_there = !matches!(answer, Err(Error::NotFound(_)));
        let begun = self.begun.filter(|_| is_there);
        let Some((spans, context, begun)) = self.engine.traced(self.task, begun) else {
            return;
        };
        let mut span = begun.over(context.trace(), "issue").kind(SpanKind::Server);
        span = match current() {
            // Its caller works within the trace of the task, and tells where.
            Some(caller) if caller.trace() == context.trace() => span.under(caller.span()),
            link => Span {
                link,
                ..span.under(context.span())
            },
        };
        span = match answer {
            Ok(lease) => about(span, lease, self.engine.kind_at(&lease.target)),
            Err(error) => {
                let span = span.with("quietus.task.id", self.task.to_string());
                span.failed(Some(error.word()))
            }
        };
        spans.put(span);
    }

    fn so_far(&self) -> u64 {
        self.begun.map_or(0, |begun| begun.watch.nanoseconds())
    }

    fn count(&self, outcome: Outcome) -> u32 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }
}

impl Error {
    /// A stable word for telemetry.
    fn word(&self) -> String {
        match self {
            Self::Refused(refused) => refused.reason.to_ascii_lowercase(),
            Self::Invalid { .. } => "invalid".to_owned(),
            Self::NotFound(_) => "not_found".to_owned(),
            Self::KeyReused | Self::KeyStale => "idempotency_key".to_owned(),
            Self::Busy => "busy".to_owned(),
            Self::NoSpace => "no_space".to_owned(),
            Self::Away(_) => "target_away".to_owned(),
            Self::Maintenance => "maintenance".to_owned(),
            Self::Stopped => "stopped".to_owned(),
            Self::Internal(_) => "internal".to_owned(),
        }
    }
}

fn part_of(context: TraceContext, span: SpanId) -> Option<TraceContext> {
    TraceContext::new(context.trace(), span, u8::from(context.is_sampled()))
}

fn of(span: Span, task: &Task) -> Span {
    span.with("quietus.task.id", task.id.to_string())
        .with("gen_ai.agent.id", task.agent.0.clone())
}

fn about(span: Span, lease: &Lease, kind: &'static str) -> Span {
    let LeaseId { task, .. } = lease.id;
    span.with("quietus.task.id", task.to_string())
        .with("quietus.lease.id", lease.id.to_string())
        .with("quietus.target", lease.target.to_string())
        .with("quietus.kind", kind)
}

/// What a target said is nobody's but the operator's.
fn word(failure: &Failure) -> &'static str {
    match failure {
        Failure::Away(_) => "target_away",
        Failure::Said(_) => "target_refused",
    }
}

fn nanoseconds(time: Timestamp) -> u64 {
    time.0.saturating_mul(NANOSECONDS)
}
