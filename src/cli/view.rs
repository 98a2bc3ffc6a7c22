//! What `-o json` prints: stable documents with snake_case fields, times in RFC 3339 and nulls for what is not set.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use super::exit::Complaint;
use super::text::snake;
use crate::api::{v1, wire};

/// A point in time, within the years 1970 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub SystemTime);

/// `task` objects.
#[derive(Clone, Debug, Serialize)]
pub struct Task {
    pub id: String,
    pub agent: String,
    pub purpose: String,
    pub ticket: Option<String>,
    pub environment: Option<String>,
    pub state: String,
    pub opened_at: Option<Time>,
    pub deadline: Option<Time>,
    pub heartbeat_interval_ms: Option<u64>,
    pub alive_until: Option<Time>,
    pub ending: Option<Ending>,
    pub live_leases: u32,
    pub issued_leases: u32,
    pub revoking_leases: u32,
    pub trace_id: Option<String>,
}

/// `lease` objects.
#[derive(Clone, Debug, Serialize)]
pub struct Lease {
    pub id: String,
    pub task_id: String,
    pub agent: String,
    pub target: String,
    pub kind: Option<String>,
    pub scopes: Vec<String>,
    pub state: String,
    pub issued_at: Option<Time>,
    pub expires_at: Option<Time>,
    pub bound: Option<String>,
    pub fingerprint: Option<String>,
    pub renewals: u32,
    pub ending: Option<Ending>,
    pub confirmed: Option<String>,
    pub confirmed_at: Option<Time>,
    pub attempts: u32,
    pub last_error: Option<String>,
}

/// A task and every lease ever issued in it.
#[derive(Clone, Debug, Serialize)]
pub struct TaskDetail {
    pub task: Task,
    pub leases: Vec<Lease>,
}

/// How a task or a lease ended.
#[derive(Clone, Debug, Serialize)]
pub struct Ending {
    pub cause: String,
    pub reason: String,
    pub by: Option<String>,
    pub at: Option<Time>,
}

/// What a revocation or a freeze covers: a kind, and a name unless it is `all`.
#[derive(Clone, Debug, Serialize)]
pub struct Selector {
    pub kind: &'static str,
    pub name: Option<String>,
}

impl Time {
    pub fn read(time: Option<wire::Timestamp>) -> Option<Self> {
        let seconds = u64::try_from(time?.seconds).unwrap_or(0);
        let nanos = u32::try_from(time?.nanos).unwrap_or(0).min(999_999_999);
        Some(Self::new(seconds, nanos))
    }

    /// From milliseconds since the Unix epoch.
    pub fn from_millis(millis: u64) -> Self {
        let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
        Self::new(millis / 1000, nanos)
    }

    fn new(seconds: u64, nanos: u32) -> Self {
        /// The last second that RFC 3339 can write.
        const LAST: u64 = 253_402_300_799;
        Self(SystemTime::UNIX_EPOCH + Duration::new(seconds.min(LAST), nanos))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<v1::Task> for Task {
    fn from(task: v1::Task) -> Self {
        let state = match task.state() {
            v1::TaskState::Unspecified => "unknown",
            v1::TaskState::Open => "open",
            v1::TaskState::Closing => "closing",
            v1::TaskState::Closed => "closed",
        };
        Self {
            id: task.id,
            agent: task.agent,
            purpose: task.purpose,
            ticket: given(task.ticket),
            environment: given(task.environment),
            state: state.to_owned(),
            opened_at: Time::read(task.opened_at),
            deadline: Time::read(task.deadline),
            heartbeat_interval_ms: millis(task.heartbeat_interval),
            alive_until: Time::read(task.alive_until),
            ending: task.ending.map(Ending::from),
            live_leases: task.live_leases,
            issued_leases: task.issued_leases,
            revoking_leases: task.revoking_leases,
            trace_id: given(task.trace_id),
        }
    }
}

impl From<v1::Lease> for Lease {
    fn from(lease: v1::Lease) -> Self {
        let state = match lease.state() {
            v1::LeaseState::Unspecified => "unknown",
            v1::LeaseState::Issuing => "issuing",
            v1::LeaseState::Active => "active",
            v1::LeaseState::Revoking => "revoking",
            v1::LeaseState::Ended => "ended",
        };
        Self {
            id: lease.id,
            task_id: lease.task_id,
            agent: lease.agent,
            target: lease.target,
            kind: given(lease.kind),
            scopes: lease.scopes,
            state: state.to_owned(),
            issued_at: Time::read(lease.issued_at),
            expires_at: Time::read(lease.expires_at),
            bound: given(lease.bound),
            fingerprint: given(lease.fingerprint),
            renewals: lease.renewals,
            ending: lease.ending.map(Ending::from),
            confirmed: given(lease.confirmed),
            confirmed_at: Time::read(lease.confirmed_at),
            attempts: lease.attempts,
            last_error: given(lease.last_error),
        }
    }
}

impl TaskDetail {
    /// From an answer's parts.
    pub fn read(task: Option<v1::Task>, leases: Vec<v1::Lease>) -> Result<Self, Complaint> {
        Ok(Self {
            task: task.ok_or(Complaint::Incomplete("task"))?.into(),
            leases: leases.into_iter().map(Lease::from).collect(),
        })
    }
}

impl From<v1::Ending> for Ending {
    fn from(ending: v1::Ending) -> Self {
        Self {
            cause: snake(&ending.cause),
            reason: ending.reason,
            by: given(ending.by),
            at: Time::read(ending.at),
        }
    }
}

impl From<v1::Selector> for Selector {
    fn from(selector: v1::Selector) -> Self {
        use v1::selector::Of;
        let (kind, name) = match selector.of {
            Some(Of::TaskId(id)) => ("task", id),
            Some(Of::LeaseId(id)) => ("lease", id),
            Some(Of::Agent(id)) => ("agent", id),
            Some(Of::Target(name)) => ("target", name),
            Some(Of::TrustDomain(name)) => ("trust_domain", name),
            Some(Of::All(_)) => ("all", String::new()),
            None => ("unknown", String::new()),
        };
        let name = given(name);
        Self { kind, name }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.name) {
            ("all", _) => f.write_str("everything"),
            ("trust_domain", Some(name)) => write!(f, "trust domain {name}"),
            (kind, Some(name)) => write!(f, "{kind} {name}"),
            (kind, None) => f.write_str(kind),
        }
    }
}

/// The text, unless it is empty.
pub fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A duration that is not negative.
pub fn duration(duration: Option<wire::Duration>) -> Option<Duration> {
    Duration::try_from(duration?).ok()
}

/// The same in milliseconds.
pub fn millis(length: Option<wire::Duration>) -> Option<u64> {
    u64::try_from(duration(length)?.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_on_the_wire_can_be_written() {
        let cases = [
            (1_700_000_000, 5_000_000, "2023-11-14T22:13:20.005Z"),
            (-5, 0, "1970-01-01T00:00:00.000Z"),
            (i64::MAX, i32::MAX, "9999-12-31T23:59:59.999Z"),
            (i64::MIN, i32::MIN, "1970-01-01T00:00:00.000Z"),
        ];
        for (seconds, nanos, written) in cases {
            let time = Time::read(Some(wire::Timestamp { seconds, nanos }));
            assert_eq!(time.unwrap().to_string(), written);
        }
        let cases = [
            (1_700_000_000_005, "2023-11-14T22:13:20.005Z"),
            (u64::MAX, "9999-12-31T23:59:59.615Z"),
        ];
        for (millis, written) in cases {
            assert_eq!(Time::from_millis(millis).to_string(), written);
        }
    }
}
