//! The broker's effective time. The only place that reads a clock.
//!
//! Effective time is the greater of the wall clock and of the latest time known before plus what CLOCK_BOOTTIME
//! has counted since (it goes on while the machine is suspended). So a wall clock that steps back, a suspended
//! machine or a restart never gives an ended lease a second life. A wall clock that steps forward is believed:
//! leases then end early, never late.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quietus_core::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Where time comes from.
pub trait TimeSource: Send + Sync {
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// Time since boot, suspension included.
    fn since_boot(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTime;

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualTime(Mutex<(Timestamp, Duration)>);

/// Effective time; never goes back.
pub struct Clock {
    source: Arc<dyn TimeSource>,
    latest: Mutex<Reading>,
}

/// Measures how long something takes, to tell of it; nothing is decided by it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

#[derive(Clone, Copy, Debug)]
struct Reading {
    effective: Timestamp,
    since_boot: Duration,
}

impl Clock {
    /// A clock that continues from the latest effective time that was recorded.
    pub fn new(source: Arc<dyn TimeSource>, high_water: Timestamp) -> Self {
        let since_boot = source.since_boot();
        let latest = Mutex::new(Reading {
            effective: source.wall().max(high_water),
            since_boot,
        });
        Self { source, latest }
    }

    /// Effective time now.
    pub fn now(&self) -> Timestamp {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let since_boot = self.source.since_boot();
        let elapsed = since_boot.saturating_sub(latest.since_boot);
        let wall = self.source.wall();
        // Whole milliseconds only are counted, so the fraction is carried over by leaving the base where it is.
        let counted = latest.effective.after(elapsed);
        if wall >= counted {
            *latest = Reading {
                effective: wall,
                since_boot,
            };
        }
        wall.max(counted)
    }

    /// How far effective time is ahead of the wall clock.
    pub fn ahead(&self) -> Duration {
        self.now().since(self.source.wall())
    }
}

impl Stopwatch {
    /// Begins now.
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Since it began.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// The same in nanoseconds.
    pub fn nanoseconds(&self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl TimeSource for SystemTime {
    fn wall(&self) -> Timestamp {
        let now = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let millis = u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000;
        Timestamp(seconds.saturating_mul(1000).saturating_add(millis))
    }

    fn since_boot(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
        Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos)
    }
}

impl ManualTime {
    /// A clock that stands at `wall`.
    pub fn at(wall: Timestamp) -> Arc<Self> {
        Arc::new(Self(Mutex::new((wall, Duration::ZERO))))
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (now.0.after(by), now.1 + by);
    }

    /// Someone sets the wall clock; no time passes.
    pub fn set_wall(&self, wall: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 = wall;
    }
}

impl TimeSource for ManualTime {
    fn wall(&self) -> Timestamp {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn since_boot(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn clock() -> (Arc<ManualTime>, Clock) {
        let time = ManualTime::at(START);
        (Arc::clone(&time), Clock::new(time, Timestamp(0)))
    }

    #[test]
    fn a_wall_clock_that_steps_back_changes_nothing() {
        let (time, clock) = clock();
        assert_eq!(clock.now(), START);
        time.set_wall(Timestamp(0));
        assert_eq!(clock.now(), START);
        time.advance(HOUR);
        assert_eq!(clock.now(), START.after(HOUR));
        assert_eq!(clock.ahead(), START.since(Timestamp(0)));
    }

    #[test]
    fn steps_back_do_not_add_up_to_lost_time() {
        let (time, clock) = clock();
        clock.now();
        for _ in 0..10 {
            time.advance(HOUR);
            time.set_wall(START);
            clock.now();
        }
        assert_eq!(clock.now(), START.after(10 * HOUR));
    }

    #[test]
    fn a_wall_clock_that_steps_forward_is_believed_and_stays_believed() {
        let (time, clock) = clock();
        time.set_wall(START.after(HOUR));
        assert_eq!(clock.now(), START.after(HOUR));
        time.set_wall(START);
        assert_eq!(clock.now(), START.after(HOUR));
    }

    #[test]
    fn a_restart_with_a_clock_that_is_behind_continues_from_the_mark() {
        let time = ManualTime::at(START);
        let clock = Clock::new(Arc::clone(&time) as Arc<dyn TimeSource>, START.after(HOUR));
        assert_eq!(clock.now(), START.after(HOUR));
        time.advance(HOUR);
        assert_eq!(clock.now(), START.after(2 * HOUR));
    }

    #[test]
    fn fractions_of_a_millisecond_are_not_lost() {
        let (time, clock) = clock();
        clock.now();
        time.set_wall(Timestamp(0));
        for _ in 0..10_000 {
            time.advance(Duration::from_micros(100));
            clock.now();
        }
        assert_eq!(clock.now(), START.after(Duration::from_secs(1)));
    }
}
