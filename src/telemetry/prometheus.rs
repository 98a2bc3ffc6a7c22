//! Measures in the text format that Prometheus reads (OpenMetrics 1.0).

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit as InUnit};

use super::measures::{Family, Kind, Spread, Unit, Value};

/// The media type of what [`text`] returns.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The measures, each as `quietus_…`.
///
/// # Errors
/// None that is known: the format is written into memory.
pub fn text(families: Vec<Family>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("quietus");
    registry.register_collector(Box::new(Gathered(families)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Gathered(Vec<Family>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|family| write(family, &mut encoder))
    }
}

fn write(family: &Family, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let unit = family.unit.map(|unit| match unit {
        Unit::Seconds => InUnit::Seconds,
        Unit::Bytes => InUnit::Bytes,
    });
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    let (name, help) = (family.name, family.help);
    let mut encoder = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
    for sample in &family.samples {
        match sample.labels.as_slice() {
            [] => write_value(family.kind, &sample.value, &mut encoder)?,
            _ => {
                let mut labelled = encoder.encode_family(&sample.labels)?;
                write_value(family.kind, &sample.value, &mut labelled)?;
            }
        }
    }
    Ok(())
}

fn write_value(kind: Kind, value: &Value, encoder: &mut MetricEncoder<'_>) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Number(number)) => {
            encoder.encode_counter::<NoLabelSet, u64, u64>(number, None)
        }
        (_, Value::Number(number)) => encoder.encode_gauge(number),
        (_, Value::Spread(spread)) => {
            let (sum, count) = (spread.sum, spread.count());
            encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets(spread), None)
        }
    }
}

/// The encoder adds them up.
fn buckets(spread: &Spread) -> Vec<(f64, u64)> {
    let bounds = spread.bounds.iter().copied().chain([f64::INFINITY]);
    bounds.zip(spread.counts.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Histogram;

    #[test]
    fn the_format_is_what_prometheus_reads() {
        let lag = Histogram::new(&[0.5, 1.0]);
        lag.observe(0.5);
        lag.observe(0.75);
        lag.observe(20.0);
        let text = text(vec![
            Family::counter("decisions", "Decisions").with([("outcome", "deny")], 3),
            Family::gauge("target_up", "Up").with([("target", "a\"b\\c\nd")], 1),
            Family::gauge("tasks_stuck", "None of them"),
            Family::histogram("lag", "Lag")
                .in_unit(Unit::Seconds)
                .spread([], lag.read()),
        ]);
        let expected = "\
# HELP quietus_decisions Decisions
# TYPE quietus_decisions counter
quietus_decisions_total{outcome=\"deny\"} 3
# HELP quietus_target_up Up
# TYPE quietus_target_up gauge
quietus_target_up{target=\"a\\\"b\\\\c\\nd\"} 1
# HELP quietus_tasks_stuck None of them
# TYPE quietus_tasks_stuck gauge
# HELP quietus_lag_seconds Lag
# TYPE quietus_lag_seconds histogram
# UNIT quietus_lag_seconds seconds
quietus_lag_seconds_sum 21.25
quietus_lag_seconds_count 3
quietus_lag_seconds_bucket{le=\"0.5\"} 1
quietus_lag_seconds_bucket{le=\"1.0\"} 2
quietus_lag_seconds_bucket{le=\"+Inf\"} 3
# EOF
";
        assert_eq!(text.unwrap(), expected);
    }
}
