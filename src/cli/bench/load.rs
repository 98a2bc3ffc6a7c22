//! Closed loops: so many workers, each with one call under way at a time.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

/// The longest latency that is told apart from longer ones.
const LONGEST: Duration = Duration::from_secs(60);

/// Somebody who calls again and again.
pub(super) trait Worker: Send + 'static {
    /// Makes one call; how long it took. What the worker does around it counts towards the rate only.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<Duration>> + Send;

    /// Leaves nothing behind.
    fn finish(self) -> impl Future<Output = anyhow::Result<()>> + Send
    where
        Self: Sized,
    {
        async { Ok(()) }
    }
}

/// What became of the calls.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    latency: Histogram<u64>,
    elapsed: Duration,
    worked: Duration,
}

impl Measured {
    /// What a call cost this process, both ends together. Hardly moves with what else the machine does.
    pub(super) fn cpu_per_call(&self) -> Duration {
        let calls = u32::try_from(self.calls()).unwrap_or(u32::MAX);
        self.worked / calls.max(1)
    }

    /// Calls a second over the whole time.
    pub(super) fn per_second(&self) -> f64 {
        self.calls() as f64 / self.elapsed.as_secs_f64()
    }

    pub(super) fn calls(&self) -> u64 {
        self.latency.len()
    }

    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(quantile))
    }
}

/// Has every worker call until the time is up.
pub(super) async fn run_for<W: Worker>(
    duration: Duration,
    workers: Vec<W>,
) -> anyhow::Result<Measured> {
    let until = Instant::now() + duration;
    run_while(workers, move || Instant::now() < until).await
}

/// Has every worker call as long as `more` holds.
pub(super) async fn run_while<W: Worker>(
    workers: Vec<W>,
    more: impl Fn() -> bool + Clone + Send + 'static,
) -> anyhow::Result<Measured> {
    let (begun, worked) = (Instant::now(), cpu_time());
    let mut running = JoinSet::new();
    for worker in workers {
        let more = more.clone();
        running.spawn(async move { keep_calling(worker, more).await });
    }
    let mut latency = histogram()?;
    let mut workers = Vec::new();
    while let Some(done) = running.join_next().await {
        let (worker, own) = done.context("a worker died")??;
        latency.add(own).map_err(|error| anyhow!("{error}"))?;
        workers.push(worker);
    }
    let elapsed = begun.elapsed();
    let worked = cpu_time().saturating_sub(worked);
    for worker in workers {
        worker.finish().await?;
    }
    Ok(Measured {
        latency,
        elapsed,
        worked,
    })
}

async fn keep_calling<W: Worker>(
    mut worker: W,
    more: impl Fn() -> bool,
) -> anyhow::Result<(W, Histogram<u64>)> {
    let mut latency = histogram()?;
    while more() {
        let took = worker.call().await?;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        latency.saturating_record(micros);
    }
    Ok((worker, latency))
}

/// What this process has worked so far, all its threads together.
pub(super) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    let most = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
    Histogram::new_with_max(most, 3).context("cannot make a histogram")
}

/// A bar for what takes a while; nothing unless standard error is a terminal.
pub(super) fn progress(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {human_pos}/{human_len} {per_sec}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length)
        .with_style(style)
        .with_message(what)
}
