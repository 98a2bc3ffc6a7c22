//! How fast recorded decisions are made again, by one thread.

use std::time::Duration;

use super::Plan;
use super::load::cpu_time;
use super::report::{Report, Target, Unit, median};
use super::world::{self, SCOPE, World};
use crate::audit::replay::sample::Sample;
use crate::engine::read_policies;

const RATE: Target = Target::AtLeast(20_000.0);
/// Enough to tell: the work is the same for each.
const MOST: u64 = 100_000;

/// Replays grants of the policies that everything here is measured with, again and again.
pub(super) fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let count = plan.entries.min(MOST);
    let world = World::new(&plan.dir)?;
    let set = read_policies(&world::config(&world.folder)?.policy.dir)?;
    let shape = format!(
        "replay of {count} decisions of {} policies, by the CPU time of one thread",
        set.len()
    );
    report.heading("ledger", &shape);
    let sample = Sample::new(&set, &SCOPE.parse()?, count)?;
    let mut rates = Vec::new();
    for _ in 0..plan.rounds.max(1) {
        let begun = cpu_time();
        sample.replay()?;
        let worked = cpu_time()
            .saturating_sub(begun)
            .max(Duration::from_nanos(1));
        rates.push(count as f64 / worked.as_secs_f64());
    }
    let rate = median(rates.into_iter());
    report.check("ledger", "replayed", rate, Unit::PerSecond, RATE);
    Ok(())
}
