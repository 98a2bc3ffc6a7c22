//! Entries one after the other, never many of them in memory.

use std::collections::VecDeque;

use anyhow::Context;
use quietus_core::Digest;
use quietus_ledger::{Checkpoint, Entry};

use super::Log;

/// Which entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first, counted from 1.
    pub from: u64,
    /// The last; if none, the last there is.
    pub to: Option<u64>,
}

impl Default for Range {
    /// All of them.
    fn default() -> Self {
        Self { from: 1, to: None }
    }
}

/// On the way through a log.
#[derive(Debug)]
pub struct Walk {
    range: Range,
    next: u64,
    read: VecDeque<Vec<u8>>,
}

impl Walk {
    /// At the first of these entries.
    pub fn new(range: Range) -> Self {
        Self {
            next: range.from.max(1),
            range,
            read: VecDeque::new(),
        }
    }

    /// The next entry as it was hashed, and its place.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn next(&mut self, log: &mut Log) -> anyhow::Result<Option<(u64, Vec<u8>)>> {
        if self.range.to.is_some_and(|to| self.next > to) {
            return Ok(None);
        }
        if self.read.is_empty() {
            self.read = log.entries(self.next).await?.into();
        }
        let Some(bytes) = self.read.pop_front() else {
            return Ok(None);
        };
        let seq = self.next;
        self.next += 1;
        Ok(Some((seq, bytes)))
    }
}

/// Puts back the list of this name, if it was too large for the entry; what is wrong with it otherwise.
///
/// # Errors
/// If the log cannot be read.
pub async fn restore(
    log: &Log,
    entry: &mut Entry,
    name: &str,
) -> anyhow::Result<Result<(), String>> {
    let Some(attached) = entry.attached.get(name) else {
        return Ok(Ok(()));
    };
    let named = attached.sha256.clone();
    let Ok(digest) = named.parse::<Digest>() else {
        return Ok(Err(format!(
            "its {name} are kept under {named:?}, which is no digest"
        )));
    };
    let Some(bytes) = log.attachment(digest).await? else {
        return Ok(Err(format!(
            "its {name} are kept under {digest}, and are not there"
        )));
    };
    let restored = entry.restore(name, &bytes);
    Ok(restored.map_err(|error| error.to_string()))
}

/// How many entries the newest checkpoint says there are. Nobody's signature is looked at.
///
/// # Errors
/// If the log cannot be read, or has no checkpoint.
pub async fn size(log: &Log) -> anyhow::Result<u64> {
    Ok(unsigned(&log.checkpoint().await?)?.size)
}

/// What a signed checkpoint says, whoever signed it.
///
/// # Errors
/// If it is none.
pub fn unsigned(note: &[u8]) -> anyhow::Result<Checkpoint> {
    let note = std::str::from_utf8(note).context("the newest checkpoint is not text")?;
    let text = note.split_inclusive("\n\n").next().unwrap_or_default();
    let checkpoint = Checkpoint::parse(text.strip_suffix('\n').unwrap_or(text));
    checkpoint.context("the newest checkpoint is none")
}
