//! The tree over the ledger: what its growth costs, and proofs in a large one.

use std::time::Instant;

use anyhow::{Context, ensure};
use quietus_core::Timestamp;
use quietus_ledger::{Draft, Entry, merkle};
use ring::rand::{SecureRandom, SystemRandom};
use tonic::transport::Channel;

use super::load::{Measured, run_for};
use super::report::{Report, Target, Unit, median, millis};
use super::world::{Serving, World};
use super::{Plan, mint, replay, verify};
use crate::broker::Options;
use crate::store::{self, Commit, Store};

/// How much of the credentials a second is left when the tree grows beside them.
const UPKEEP: Target = Target::AtLeast(0.90);
const PROOF: Target = Target::AtMost(1.0);
/// How many entries are written at once, and how many proofs are made.
const PORTION: u64 = 4_096;
const PROOFS: u32 = 1_000;

pub(super) async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    upkeep(plan, report).await?;
    proofs(plan, report).await?;
    verify::measure(plan, report)?;
    replay::measure(plan, report)
}

/// Two brokers of the same kind, in turns: one lets the tree grow, one does not.
async fn upkeep(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    report.heading(
        "ledger",
        "RequestCredential with and without the tree over the ledger, in turns",
    );
    let with = Side::start(plan, false).await?;
    let without = Side::start(plan, true).await?;
    let (mut grown, mut plain) = (Vec::new(), Vec::new());
    // The first round only warms up.
    for round in 0..=plan.rounds {
        let one = without.round(plan).await?;
        let other = with.round(plan).await?;
        if round > 0 {
            plain.push(one);
            grown.push(other);
        }
    }
    report.rounds("ledger", "mint without tree", &plain);
    report.rounds("ledger", "mint", &grown);
    let ratios = grown
        .iter()
        .zip(&plain)
        .map(|(grown, plain)| grown.per_second() / plain.per_second());
    let ratio = median(ratios);
    report.check(
        "ledger",
        "mint / mint without tree",
        ratio,
        Unit::Ratio,
        UPKEEP,
    );
    without.stop().await?;
    with.stop().await
}

struct Side {
    /// Holds the folder.
    _world: World,
    serving: Serving,
    channels: Vec<Channel>,
}

impl Side {
    async fn start(plan: &Plan, without_tree: bool) -> anyhow::Result<Self> {
        let world = World::new(&plan.dir)?;
        let options = Options {
            without_tree,
            ..Options::default()
        };
        let serving = world.serve(options).await?;
        let channels = world.connect(&serving, "agent", plan.connections).await?;
        Ok(Self {
            _world: world,
            serving,
            channels,
        })
    }

    async fn round(&self, plan: &Plan) -> anyhow::Result<Measured> {
        let workers = mint::workers(&self.channels, plan.in_flight, false);
        run_for(plan.round, workers).await
    }

    async fn stop(self) -> anyhow::Result<()> {
        drop(self.channels);
        self.serving.stop().await
    }
}

/// Proofs out of a store with very many entries, each checked.
async fn proofs(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let shape = format!("inclusion proofs in a ledger of {} entries", plan.entries);
    report.heading("ledger", &shape);
    let world = World::new(&plan.dir)?;
    let store = Store::open(&store::Options {
        path: world.folder.join("proofs.redb"),
        cache_bytes: 128 << 20,
        min_free_bytes: 0,
        accept_restored: false,
        without_tree: false,
    })?;
    let begun = Instant::now();
    fill(&store, plan.entries).await?;
    let rate = plan.entries as f64 / begun.elapsed().as_secs_f64();
    report.note("ledger", "entries written", rate, Unit::PerSecond);
    let mut took = Vec::new();
    let snapshot = store.read();
    let (size, root) = (snapshot.ledger_size(), snapshot.ledger_root());
    for _ in 0..PROOFS {
        let seq = 1 + random()? % size;
        let before = Instant::now();
        let proof = snapshot.prove_inclusion(seq, size)?;
        took.push(millis(before.elapsed()));
        let entry = snapshot.entries(seq, 1)?;
        let leaf = merkle::leaf(entry.first().context("an entry is missing")?);
        merkle::verify_inclusion(&proof, &leaf, seq - 1, size, &root)?;
    }
    took.sort_by(f64::total_cmp);
    let worst = took.iter().rev().nth(took.len() / 100).copied();
    report.note(
        "ledger",
        "proof p50",
        median(took.into_iter()),
        Unit::Milliseconds,
    );
    report.check(
        "ledger",
        "proof p99",
        worst.unwrap_or_default(),
        Unit::Milliseconds,
        PROOF,
    );
    Ok(())
}

async fn fill(store: &Store, entries: u64) -> anyhow::Result<()> {
    let entry = Entry {
        broker: "spiffe://dev.example/broker".to_owned(),
        event: "bench.counted".to_owned(),
        v: quietus_ledger::VERSION,
        ..Entry::default()
    };
    let draft = Draft::new(&entry)?;
    while store.header().seq < entries {
        let portion = PORTION.min(entries - store.header().seq);
        let commit = Commit {
            now: Timestamp(1),
            entries: vec![draft.clone(); usize::try_from(portion)?],
            ..Commit::default()
        };
        store.commit(commit).await?;
    }
    ensure!(store.header().seq == entries, "the ledger was not filled");
    Ok(())
}

fn random() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("no randomness"))?;
    Ok(u64::from_be_bytes(bytes))
}
