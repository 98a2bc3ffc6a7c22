//! The nodes of a tree, out of its tiles.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::{Kind, Tile, TileError, WIDTH};
use crate::merkle::{Hash, Nodes, ProofError, complete};

/// Reads nodes from tiles, which come from a function: a store, a directory, a server. What was fetched is kept, so make
/// one for each proof. Tiles are not checked here; a proof made of false ones does not verify.
pub struct TileNodes<F> {
    size: u64,
    fetch: F,
    fetched: RefCell<BTreeMap<Tile, Vec<Hash>>>,
}

impl<F, E> TileNodes<F>
where
    F: Fn(Tile) -> Result<Vec<u8>, E>,
    E: From<TileError> + From<ProofError>,
{
    /// The nodes of a tree of this size.
    pub fn new(size: u64, fetch: F) -> Self {
        let fetched = RefCell::default();
        Self {
            size,
            fetch,
            fetched,
        }
    }

    fn complete(&self, tile: Tile, start: usize, width: usize) -> Result<Option<Hash>, E> {
        let mut fetched = self.fetched.borrow_mut();
        let hashes = match fetched.entry(tile) {
            Entry::Occupied(hashes) => hashes.into_mut(),
            Entry::Vacant(place) => place.insert(tile.hashes(&(self.fetch)(tile)?)?),
        };
        Ok(hashes.get(start..start + width).map(complete))
    }
}

impl<F, E> Nodes for TileNodes<F>
where
    F: Fn(Tile) -> Result<Vec<u8>, E>,
    E: From<TileError> + From<ProofError>,
{
    type Error = E;

    fn node(&self, level: u32, index: u64) -> Result<Hash, E> {
        let missing = ProofError::Missing { level, index };
        let above = level % 8;
        let kind = u8::try_from(level / 8).map(Kind::Hashes);
        let first = index.checked_mul(1 << above).ok_or(missing)?;
        let place = first / u64::from(WIDTH);
        let tile = kind.ok().and_then(|kind| Tile::of(kind, place, self.size));
        let start = usize::try_from(first % u64::from(WIDTH)).map_err(|_| missing)?;
        let hash = self.complete(tile.ok_or(missing)?, start, 1 << above)?;
        hash.ok_or_else(|| missing.into())
    }
}
