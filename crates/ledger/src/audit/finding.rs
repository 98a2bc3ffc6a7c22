//! What may be wrong with a log.

use crate::checkpoint::CheckpointError;
use crate::note::NoteError;
use crate::tiles::{Tile, TileError};

/// Most findings that are told one by one.
pub const MAX_FINDINGS: usize = 1000;

/// One thing that does not hold, and where. Files are named by their paths in a copy, checkpoints and receipts by the
/// names that they were given with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// There is no checkpoint that could be believed.
    #[error("there is no signed checkpoint of this log: nothing says how many entries it has")]
    NoCheckpoint,
    /// A checkpoint is not one, is not signed by the log, or is of another log.
    #[error("{name}: {error}")]
    Checkpoint {
        /// The checkpoint.
        name: String,
        /// What is wrong with it.
        error: CheckpointError,
    },
    /// A checkpoint lies where one of another size belongs.
    #[error("{name}: this is a checkpoint of {size} entries")]
    Misplaced {
        /// The checkpoint.
        name: String,
        /// The size that it is of.
        size: u64,
    },
    /// A known witness's signature on a checkpoint is false.
    #[error("{name}: the cosignature of {witness} does not hold: {error}")]
    Cosignature {
        /// The checkpoint.
        name: String,
        /// The witness.
        witness: String,
        /// What is wrong with it.
        error: NoteError,
    },
    /// The tree over the entries is not the one that was signed.
    #[error(
        "{name}: the log signed another tree of {size} entries: one of the first {size} is not what it was"
    )]
    Fork {
        /// The checkpoint.
        name: String,
        /// Its size.
        size: u64,
    },
    /// Two different trees of one size are signed.
    #[error(
        "{name} and {other} are both signed, both of {size} entries, and differ: the log showed two histories"
    )]
    SplitView {
        /// The one.
        name: String,
        /// The other.
        other: String,
        /// Their size.
        size: u64,
    },
    /// The log signed more entries than there are.
    #[error("{name}: the log signed {size} entries, but there are only {held}: entries {} to {size} are missing", held + 1)]
    Truncated {
        /// The checkpoint.
        name: String,
        /// Its size.
        size: u64,
        /// How many entries there are.
        held: u64,
    },
    /// There are more entries than the newest checkpoint covers.
    #[error("no checkpoint covers entries {first} to {last}")]
    Uncovered {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The checkpoint could not be compared, because hashes before it are missing.
    #[error(
        "{name}: cannot be compared with the log, because hashes before entry {size} are missing"
    )]
    Unchecked {
        /// The checkpoint.
        name: String,
        /// Its size.
        size: u64,
    },
    /// An entry is not in the one form that entries have.
    #[error("entry {seq}: {problem}")]
    Entry {
        /// Its place.
        seq: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// An entry stands in another's place.
    #[error("entry {seq}: the entry in this place says that it is entry {says}")]
    OutOfPlace {
        /// The place.
        seq: u64,
        /// The place that it names.
        says: u64,
    },
    /// An entry is not the one that the tree was built with.
    #[error("entry {seq}: its hash is not the one in the tree: it was altered or exchanged")]
    Altered {
        /// Its place.
        seq: u64,
    },
    /// Entries are not there, and no entry announces that they were pruned.
    #[error("entries {first} to {last} are missing, and no `ledger.pruned` entry announces it")]
    Missing {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
    },
    /// An entry that should announce a pruning does not say how far it goes.
    #[error(
        "entry {seq}: announces a pruning, but its `through` is not the number of an entry before it"
    )]
    Pruning {
        /// Its place.
        seq: u64,
    },
    /// A tile or a bundle is missing.
    #[error("{tile}: missing")]
    NoTile {
        /// The tile.
        tile: Tile,
    },
    /// A tile or a bundle does not hold what its name says.
    #[error("{tile}: {error}")]
    Malformed {
        /// The tile.
        tile: Tile,
        /// What is wrong with it.
        error: TileError,
    },
    /// A hash in a tile does not follow from what is below it.
    #[error("{tile}: hash {place} does not follow from what is below it")]
    Hash {
        /// The tile.
        tile: Tile,
        /// The hash, counted from 0.
        place: usize,
    },
    /// A file holds entries or hashes that the newest checkpoint does not cover.
    #[error("{path}: holds what the newest checkpoint does not cover")]
    Beyond {
        /// The file.
        path: String,
    },
    /// An older, narrower form of a tile is not the beginning of the later one.
    #[error("{path}: is not the beginning of the tile that replaced it")]
    Stale {
        /// The file.
        path: String,
    },
    /// What an entry refers to is missing.
    #[error("entry {seq}: its {name} are kept in attachments/{sha256}, which is missing")]
    NoAttachment {
        /// The entry.
        seq: u64,
        /// The list.
        name: String,
        /// Its digest.
        sha256: String,
    },
    /// What lies beside an entry is not what it refers to.
    #[error("entry {seq}: attachments/{sha256} is not the list of {name} that it refers to")]
    Attachment {
        /// The entry.
        seq: u64,
        /// The list.
        name: String,
        /// Its digest.
        sha256: String,
    },
    /// A file among the attachments is not what its name says.
    #[error("{path}: its SHA-256 is not its name")]
    Misnamed {
        /// The file.
        path: String,
    },
    /// A policy set that decided is not archived.
    #[error("entry {seq}: policies/{digest}, by which it was decided, is missing")]
    NoPolicy {
        /// The first entry that names it.
        seq: u64,
        /// The policy set.
        digest: String,
    },
    /// A policy set that decided is not the one that came into force.
    #[error("entry {seq}: policies/{digest} is not the policy set that came into force")]
    Policy {
        /// The first entry that names it.
        seq: u64,
        /// The policy set.
        digest: String,
    },
    /// A receipt claims what the entries do not say.
    #[error("{name}: {problem}")]
    Receipt {
        /// The receipt.
        name: String,
        /// What it claims.
        problem: String,
    },
}

impl Finding {
    /// A stable word for what is wrong.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoCheckpoint => "no_checkpoint",
            Self::Checkpoint { .. } => "checkpoint",
            Self::Misplaced { .. } => "misplaced_checkpoint",
            Self::Cosignature { .. } => "cosignature",
            Self::Fork { .. } => "fork",
            Self::SplitView { .. } => "split_view",
            Self::Truncated { .. } => "truncated",
            Self::Uncovered { .. } => "uncovered",
            Self::Unchecked { .. } => "unchecked",
            Self::Entry { .. } => "entry",
            Self::OutOfPlace { .. } => "out_of_place",
            Self::Altered { .. } => "altered",
            Self::Missing { .. } => "missing",
            Self::Pruning { .. } => "pruning",
            Self::NoTile { .. } => "no_tile",
            Self::Malformed { .. } => "malformed_tile",
            Self::Hash { .. } => "hash",
            Self::Beyond { .. } => "beyond",
            Self::Stale { .. } => "stale",
            Self::NoAttachment { .. } => "no_attachment",
            Self::Attachment { .. } => "attachment",
            Self::Misnamed { .. } => "misnamed",
            Self::NoPolicy { .. } => "no_policy",
            Self::Policy { .. } => "policy",
            Self::Receipt { .. } => "receipt",
        }
    }

    /// The entry concerned: the first of them, if they are several.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Entry { seq, .. }
            | Self::OutOfPlace { seq, .. }
            | Self::Altered { seq }
            | Self::Pruning { seq }
            | Self::NoAttachment { seq, .. }
            | Self::Attachment { seq, .. }
            | Self::NoPolicy { seq, .. }
            | Self::Policy { seq, .. } => Some(*seq),
            Self::Missing { first, .. } | Self::Uncovered { first, .. } => Some(*first),
            Self::Truncated { held, .. } => Some(held + 1),
            _ => None,
        }
    }

    /// The file, checkpoint or receipt concerned.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Checkpoint { name, .. }
            | Self::Misplaced { name, .. }
            | Self::Cosignature { name, .. }
            | Self::Fork { name, .. }
            | Self::SplitView { name, .. }
            | Self::Truncated { name, .. }
            | Self::Unchecked { name, .. }
            | Self::Receipt { name, .. } => Some(name.clone()),
            Self::NoTile { tile } | Self::Malformed { tile, .. } | Self::Hash { tile, .. } => {
                Some(tile.to_string())
            }
            Self::Beyond { path } | Self::Stale { path } | Self::Misnamed { path } => {
                Some(path.clone())
            }
            Self::NoAttachment { sha256, .. } | Self::Attachment { sha256, .. } => {
                Some(format!("attachments/{sha256}"))
            }
            Self::NoPolicy { digest, .. } | Self::Policy { digest, .. } => {
                Some(format!("policies/{digest}"))
            }
            _ => None,
        }
    }
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub list: Vec<Finding>,
    pub more: u64,
}

impl Findings {
    pub fn add(&mut self, finding: Finding) {
        match self.list.len() < MAX_FINDINGS {
            true => self.list.push(finding),
            false => self.more += 1,
        }
    }

    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }
}
