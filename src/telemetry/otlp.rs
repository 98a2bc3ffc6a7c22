//! Sends spans and measures to an OpenTelemetry collector, over gRPC (OTLP 1.x).
//!
//! Nobody waits for it. What cannot be sent is tried again a few times while more waits in a bounded queue; what has no
//! room there, and what the collector does not take, is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::Telemetry;
use super::measures::Family;
use super::span::Span;
use super::wire::{self, About};
use crate::api::otlp::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use crate::api::otlp::collector::trace::v1::trace_service_client::TraceServiceClient;

/// How many spans go into one call.
const BATCH: usize = 512;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How often measures are sent.
const MEASURE: Duration = Duration::from_secs(15);
/// How long the collector may take to connect, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a call that the collector could not take is made, and how long is waited in between at first.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// Reads all measures as they are; nothing if they cannot be read.
pub type Measure = Arc<dyn Fn() -> Option<Vec<Family>> + Send + Sync>;

/// Sends telemetry until it is told to stop.
pub struct Exporter {
    telemetry: Arc<Telemetry>,
    waiting: mpsc::Receiver<Span>,
    about: About,
    measure: Measure,
    traces: TraceServiceClient<Channel>,
    metrics: MetricsServiceClient<Channel>,
    stopping: watch::Receiver<bool>,
    /// How many calls in a row failed.
    failures: u32,
}

impl Exporter {
    /// An exporter to the configured collector; none if there is none, or another exporter is at it. It connects when
    /// there is something to send.
    pub fn new(
        telemetry: &Arc<Telemetry>,
        about: About,
        measure: Measure,
        stopping: watch::Receiver<bool>,
    ) -> Option<Self> {
        let collector = telemetry.collector()?;
        let endpoint = Endpoint::from_shared(collector.to_owned()).ok()?;
        let channel = endpoint
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .connect_lazy();
        Some(Self {
            waiting: telemetry.spans()?.take()?,
            telemetry: Arc::clone(telemetry),
            about,
            measure,
            traces: TraceServiceClient::new(channel.clone()),
            metrics: MetricsServiceClient::new(channel),
            stopping,
            failures: 0,
        })
    }

    /// Sends what comes; once it is told to stop, what is left.
    pub async fn run(mut self) {
        self.send_what_comes().await;
        // Once: whoever stops does not wait for a collector to come back.
        self.send_waiting().await;
        self.send_measures().await;
    }

    async fn send_what_comes(&mut self) {
        let mut gather = every(GATHER);
        let mut measure = every(MEASURE);
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                () = told(&mut stopping) => return,
                _ = gather.tick() => self.send_waiting().await,
                _ = measure.tick() => self.send_measures().await,
            }
        }
    }

    async fn send_waiting(&mut self) {
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Ok(span) = self.waiting.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                return;
            }
            self.send_spans(batch).await;
        }
    }

    async fn send_spans(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        // Counted as lost until they have arrived, for this may be broken off at any time.
        let loss = Loss::new(&self.telemetry, count);
        let request = wire::spans(&self.about, batch);
        let traces = self.traces.clone();
        let sent = again(&mut self.failures, &mut self.stopping, || {
            let (mut traces, request) = (traces.clone(), request.clone());
            async move { traces.export(request).await }
        });
        if let Some(answer) = sent.await {
            let partly = answer.partial_success.map(|partly| partly.rejected_spans);
            loss.only(u64::try_from(partly.unwrap_or(0)).unwrap_or(0));
        }
    }

    async fn send_measures(&mut self) {
        let measure = Arc::clone(&self.measure);
        // It looks into the store.
        let Ok(Some(families)) = tokio::task::spawn_blocking(move || measure()).await else {
            return;
        };
        let request = wire::measures(&self.about, families);
        // The next ones tell the same and more, so these are not sent again.
        let sent = self.metrics.export(request).await;
        heed(&mut self.failures, &sent);
    }
}

/// Spans that are lost unless they arrive.
struct Loss<'a> {
    telemetry: &'a Telemetry,
    count: u64,
}

impl<'a> Loss<'a> {
    fn new(telemetry: &'a Telemetry, count: u64) -> Self {
        Self { telemetry, count }
    }

    fn only(mut self, count: u64) {
        self.count = count.min(self.count);
    }
}

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        if let Some(spans) = self.telemetry.spans() {
            spans.dropped().add(self.count);
        }
    }
}

/// Makes a call until it is answered or there is no point in it; once it is time to stop, no more than once.
async fn again<T, F>(
    failures: &mut u32,
    stopping: &mut watch::Receiver<bool>,
    call: impl Fn() -> F,
) -> Option<T>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut pause = PAUSE;
    for attempt in 1.. {
        let answer = call().await;
        heed(failures, &answer);
        match answer {
            Ok(answer) => return Some(answer.into_inner()),
            Err(status) if attempt < ATTEMPTS && may_pass(&status) => {}
            Err(_) => break,
        }
        tokio::select! {
            () = told(stopping) => break,
            () = tokio::time::sleep(pause) => pause *= 2,
        }
    }
    None
}

/// Waits until it is time to stop. If nobody is left who could say so, it is.
async fn told(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Says so the first time, and then ever more rarely. What the other side says is not repeated: it is unknown who that
/// is.
fn heed<T>(failures: &mut u32, answer: &Result<Response<T>, Status>) {
    match answer {
        Ok(_) => *failures = 0,
        Err(status) => {
            *failures = failures.saturating_add(1);
            if failures.is_power_of_two() {
                let code = status.code();
                tracing::warn!(?code, tried = *failures, "telemetry could not be sent");
            }
        }
    }
}

/// As the protocol has it: all others are final.
fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}
