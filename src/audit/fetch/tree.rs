//! The hash tiles of a tree whose root is known, from the top down: each is verified before it is written.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use quietus_ledger::merkle::{self, Frontier, Hash, Leaves, ProofError};
use quietus_ledger::tiles::{Kind, MAX_LEVEL, Tile, TileError, TileNodes, WIDTH};

use super::Progress;
use super::folder::Folder;
use crate::audit::Remote;

/// The bytes of a full hash tile.
pub(super) const TILE: usize = 32 * WIDTH as usize;

/// A tree that is being copied.
pub(super) struct Tree<'a> {
    pub(super) remote: &'a Remote,
    pub(super) folder: &'a Folder,
    pub(super) size: u64,
    pub(super) root: Hash,
    /// The size of the tree that the folder has the tiles of.
    pub(super) had: u64,
}

impl Tree<'_> {
    /// Fetches every hash tile that is not there.
    pub(super) async fn fetch(&self, progress: &mut Progress<'_>) -> anyhow::Result<()> {
        for (tile, bytes) in self.edge().await? {
            self.folder.write(&tile.to_string(), &bytes)?;
            progress.step();
        }
        for level in (0..=MAX_LEVEL).rev() {
            for index in 0..full(level, self.size) {
                self.inner(level, index).await?;
                progress.step();
            }
        }
        Ok(())
    }

    /// The partial tiles: together they lead to the root.
    async fn edge(&self) -> anyhow::Result<BTreeMap<Tile, Vec<u8>>> {
        let mut edge = BTreeMap::new();
        for tile in edge_of(self.size) {
            edge.insert(tile, self.fetched(tile).await?);
        }
        let fetch = |tile: Tile| -> Result<Vec<u8>, TreeError> {
            edge.get(&tile).cloned().ok_or(TreeError::Missing(tile))
        };
        let frontier = Frontier::read(&TileNodes::new(self.size, fetch), self.size)?;
        match frontier.root() == self.root {
            true => Ok(edge),
            false => bail!(
                "the broker's tiles do not lead to the root of its checkpoint of {} entries: nothing of them was kept",
                self.size
            ),
        }
    }

    /// A full tile: its root is a hash of the tile above it.
    async fn inner(&self, level: u8, index: u64) -> anyhow::Result<()> {
        let tile = Tile::new(Kind::Hashes(level), index, WIDTH).context("no such tile")?;
        let name = tile.to_string();
        if index < full(level, self.had) && self.folder.has(&name) {
            return Ok(());
        }
        let width = u64::from(WIDTH);
        let above = self.hashes(level + 1, index / width)?;
        let place = usize::try_from(index % width)?;
        let expected = above.get(place).context("the tile above is too narrow")?;
        if let Some(there) = self.folder.read(&name, TILE)?
            && is_under(tile, &there, expected)
        {
            return Ok(());
        }
        let bytes = self.fetched(tile).await?;
        match is_under(tile, &bytes, expected) {
            true => self.folder.write(&name, &bytes),
            false => bail!(
                "{tile} does not hold what the tree over it says: the broker's or the one above it in this folder was altered"
            ),
        }
    }

    /// The hashes of a tile that is there.
    pub(super) fn hashes(&self, level: u8, index: u64) -> anyhow::Result<Vec<Hash>> {
        let tile = Tile::of(Kind::Hashes(level), index, self.size).context("no such tile")?;
        Ok(tile.hashes(&self.there(tile)?)?)
    }

    /// The root that the tree had when it was smaller.
    pub(super) fn root_at(&self, size: u64) -> anyhow::Result<Hash> {
        let fetch = |tile| self.there(tile).map_err(TreeError::Other);
        Ok(merkle::root(&TileNodes::new(self.size, fetch), size)?)
    }

    fn there(&self, tile: Tile) -> anyhow::Result<Vec<u8>> {
        let bytes = self.folder.read(&tile.to_string(), TILE)?;
        bytes.with_context(|| format!("the copy lacks {tile}"))
    }

    async fn fetched(&self, tile: Tile) -> anyhow::Result<Vec<u8>> {
        let bytes = self.remote.tile(tile).await?;
        bytes.with_context(|| format!("the broker lacks {tile}, which its checkpoint covers"))
    }
}

/// How many full tiles a tree of this size has at a level.
pub(super) fn full(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0)
}

/// The partial hash tiles of a tree of this size.
pub(super) fn edge_of(size: u64) -> impl Iterator<Item = Tile> {
    (0..=MAX_LEVEL).filter_map(move |level| {
        let tile = Tile::of(Kind::Hashes(level), full(level, size), size)?;
        tile.is_partial().then_some(tile)
    })
}

fn is_under(tile: Tile, bytes: &[u8], expected: &Hash) -> bool {
    let root = |hashes: Vec<Hash>| merkle::root(&Leaves(&hashes), WIDTH.into());
    let hashes = tile.hashes(bytes).ok();
    hashes.is_some_and(|hashes| root(hashes).is_ok_and(|root| root == *expected))
}

#[derive(Debug, thiserror::Error)]
enum TreeError {
    #[error(transparent)]
    Tile(#[from] TileError),
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("the copy lacks {0}")]
    Missing(Tile),
    #[error(transparent)]
    Other(anyhow::Error),
}
