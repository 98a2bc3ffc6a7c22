//! What the disk can do by itself.

use std::fs::{File, remove_file};
use std::io::Write;
use std::time::Instant;

use anyhow::Context;

use super::Plan;
use super::report::{Report, Unit, millis};

/// As large as a lease with what belongs to it.
const ROW: [u8; 400] = [0x71; 400];

pub(super) fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    report.heading(
        "fsync",
        "append 400 B and fdatasync, one after the other, on the same disk",
    );
    let path = plan
        .dir
        .join(format!("quietus-bench-fsync-{}", std::process::id()));
    let took = append(plan, &path);
    let removed = remove_file(&path);
    let mut took = took.with_context(|| format!("cannot write {}", path.display()))?;
    removed?;
    took.sort_by(f64::total_cmp);
    let at = |quantile: usize| took.get(took.len() * quantile / 100).copied();
    let total: f64 = took.iter().sum();
    let rate = took.len() as f64 * 1000.0 / total.max(f64::MIN_POSITIVE);
    report.note("fsync", "fsync rate", rate, Unit::PerSecond);
    for (name, quantile) in [("fsync p50", 50), ("fsync p99", 99)] {
        let value = at(quantile).unwrap_or_default();
        report.note("fsync", name, value, Unit::Milliseconds);
    }
    Ok(())
}

fn append(plan: &Plan, path: &std::path::Path) -> std::io::Result<Vec<f64>> {
    let mut file = File::create_new(path)?;
    let begun = Instant::now();
    let mut took = Vec::new();
    while begun.elapsed() < plan.round.min(std::time::Duration::from_secs(2)) {
        let before = Instant::now();
        file.write_all(&ROW)?;
        file.sync_data()?;
        took.push(millis(before.elapsed()));
    }
    Ok(took)
}
