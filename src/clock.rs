//! The broker's effective time. The only place that reads a clock.
//!
//! Effective time is the greater of the wall clock and of the latest time known before plus what CLOCK_BOOTTIME
//! has counted since (it goes on while the machine is suspended). So a wall clock that steps back, a suspended
//! machine or a restart never gives an ended lease a second life. A wall clock that steps forward is believed:
//! leases then end early, never late.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quietus_core::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Where time comes from.
pub trait TimeSource: Send + Sync {
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// Time since boot, suspension included.
    fn since_boot(&self) -> Duration;
    /// The same without the time that the machine was suspended for. Nothing is decided by it.
    fn awake(&self) -> Duration {
        self.since_boot()
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTime;

/// A clock that a test moves by hand.
#[derive(Debug, Default)]
pub struct ManualTime(Mutex<Manual>);

#[derive(Clone, Copy, Debug, Default)]
struct Manual {
    wall: Timestamp,
    since_boot: Duration,
    suspended: Duration,
}

/// Effective time; never goes back.
pub struct Clock {
    source: Arc<dyn TimeSource>,
    latest: Mutex<Reading>,
}

/// Measures how long something takes, to tell of it; nothing is decided by it.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

/// The clocks at one moment, to be compared with a later one.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    effective: Timestamp,
    awake: Duration,
    /// Before and after the others were read: whoever reads them may be held up in between.
    since_boot: (Duration, Duration),
}

/// What the clocks did between two glances that no clock does by itself; at least as much as this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strange {
    /// Somebody set the wall clock forward, and effective time followed.
    pub forward: Duration,
    /// The machine was suspended.
    pub suspended: Duration,
}

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

    /// All clocks as they are now.
    pub fn glance(&self) -> Glance {
        let before = self.source.since_boot();
        let (effective, awake) = (self.now(), self.source.awake());
        Glance {
            effective,
            awake,
            since_boot: (before, self.source.since_boot()),
        }
    }

    /// How far effective time is ahead of the wall clock.
    pub fn ahead(&self) -> Duration {
        self.now().since(self.source.wall())
    }
}

impl Glance {
    /// What has happened since an earlier glance.
    pub fn since(&self, earlier: &Self) -> Strange {
        let at_most = self.since_boot.1.saturating_sub(earlier.since_boot.0);
        let at_least = self.since_boot.0.saturating_sub(earlier.since_boot.1);
        let awake = self.awake.saturating_sub(earlier.awake);
        let effective = self.effective.since(earlier.effective);
        Strange {
            forward: effective.saturating_sub(at_most),
            suspended: at_least.saturating_sub(awake),
        }
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
        elapsed(ClockId::Boottime)
    }

    fn awake(&self) -> Duration {
        elapsed(ClockId::Monotonic)
    }
}

fn elapsed(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos)
}

impl ManualTime {
    /// A clock that stands at `wall`.
    pub fn at(wall: Timestamp) -> Arc<Self> {
        let manual = Manual {
            wall,
            ..Manual::default()
        };
        Arc::new(Self(Mutex::new(manual)))
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        now.wall = now.wall.after(by);
        now.since_boot += by;
    }

    /// Time passes while the machine is suspended.
    pub fn suspend(&self, by: Duration) {
        let mut now = self.lock();
        now.wall = now.wall.after(by);
        now.since_boot += by;
        now.suspended += by;
    }

    /// Someone sets the wall clock; no time passes.
    pub fn set_wall(&self, wall: Timestamp) {
        self.lock().wall = wall;
    }

    fn lock(&self) -> MutexGuard<'_, Manual> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TimeSource for ManualTime {
    fn wall(&self) -> Timestamp {
        self.lock().wall
    }

    fn since_boot(&self) -> Duration {
        self.lock().since_boot
    }

    fn awake(&self) -> Duration {
        let now = self.lock();
        now.since_boot.saturating_sub(now.suspended)
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

    #[test]
    fn time_that_passes_is_not_strange() {
        let (time, clock) = clock();
        let before = clock.glance();
        time.advance(HOUR);
        assert_eq!(clock.glance().since(&before), Strange::default());
    }

    #[test]
    fn a_step_forward_is_told_from_time_that_passes() {
        let (time, clock) = clock();
        let before = clock.glance();
        time.advance(HOUR);
        time.set_wall(time.wall().after(2 * HOUR));
        let strange = Strange {
            forward: 2 * HOUR,
            ..Strange::default()
        };
        assert_eq!(clock.glance().since(&before), strange);
    }

    #[test]
    fn a_step_back_and_its_correction_move_effective_time_by_nothing() {
        let (time, clock) = clock();
        let before = clock.glance();
        time.set_wall(Timestamp(0));
        let between = clock.glance();
        assert_eq!(between.since(&before), Strange::default());
        time.set_wall(START);
        assert_eq!(clock.glance().since(&between), Strange::default());
    }

    #[test]
    fn suspension_is_told_from_time_that_passes() {
        let (time, clock) = clock();
        let before = clock.glance();
        time.suspend(HOUR);
        time.advance(HOUR);
        let strange = Strange {
            suspended: HOUR,
            ..Strange::default()
        };
        assert_eq!(clock.glance().since(&before), strange);
    }
}
