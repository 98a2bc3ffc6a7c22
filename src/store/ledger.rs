//! Reading the ledger as of one commit: entries, the tree over them, and what is kept beside them.

use quietus_core::Digest;
use quietus_ledger::Sealed;
use quietus_ledger::merkle::{self, Hash, ProofError};
use quietus_ledger::tiles::{self, Kind, Tile, TileNodes};
use redb::ReadableTable;

use super::StoreError;
use super::rows::{self, BUNDLE};
use super::snapshot::Snapshot;
use super::text::SaltedText;

/// A signed checkpoint, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// The size of the tree.
    pub size: u64,
    /// A C2SP signed note.
    pub note: Vec<u8>,
}

impl Snapshot {
    /// How many entries there are, pruned ones among them.
    pub fn ledger_size(&self) -> u64 {
        self.header.seq
    }

    /// The root of the tree over all entries.
    pub fn ledger_root(&self) -> Hash {
        self.header.root
    }

    /// The last entry that was forgotten; 0 if none was.
    pub fn pruned(&self) -> u64 {
        self.header.pruned
    }

    /// Ledger entries from a place on, as far as they were not pruned.
    pub fn entries(&self, from: u64, most: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let ledger = self.read.open_table(rows::LEDGER)?;
        let mut entries = Vec::new();
        for row in ledger.range(from..)?.take(most) {
            entries.push(row?.1.value().to_vec());
        }
        Ok(entries)
    }

    /// The same entries, parsed, with what was too large for them put back.
    pub fn whole_entries(&self, from: u64, most: usize) -> Result<Vec<Sealed>, StoreError> {
        let entries = self.entries(from, most)?;
        entries.iter().map(|entry| self.whole(entry)).collect()
    }

    fn whole(&self, entry: &[u8]) -> Result<Sealed, StoreError> {
        let broken = |_| StoreError::Row { table: "ledger" };
        let mut sealed = Sealed::parse(entry).map_err(broken)?;
        for (name, attached) in sealed.entry.attached.clone() {
            let missing = || StoreError::Row {
                table: "attachments",
            };
            let digest = attached.sha256.parse().map_err(|_| missing())?;
            let list = self.attachment(digest)?.ok_or_else(missing)?;
            sealed.entry.restore(&name, &list).map_err(broken)?;
        }
        Ok(sealed)
    }

    /// A tile of the tree, or a bundle of entries; none if the tree does not reach so far or the entries were pruned.
    pub fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, StoreError> {
        let reached = Tile::of(tile.kind(), tile.index(), self.header.seq);
        if reached.is_none_or(|reached| reached.width() < tile.width()) {
            return Ok(None);
        }
        match tile.kind() {
            Kind::Hashes(level) => self.hashes(level, tile),
            Kind::Entries => self.bundle(tile),
        }
    }

    /// A tile without which there is no tree.
    pub(super) fn must_have(&self, tile: Tile) -> Result<Vec<u8>, StoreError> {
        self.tile(tile)?.ok_or(StoreError::Tile(tile))
    }

    fn hashes(&self, level: u8, tile: Tile) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = usize::from(tile.width()) * 32;
        let in_tail = level == 0 && tile.start() == self.header.seq - self.header.seq % BUNDLE;
        if in_tail {
            return Ok(self.tail.concat().get(..bytes).map(<[u8]>::to_vec));
        }
        let tiles = self.read.open_table(rows::TILES)?;
        let row = tiles.get((level, tile.index()))?;
        Ok(row.and_then(|row| row.value().get(..bytes).map(<[u8]>::to_vec)))
    }

    fn bundle(&self, tile: Tile) -> Result<Option<Vec<u8>>, StoreError> {
        if tile.start() < self.header.pruned {
            return Ok(None);
        }
        let entries = self.entries(tile.start() + 1, tile.width().into())?;
        match entries.len() == usize::from(tile.width()) {
            true => Ok(Some(tiles::bundle(&entries)?)),
            false => Err(StoreError::Tile(tile)),
        }
    }

    /// Proves that entry `seq` is in the tree of the first `size` entries.
    pub fn prove_inclusion(&self, seq: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
        self.check_size(size)?;
        let index = seq
            .checked_sub(1)
            .ok_or(ProofError::Index { index: seq, size })?;
        let nodes = TileNodes::new(size, |tile| self.must_have(tile));
        merkle::inclusion(&nodes, index, size)
    }

    /// Proves that the tree of the first `new` entries begins with that of the first `old`.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, StoreError> {
        self.check_size(new)?;
        let nodes = TileNodes::new(new, |tile| self.must_have(tile));
        merkle::consistency(&nodes, old, new)
    }

    /// The root of the tree of the first `size` entries.
    pub fn root_at(&self, size: u64) -> Result<Hash, StoreError> {
        self.check_size(size)?;
        let nodes = TileNodes::new(size, |tile| self.must_have(tile));
        merkle::root(&nodes, size)
    }

    fn check_size(&self, size: u64) -> Result<(), StoreError> {
        match size <= self.header.seq {
            true => Ok(()),
            false => Err(StoreError::Proof(ProofError::Sizes {
                old: size,
                new: self.header.seq,
            })),
        }
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> Result<Option<SignedHead>, StoreError> {
        let checkpoints = self.read.open_table(rows::CHECKPOINTS)?;
        let newest = checkpoints.last()?;
        Ok(newest.map(|(size, note)| SignedHead {
            size: size.value(),
            note: note.value().to_vec(),
        }))
    }

    /// The newest checkpoint of a tree that is not larger than this.
    pub fn checkpoint_at_most(&self, size: u64) -> Result<Option<SignedHead>, StoreError> {
        let checkpoints = self.read.open_table(rows::CHECKPOINTS)?;
        let newest = checkpoints.range(..=size)?.next_back().transpose()?;
        Ok(newest.map(|(size, note)| SignedHead {
            size: size.value(),
            note: note.value().to_vec(),
        }))
    }

    /// Checkpoints of trees larger than `after`, the smallest first.
    pub fn checkpoints(&self, after: u64, most: usize) -> Result<Vec<SignedHead>, StoreError> {
        let checkpoints = self.read.open_table(rows::CHECKPOINTS)?;
        let mut found = Vec::new();
        for row in checkpoints.range(after.saturating_add(1)..)?.take(most) {
            let (size, note) = row?;
            found.push(SignedHead {
                size: size.value(),
                note: note.value().to_vec(),
            });
        }
        Ok(found)
    }

    /// What an entry refers to by its SHA-256.
    pub fn attachment(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let attachments = self.read.open_table(rows::ATTACHMENTS)?;
        Ok(attachments.get(&digest.0)?.map(|row| row.value().to_vec()))
    }

    /// The salt and the text under this commitment, if they were not erased.
    pub fn text(&self, commitment: Digest) -> Result<Option<SaltedText>, StoreError> {
        let texts = self.read.open_table(rows::TEXTS)?;
        let row = texts.get(&commitment.0)?;
        row.map(|row| SaltedText::from_row(row.value())).transpose()
    }
}
