//! What a run came to.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::book::Numbers;

pub struct Tally {
    started: Instant,
    kills: BTreeMap<&'static str, u64>,
    pub died_at_start: u64,
    pub found_issuing: u64,
    pub settled: u64,
    pub logins: u64,
}

impl Tally {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            kills: BTreeMap::new(),
            died_at_start: 0,
            found_issuing: 0,
            settled: 0,
            logins: 0,
        }
    }

    pub fn killed(&mut self, how: &'static str) {
        *self.kills.entry(how).or_default() += 1;
    }

    pub fn kills(&self, how: &str) -> u64 {
        self.kills.get(how).copied().unwrap_or_default()
    }

    /// Strays and losses would have ended it.
    pub fn print(&self, numbers: &Numbers) {
        println!(
            "cycles                        {}",
            self.kills.values().sum::<u64>()
        );
        for (how, times) in &self.kills {
            println!("  killed {how:<20}  {times}");
        }
        let lines = [
            ("  of these while starting", self.died_at_start),
            ("settled and compared", self.settled),
            ("mints acknowledged", numbers.minted),
            ("mints unacknowledged", numbers.unanswered),
            ("leases ended by request", numbers.lease_ends),
            ("tasks ended by request", numbers.task_ends),
            ("  with a complete receipt", numbers.complete),
            ("leases found issuing", self.found_issuing),
            ("credentials tried", self.logins),
            ("strays found", 0),
            ("lost", 0),
            ("seconds", self.started.elapsed().as_secs()),
        ];
        for (what, count) in lines {
            println!("{what:<28}  {count}");
        }
    }
}
