//! A circuit breaker: a target that does not answer is not asked by everybody.

use std::sync::atomic::{AtomicU32, Ordering};

/// So many calls in a row that came to nothing open it.
const PATIENCE: u32 = 3;

/// Counts the calls in a row that found the target away.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: AtomicU32,
}

impl Breaker {
    /// Whether the target counts as away: only one call at a time is then made, to find out.
    pub fn is_open(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= PATIENCE
    }

    /// How many calls in a row found it away.
    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    /// It answered, be it with a no.
    pub fn answered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// It did not answer.
    pub fn away(&self) {
        let more = |failures: u32| Some(failures.saturating_add(1));
        let _ = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}
