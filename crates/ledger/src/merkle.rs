//! The Merkle tree over the ledger (RFC 6962 section 2, with SHA-256): hashes, growth, proofs and their verification.
//!
//! Leaves are counted from 0, so the entry with sequence number N is leaf N − 1. A *node* is the root of a complete
//! subtree: node `index` at `level` stands over the leaves `index·2^level .. (index + 1)·2^level`. Nodes never change
//! once they exist; every root and every proof is made of them.

mod frontier;
mod prove;
mod verify;

use ring::digest::{Context, SHA256, digest};

pub use frontier::Frontier;
pub(crate) use prove::complete;
pub use prove::{Leaves, Nodes, consistency, inclusion, root};
pub use verify::{verify_consistency, verify_inclusion};

/// A SHA-256 hash: of a leaf, a node or a whole tree.
pub type Hash = [u8; 32];

/// Why a proof cannot be made, or does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf.
    #[error("a tree of {size} entries has no leaf {index}, counted from 0")]
    Index {
        /// The leaf.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A tree does not shrink.
    #[error("a tree of {old} entries does not become one of {new}: the log was cut or exchanged")]
    Sizes {
        /// The size of the earlier tree.
        old: u64,
        /// The size of the later tree.
        new: u64,
    },
    /// Too few or too many hashes for trees of these sizes.
    #[error("a proof between trees of these sizes does not have {0} hashes")]
    Length(usize),
    /// The hashes lead elsewhere.
    #[error("the proof does not lead to the tree's root: something was altered")]
    Root,
    /// A hash that the proof needs is not there.
    #[error("node {index} at level {level} of the tree is missing")]
    Missing {
        /// The height above the leaves.
        level: u32,
        /// The place among the nodes of that height.
        index: u64,
    },
}

/// The root of a tree without leaves.
pub fn empty() -> Hash {
    array(digest(&SHA256, &[]))
}

/// The hash of an entry.
pub fn leaf(entry: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(entry);
    array(context.finish())
}

/// The hash of what stands over these two.
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    array(digest(&SHA256, &bytes))
}

fn array(digest: ring::digest::Digest) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

#[cfg(test)]
mod tests;
