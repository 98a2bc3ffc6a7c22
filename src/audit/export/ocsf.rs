//! OCSF, the Open Cybersecurity Schema Framework (schema.ocsf.io).
//!
//! What is done to tasks, freezes, policies and keys is Entity Management; privileges that are granted and taken are User
//! Access Management; calls that have no more to them, and what tools did, are API Activity; starts and stops are
//! Application Lifecycle. What OCSF has no word for is a Base Event. Whatever of an entry has no place is in `unmapped`.

use quietus_ledger::{Entry, Sealed};
use serde_json::{Map, Value, json};

use super::value;
use crate::audit::events;
use crate::audit::select::Found;

/// The version of the schema.
pub const VERSION: &str = "1.8.0";

const SUCCESS: u64 = 1;
const FAILURE: u64 = 2;
/// The activity of any class that has no word for it.
const OTHER: u64 = 99;
/// Members of an entry that have a place of their own, or say what the reader knows anyway.
const MAPPED: [&str; 8] = [
    "agent", "broker", "caller", "event", "refusal", "time", "trace", "v",
];

/// A class of events: category, class, and the caption of the class.
type Class = (u64, u64, &'static str);

const BASE: Class = (0, 0, "Base Event");
const ENTITY: Class = (3, 3004, "Entity Management");
const ACCESS: Class = (3, 3005, "User Access Management");
const LIFECYCLE: Class = (6, 6002, "Application Lifecycle");
const API: Class = (6, 6003, "API Activity");

/// How serious it is: informational, low, medium, high.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
}

/// An entry as an OCSF event of this log.
///
/// # Errors
/// If the entry is not JSON.
pub fn event(found: &Found, origin: &str) -> anyhow::Result<Value> {
    let Sealed { entry, seq } = &found.sealed;
    let ((category, class, caption), activity) = classify(entry);
    let mut event = json!({
        "activity_id": activity,
        "category_uid": category,
        "class_uid": class,
        "class_name": caption,
        "type_uid": class * 100 + activity,
        "severity_id": severity(entry) as u64,
        "status_id": if has_failed(entry) { FAILURE } else { SUCCESS },
        "time": entry.time,
        "message": events::meaning(&entry.event).unwrap_or(&entry.event),
        "metadata": metadata(entry, *seq, origin),
        "actor": actor(entry),
        "unmapped": unmapped(value(found)?),
    });
    if let Some(refusal) = &entry.refusal {
        event["status_code"] = refusal.as_str().into();
    }
    if class == API.1
        && let Some(trace) = &entry.trace
    {
        event["trace"] = json!({ "uid": trace.id });
    }
    describe(&mut event, entry, class);
    Ok(event)
}

/// The class and the activity that an event is of.
fn classify(entry: &Entry) -> (Class, u64) {
    match entry.event.as_str() {
        "task.opened" => (ENTITY, 1),
        "task.identity_renewed" | "policy.loaded" | "keys.rotated" | "trust.changed" => (ENTITY, 3),
        "task.purged" | "ledger.pruned" | "text.erased" => (ENTITY, 4),
        "task.ended" | "revoke.swept" => (ENTITY, 11),
        "freeze.set" => (ENTITY, 12),
        "freeze.lifted" => (ENTITY, 13),
        "task.hold_dropped" => (ENTITY, OTHER),
        "lease.issued" | "lease.renewed" => (ACCESS, 1),
        "lease.ended" => (ACCESS, 2),
        "lease.settled" if is_alive(entry) => (ACCESS, 1),
        "lease.settled" => (ACCESS, 2),
        "request.refused" if !entry.decisions.is_empty() => (ACCESS, 1),
        "request.refused" | "action.recorded" | "target.swept" => (API, OTHER),
        "revoke.ordered" => (API, 4),
        "broker.started" => (LIFECYCLE, 3),
        "broker.stopped" => (LIFECYCLE, 4),
        _ => (BASE, OTHER),
    }
}

fn is_alive(entry: &Entry) -> bool {
    entry.leases.iter().any(|lease| lease.state == "Active")
}

fn has_failed(entry: &Entry) -> bool {
    let reported = entry
        .action
        .as_ref()
        .is_some_and(|action| action.result != "succeeded");
    let in_vain =
        entry.event == "lease.settled" && entry.leases.iter().any(|lease| lease.error.is_some());
    entry.refusal.is_some() || reported || in_vain
}

fn severity(entry: &Entry) -> Severity {
    let intruder = entry
        .refusal
        .as_deref()
        .is_some_and(|refusal| refusal.starts_with("NOT_AN_"));
    match entry.event.as_str() {
        "broker.started" if entry.detail.contains_key("restored_at_entry") => Severity::High,
        "clock.stepped_back" | "clock.stepped_forward" | "freeze.set" | "revoke.ordered" => {
            Severity::Medium
        }
        "request.refused" if intruder => Severity::Medium,
        "lease.settled" if has_failed(entry) => Severity::Medium,
        "ledger.pruned" | "request.refused" | "text.erased" => Severity::Low,
        _ if has_failed(entry) => Severity::Low,
        _ => Severity::Informational,
    }
}

fn metadata(entry: &Entry, seq: u64, origin: &str) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "uid": seq.to_string(),
        "sequence": seq,
        "event_code": entry.event,
        "log_name": origin,
        "log_version": entry.v.to_string(),
        "product": {
            "name": "Quietus",
            "vendor_name": "Quietus",
            "version": env!("CARGO_PKG_VERSION"),
            "uid": entry.broker,
        },
    });
    if let Some(trace) = &entry.trace {
        metadata["correlation_uid"] = trace.id.as_str().into();
    }
    if entry.event == "action.recorded" && entry.trace.is_some() {
        metadata["profiles"] = json!(["trace"]);
    }
    metadata
}

/// Whoever called; the broker itself if nobody did.
fn actor(entry: &Entry) -> Value {
    match &entry.caller {
        Some(caller) => json!({ "user": {
            "uid": caller.id,
            "name": caller.id,
            "type_id": 4,
            "credential_uid": caller.certificate,
        }}),
        None => json!({ "app_name": "Quietus", "app_uid": entry.broker }),
    }
}

/// What the class demands besides.
fn describe(event: &mut Value, entry: &Entry, class: u64) {
    match class {
        class if class == ENTITY.1 => event["entity"] = entity(entry),
        class if class == ACCESS.1 => {
            let agent = agent(entry);
            event["user"] = json!({ "uid": agent, "name": agent, "type_id": 4 });
            event["privileges"] = privileges(entry);
            event["resources"] = leased(entry);
        }
        class if class == API.1 => {
            event["api"] =
                json!({ "operation": operation(entry), "service": { "name": "Quietus" } });
            let caller = entry
                .caller
                .as_ref()
                .map_or(entry.broker.as_str(), |caller| &caller.id);
            event["src_endpoint"] = json!({ "uid": caller, "svc_name": caller });
            if let Some(action) = &entry.action {
                event["resources"] = json!([{ "name": action.resource }]);
            }
        }
        class if class == LIFECYCLE.1 => {
            event["app"] = json!({
                "name": "Quietus",
                "vendor_name": "Quietus",
                "version": env!("CARGO_PKG_VERSION"),
                "uid": entry.broker,
            });
        }
        _ => {}
    }
}

fn agent(entry: &Entry) -> &str {
    let caller = entry.caller.as_ref().map(|caller| caller.id.as_str());
    entry.agent.as_deref().or(caller).unwrap_or(&entry.broker)
}

/// What an entry of Entity Management is about.
fn entity(entry: &Entry) -> Value {
    let of_kind = |kind: &str, uid: &str| json!({ "type": kind, "uid": uid });
    if let Some(task) = &entry.task {
        return json!({ "type": "Task", "uid": task.id, "version": task.version.to_string() });
    }
    let detail = |name: &str| entry.detail.get(name).map_or("unknown", String::as_str);
    match entry.event.as_str() {
        "policy.loaded" => {
            let digest = entry.policy.as_deref().unwrap_or("none");
            json!({ "type": "Policy set", "uid": digest, "policy": { "uid": digest, "is_applied": true } })
        }
        "keys.rotated" => of_kind("Signing key", detail("kid")),
        "trust.changed" => of_kind("Trust bundles", &entry.broker),
        "text.erased" => of_kind("Texts", &entry.broker),
        "ledger.pruned" => of_kind("Ledger", &entry.broker),
        _ => selected(entry),
    }
}

/// What a freeze or a wide revocation covers.
fn selected(entry: &Entry) -> Value {
    const KINDS: [&str; 5] = ["agent", "task", "lease", "target", "trust_domain"];
    let named = KINDS
        .iter()
        .find_map(|kind| Some((*kind, entry.detail.get(*kind)?)));
    match named {
        Some((kind, name)) => json!({ "type": kind, "uid": name }),
        None => json!({ "type": "all", "uid": entry.broker }),
    }
}

fn privileges(entry: &Entry) -> Value {
    let decided = entry.decisions.iter().map(|decision| &decision.scope);
    let leased = entry.leases.iter().flat_map(|lease| &lease.scopes);
    let scopes: std::collections::BTreeSet<_> = decided.chain(leased).collect();
    json!(scopes)
}

fn leased(entry: &Entry) -> Value {
    let leases = entry.leases.iter();
    let resources =
        leases.map(|lease| json!({ "uid": lease.id, "name": lease.target, "type": "Lease" }));
    Value::Array(resources.collect())
}

fn operation(entry: &Entry) -> &str {
    let tool = entry.action.as_ref().map(|action| action.tool.as_str());
    let call = entry.detail.get("call").map(String::as_str);
    tool.or(call).unwrap_or(&entry.event)
}

fn unmapped(sealed: Value) -> Value {
    let mut rest = match sealed {
        Value::Object(mut sealed) => match sealed.remove("entry") {
            Some(Value::Object(entry)) => entry,
            _ => Map::new(),
        },
        _ => Map::new(),
    };
    for name in MAPPED {
        rest.remove(name);
    }
    Value::Object(rest)
}

#[cfg(test)]
mod tests;
