//! How fast a whole log is verified, by one thread.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{anyhow, ensure};
use quietus_ledger::audit::{self, Beside, Trust};
use quietus_ledger::tiles::{self, Kind, Tile};
use quietus_ledger::{
    Caller, Checkpoint, Decision, Draft, Entry, Facts, Frontier, Hash, Lease, Signer, Task, merkle,
};
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;

use super::Plan;
use super::report::{Report, Target, Unit, median};

const RATE: Target = Target::AtLeast(200_000.0);
const ORIGIN: &str = "bench.example/log";
/// Enough to tell: the work is the same for each.
const MOST: u64 = 200_000;
/// How many entries each kept checkpoint is after the one before.
const INTERVAL: u64 = 256;

/// Verifies a copy of a log of issued credentials, held in memory, again and again.
pub(super) fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let count = plan.entries.min(MOST);
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
        .and_then(|key| Ok(Ed25519KeyPair::from_pkcs8(key.as_ref())?))
        .map_err(|_| anyhow!("no key could be made"))?;
    let signer = Signer::new(ORIGIN, &pair)?;
    let entries = entries(count)?;
    let bytes = entries.iter().map(Vec::len).sum::<usize>() as f64 / count as f64;
    let shape = format!("verification of a copy of {count} entries of {bytes:.0} bytes");
    report.heading("ledger", &shape);
    let copy = self::copy(&entries, &signer)?;
    let trust = Trust {
        log: vec![signer.verifier().clone()],
        ..Trust::default()
    };
    let mut rates = Vec::new();
    for _ in 0..plan.rounds.max(1) {
        let begun = Instant::now();
        let Ok(report) = audit::verify(&copy, trust.clone(), &Beside::default(), |_, _| ());
        rates.push(count as f64 / begun.elapsed().as_secs_f64());
        ensure!(
            report.is_good(),
            "the copy does not verify: {:?}",
            report.findings
        );
    }
    let rate = median(rates.into_iter());
    report.check("ledger", "verified", rate, Unit::PerSecond, RATE);
    Ok(())
}

/// The files of a log of these entries, by path.
fn copy(entries: &[Vec<u8>], signer: &Signer<'_>) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut tree = Frontier::default();
    let mut rows = vec![Vec::<Hash>::new(); usize::from(tiles::MAX_LEVEL) + 1];
    let sign = |tree: &Frontier| {
        let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root());
        checkpoint
            .sign(std::slice::from_ref(signer))
            .map(String::into_bytes)
    };
    for entry in entries {
        tree.push(merkle::leaf(entry), |level, _, hash| {
            let row = rows.get_mut(level as usize / 8);
            row.filter(|_| level % 8 == 0)
                .into_iter()
                .for_each(|row| row.push(*hash));
        });
        if tree.size().is_multiple_of(INTERVAL) {
            files.insert(format!("checkpoints/{}", tree.size()), sign(&tree)?);
        }
    }
    for tile in tiles::grown(0, tree.size()) {
        files.insert(tile.to_string(), content(tile, entries, &rows)?);
    }
    files.insert("checkpoint".to_owned(), sign(&tree)?);
    files.insert(format!("policies/{}", digest()), Vec::new());
    Ok(files)
}

fn content(tile: Tile, entries: &[Vec<u8>], rows: &[Vec<Hash>]) -> anyhow::Result<Vec<u8>> {
    let start = usize::try_from(tile.start())?;
    let places = start..start + usize::from(tile.width());
    Ok(match tile.kind() {
        Kind::Entries => tiles::bundle(&entries[places])?,
        Kind::Hashes(level) => rows[usize::from(level)][places].concat(),
    })
}

fn entries(count: u64) -> anyhow::Result<Vec<Vec<u8>>> {
    let draft = Draft::new(&issued())?;
    Ok((1..=count).map(|seq| draft.clone().seal(seq)).collect())
}

fn digest() -> String {
    "8f".repeat(32)
}

/// What is recorded of a credential that is issued.
fn issued() -> Entry {
    let text = |text: &str| Some(text.to_owned());
    let task = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";
    let agent = "spiffe://dev.example/agent/builder";
    let scope = "orders-db:read:public.orders";
    Entry {
        agent: text(agent),
        broker: "spiffe://dev.example/broker".to_owned(),
        caller: Some(Caller {
            certificate: digest(),
            id: agent.to_owned(),
        }),
        decisions: vec![Decision {
            deciding: vec!["readers".to_owned()],
            outcome: "permit".to_owned(),
            scope: scope.to_owned(),
        }],
        event: "lease.issued".to_owned(),
        facts: Some(facts()),
        leases: vec![Lease {
            bound: text("policy"),
            certificate: text(&digest()),
            expires_at: Some(1_800_000_300_000),
            fingerprint: text(&digest()),
            id: format!("{task}.0"),
            scopes: vec![scope.to_owned()],
            state: "Active".to_owned(),
            target: "orders-db".to_owned(),
            ..Lease::default()
        }],
        policy: text(&digest()),
        request: text(&digest()),
        task: Some(Task {
            id: task.to_owned(),
            previous: 1,
            state: "Open".to_owned(),
            version: 2,
            ..Task::default()
        }),
        time: 1_800_000_000_000,
        v: quietus_ledger::VERSION,
        ..Entry::default()
    }
}

fn facts() -> Facts {
    let dev = || "dev".to_owned();
    Facts {
        agent_environment: dev(),
        approved: false,
        delegation_depth: 0,
        owner: "alice".to_owned(),
        target_environment: dev(),
        target_kind: "jwt".to_owned(),
        target_sensitivity: 1,
        task_age: 3,
        task_environment: dev(),
        task_held: true,
        task_leases: 0,
        team: "data".to_owned(),
        tier: 1,
        time: 1_800_000_000,
        ttl: 300,
    }
}
