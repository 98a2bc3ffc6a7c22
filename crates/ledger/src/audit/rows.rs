//! The hashes of a growing tree as its tiles hold them.

use crate::merkle::Hash;
use crate::tiles::{Kind, MAX_LEVEL, Tile, WIDTH};

/// For each level of tiles, the hashes of the one that is not full yet.
#[derive(Debug, Default)]
pub(super) struct Rows {
    levels: [Vec<Hash>; MAX_LEVEL as usize + 1],
}

impl Rows {
    /// Takes a node that came into being. Returns the tile that it fills, with its hashes.
    pub fn take(&mut self, level: u32, index: u64, hash: &Hash) -> Option<(Tile, Vec<Hash>)> {
        if !level.is_multiple_of(8) {
            return None;
        }
        let level = u8::try_from(level / 8).ok()?;
        let row = self.levels.get_mut(usize::from(level))?;
        row.push(*hash);
        if row.len() < usize::from(WIDTH) {
            return None;
        }
        let tile = Tile::new(Kind::Hashes(level), index / u64::from(WIDTH), WIDTH)?;
        Some((tile, std::mem::take(row)))
    }

    /// The tiles that stay partial in a tree of this size.
    pub fn rest(self, size: u64) -> impl Iterator<Item = (Tile, Vec<Hash>)> {
        let levels = (0_u8..).zip(self.levels);
        levels
            .filter(|(_, row)| !row.is_empty())
            .filter_map(move |(level, row)| {
                let nodes = size >> (8 * level);
                let tile = Tile::of(Kind::Hashes(level), nodes / u64::from(WIDTH), size)?;
                Some((tile, row))
            })
    }
}
