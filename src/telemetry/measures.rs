//! Counters and histograms that are counted into on the way, and the form in which measures are read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// How often which values came: counts by upper bound, and one for what is larger than all.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

/// A measure under one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without the unit and without `_total`.
    pub name: &'static str,
    /// What it says, in a sentence without a full stop.
    pub help: &'static str,
    /// The unit, if it has one.
    pub unit: Option<Unit>,
    /// What its samples are.
    pub kind: Kind,
    /// Its values.
    pub samples: Vec<Sample>,
}

/// What a measure counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// What a measure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
    /// It is spread.
    Histogram,
}

/// One value, under the labels that tell it from the others of its name. Labels never name an agent, a task or a
/// lease: there are few of them, and they stay.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// What it is now.
    pub value: Value,
}

/// A value of a measure.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A counter's or a gauge's.
    Number(u64),
    /// A histogram's.
    Spread(Spread),
}

/// A histogram as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// Upper bounds, inclusive; what is larger than all is counted behind them.
    pub bounds: &'static [f64],
    /// How many fell below each and above the one before: one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum of all values.
    pub sum: f64,
}

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// As it is now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Histogram {
    /// One with these upper bounds, in ascending order.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0.0_f64.to_bits()),
        }
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        // Never an error: it is tried until nobody was faster.
        let _ = self.sum.fetch_update(set, fetch, add);
    }

    /// Counts a duration in seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// As it is now.
    pub fn read(&self) -> Spread {
        let counts = self.counts.iter();
        Spread {
            bounds: self.bounds,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: f64::from_bits(self.sum.load(Ordering::Relaxed)),
        }
    }
}

impl Spread {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Family {
    /// A counter.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Counter, name, help)
    }

    /// A gauge.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Gauge, name, help)
    }

    /// A histogram.
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Histogram, name, help)
    }

    /// The same in this unit.
    pub fn in_unit(self, unit: Unit) -> Self {
        let unit = Some(unit);
        Self { unit, ..self }
    }

    /// The same with one more number.
    pub fn with<const N: usize>(self, labels: [(&'static str, &str); N], number: u64) -> Self {
        self.sample(labels, Value::Number(number))
    }

    /// The same with one more spread.
    pub fn spread<const N: usize>(self, labels: [(&'static str, &str); N], spread: Spread) -> Self {
        self.sample(labels, Value::Spread(spread))
    }

    fn of(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            unit: None,
            kind,
            samples: Vec::new(),
        }
    }

    fn sample<const N: usize>(mut self, labels: [(&'static str, &str); N], value: Value) -> Self {
        let labels = labels.map(|(name, value)| (name, value.to_owned()));
        let labels = labels.to_vec();
        self.samples.push(Sample { labels, value });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_below_their_bound_and_on_it() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.0, 1.0, 1.5, 2.0, 2.5, 1e9] {
            histogram.observe(value);
        }
        let spread = histogram.read();
        assert_eq!(spread.counts, [2, 2, 2]);
        assert_eq!((spread.count(), spread.sum), (6, 1e9 + 7.0));
    }

    #[test]
    fn nothing_is_lost_when_many_count_at_once() {
        let histogram = Histogram::new(&[0.5]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| histogram.observe(1.0)));
            }
        });
        let spread = histogram.read();
        assert_eq!((spread.counts, spread.sum), (vec![0, 40_000], 40_000.0));
    }
}
