//! The tree and its entries as static files (c2sp.org/tlog-tiles): hash tiles of 256, and bundles of entries.
//!
//! A tile at level L holds the nodes of the tree at level 8·L. Full tiles never change; the last one of each level may
//! be partial and is then named by its width: `tile/0/x001/234.p/5`. Nothing is stored here: bytes come and go.

mod bundle;
mod nodes;
mod path;

use crate::merkle::{Hash, ProofError};

pub use bundle::{MAX_BUNDLED, bundle, entries};
pub use nodes::TileNodes;

/// Hashes in a full tile, and entries in a full bundle.
pub const WIDTH: u16 = 256;
/// The highest level at which a tree of 2^64 − 1 leaves has a node.
pub const MAX_LEVEL: u8 = 7;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nodes of the tree at this level, where one level is eight of the tree's.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// One static file. Its text form is its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: Kind,
    index: u64,
    width: u16,
}

/// Why a tile or a bundle cannot be named, made or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not the path of a tile.
    #[error("not the path of a tile, for example tile/0/x001/234 or tile/entries/005.p/17")]
    Path,
    /// The tile does not hold what its name says.
    #[error("{tile} has {actual} bytes instead of {expected}")]
    Size {
        /// The tile.
        tile: Tile,
        /// How many bytes there are.
        actual: usize,
        /// How many its name promises.
        expected: usize,
    },
    /// A bundle that is cut short, or goes on after its last entry.
    #[error("a bundle does not hold exactly {0} entries")]
    Bundle(u16),
    /// A bundle of none, or of more than [`WIDTH`].
    #[error("a bundle holds 1 to {WIDTH} entries, not {0}")]
    Count(usize),
    /// Larger than [`MAX_BUNDLED`].
    #[error("an entry of {0} bytes is over the limit of {MAX_BUNDLED} in a bundle")]
    Entry(usize),
    /// What is wanted of the tree is not there.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl Tile {
    /// The tile at this place; none if no tree of up to 2^64 − 1 leaves has it. A full tile is [`WIDTH`] wide.
    pub fn new(kind: Kind, index: u64, width: u16) -> Option<Self> {
        let tile = Self { kind, index, width };
        let level = tile.level();
        if level > MAX_LEVEL || !(1..=WIDTH).contains(&width) {
            return None;
        }
        let end = index.checked_mul(WIDTH.into())?.checked_add(width.into())?;
        (end <= u64::MAX >> (8 * level)).then_some(tile)
    }

    /// The tile in a tree of this size that has this place; none if the tree does not reach so far.
    pub fn of(kind: Kind, index: u64, size: u64) -> Option<Self> {
        let level = Self {
            kind,
            index,
            width: WIDTH,
        }
        .level();
        let hashes = size.checked_shr(8 * u32::from(level))?;
        let left = hashes.checked_sub(index.checked_mul(WIDTH.into())?)?;
        let width = left.min(WIDTH.into());
        Self::new(kind, index, u16::try_from(width).ok()?)
    }

    /// What it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its place among the tiles of its kind, counted from 0.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it will be replaced by a wider one.
    pub fn is_partial(&self) -> bool {
        self.width < WIDTH
    }

    /// Where the first of its hashes or entries stands among those of its level, counted from 0.
    pub fn start(&self) -> u64 {
        self.index * u64::from(WIDTH)
    }

    /// The bytes of a hash tile as hashes.
    pub fn hashes(&self, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
        let (tile, actual) = (*self, bytes.len());
        let expected = usize::from(self.width) * 32;
        let (hashes, rest) = bytes.as_chunks();
        match rest.is_empty() && actual == expected {
            true => Ok(hashes.to_vec()),
            false => Err(TileError::Size {
                tile,
                actual,
                expected,
            }),
        }
    }

    /// Bundles stand beside the tiles of the leaf hashes.
    fn level(&self) -> u8 {
        match self.kind {
            Kind::Hashes(level) => level,
            Kind::Entries => 0,
        }
    }
}

/// Every tile and bundle that is new or wider in a tree of `new` leaves, compared with one of `old`.
pub fn grown(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let kinds = (0..=MAX_LEVEL).map(Kind::Hashes).chain([Kind::Entries]);
    kinds.flat_map(move |kind| {
        let level = Tile {
            kind,
            index: 0,
            width: WIDTH,
        }
        .level();
        let [from, to] = [old, new].map(|size| size >> (8 * level));
        let changed = from / u64::from(WIDTH)..to.div_ceil(WIDTH.into());
        let changed = changed.filter(move |_| to > from);
        changed.filter_map(move |index| Tile::of(kind, index, new))
    })
}

#[cfg(test)]
mod tests;
