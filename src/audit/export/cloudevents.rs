//! CloudEvents 1.0 in their JSON format (github.com/cloudevents/spec, `json-format.md`).

use quietus_ledger::Trace;
use serde_json::{Value, json};

use super::{rfc3339, value};
use crate::audit::select::Found;

/// What the type of every event begins with.
const TYPE: &str = "com.quietus.ledger.";

/// An entry as a CloudEvent of this log. Its data is the whole entry, so that it can still be hashed.
///
/// # Errors
/// If the entry is not JSON.
pub fn event(found: &Found, origin: &str) -> anyhow::Result<Value> {
    let entry = &found.sealed.entry;
    let mut event = json!({
        "specversion": "1.0",
        "id": found.sealed.seq.to_string(),
        "source": origin,
        "type": format!("{TYPE}{}", entry.event),
        "time": rfc3339(entry.time),
        "datacontenttype": "application/json",
        "data": value(found)?,
    });
    if let Some(task) = &entry.task {
        event["subject"] = task.id.as_str().into();
    }
    if let Some(trace) = &entry.trace {
        let (name, text) = traced(trace);
        event[name] = text.into();
    }
    Ok(event)
}

/// The extension for distributed tracing. A `traceparent` has to name a span; without one the trace stands alone.
fn traced(trace: &Trace) -> (&'static str, String) {
    match &trace.span {
        Some(span) => ("traceparent", format!("00-{}-{span}-01", trace.id)),
        None => ("traceid", trace.id.clone()),
    }
}
