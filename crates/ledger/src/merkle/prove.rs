//! Roots and proofs, made of nodes.

use super::{Hash, ProofError, empty, node};

/// Where the nodes of a tree are to be had.
pub trait Nodes {
    /// Why a node is not to be had.
    type Error: From<ProofError>;

    /// The root of the complete subtree over the leaves `index·2^level .. (index + 1)·2^level`, all of which exist.
    fn node(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// Nodes that are computed from all the leaf hashes when they are asked for: for small trees.
#[derive(Clone, Copy, Debug)]
pub struct Leaves<'a>(pub &'a [Hash]);

/// The root of the tree of the first `size` leaves.
pub fn root<N: Nodes + ?Sized>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    match size {
        0 => Ok(empty()),
        _ => over(nodes, 0, size),
    }
}

/// Proves that leaf `index` is in the tree of the first `size` leaves (RFC 6962 section 2.1.1). The hash next to the
/// leaf comes first.
pub fn inclusion<N: Nodes + ?Sized>(
    nodes: &N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, N::Error> {
    if index >= size {
        return Err(ProofError::Index { index, size }.into());
    }
    let (mut low, mut high) = (0, size);
    let mut proof = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        match index < middle {
            true => {
                proof.push(over(nodes, middle, high)?);
                high = middle;
            }
            false => {
                proof.push(over(nodes, low, middle)?);
                low = middle;
            }
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proves that the tree of the first `new` leaves begins with the tree of the first `old` (RFC 6962 section 2.1.2).
/// There is nothing to prove, and the proof is empty, if `old` is 0 or equals `new`.
pub fn consistency<N: Nodes + ?Sized>(
    nodes: &N,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, N::Error> {
    match old {
        _ if old > new => return Err(ProofError::Sizes { old, new }.into()),
        0 => return Ok(Vec::new()),
        _ => {}
    }
    let (mut low, mut high) = (0, new);
    let mut proof = Vec::new();
    while high != old {
        let middle = low + split(high - low);
        match old <= middle {
            true => {
                proof.push(over(nodes, middle, high)?);
                high = middle;
            }
            false => {
                proof.push(over(nodes, low, middle)?);
                low = middle;
            }
        }
    }
    // Whoever checks it knows the whole earlier tree already.
    if low > 0 {
        proof.push(over(nodes, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

impl Nodes for Leaves<'_> {
    type Error = ProofError;

    fn node(&self, level: u32, index: u64) -> Result<Hash, ProofError> {
        let missing = ProofError::Missing { level, index };
        let width = 1_usize.checked_shl(level).ok_or(missing)?;
        let index = usize::try_from(index).map_err(|_| missing)?;
        let start = index.checked_mul(width).ok_or(missing)?;
        let end = start.checked_add(width).ok_or(missing)?;
        self.0.get(start..end).map(complete).ok_or(missing)
    }
}

/// The root over hashes whose number is a power of two.
pub(crate) fn complete(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks_exact(2)
            .map(|pair| node(&pair[0], &pair[1]))
            .collect();
    }
    row[0]
}

/// The root over the leaves `low..high`, at least one, where `low` is a multiple of every subtree in there.
fn over<N: Nodes + ?Sized>(nodes: &N, low: u64, high: u64) -> Result<Hash, N::Error> {
    let size = high - low;
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return nodes.node(level, low >> level);
    }
    let middle = low + split(size);
    Ok(node(
        &over(nodes, low, middle)?,
        &over(nodes, middle, high)?,
    ))
}

/// The largest power of two below this number, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}
