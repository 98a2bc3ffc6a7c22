//! Spans and measures as OTLP has them.

use super::measures::{Family, Kind, Sample, Spread, Unit, Value};
use super::span::{Attribute, Span, SpanKind, Text};
use crate::api::otlp::collector::metrics::v1::ExportMetricsServiceRequest;
use crate::api::otlp::collector::trace::v1::ExportTraceServiceRequest;
use crate::api::otlp::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use crate::api::otlp::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use crate::api::otlp::resource::v1::Resource;
use crate::api::otlp::trace::v1::span::{Link, SpanKind as WireKind};
use crate::api::otlp::trace::v1::status::StatusCode;
use crate::api::otlp::trace::v1::{self as trace, ResourceSpans, ScopeSpans, Status};
use crate::clock::Stopwatch;

const SCOPE: &str = "quietus";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The caller's span is in another process, and known to be (`SpanFlags`).
const REMOTE: u32 = 0x300;
const SAMPLED: u32 = 1;

/// Who sends.
#[derive(Clone, Debug)]
pub struct About {
    /// SPIFFE ID of the broker.
    pub broker: String,
    /// Since when it counts, in nanoseconds since 1970.
    pub since: u64,
    /// Counts from then on.
    pub watch: Stopwatch,
}

impl About {
    fn resource(&self) -> Option<Resource> {
        let attributes = [
            ("service.name", "quietus"),
            ("service.version", VERSION),
            ("service.instance.id", self.broker.as_str()),
        ];
        let attributes = attributes.map(|(name, value)| text(name, value.to_owned()));
        Some(Resource {
            attributes: attributes.to_vec(),
            ..Resource::default()
        })
    }

    fn now(&self) -> u64 {
        self.since.saturating_add(self.watch.nanoseconds())
    }
}

pub(super) fn spans(about: &About, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = ScopeSpans {
        scope: scope(),
        spans: spans.into_iter().map(span).collect(),
        ..ScopeSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: about.resource(),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        }],
    }
}

pub(super) fn measures(about: &About, families: Vec<Family>) -> ExportMetricsServiceRequest {
    let times = (about.since, about.now());
    let families = families.into_iter();
    let scope_metrics = ScopeMetrics {
        scope: scope(),
        metrics: families.map(|family| metric(family, times)).collect(),
        ..ScopeMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: about.resource(),
            scope_metrics: vec![scope_metrics],
            ..ResourceMetrics::default()
        }],
    }
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: SCOPE.to_owned(),
        version: VERSION.to_owned(),
        ..InstrumentationScope::default()
    })
}

fn span(span: Span) -> trace::Span {
    let kind = match span.kind {
        SpanKind::Internal => WireKind::Internal,
        SpanKind::Server => WireKind::Server,
        SpanKind::Client => WireKind::Client,
    };
    let error = span.error.map(|error| ("error.type", Text::Text(error)));
    let status = error.as_ref().map(|_| Status {
        code: StatusCode::Error.into(),
        ..Status::default()
    });
    let links = span.link.iter().map(|to| Link {
        trace_id: to.trace().to_vec(),
        span_id: to.span().to_vec(),
        flags: REMOTE | u32::from(to.is_sampled()),
        ..Link::default()
    });
    trace::Span {
        trace_id: span.trace.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map_or_else(Vec::new, |id| id.to_vec()),
        flags: SAMPLED,
        name: span.name.into_owned(),
        kind: kind.into(),
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end,
        links: links.collect(),
        attributes: span
            .attributes
            .into_iter()
            .chain(error)
            .map(attribute)
            .collect(),
        status,
        ..trace::Span::default()
    }
}

fn attribute((name, value): Attribute) -> KeyValue {
    match value {
        Text::Text(value) => text(name, value.into_owned()),
        Text::Number(number) => pair(name, any_value::Value::IntValue(number)),
    }
}

fn text(name: &str, value: String) -> KeyValue {
    pair(name, any_value::Value::StringValue(value))
}

fn pair(name: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

/// The names are those of `/metrics`, but for the endings that Prometheus adds.
fn metric(family: Family, times: (u64, u64)) -> Metric {
    let samples = family.samples.into_iter();
    let data = match family.kind {
        Kind::Gauge => metric::Data::Gauge(Gauge {
            data_points: samples.filter_map(|it| number(it, times)).collect(),
        }),
        Kind::Counter => metric::Data::Sum(Sum {
            data_points: samples.filter_map(|it| number(it, times)).collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
            is_monotonic: true,
        }),
        Kind::Histogram => metric::Data::Histogram(Histogram {
            data_points: samples.filter_map(|it| spread(it, times)).collect(),
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        }),
    };
    let unit = match family.unit {
        Some(Unit::Seconds) => "s",
        Some(Unit::Bytes) => "By",
        None => "1",
    };
    Metric {
        name: format!("quietus_{}", family.name),
        description: family.help.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn labels(labels: Vec<(&'static str, String)>) -> Vec<KeyValue> {
    let labels = labels.into_iter();
    labels.map(|(name, value)| text(name, value)).collect()
}

fn number(sample: Sample, (since, now): (u64, u64)) -> Option<NumberDataPoint> {
    let Value::Number(number) = sample.value else {
        return None;
    };
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    Some(NumberDataPoint {
        attributes: labels(sample.labels),
        start_time_unix_nano: since,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsInt(number)),
        ..NumberDataPoint::default()
    })
}

fn spread(sample: Sample, (since, now): (u64, u64)) -> Option<HistogramDataPoint> {
    let Value::Spread(Spread {
        bounds,
        counts,
        sum,
    }) = sample.value
    else {
        return None;
    };
    Some(HistogramDataPoint {
        attributes: labels(sample.labels),
        start_time_unix_nano: since,
        time_unix_nano: now,
        count: counts.iter().sum(),
        sum: Some(sum),
        bucket_counts: counts,
        explicit_bounds: bounds.to_vec(),
        ..HistogramDataPoint::default()
    })
}
