//! Growing a tree while keeping no more than its right edge.

use super::{Hash, Nodes, ProofError, empty, node};

/// The right edge of a tree: one node for each bit that is set in its size, the largest first. Enough to go on
/// appending, and to know the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    hashes: Vec<Hash>,
}

impl Frontier {
    /// The right edge that was kept somewhere; none if there are not as many hashes as the size demands.
    pub fn new(size: u64, hashes: Vec<Hash>) -> Option<Self> {
        let demanded = usize::try_from(size.count_ones()).ok()?;
        (hashes.len() == demanded).then_some(Self { size, hashes })
    }

    /// The right edge of the tree of the first `size` leaves.
    pub fn read<N: Nodes + ?Sized>(nodes: &N, size: u64) -> Result<Self, N::Error> {
        let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
        // Below the node's own bit lies what comes after it.
        let read = |level| nodes.node(level, (size >> level) - 1);
        let hashes = levels.map(read).collect::<Result<_, _>>()?;
        Ok(Self { size, hashes })
    }

    /// Appends a leaf, and tells of every node that comes into being with it, with its level and its index: the leaf
    /// first.
    pub fn push(&mut self, leaf: Hash, mut tell: impl FnMut(u32, u64, &Hash)) {
        let mut hash = leaf;
        let mut level = 0;
        tell(level, self.size, &hash);
        while self.size >> level & 1 == 1 {
            let left = self
                .hashes
                .pop()
                .expect("one node for each bit of the size");
            hash = node(&left, &hash);
            level += 1;
            tell(level, self.size >> level, &hash);
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The nodes, the largest first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let folded = self.hashes.iter().rev().copied();
        folded
            .reduce(|right, left| node(&left, &right))
            .unwrap_or_else(empty)
    }

    /// That this tree, as it is now, has the root that somebody claims.
    pub fn check(&self, size: u64, root: &Hash) -> Result<(), ProofError> {
        match () {
            () if size != self.size => Err(ProofError::Sizes {
                old: size,
                new: self.size,
            }),
            () if *root != self.root() => Err(ProofError::Root),
            () => Ok(()),
        }
    }
}
