//! The evidence, as a copy in a folder has it.

use anyhow::Context;
use quietus_core::Digest;
use quietus_ledger::audit::Files;
use quietus_ledger::tiles::{self, Kind, Tile, WIDTH};

use super::Folder;
use super::walk::unsigned;

/// A copy that is read.
#[derive(Clone, Debug)]
pub struct Offline {
    folder: Folder,
    size: u64,
}

impl Offline {
    /// The copy in this folder, up to its newest checkpoint.
    ///
    /// # Errors
    /// If it has no checkpoint.
    pub fn new(folder: Folder) -> anyhow::Result<Self> {
        let note = newest(&folder)?;
        let size = unsigned(&note)?.size;
        Ok(Self { folder, size })
    }

    /// The entries of one bundle from this one on; none at the end of the copy.
    pub fn entries(&self, from: u64) -> anyhow::Result<Vec<Vec<u8>>> {
        let Some(place) = from.checked_sub(1).filter(|place| *place < self.size) else {
            return Ok(Vec::new());
        };
        let bundle = Tile::of(Kind::Entries, place / u64::from(WIDTH), self.size);
        let bundle = bundle.context("a tree has no such place")?;
        let bytes = self.folder.read(&bundle.to_string())?;
        let bytes = bytes.with_context(|| {
            format!("{bundle} is not in the copy: were entries up to {from} or later pruned? Begin after them with --from")
        })?;
        let entries = tiles::entries(&bytes, bundle.width());
        let entries = entries.with_context(|| bundle.to_string())?;
        let before = usize::try_from(place % u64::from(WIDTH))?;
        Ok(entries.into_iter().skip(before).map(Into::into).collect())
    }

    /// An archived policy set.
    pub fn policy_set(&self, digest: Digest) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.folder.read(&format!("policies/{digest}"))?)
    }

    /// A list that was too large for its entry.
    pub fn attachment(&self, digest: Digest) -> anyhow::Result<Option<Vec<u8>>> {
        Ok(self.folder.read(&format!("attachments/{digest}"))?)
    }

    /// The newest signed checkpoint.
    pub fn checkpoint(&self) -> anyhow::Result<Vec<u8>> {
        newest(&self.folder)
    }
}

fn newest(folder: &Folder) -> anyhow::Result<Vec<u8>> {
    let note = folder.read("checkpoint")?;
    note.context("the copy has no checkpoint")
}
