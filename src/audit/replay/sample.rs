//! Grants that never were, to measure with how fast decisions are replayed.

use anyhow::Context;
use quietus_core::{Digest, Scope};
use quietus_ledger::{Caller, Draft, Entry, Facts, Lease, Task, VERSION};
use quietus_policy::PolicySet;

use super::{Replay, Replayed};
use crate::archive;
use crate::question::{Question, recorded};

const AGENT: &str = "spiffe://dev.example/agent/builder";

/// Entries as a broker writes them, in memory, and the archived policy set that decided them.
#[derive(Clone, Debug)]
pub struct Sample {
    entries: Vec<Vec<u8>>,
    digest: Digest,
    archive: Vec<u8>,
}

impl Sample {
    /// So many entries, each with one decision of this policy set about this scope: an agent of tier 1 of the team
    /// `data` asks for it, in and for the environment `dev`.
    ///
    /// # Errors
    /// If an entry cannot be written.
    pub fn new(set: &PolicySet, scope: &Scope, entries: u64) -> anyhow::Result<Self> {
        let digest = Digest(set.digest());
        let sealed = (1..=entries).map(|seq| {
            let entry = grant(set, scope, seq);
            Ok(Draft::new(&entry)?.seal(seq))
        });
        Ok(Self {
            entries: sealed.collect::<anyhow::Result<_>>()?,
            archive: archive::pack(set).context("the policy set cannot be archived")?,
            digest,
        })
    }

    /// Replays all of it on this thread, with the compiling of the policy set.
    ///
    /// # Errors
    /// If a decision differs, which would be an error here.
    pub fn replay(&self) -> anyhow::Result<Replayed> {
        let mut replay = Replay::new(None, None);
        replay.supply(self.digest, Some(&self.archive));
        for (seq, bytes) in (1..).zip(&self.entries) {
            let sealed = replay.read(seq, bytes);
            replay.take(&sealed.context("an entry cannot be read")?);
        }
        let replayed = replay.finish()?;
        let found = replayed.findings.first();
        anyhow::ensure!(found.is_none(), "a decision differs: {found:?}");
        Ok(replayed)
    }
}

fn grant(set: &PolicySet, scope: &Scope, seq: u64) -> Entry {
    let text = str::to_owned;
    let now = 1_800_000_000 + seq;
    let facts = Facts {
        agent_environment: text("dev"),
        approved: false,
        delegation_depth: 0,
        owner: text("alice@example.com"),
        target_environment: text("dev"),
        target_kind: text("jwt"),
        target_sensitivity: 1,
        task_age: seq % 3_600,
        task_environment: text("dev"),
        task_held: seq.is_multiple_of(2),
        task_leases: seq % 16,
        team: text("data"),
        tier: 1,
        time: now,
        ttl: 300,
    };
    let task = format!("0192f0c1-7d7e-7c3a-9b1d-{:012x}", seq / 16);
    let question = Question::new(AGENT, scope.target().clone(), facts.clone());
    let decision = recorded(&set.decide(&question.request(scope)));
    let permitted = decision.outcome == "permit";
    let lease = Lease {
        bound: Some(text("request")),
        certificate: Some("ab".repeat(32)),
        expires_at: Some((now + 300) * 1000),
        fingerprint: Some("cd".repeat(32)),
        id: format!("{task}.{}", seq % 16),
        scopes: vec![scope.to_string()],
        state: text("Active"),
        target: scope.target().to_string(),
        ..Lease::default()
    };
    Entry {
        agent: Some(text(AGENT)),
        broker: text("spiffe://dev.example/broker"),
        caller: Some(Caller {
            certificate: "ab".repeat(32),
            id: text(AGENT),
        }),
        decisions: vec![decision],
        event: text(match permitted {
            true => "lease.issued",
            false => "request.refused",
        }),
        facts: Some(facts),
        leases: Vec::from_iter(permitted.then_some(lease)),
        policy: Some(Digest(set.digest()).to_string()),
        refusal: (!permitted).then(|| text("DENIED_BY_POLICY")),
        request: Some("ef".repeat(32)),
        task: Some(Task {
            id: task,
            previous: seq,
            state: text("Open"),
            version: seq + 1,
            ..Task::default()
        }),
        time: now * 1000,
        v: VERSION,
        ..Entry::default()
    }
}
