//! Places at which a test has the process killed. Only debug builds have them.
//!
//! `QUIETUS_FAILPOINT=place:n` kills the process, as SIGKILL would, when it reaches that place for the n-th time.

#[cfg(debug_assertions)]
use std::sync::OnceLock;
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};

/// Every place there is in a debug build.
pub const PLACES: [&str; 8] = [
    "commit.before",
    "commit.after",
    "issue.call.before",
    "issue.call.after",
    "issue.settled",
    "revoke.call.before",
    "revoke.call.after",
    "revoke.settled",
];

#[cfg(debug_assertions)]
struct Plan {
    place: String,
    left: AtomicU64,
}

/// Goes no further if this is the place and the time.
#[cfg(debug_assertions)]
pub fn reach(place: &str) {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    debug_assert!(PLACES.contains(&place), "{place} is not among the places");
    let Some(plan) = PLAN.get_or_init(plan) else {
        return;
    };
    if plan.place == place && plan.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        let me = rustix::process::getpid();
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_place: &str) {}

#[cfg(debug_assertions)]
fn plan() -> Option<Plan> {
    let text = std::env::var("QUIETUS_FAILPOINT").ok()?;
    let (place, times) = text.split_once(':')?;
    Some(Plan {
        place: place.to_owned(),
        left: AtomicU64::new(times.parse().ok()?),
    })
}
