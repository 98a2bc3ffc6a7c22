//! What the broker tells of itself while it works: measures and spans.
//!
//! Counting is a few atomic additions. Spans are made only if somebody is configured to get them, go into a bounded
//! queue, and are dropped and counted when it is full: nothing of the broker ever waits for telemetry.

mod context;
mod measures;
mod otlp;
pub mod prometheus;
pub mod span;
mod tool;
mod wire;

pub use context::{NotTraceContext, TRACEPARENT, TraceContext, carried, current, within};
pub use measures::{Counter, Family, Histogram, Kind, Sample, Spread, Unit, Value};
pub use otlp::{Exporter, Measure};
pub use span::{Span, SpanKind, Spans};
pub use tool::{ToolCall, tool_call_span};
pub use wire::About;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quietus_core::TaskId;

use crate::clock::Stopwatch;

/// The kinds of credentials that revocations are told apart by; the last is for what is not configured any more.
const KINDS: [&str; 8] = [
    "jwt", "postgres", "x509", "ssh", "redis", "static", "external", "unknown",
];
/// From a commit to days at a target that is away, in seconds.
const LAGS: [f64; 14] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 86_400.0,
];
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
const COMMITS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];
/// Of how many tasks it is remembered which trace they were opened in.
const ORIGINS: usize = 100_000;

/// Everything that is counted, and where spans go.
#[derive(Debug, Default)]
pub struct Telemetry {
    metrics: Metrics,
    spans: Option<Spans>,
    collector: Option<String>,
    /// Which trace a task was opened in, if its caller said.
    origins: Mutex<HashMap<TaskId, TraceContext>>,
}

/// What is counted on the way.
#[derive(Debug)]
pub struct Metrics {
    decisions: [Counter; Outcome::ALL.len()],
    lags: [Histogram; KINDS.len()],
}

/// What policy said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Permit,
    /// No.
    Deny,
    /// Not without a human's approval.
    ApprovalNeeded,
}

/// How large the store's transactions are, and how long they take.
#[derive(Debug)]
pub struct Commits {
    sizes: Histogram,
    seconds: Histogram,
}

/// A transaction under way: counted when this is dropped.
#[derive(Debug)]
pub struct Committing {
    commits: Arc<Commits>,
    size: usize,
    watch: Stopwatch,
}

impl Telemetry {
    /// Counts; and keeps spans for a collector, if there is one (`http://HOST:PORT`).
    pub fn new(collector: Option<String>) -> Self {
        Self {
            spans: collector.as_ref().map(|_| Spans::default()),
            collector,
            ..Self::default()
        }
    }

    /// What is counted on the way.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where spans go, if anywhere.
    pub fn spans(&self) -> Option<&Spans> {
        self.spans.as_ref()
    }

    /// How many spans were lost.
    pub fn dropped(&self) -> u64 {
        self.spans().map_or(0, |spans| spans.dropped().get())
    }

    /// Remembers which trace a task was opened in; the first time counts.
    pub fn opened_in(&self, task: TaskId, context: TraceContext) {
        let mut origins = self.lock();
        if origins.len() < ORIGINS {
            origins.entry(task).or_insert(context);
        }
    }

    /// Which trace a task was opened in, if its caller said and that is remembered.
    pub fn origin(&self, task: TaskId) -> Option<TraceContext> {
        self.lock().get(&task).copied()
    }

    /// The task is over.
    pub fn forget(&self, task: TaskId) {
        self.lock().remove(&task);
    }

    /// The place that a task's own span has: in the trace that the task was opened in, or else in one that is named
    /// after the task.
    pub fn context_of(&self, task: TaskId) -> Option<TraceContext> {
        let origin = self.origin(task);
        let trace = origin.map_or_else(|| task.to_bytes(), |origin| origin.trace());
        let recorded = self.spans.is_some() || origin.is_some_and(|origin| origin.is_sampled());
        TraceContext::new(trace, span::of_task(task), u8::from(recorded))
    }

    fn collector(&self) -> Option<&str> {
        self.collector.as_deref()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, TraceContext>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            decisions: Default::default(),
            lags: std::array::from_fn(|_| Histogram::new(&LAGS)),
        }
    }
}

impl Metrics {
    /// Policy said so, and it is recorded.
    pub fn decided(&self, outcome: Outcome, times: u64) {
        self.decisions[outcome as usize].add(times);
    }

    /// A credential of this kind is confirmed dead, so long after its end began.
    pub fn confirmed(&self, kind: &str, lag: Duration) {
        let at = KINDS.iter().position(|known| *known == kind);
        self.lags[at.unwrap_or(KINDS.len() - 1)].observe_duration(lag);
    }

    /// As they are now.
    pub fn read(&self) -> Vec<Family> {
        let mut decisions = Family::counter(
            "decisions",
            "Decisions of policy that were recorded, one a scope",
        );
        for outcome in Outcome::ALL {
            let count = self.decisions[outcome as usize].get();
            decisions = decisions.with([("outcome", outcome.as_str())], count);
        }
        let mut lags = Family::histogram(
            "revocation_lag",
            "From the moment at which a lease began to end until its credential was confirmed dead",
        );
        for (kind, lag) in KINDS.iter().zip(&self.lags) {
            lags = lags.spread([("kind", kind)], lag.read());
        }
        vec![decisions, lags.in_unit(Unit::Seconds)]
    }
}

impl Outcome {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Permit, Self::Deny, Self::ApprovalNeeded];

    /// The word that the ledger has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::ApprovalNeeded => "approval_needed",
        }
    }
}

impl Default for Commits {
    fn default() -> Self {
        Self {
            sizes: Histogram::new(&BATCHES),
            seconds: Histogram::new(&COMMITS),
        }
    }
}

impl Commits {
    /// A transaction of so many commits begins.
    pub fn begin(self: &Arc<Self>, size: usize) -> Committing {
        Committing {
            commits: Arc::clone(self),
            size,
            watch: Stopwatch::start(),
        }
    }

    /// As they are now.
    pub fn read(&self) -> Vec<Family> {
        vec![
            Family::histogram(
                "commit_batch_size",
                "Commits in one transaction of the store",
            )
            .spread([], self.sizes.read()),
            Family::histogram("commit", "How long a transaction of the store takes")
                .in_unit(Unit::Seconds)
                .spread([], self.seconds.read()),
        ]
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        #[allow(clippy::cast_precision_loss, reason = "a batch is small")]
        self.commits.sizes.observe(self.size as f64);
        self.commits.seconds.observe_duration(self.watch.elapsed());
    }
}
