//! Texts that were reported with actions: shown, and erased.
//!
//! What is erased is gone for everybody who asks the broker, at once and for good. The ledger keeps the commitment, which
//! tells nothing without its salt, and that goes with the text. Two things erasing does not do: the pages of the
//! store's file that held the text are free then but not overwritten, until something else is written there; and
//! copies that were made of the file before have what they have.

use quietus_core::{Digest, TaskId};
use quietus_identity::VerifiedSvid;
use quietus_ledger::Sealed;

use super::open::bounded;
use super::record::{because, drafts, trace_of};
use super::{Engine, Entries, Error, Plan};
use crate::store::{Commit, Read, SaltedText};

const MAX_REASON: usize = 1024;
/// How many commitments one entry names.
const PORTION: usize = 500;

/// What is to be erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// The text under this commitment.
    Text(Digest),
    /// Every text that was reported under this task until now.
    Task(TaskId),
}

impl Engine {
    /// The text under a commitment, and its salt.
    pub fn text(&self, commitment: Digest) -> Result<SaltedText, Error> {
        let found = self.store.read().text(commitment)?;
        found.ok_or(Error::NotFound("text"))
    }

    /// Erases texts, durably and with an entry that names their commitments; how many. Many go in portions: if one
    /// fails, those before it are erased.
    pub async fn erase_texts(
        &self,
        by: &VerifiedSvid,
        what: Erasure,
        reason: &str,
    ) -> Result<usize, Error> {
        self.not_in_maintenance()?;
        bounded("reason", reason, MAX_REASON)?;
        let (task, commitments) = match what {
            Erasure::Text(commitment) => (None, vec![commitment]),
            Erasure::Task(id) => (Some(id), self.commitments_of(id).await?),
        };
        let mut erased = 0;
        for portion in commitments.chunks(PORTION) {
            erased += self.erase_portion(by, task, portion, reason).await?;
        }
        match erased {
            0 => Err(Error::NotFound("text")),
            erased => Ok(erased),
        }
    }

    /// Those that are there; others may be faster.
    async fn erase_portion(
        &self,
        by: &VerifiedSvid,
        task: Option<TaskId>,
        commitments: &[Digest],
        reason: &str,
    ) -> Result<usize, Error> {
        self.settle_surely(|| {
            let snapshot = self.store.read();
            let mut there = Vec::new();
            for commitment in commitments {
                if snapshot.text(*commitment)?.is_some() {
                    there.push(*commitment);
                }
            }
            if there.is_empty() {
                return Ok(Plan::nothing(0));
            }
            let now = self.now();
            let mut entry = because(self.entry("text.erased", Some(by), now), reason);
            let names: Vec<String> = there.iter().map(ToString::to_string).collect();
            entry
                .detail
                .insert("commitments".to_owned(), names.join(" "));
            if let Some(id) = task {
                entry.detail.insert("task".to_owned(), id.to_string());
                let task = snapshot.task(id)?;
                entry.trace = task.map(|task| trace_of(&task, true)).or(entry.trace);
            }
            let commit = Commit {
                now,
                reads: there.iter().copied().map(Read::Text).collect(),
                texts: there.iter().map(|commitment| (*commitment, None)).collect(),
                entries: drafts(Some(entry))?,
                ..Commit::default()
            };
            let answer = there.len();
            Ok(Plan { commit, answer })
        })
        .await
    }

    /// What the ledger has of texts under a task, erased ones among them.
    async fn commitments_of(&self, task: TaskId) -> Result<Vec<Digest>, Error> {
        let id = task.to_string();
        let mut asked = Entries {
            from: self.store.read().pruned() + 1,
            to: None,
            task: Some(task),
        };
        let mut found = Vec::new();
        loop {
            let portion = self.entries(&asked)?;
            for entry in &portion.entries {
                let entry = Sealed::parse(entry)?.entry;
                // Others may have written the task's name into theirs.
                let is_own = entry.task.is_some_and(|fact| fact.id == id);
                let text = entry.action.and_then(|action| action.text);
                found.extend(
                    text.filter(|_| is_own)
                        .and_then(|text| text.parse::<Digest>().ok()),
                );
            }
            if portion.done {
                return Ok(found);
            }
            asked.from = portion.next;
            tokio::task::yield_now().await;
        }
    }
}
