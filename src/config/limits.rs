use std::num::NonZeroU32;
use std::time::Duration;

use humantime::format_duration;
use quietus_core::Rules;

use super::problems::Problems;
use super::raw;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const MANY: i64 = 1_000_000;

/// `[limits]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request message, in bytes.
    pub message_bytes: usize,
    /// The most scopes in one credential request.
    pub scopes_per_request: usize,
    /// The most leases alive in one task at once.
    pub live_leases_per_task: u32,
    /// The most leases in one task over its whole life.
    pub leases_per_task: u32,
    /// The most tasks that one agent may have open.
    pub open_tasks_per_agent: u32,
    /// The sustained rate of requests of one SPIFFE ID.
    pub requests_per_second: NonZeroU32,
    /// How many requests of one SPIFFE ID may come at once.
    pub request_burst: NonZeroU32,
    /// A credential's lifetime when none is asked for.
    pub default_ttl: Duration,
    /// The longest lifetime of a credential.
    pub max_ttl: Duration,
    /// A task's duration when none is asked for.
    pub default_task: Duration,
    /// The longest duration of a task.
    pub max_task: Duration,
    /// How late a heartbeat may be, and how long a `HoldTask` stream may be gone.
    pub grace: Duration,
    /// How long a closed task stays listed.
    pub retention: Duration,
    /// The shortest heartbeat interval that an agent may promise.
    pub min_heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 131_072,
            scopes_per_request: 16,
            live_leases_per_task: 64,
            leases_per_task: 10_000,
            open_tasks_per_agent: 100,
            requests_per_second: NonZeroU32::MIN.saturating_add(99),
            request_burst: NonZeroU32::MIN.saturating_add(199),
            default_ttl: 5 * MINUTE,
            max_ttl: HOUR,
            default_task: HOUR,
            max_task: DAY,
            grace: 10 * SECOND,
            retention: 7 * DAY,
            min_heartbeat: SECOND,
        }
    }
}

impl From<&Limits> for Rules {
    fn from(limits: &Limits) -> Self {
        Self {
            default_ttl: limits.default_ttl,
            max_ttl: limits.max_ttl,
            default_task: limits.default_task,
            max_task: limits.max_task,
            max_live: limits.live_leases_per_task,
            max_issued: limits.leases_per_task,
            grace: limits.grace,
            retention: limits.retention,
        }
    }
}

pub(super) fn limits(problems: &mut Problems<'_>, raw: &raw::Limits) -> Limits {
    let counted = counts(problems, raw, Limits::default());
    let limits = spans(problems, raw, counted);
    agree(problems, raw, &limits);
    limits
}

fn counts(problems: &mut Problems<'_>, raw: &raw::Limits, default: Limits) -> Limits {
    let mut count = |key, number, default, range| problems.number_or(key, number, default, range);
    Limits {
        live_leases_per_task: count(
            "limits.live_leases_per_task",
            &raw.live_leases_per_task,
            default.live_leases_per_task,
            1..=10_000,
        ),
        leases_per_task: count(
            "limits.leases_per_task",
            &raw.leases_per_task,
            default.leases_per_task,
            1..=MANY,
        ),
        open_tasks_per_agent: count(
            "limits.open_tasks_per_agent",
            &raw.open_tasks_per_agent,
            default.open_tasks_per_agent,
            1..=MANY,
        ),
        requests_per_second: above_zero(count(
            "limits.requests_per_second",
            &raw.requests_per_second,
            default.requests_per_second.get(),
            1..=MANY,
        )),
        request_burst: above_zero(count(
            "limits.request_burst",
            &raw.request_burst,
            default.request_burst.get(),
            1..=MANY,
        )),
        message_bytes: problems.number_or(
            "limits.message_bytes",
            &raw.message_bytes,
            default.message_bytes,
            1_024..=4 << 20,
        ),
        scopes_per_request: problems.number_or(
            "limits.scopes_per_request",
            &raw.scopes_per_request,
            default.scopes_per_request,
            1..=256,
        ),
        ..default
    }
}

fn above_zero(count: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(count.saturating_sub(1))
}

fn spans(problems: &mut Problems<'_>, raw: &raw::Limits, default: Limits) -> Limits {
    let mut span = |key, span, default, range| problems.span_or(key, span, default, range);
    Limits {
        default_ttl: span(
            "limits.default_ttl",
            &raw.default_ttl,
            default.default_ttl,
            SECOND..=7 * DAY,
        ),
        max_ttl: span(
            "limits.max_ttl",
            &raw.max_ttl,
            default.max_ttl,
            SECOND..=7 * DAY,
        ),
        default_task: span(
            "limits.default_task",
            &raw.default_task,
            default.default_task,
            SECOND..=30 * DAY,
        ),
        max_task: span(
            "limits.max_task",
            &raw.max_task,
            default.max_task,
            SECOND..=30 * DAY,
        ),
        grace: span(
            "limits.grace",
            &raw.grace,
            default.grace,
            SECOND..=10 * MINUTE,
        ),
        retention: span(
            "limits.retention",
            &raw.retention,
            default.retention,
            SECOND..=3_650 * DAY,
        ),
        min_heartbeat: span(
            "limits.min_heartbeat",
            &raw.min_heartbeat,
            default.min_heartbeat,
            SECOND / 10..=HOUR,
        ),
        ..default
    }
}

/// Refuses limits that contradict each other.
fn agree(problems: &mut Problems<'_>, raw: &raw::Limits, limits: &Limits) {
    let pairs = [
        (
            "limits.default_ttl",
            (limits.default_ttl, &raw.default_ttl),
            "limits.max_ttl",
            (limits.max_ttl, &raw.max_ttl),
        ),
        (
            "limits.default_task",
            (limits.default_task, &raw.default_task),
            "limits.max_task",
            (limits.max_task, &raw.max_task),
        ),
    ];
    for (key, (low, low_at), above, (high, high_at)) in pairs {
        if let Some(at) = low_at.as_ref().or(high_at.as_ref()).filter(|_| low > high) {
            problems.at(
                key,
                at,
                exceeds(format_duration(low), above, format_duration(high)),
            );
        }
    }
    let (live, all) = (limits.live_leases_per_task, limits.leases_per_task);
    let at = raw
        .live_leases_per_task
        .as_ref()
        .or(raw.leases_per_task.as_ref());
    if let Some(at) = at.filter(|_| live > all) {
        let message = exceeds(live, "limits.leases_per_task", all);
        problems.at("limits.live_leases_per_task", at, message);
    }
}

fn exceeds(low: impl std::fmt::Display, above: &str, high: impl std::fmt::Display) -> String {
    format!("{low} is more than {above}, {high}: lower the one or raise the other")
}
