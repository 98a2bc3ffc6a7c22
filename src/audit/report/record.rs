//! Whether the entries lead to the newest checkpoint.

use quietus_core::Digest;
use quietus_ledger::merkle::{self, Hash};
use quietus_ledger::{Checkpoint, Frontier, Note, Verifier};
use serde::Serialize;

use crate::audit::walk;

/// What was found out about the newest checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordCheck {
    /// The log's name.
    pub origin: String,
    /// How many entries it covers.
    pub size: u64,
    /// The root of its tree, in hex.
    pub root: String,
    /// Whether the entries that were read have this root; none if they were not all read.
    pub root_matches: Option<bool>,
    /// Whether one of the given keys signed it; none if no key was given.
    pub signed: Option<bool>,
}

/// A tree over the entries as they are read.
#[derive(Debug)]
pub(super) struct Record {
    checkpoint: Checkpoint,
    signed: Option<bool>,
    frontier: Option<Frontier>,
    root: Option<Hash>,
}

impl Record {
    /// The tree up to this checkpoint. From any but the first entry no tree can be built.
    pub(super) fn new(note: &[u8], keys: &[Verifier], from: u64) -> anyhow::Result<Self> {
        let checkpoint = walk::unsigned(note)?;
        let signed = || Some(Note::parse(note).ok()?.verify(keys).is_ok());
        Ok(Self {
            signed: match keys.is_empty() {
                true => None,
                false => Some(signed().unwrap_or(false)),
            },
            frontier: (from <= 1).then(|| Frontier::new(0, Vec::new())).flatten(),
            root: (from <= 1 && checkpoint.size == 0).then(merkle::empty),
            checkpoint,
        })
    }

    /// The next entry.
    pub(super) fn push(&mut self, seq: u64, bytes: &[u8]) {
        let Some(frontier) = self
            .frontier
            .as_mut()
            .filter(|_| seq <= self.checkpoint.size)
        else {
            return;
        };
        frontier.push(merkle::leaf(bytes), |_, _, _| {});
        if frontier.size() == self.checkpoint.size {
            self.root = Some(frontier.root());
        }
    }

    /// Whether there are entries below the checkpoint that have not been read.
    pub(super) fn wants_more(&self) -> bool {
        self.frontier.is_some() && self.root.is_none()
    }

    /// What was found out. Fewer entries than a checkpoint covers are as bad as others.
    pub(super) fn finish(self) -> RecordCheck {
        let root = self.checkpoint.root;
        RecordCheck {
            root_matches: self.frontier.map(|_| self.root == Some(root)),
            root: Digest(root).to_string(),
            size: self.checkpoint.size,
            origin: self.checkpoint.origin,
            signed: self.signed,
        }
    }
}

impl RecordCheck {
    /// Whether a check that was made failed.
    pub fn is_contradicted(&self) -> bool {
        self.root_matches == Some(false) || self.signed == Some(false)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn checked(entries: &[&[u8]], size: u64, root: Hash, from: u64) -> RecordCheck {
        let text = Checkpoint::new("log.example/x", size, root).text().unwrap();
        let note = format!("{text}\n— log.example/x AAAA\n");
        let mut record = Record::new(note.as_bytes(), &[], from).unwrap();
        for (seq, entry) in (1..).zip(entries) {
            record.push(seq, entry);
        }
        record.finish()
    }

    #[test]
    fn the_entries_have_the_root_or_not() {
        let root = merkle::node(&merkle::leaf(b"a"), &merkle::leaf(b"b"));
        let good = checked(&[b"a", b"b", b"after the checkpoint"], 2, root, 1);
        assert_eq!((good.root_matches, good.signed), (Some(true), None));
        assert!(!good.is_contradicted());
        for entries in [
            &[b"a" as &[u8], b"c"] as &[&[u8]],
            &[b"b", b"a"],
            &[b"a"],
            &[],
        ] {
            assert!(
                checked(entries, 2, root, 1).is_contradicted(),
                "{entries:?}"
            );
        }
        assert_eq!(checked(&[b"b"], 2, root, 2).root_matches, None);
        assert_eq!(checked(&[], 0, merkle::empty(), 1).root_matches, Some(true));
    }
}
