//! The ledger, as auditors read it.

use std::sync::Arc;

use quietus_core::{Digest, TaskId};
use quietus_ledger::Sealed;
use quietus_ledger::merkle::Hash;
use quietus_ledger::tiles::{Kind, Tile};

use super::{Engine, Error};
use crate::store::{Commit, SignedHead, Snapshot};

/// How much older than a task's id its first entry may be: entries are dated before they get their place.
const SLACK: u64 = 60_000;
/// Most entries, and about how many bytes of them, that are read at once.
const PORTION: usize = 256;
const PORTION_BYTES: usize = 1 << 20;

/// Which entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// The first, counted from 1.
    pub from: u64,
    /// The last; if none, the last there is.
    pub to: Option<u64>,
    /// Only those that name this task.
    pub task: Option<TaskId>,
}

/// Some entries, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// Canonical JSON.
    pub entries: Vec<Vec<u8>>,
    /// The entry after the last one that was looked at.
    pub next: u64,
    /// Whether there are no more for now.
    pub done: bool,
}

/// A proof, and the roots that it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The size of the tree.
    pub size: u64,
    /// The hashes, the lowest first.
    pub hashes: Vec<Hash>,
    /// The root of the tree.
    pub root: Hash,
}

impl Engine {
    /// Has the head of the ledger's tree signed, if it has grown since.
    pub(super) async fn sign_head(&self) -> Result<(), Error> {
        let header = self.store.header();
        if header.seq == header.checkpoint {
            return Ok(());
        }
        let commit = Commit {
            now: self.now(),
            checkpoint: true,
            ..Commit::default()
        };
        self.store.commit(commit).await?;
        Ok(())
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.evidence.origin()
    }

    /// The newest checkpoint of a tree that is not larger; if no size is named, the newest, or with witnesses the one
    /// that most of them have cosigned lately.
    pub fn checkpoint(&self, at_most: Option<u64>) -> Result<SignedHead, Error> {
        let found = match at_most {
            None => self.served_checkpoint()?,
            Some(size) => self.store.read().checkpoint_at_most(size)?,
        };
        found.ok_or(Error::NotFound("checkpoint"))
    }

    /// The checkpoint of a tree of just this size, if it was kept.
    pub fn checkpoint_of(&self, size: u64) -> Result<SignedHead, Error> {
        let found = self.store.read().checkpoint_at_most(size)?;
        let exact = found.filter(|head| head.size == size);
        exact.ok_or(Error::NotFound("checkpoint"))
    }

    /// The checkpoints that are kept, of trees larger than that.
    pub fn checkpoints(&self, after: u64, most: usize) -> Result<Vec<SignedHead>, Error> {
        Ok(self.store.read().checkpoints(after, most)?)
    }

    /// The next entries of those that are asked for.
    pub fn entries(&self, asked: &Entries) -> Result<Portion, Error> {
        let snapshot = self.store.read();
        let size = snapshot.ledger_size();
        let last = asked.to.map_or(size, |to| to.min(size));
        let from = match asked.task {
            Some(task) if asked.from <= snapshot.pruned() + 1 => first_of(&snapshot, task)?,
            _ => asked.from.max(1),
        };
        if from <= snapshot.pruned() {
            return Err(pruned(snapshot.pruned()));
        }
        let most = last.saturating_add(1).saturating_sub(from);
        let most = usize::try_from(most).map_or(PORTION, |most| most.min(PORTION));
        let read = bounded(snapshot.entries(from, most)?);
        let next = from + read.len() as u64;
        let id = asked.task.map(|task| task.to_string());
        let names = |entry: &Vec<u8>| id.as_ref().is_none_or(|id| contains(entry, id));
        Ok(Portion {
            entries: read.into_iter().filter(names).collect(),
            next,
            done: next > last,
        })
    }

    /// That an entry is in the tree of so many entries; of the newest checkpoint's, if none is named.
    pub fn prove_inclusion(&self, entry: u64, size: Option<u64>) -> Result<Proof, Error> {
        let snapshot = self.store.read();
        let size = proven_size(&snapshot, size)?;
        if !(1..=size).contains(&entry) {
            let message = format!("a tree of {size} entries has no entry {entry}");
            return Err(Error::invalid("entry", message));
        }
        Ok(Proof {
            size,
            hashes: snapshot.prove_inclusion(entry, size)?,
            root: snapshot.root_at(size)?,
        })
    }

    /// That the tree of so many entries begins with that of fewer, and the root of the smaller one.
    pub fn prove_consistency(&self, old: u64, new: Option<u64>) -> Result<(Proof, Hash), Error> {
        let snapshot = self.store.read();
        let new = proven_size(&snapshot, new)?;
        if old > new {
            let message = format!("is larger than the tree of {new} entries");
            return Err(Error::invalid("old", message));
        }
        let proof = Proof {
            size: new,
            hashes: snapshot.prove_consistency(old, new)?,
            root: snapshot.root_at(new)?,
        };
        Ok((proof, snapshot.root_at(old)?))
    }

    /// A tile or a bundle of the tree as of the newest checkpoint.
    pub fn tile(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        let snapshot = self.store.read();
        let size = proven_size(&snapshot, None)?;
        let reached = Tile::of(tile.kind(), tile.index(), size);
        if tile.kind() == Kind::Entries && tile.start() < snapshot.pruned() {
            return Err(pruned(snapshot.pruned()));
        }
        let covered = reached.is_some_and(|reached| reached.width() >= tile.width());
        let content = match covered {
            true => snapshot.tile(tile)?,
            false => None,
        };
        content.ok_or(Error::NotFound("tile"))
    }

    /// An archived policy set.
    pub fn archived_policy(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        let found = self.store.read().policy(digest)?;
        found.ok_or(Error::NotFound("policy set"))
    }

    /// What an entry refers to.
    pub fn attachment(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        let found = self.store.read().attachment(digest)?;
        found.ok_or(Error::NotFound("attachment"))
    }

    /// How many entries there are, as it changes.
    pub fn grown(self: &Arc<Self>) -> tokio::sync::watch::Receiver<u64> {
        self.store.grown()
    }
}

fn proven_size(snapshot: &Snapshot, asked: Option<u64>) -> Result<u64, Error> {
    let newest = snapshot
        .checkpoint()?
        .ok_or(Error::NotFound("checkpoint"))?;
    match asked {
        Some(size) if size > newest.size => {
            let message = format!(
                "is beyond the newest checkpoint, of {} entries",
                newest.size
            );
            Err(Error::invalid("size", message))
        }
        asked => Ok(asked.unwrap_or(newest.size)),
    }
}

fn pruned(through: u64) -> Error {
    let message = format!("entries up to {through} were pruned: only their hashes are left");
    Error::refused("PRUNED", message)
}

/// The first of them, as many as make a message; one at least.
fn bounded(mut entries: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut bytes = 0;
    let fitting = entries.iter().take_while(|entry| {
        bytes += entry.len();
        bytes <= PORTION_BYTES
    });
    let most = fitting.count().max(1);
    entries.truncate(most);
    entries
}

fn contains(entry: &[u8], id: &str) -> bool {
    std::str::from_utf8(entry).is_ok_and(|text| text.contains(id))
}

/// An entry that is not behind the first of this task. The id says when it was opened.
fn first_of(snapshot: &Snapshot, task: TaskId) -> Result<u64, Error> {
    let opened = opened_at(task).saturating_sub(SLACK);
    let (mut low, mut high) = (snapshot.pruned() + 1, snapshot.ledger_size() + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match time_of(snapshot, middle)? < opened {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(low.max(1))
}

/// The first 48 bits of a UUIDv7 (RFC 9562 section 5.7).
pub(super) fn opened_at(task: TaskId) -> u64 {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&task.to_bytes()[..6]);
    u64::from_be_bytes(millis)
}

pub(super) fn time_of(snapshot: &Snapshot, seq: u64) -> Result<u64, Error> {
    let entries = snapshot.entries(seq, 1)?;
    let sealed = entries.first().map(|entry| Sealed::parse(entry));
    Ok(sealed.transpose()?.map_or(0, |sealed| sealed.entry.time))
}
