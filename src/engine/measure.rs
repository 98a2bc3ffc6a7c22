//! The broker's measures: what was counted on the way, and what is as it is at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quietus_core::{LeaseState, Timestamp};

use super::{Engine, Error};
use crate::store::{Effect, Snapshot};
use crate::telemetry::{Family, Unit};

/// How long a revocation may take before it counts as stuck, if no attempt has failed before.
const STUCK: Duration = Duration::from_secs(60);
/// How many unfinished leases are looked at: those of the oldest tasks.
const MOST: usize = 20_000;
const STRIDE: usize = 1_000;

/// What is unfinished at targets.
#[derive(Default)]
struct Unfinished {
    /// By kind.
    issuing: BTreeMap<&'static str, u64>,
    /// By target.
    stuck: BTreeMap<String, u64>,
    /// Tasks that have ended, and wait for their leases to be confirmed dead.
    closing: u64,
}

impl Engine {
    /// Every measure. It looks into the store: not for the way of a grant.
    pub fn measure(&self) -> Result<Vec<Family>, Error> {
        let snapshot = self.store.read();
        let unfinished = self.unfinished(&snapshot)?;
        let mut families = self.telemetry.metrics().read();
        families.extend(self.store.commits().read());
        families.push(self.tasks(&unfinished));
        families.push(self.leases(&snapshot, &unfinished)?);
        families.push(self.stuck(&unfinished));
        families.push(self.targets_up());
        families.extend(self.plain());
        Ok(families)
    }

    fn tasks(&self, unfinished: &Unfinished) -> Family {
        Family::gauge(
            "tasks",
            "Tasks that are open, and those that wait for their leases to be confirmed dead",
        )
        .with([("state", "open")], self.store.header().open_tasks)
        .with([("state", "closing")], unfinished.closing)
    }

    /// Those of targets are counted at their targets; the rest are ended by the broker's own record.
    fn leases(&self, snapshot: &Snapshot, unfinished: &Unfinished) -> Result<Family, Error> {
        let header = self.store.header();
        let (mut live, mut revoking) = (BTreeMap::new(), BTreeMap::new());
        let (mut live_here, mut revoking_here) = (header.live_leases, header.revoking_leases);
        for (target, held) in snapshot.held()? {
            let name = target.parse().ok();
            let kind = name.map_or("unknown", |name| self.kind_at(&name));
            *live.entry(kind).or_default() += held.live;
            *revoking.entry(kind).or_default() += held.revoking;
            live_here = live_here.saturating_sub(held.live);
            revoking_here = revoking_here.saturating_sub(held.revoking);
        }
        for site in self.targets.sites() {
            live.entry(site.target.kind().as_str()).or_default();
        }
        *live.entry("jwt").or_default() += live_here;
        *revoking.entry("jwt").or_default() += revoking_here;
        let mut family = Family::gauge("leases", "Leases that are not confirmed dead");
        for (kind, live) in live {
            let live: u64 = live;
            let issuing = unfinished.issuing.get(kind).copied().unwrap_or(0);
            let states = [
                ("issuing", issuing),
                ("active", live.saturating_sub(issuing)),
                ("revoking", revoking.get(kind).copied().unwrap_or(0)),
            ];
            for (state, count) in states {
                family = family.with([("kind", kind), ("state", state)], count);
            }
        }
        Ok(family)
    }

    fn stuck(&self, unfinished: &Unfinished) -> Family {
        let mut stuck: BTreeMap<&str, u64> = BTreeMap::new();
        for site in self.targets.sites().filter(|site| site.is_told()) {
            stuck.insert(site.target.name.as_str(), 0);
        }
        for (target, count) in &unfinished.stuck {
            stuck.insert(target, *count);
        }
        let help = "Revocations with a failed attempt, or under way for more than 60 s";
        let family = Family::gauge("revocations_stuck", help);
        stuck.into_iter().fold(family, |family, (target, count)| {
            family.with([("target", target)], count)
        })
    }

    fn targets_up(&self) -> Family {
        let family = Family::gauge(
            "target_up",
            "Whether the target answers, as far as it was called",
        );
        self.targets.sites().fold(family, |family, site| {
            let up = !site.breaker.health().is_away();
            family.with([("target", site.target.name.as_str())], u64::from(up))
        })
    }

    fn plain(&self) -> [Family; 6] {
        let version = env!("CARGO_PKG_VERSION");
        let one = |name, help, value| Family::gauge(name, help).with([], value);
        [
            one(
                "ledger_entries",
                "Entries in the ledger",
                self.store.header().seq,
            ),
            one(
                "store_short_of_space",
                "Whether grants are refused because the disk is short of space",
                u64::from(self.store.is_short_of_space()),
            ),
            one(
                "store_size",
                "The size of the store's file",
                self.store.bytes_on_disk(),
            )
            .in_unit(Unit::Bytes),
            one(
                "start_time",
                "When the broker was started, since 1970",
                self.started_at.seconds(),
            )
            .in_unit(Unit::Seconds),
            Family::counter("telemetry_dropped", "Spans that were not delivered")
                .with([], self.telemetry.dropped()),
            Family::gauge("build_info", "One, with the version of the broker")
                .with([("version", version)], 1),
        ]
    }

    fn unfinished(&self, snapshot: &Snapshot) -> Result<Unfinished, Error> {
        let mut unfinished = Unfinished::default();
        let (now, mut after, mut seen) = (self.now(), None, 0);
        let mut tasks = BTreeSet::new();
        while seen < MOST {
            let page = snapshot.outbox(after, STRIDE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.lease);
            seen += page.len();
            for out in page {
                tasks.insert(out.lease.task);
                let Some(lease) = snapshot.lease(out.lease)? else {
                    continue;
                };
                if out.effect == Effect::Issue {
                    let kind = self.kind_at(&lease.target);
                    *unfinished.issuing.entry(kind).or_default() += 1;
                }
                let stuck = unfinished
                    .stuck
                    .entry(lease.target.to_string())
                    .or_default();
                *stuck += u64::from(is_stuck(&lease.state, now));
            }
        }
        for task in tasks {
            let task = snapshot.task(task)?;
            unfinished.closing += u64::from(task.is_some_and(|task| !task.is_open()));
        }
        Ok(unfinished)
    }
}

fn is_stuck(state: &LeaseState, now: Timestamp) -> bool {
    match state {
        LeaseState::Revoking {
            since, attempts, ..
        } => *attempts > 0 || now.since(*since) > STUCK,
        _ => false,
    }
}
