//! The Merkle tree over the ledger, growing in the transaction that writes the entries.

use quietus_ledger::merkle::{self, Frontier, Hash};
use quietus_ledger::tiles::{Kind, MAX_LEVEL, Tile, TileNodes};
use redb::Database;

use super::apply::Rare;
use super::rows::{BUNDLE, Header};
use super::snapshot::Snapshot;
use super::{OpenError, StoreError};

/// Signs the head of a tree of this size with this root.
pub type Notary = Box<dyn Fn(u64, &Hash) -> Result<Vec<u8>, String> + Send + Sync>;

type Tiles<'t> = Rare<'t, (u8, u64), &'static [u8]>;

/// The right edge of the tree: all that is needed to let it grow.
pub(super) struct Tree {
    frontier: Frontier,
    /// The hashes of the last tile of each level, as far as it has any.
    open: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree as it was left, provided that the ledger's last entries are those that it was grown over.
    pub(super) fn load(db: &Database, header: &Header) -> Result<Self, OpenError> {
        let tail = read_tail(db, header)?;
        let snapshot = Snapshot::take(db, *header, tail.clone())?;
        let nodes = TileNodes::new(header.seq, |tile| snapshot.must_have(tile));
        let frontier = Frontier::read(&nodes, header.seq)?;
        if frontier.root() != header.root {
            return Err(OpenError::Altered { seq: header.seq });
        }
        let mut open = vec![tail];
        for level in 1..=MAX_LEVEL {
            let index = (header.seq >> (8 * level)) / BUNDLE;
            let tile = Tile::of(Kind::Hashes(level), index, header.seq);
            let hashes =
                tile.map(|tile| Ok::<_, StoreError>(tile.hashes(&snapshot.must_have(tile)?)?));
            open.push(hashes.transpose()?.unwrap_or_default());
        }
        Ok(Self { frontier, open })
    }

    /// Appends an entry; whether a bundle is full now.
    pub(super) fn push(&mut self, entry: &[u8], tiles: &mut Tiles<'_>) -> Result<bool, StoreError> {
        let mut touched = 0;
        self.frontier.push(merkle::leaf(entry), |level, _, hash| {
            if level.is_multiple_of(8) {
                touched = level as usize / 8;
                self.open[touched].push(*hash);
            }
        });
        let size = self.frontier.size();
        for (level, open) in (0_u8..).zip(&mut self.open[..=touched]) {
            let full = open.len() as u64 == BUNDLE;
            if full || level > 0 {
                let hashes = size >> (8 * level);
                tiles
                    .open()?
                    .insert((level, (hashes - 1) / BUNDLE), open.concat().as_slice())?;
            }
            if full {
                open.clear();
            }
        }
        Ok(size.is_multiple_of(BUNDLE))
    }

    /// How many entries there are.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root over them.
    pub(super) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The hashes of the entries behind the last full bundle.
    pub(super) fn tail(&self) -> Vec<Hash> {
        self.open[0].clone()
    }
}

fn read_tail(db: &Database, header: &Header) -> Result<Vec<Hash>, OpenError> {
    let full = header.seq - header.seq % BUNDLE;
    let snapshot = Snapshot::take(db, *header, Vec::new())?;
    let entries = snapshot.entries(full + 1, BUNDLE as usize)?;
    match entries.len() as u64 == header.seq % BUNDLE {
        true => Ok(entries.iter().map(|entry| merkle::leaf(entry)).collect()),
        false => Err(OpenError::Altered { seq: header.seq }),
    }
}
