//! A circuit breaker: a target that does not answer is asked by one call at a time, now and then, and not by all.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quietus_core::Timestamp;
use tokio::time::Instant;

/// So many calls in a row that found the target away open the breaker.
const PATIENCE: u32 = 3;
/// How long an open breaker lets nobody pass, at first and at most.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);

/// How a target is doing.
#[derive(Debug, Default)]
pub(in crate::engine) struct Breaker(Mutex<Health>);

/// What is known of a target's health.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Health {
    /// How many calls in a row found it away.
    pub(in crate::engine) failures: u32,
    /// What it last said that was wrong, or why it did not answer.
    pub(in crate::engine) last_error: Option<(String, Timestamp)>,
    /// When it last answered, be it with a no.
    pub(in crate::engine) last_answer: Option<Timestamp>,
    shut_until: Option<Instant>,
}

impl Health {
    /// Whether it counts as away.
    pub(in crate::engine) fn is_away(&self) -> bool {
        self.failures >= PATIENCE
    }
}

impl Breaker {
    /// Whether a call may be made now.
    pub(in crate::engine) fn passes(&self) -> bool {
        self.pass(Instant::now())
    }

    /// Whether a call may be made. While the target counts as away one call may, each time the breaker's time is up.
    fn pass(&self, now: Instant) -> bool {
        let mut health = self.lock();
        match health.shut_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                health.shut_until = Some(now + wait(health.failures));
                true
            }
        }
    }

    /// When the next call may be made; none if at once.
    pub(super) fn shut_until(&self) -> Option<Instant> {
        self.lock().shut_until
    }

    /// How the target is doing.
    pub(in crate::engine) fn health(&self) -> Health {
        self.lock().clone()
    }

    /// It answered, be it with a no; whether it counted as away before.
    pub(super) fn answered(&self, now: Timestamp, no: Option<&str>) -> bool {
        let mut health = self.lock();
        let was_away = health.is_away();
        health.failures = 0;
        health.shut_until = None;
        health.last_answer = Some(now);
        if let Some(no) = no {
            health.last_error = Some((no.to_owned(), now));
        }
        was_away
    }

    /// It did not answer now.
    pub(super) fn is_away_now(&self, now: Timestamp, why: &str) {
        self.away(now, Instant::now(), why);
    }

    fn away(&self, now: Timestamp, at: Instant, why: &str) {
        let mut health = self.lock();
        health.failures = health.failures.saturating_add(1);
        health.last_error = Some((why.to_owned(), now));
        if health.is_away() {
            health.shut_until = Some(at + wait(health.failures));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Health> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(PATIENCE).min(16);
    LONGEST.min(FIRST * 2_u32.pow(doublings))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn away(times: u32, at: Instant) -> Breaker {
        let breaker = Breaker::default();
        for _ in 0..times {
            breaker.away(NOW, at, "no answer");
        }
        breaker
    }

    #[test]
    fn a_few_failures_do_not_open_it() {
        let at = Instant::now();
        let breaker = away(PATIENCE - 1, at);
        assert!(breaker.pass(at) && breaker.pass(at));
        assert!(!breaker.health().is_away());
    }

    #[test]
    fn an_open_one_lets_one_call_pass_each_time() {
        let at = Instant::now();
        let breaker = away(PATIENCE, at);
        assert!(breaker.health().is_away());
        assert!(!breaker.pass(at));
        assert!(breaker.pass(at + FIRST));
        assert!(!breaker.pass(at + FIRST), "one at a time");
    }

    #[test]
    fn it_waits_longer_each_time_and_never_longer_than_the_longest() {
        let waits: Vec<_> = (PATIENCE..PATIENCE + 6).map(wait).collect();
        assert!(waits.is_sorted());
        assert_eq!(wait(PATIENCE), FIRST);
        assert_eq!(wait(u32::MAX), LONGEST);
    }

    #[test]
    fn any_answer_closes_it() {
        let at = Instant::now();
        let breaker = away(10, at);
        assert!(breaker.answered(NOW, Some("permission denied")));
        assert!(!breaker.answered(NOW, None), "it is back already");
        breaker.answered(NOW, Some("permission denied"));
        assert!(breaker.pass(at) && breaker.pass(at));
        let health = breaker.health();
        assert_eq!((health.failures, health.last_answer), (0, Some(NOW)));
        let said = Some(("permission denied".to_owned(), NOW));
        assert_eq!(health.last_error, said);
    }
}
