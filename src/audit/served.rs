//! A broker's log as it is verified: the same files as in a copy, asked for one by one.

use std::collections::BTreeMap;

use anyhow::ensure;
use quietus_core::Digest;
use quietus_ledger::Tile;
use quietus_ledger::audit::{self, Files};
use tokio::runtime::Handle;

use super::Remote;

/// Most checkpoints that are kept for comparison.
const MAX_CHECKPOINTS: usize = 1_000_000;

/// The files of a broker's log, up to the newest checkpoint at the time when it was made.
///
/// Reading waits for the broker's answers, so read on a thread outside the runtime.
#[derive(Debug)]
pub struct Served {
    remote: Remote,
    runtime: Handle,
    newest: Vec<u8>,
    kept: BTreeMap<u64, Vec<u8>>,
}

impl Served {
    /// Asks for all checkpoints.
    ///
    /// # Errors
    /// If the broker does not answer, or has none.
    pub async fn new(remote: Remote) -> anyhow::Result<Self> {
        let mut kept = BTreeMap::new();
        loop {
            let after = kept.last_key_value().map_or(0, |(size, _)| *size);
            let page = remote.checkpoints(after).await?;
            let ascends = page.iter().all(|(size, _)| *size > after);
            let fits = kept.len() + page.len() <= MAX_CHECKPOINTS;
            ensure!(ascends && fits, "the broker's checkpoints have no end");
            if page.is_empty() {
                break;
            }
            kept.extend(page);
        }
        Ok(Self {
            // After the others, so that none of them is newer. Witnesses may have cosigned an earlier one only.
            newest: remote.checkpoint_at_most(u64::MAX).await?,
            runtime: Handle::current(),
            remote,
            kept,
        })
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let object = |name| audit::digest(name).map(Digest);
        match path.split_once('/') {
            None if path == "checkpoint" => Ok(Some(self.newest.clone())),
            Some(("checkpoints", size)) => {
                let size = size.parse().ok();
                Ok(size.and_then(|size: u64| self.kept.get(&size).cloned()))
            }
            Some(("tile", _)) => match path.parse::<Tile>() {
                Ok(tile) => self.remote.tile(tile).await,
                Err(_) => Ok(None),
            },
            Some(("attachments", name)) => match object(name) {
                Some(digest) => self.remote.attachment(digest).await,
                None => Ok(None),
            },
            Some(("policies", name)) => match object(name) {
                Some(digest) => self.remote.policy_set(digest).await,
                None => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

impl Files for Served {
    type Error = anyhow::Error;

    fn read(&self, path: &str) -> anyhow::Result<Option<Vec<u8>>> {
        self.runtime.block_on(self.ask(path))
    }

    /// What the broker has beyond the newest checkpoint is for the next one to cover, so only checkpoints are named.
    fn paths(&self) -> anyhow::Result<Vec<String>> {
        let kept = self.kept.keys().map(|size| format!("checkpoints/{size}"));
        Ok(kept.collect())
    }
}
