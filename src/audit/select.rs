//! Some of the entries of a log, in order.

use std::collections::VecDeque;

use anyhow::{Context, bail};
use quietus_core::TaskId;
use quietus_ledger::Sealed;
use tonic::Streaming;

use super::{Log, Remote};
use crate::api::v1;

/// Which entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The first, counted from 1; the first there is if none.
    pub from: Option<u64>,
    /// The last; the last there is if none.
    pub to: Option<u64>,
    /// Only those that name this task.
    pub task: Option<TaskId>,
    /// Only those that are not earlier, in milliseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Only those that are earlier, in milliseconds since the Unix epoch.
    pub until: Option<u64>,
}

/// An entry, and the bytes that were hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// As it was read.
    pub sealed: Sealed,
    /// Canonical JSON.
    pub bytes: Vec<u8>,
}

/// Entries on their way.
#[derive(Debug)]
pub struct Entries {
    stream: Streaming<v1::ReadEntriesResponse>,
    ready: VecDeque<Vec<u8>>,
    asked: Selection,
    last: u64,
}

impl Log {
    /// Those entries that are asked for.
    ///
    /// # Errors
    /// If the log cannot be read, or those entries were pruned.
    pub async fn select(&self, asked: Selection) -> anyhow::Result<Entries> {
        match self {
            Self::Broker(remote) => Entries::of(remote, asked).await,
            Self::Copy(_) => bail!(
                "entries are selected by a broker, and not in a copy: name one with --identity"
            ),
        }
    }
}

impl Found {
    /// Reads an entry.
    ///
    /// # Errors
    /// If it is not an entry in canonical form.
    pub fn read(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let sealed = Sealed::parse(&bytes).context("what the broker sent")?;
        Ok(Self { sealed, bytes })
    }
}

impl Entries {
    async fn of(remote: &Remote, asked: Selection) -> anyhow::Result<Self> {
        let (from, to) = (asked.from.unwrap_or(0), asked.to.unwrap_or(0));
        Ok(Self {
            stream: remote.stream(from, to, asked.task, false).await?,
            ready: VecDeque::new(),
            asked,
            last: from.max(1) - 1,
        })
    }

    /// The next one; none at the end.
    ///
    /// # Errors
    /// If the log cannot be read, or an entry is left out or out of order.
    pub async fn next(&mut self) -> anyhow::Result<Option<Found>> {
        loop {
            let Some(bytes) = self.ready.pop_front() else {
                let Some(portion) = self.stream.message().await? else {
                    return Ok(None);
                };
                self.ready.extend(portion.entries);
                continue;
            };
            let found = Found::read(bytes)?;
            follows(self.last, found.sealed.seq, self.asked.task.is_some())?;
            self.last = found.sealed.seq;
            if self.asked.holds(&found.sealed) {
                return Ok(Some(found));
            }
        }
    }
}

/// That an entry comes after the last one, and next to it unless some are left out on purpose.
///
/// # Errors
/// If it does not.
pub fn follows(last: u64, seq: u64, filtered: bool) -> anyhow::Result<()> {
    match seq {
        seq if seq <= last => bail!("the broker sent entry {seq} after entry {last}"),
        seq if seq > last + 1 && !filtered => bail!("the broker left out entry {}", last + 1),
        _ => Ok(()),
    }
}

impl Selection {
    fn holds(&self, sealed: &Sealed) -> bool {
        let time = sealed.entry.time;
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_one_by_one() {
        assert!(follows(0, 1, false).is_ok());
        assert!(follows(7, 8, false).is_ok());
        assert!(follows(7, 12, true).is_ok());
        for (last, seq, filtered) in [
            (7, 7, false),
            (7, 6, false),
            (7, 9, false),
            (7, 7, true),
            (7, 1, true),
        ] {
            assert!(
                follows(last, seq, filtered).is_err(),
                "{last} {seq} {filtered}"
            );
        }
    }
}
