//! Every recorded decision, made again.
//!
//! An entry with decisions holds all that policy was told. The policy set is the archived one whose digest the entry
//! names, or, to see what another policy would change, any other. Whether the entries themselves are genuine is not
//! asked here: that is for the tree to say.

mod changes;
mod finding;
mod one;
pub mod sample;
mod sets;

use std::collections::BTreeMap;
use std::sync::Arc;

use quietus_core::{Digest, TaskId};
use quietus_ledger::{Entry, Sealed};
use quietus_policy::PolicySet;
use serde::Serialize;

use super::Log;
use super::walk::{self, Range};
use changes::Changes;
use sets::Sets;

pub use changes::Change;
pub use finding::{Answer, Finding, Problem};
pub use one::{Unanswerable, again};

/// Most findings that are told one by one.
pub const MAX_FINDINGS: usize = 1_000;

/// Decides again what entries tell of, one entry at a time and in order. Whoever drives it supplies the policy sets.
pub struct Replay {
    under: Option<Arc<PolicySet>>,
    only: Option<String>,
    sets: Sets,
    /// The digest that the last entry about it says is in force.
    in_force: Option<String>,
    changes: Changes,
    replayed: Replayed,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// The first entry looked at; none if there was none.
    pub first: Option<u64>,
    /// The last entry looked at.
    pub last: Option<u64>,
    /// How many entries hold decisions that were made again.
    pub entries: u64,
    /// How many decisions were made again.
    pub decisions: u64,
    /// How many of them were recorded with which outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// How many findings there are.
    pub finding_count: u64,
    /// The first of them, [`MAX_FINDINGS`] at most.
    pub findings: Vec<Finding>,
    /// What would be different under another policy, by agent and scope, if there was one to compare with.
    pub changes: Option<Vec<Change>>,
}

/// Replays these entries; those of one task only, if one is named.
///
/// # Errors
/// If the log cannot be read. What is wrong with an entry is a finding and not an error.
pub async fn replay(
    log: &mut Log,
    range: Range,
    task: Option<TaskId>,
    under: Option<PolicySet>,
    mut seen: impl FnMut(u64),
) -> anyhow::Result<Replayed> {
    let mut replay = Replay::new(task, under);
    let mut walk = walk::Walk::new(range);
    while let Some((seq, bytes)) = walk.next(log).await? {
        if let Some(mut sealed) = replay.read(seq, &bytes) {
            let found = walk::restore(log, &mut sealed.entry, "decisions").await?;
            replay.feed(log, &sealed, found).await?;
        }
        seen(seq);
    }
    replay.finish()
}

impl Replay {
    /// With the archived policy sets, or under another one.
    pub fn new(task: Option<TaskId>, under: Option<PolicySet>) -> Self {
        Self {
            under: under.map(Arc::new),
            only: task.map(|task| task.to_string()),
            sets: Sets::default(),
            in_force: None,
            changes: Changes::default(),
            replayed: Replayed::default(),
        }
    }

    /// Reads the entry in this place.
    pub fn read(&mut self, seq: u64, bytes: &[u8]) -> Option<Sealed> {
        self.replayed.first.get_or_insert(seq);
        self.replayed.last = Some(seq);
        let problem = match Sealed::parse(bytes) {
            Ok(sealed) if sealed.seq == seq => return Some(sealed),
            Ok(sealed) => format!("it says that it is entry {}", sealed.seq),
            Err(error) => error.to_string(),
        };
        self.find(Finding::bare(seq, Problem::Malformed { problem }));
        None
    }

    /// The archived policy set that is needed for this entry and has not been supplied.
    pub fn wants(&self, entry: &Entry) -> Option<Digest> {
        let digest = self.concerns(entry).then_some(entry.policy.as_ref()?)?;
        let digest = digest.parse().ok()?;
        let decided = !entry.decisions.is_empty() && self.under.is_none();
        (decided && !self.sets.has(digest)).then_some(digest)
    }

    /// Takes what is archived under this digest, if anything is.
    pub fn supply(&mut self, digest: Digest, archive: Option<&[u8]>) {
        self.sets.supply(digest, archive);
    }

    /// Decides again what this entry tells of.
    pub fn take(&mut self, sealed: &Sealed) {
        let entry = &sealed.entry;
        if self.concerns(entry) {
            let (mut findings, decided) = self.judge(sealed);
            findings.drain(..).for_each(|finding| self.find(finding));
            self.replayed.entries += u64::from(decided > 0);
            self.replayed.decisions += decided;
        }
        if entry.event == "policy.loaded" {
            self.in_force.clone_from(&entry.policy);
        }
    }

    /// What came of all of it.
    ///
    /// # Errors
    /// If there are more changes than can be told.
    pub fn finish(self) -> anyhow::Result<Replayed> {
        let changes = self.under.is_some().then(|| self.changes.into_list());
        Ok(Replayed {
            changes: changes.transpose()?,
            ..self.replayed
        })
    }

    /// Fetches what this entry needs, and takes it.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn feed(
        &mut self,
        log: &Log,
        sealed: &Sealed,
        restored: Result<(), String>,
    ) -> anyhow::Result<()> {
        if let Err(problem) = restored {
            if self.concerns(&sealed.entry) {
                self.find(Finding::of(sealed, Problem::Attachment { problem }));
            }
            return Ok(());
        }
        if let Some(digest) = self.wants(&sealed.entry) {
            let archive = log.policy_set(digest).await?;
            self.supply(digest, archive.as_deref());
        }
        self.take(sealed);
        Ok(())
    }

    fn concerns(&self, entry: &Entry) -> bool {
        let Some(only) = &self.only else { return true };
        let task = entry.task.as_ref().map(|task| &task.id);
        task.or_else(|| entry.detail.get("task")) == Some(only)
    }

    /// What is wrong with an entry, and how many of its decisions were made again.
    fn judge(&mut self, sealed: &Sealed) -> (Vec<Finding>, u64) {
        let entry = &sealed.entry;
        let mut problems = one::flaws(entry, self.in_force.as_deref());
        let mut decided = 0;
        if !entry.decisions.is_empty() {
            match self.set_for(entry).and_then(|set| again(entry, &set)) {
                Ok(answers) => {
                    decided = answers.len() as u64;
                    problems.extend(self.compare(sealed, answers));
                }
                Err(problem) => problems.push(Problem::Unanswerable {
                    problem: problem.to_string(),
                }),
            }
        }
        let told = |problem| Finding::of(sealed, problem);
        (problems.into_iter().map(told).collect(), decided)
    }

    fn set_for(&mut self, entry: &Entry) -> Result<Arc<PolicySet>, Unanswerable> {
        if let Some(under) = &self.under {
            return Ok(Arc::clone(under));
        }
        let digest = entry.policy.as_deref().ok_or(Unanswerable::NoDigest)?;
        let digest = digest.parse().map_err(|_| Unanswerable::NoDigest)?;
        self.sets.get(digest)
    }

    fn compare(&mut self, sealed: &Sealed, answers: Vec<quietus_ledger::Decision>) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (recorded, now) in sealed.entry.decisions.iter().zip(answers) {
            *count(&mut self.replayed.outcomes, &recorded.outcome) += 1;
            if self.under.is_some() {
                self.changes.compare(sealed, recorded, &now);
            } else if *recorded != now {
                problems.push(Problem::decision(recorded, &now));
            }
        }
        problems
    }

    fn find(&mut self, finding: Finding) {
        self.replayed.finding_count += 1;
        if self.replayed.findings.len() < MAX_FINDINGS {
            self.replayed.findings.push(finding);
        }
    }
}

/// Anything but one of the three words is counted as one.
fn count<'a>(outcomes: &'a mut BTreeMap<String, u64>, outcome: &str) -> &'a mut u64 {
    let known = ["permit", "deny", "approval_needed"];
    let word = known.into_iter().find(|word| *word == outcome);
    outcomes
        .entry(word.unwrap_or("other").to_owned())
        .or_default()
}

#[cfg(test)]
mod tests;
