//! What was measured, and what was hoped for.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::BenchArgs;
use super::load::Measured;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: &'static str,
    cores: usize,
    quick: bool,
    seconds: u64,
    rounds: u32,
    in_flight: u32,
    connections: u32,
    figures: Vec<Figure>,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    scenario: &'static str,
    name: String,
    value: f64,
    unit: Unit,
    target: Option<Target>,
    pass: Option<bool>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    PerSecond,
    Microseconds,
    Milliseconds,
    Seconds,
    Ratio,
    Mebibytes,
    Bytes,
    Count,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Report {
    pub(super) fn new(args: &BenchArgs) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            quick: args.quick,
            seconds: args.seconds,
            rounds: args.rounds,
            in_flight: args.in_flight,
            connections: args.connections,
            figures: Vec::new(),
        }
    }

    /// Says what the next figures are about.
    pub(super) fn heading(&self, scenario: &str, about: &str) {
        println!("\n{scenario}: {about}");
    }

    /// A figure that nothing is asked of.
    pub(super) fn note(&mut self, scenario: &'static str, name: &str, value: f64, unit: Unit) {
        self.add(scenario, name, value, unit, None);
    }

    /// A figure with a target.
    pub(super) fn check(
        &mut self,
        scenario: &'static str,
        name: &str,
        value: f64,
        unit: Unit,
        target: Target,
    ) {
        self.add(scenario, name, value, unit, Some(target));
    }

    /// The rate and the percentiles of several rounds, of each the median.
    pub(super) fn rounds(&mut self, scenario: &'static str, name: &str, rounds: &[Measured]) {
        let rate = median(rounds.iter().map(Measured::per_second));
        self.note(scenario, &format!("{name} rate"), rate, Unit::PerSecond);
        for (label, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let value = quantile_of(rounds, quantile);
            let name = format!("{name} {label}");
            self.note(scenario, &name, value, Unit::Milliseconds);
        }
        let cpu = median(rounds.iter().map(|round| millis(round.cpu_per_call())));
        let name = format!("{name} CPU a call");
        self.note(scenario, &name, cpu * 1000.0, Unit::Microseconds);
    }

    /// Whether some target was missed.
    pub(super) fn missed(&self) -> bool {
        self.figures.iter().any(|figure| figure.pass == Some(false))
    }

    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }

    fn add(
        &mut self,
        scenario: &'static str,
        name: &str,
        value: f64,
        unit: Unit,
        target: Option<Target>,
    ) {
        let figure = Figure {
            scenario,
            name: name.to_owned(),
            value,
            unit,
            target,
            pass: target.map(|target| target.is_met_by(value)),
        };
        println!("{figure}");
        self.figures.push(figure);
    }
}

impl Target {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.unit.show(self.value);
        write!(f, "  {:<34} {value:>14}", self.name)?;
        let wanted = match self.target {
            None => return Ok(()),
            Some(Target::AtLeast(least)) => format!(">= {}", self.unit.show(least)),
            Some(Target::AtMost(most)) => format!("<= {}", self.unit.show(most)),
        };
        let verdict = if self.pass == Some(true) {
            "PASS"
        } else {
            "MISS"
        };
        write!(f, "   target {wanted:<12} {verdict}")
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Microseconds => format!("{value:.0} us"),
            Self::Milliseconds => format!("{value:.2} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Ratio => format!("{value:.3}"),
            Self::Mebibytes => format!("{value:.0} MiB"),
            Self::Bytes => format!("{value:.0} B"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

/// The median over the rounds of one quantile, in milliseconds.
pub(super) fn quantile_of(rounds: &[Measured], quantile: f64) -> f64 {
    median(rounds.iter().map(|round| millis(round.quantile(quantile))))
}

/// The middle one, or zero of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
