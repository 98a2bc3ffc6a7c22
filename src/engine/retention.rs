//! Forgetting entries that are older than they are to be kept. Their hashes stay, so every proof and checkpoint does.
//!
//! What is forgotten is the longest run of whole bundles from the first entry on in which every entry is old enough and
//! that a signed checkpoint covers; a cosigned one, where there are witnesses. It goes in portions, each in one
//! commit with the entry that announces it. Lists and texts kept beside those entries go with them. Archived policy
//! sets stay: they are few, and later entries rest on them.

use std::sync::Arc;
use std::time::Duration;

use quietus_core::{Digest, Timestamp};
use quietus_ledger::{Entry, Sealed};

use super::record::{drafts, hex};
use super::{Engine, Error};
use crate::store::{Commit, CommitError, Prune, Snapshot};

/// Entries in a bundle, which goes as a whole.
const BUNDLE: u64 = quietus_ledger::tiles::WIDTH as u64;
/// Most bundles that one commit forgets.
const PORTION: u64 = 4;

/// Between two portions.
const PAUSE: Duration = Duration::from_millis(20);

/// Some entries that are old enough, and what is kept beside them.
#[derive(Default)]
struct Old {
    through: u64,
    attachments: Vec<Digest>,
    texts: Vec<Digest>,
}

impl Engine {
    /// Forgets what is older than the configured retention; how many entries. Without one nothing is forgotten.
    pub async fn prune(&self) -> Result<u64, Error> {
        let Some(retention) = self.config.ledger.retention else {
            return Ok(0);
        };
        self.not_in_maintenance()?;
        let before = self.store.header().pruned;
        while self.prune_portion(retention).await? {
            // Whoever waits for a commit does not wait for a whole ledger to be pruned.
            tokio::time::sleep(PAUSE).await;
        }
        let forgotten = self.store.header().pruned - before;
        if forgotten > 0 {
            tracing::info!(forgotten, "entries past their retention were pruned");
        }
        Ok(forgotten)
    }

    async fn prune_portion(&self, retention: Duration) -> Result<bool, Error> {
        let now = self.now();
        let snapshot = self.store.read();
        let Some(limit) = self.provable(&snapshot)? else {
            return Ok(false);
        };
        let from = snapshot.pruned() + 1;
        let reading = Arc::clone(&snapshot);
        let collected =
            tokio::task::spawn_blocking(move || collect(&reading, limit, now, retention));
        let old = collected.await.map_err(|_| Error::Stopped)??;
        if old.through < from {
            return Ok(false);
        }
        let entry = self.announce(&snapshot, from, old.through, now)?;
        let commit = Commit {
            now,
            texts: old.texts.into_iter().map(|text| (text, None)).collect(),
            entries: drafts(Some(entry))?,
            prune: Some(Prune {
                through: old.through,
                attachments: old.attachments,
            }),
            ..Commit::default()
        };
        match self.store.commit(commit).await {
            Ok(_) => Ok(true),
            // Somebody else was faster, and goes on with it.
            Err(CommitError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How much of the ledger is covered by what outsiders can hold it to.
    fn provable(&self, snapshot: &Snapshot) -> Result<Option<u64>, Error> {
        let signed = snapshot.checkpoint()?.map(|head| head.size);
        if self.config.ledger.witnesses.is_empty() {
            return Ok(signed);
        }
        Ok(signed.and(self.witnesses.newest()))
    }

    fn announce(
        &self,
        snapshot: &Snapshot,
        from: u64,
        through: u64,
        now: Timestamp,
    ) -> Result<Entry, Error> {
        let mut entry = self.entry("ledger.pruned", None, now);
        entry.detail = [
            ("from", from.to_string()),
            ("root", hex(&snapshot.root_at(through)?)),
            ("through", through.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        Ok(entry)
    }
}

/// The oldest bundles, as far as they go: up to `limit`, and as long as all in them is old enough.
fn collect(
    snapshot: &Snapshot,
    limit: u64,
    now: Timestamp,
    retention: Duration,
) -> Result<Old, Error> {
    let mut old = Old {
        through: snapshot.pruned(),
        ..Old::default()
    };
    let last = limit.min(old.through + PORTION * BUNDLE);
    while old.through + BUNDLE <= last {
        let bundle = snapshot.entries(old.through + 1, BUNDLE as usize)?;
        let sealed = bundle.iter().map(|entry| Sealed::parse(entry));
        let sealed = sealed.collect::<Result<Vec<_>, _>>()?;
        let is_old = |sealed: &Sealed| now.since(Timestamp(sealed.entry.time)) > retention;
        if !sealed.iter().all(is_old) {
            break;
        }
        for Sealed { entry, .. } in &sealed {
            old.let_go_with(entry);
        }
        old.through += BUNDLE;
    }
    Ok(old)
}

impl Old {
    fn let_go_with(&mut self, entry: &Entry) {
        let lists = entry.attached.values();
        let lists = lists.filter_map(|attached| attached.sha256.parse::<Digest>().ok());
        self.attachments.extend(lists);
        let text = entry.action.as_ref().and_then(|it| it.text.as_ref());
        self.texts
            .extend(text.and_then(|text| text.parse::<Digest>().ok()));
    }
}
