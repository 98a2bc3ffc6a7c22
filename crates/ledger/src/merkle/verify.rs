//! Checking proofs that others made (RFC 9162 sections 2.1.3.2 and 2.1.4.2), with nothing but hashes at hand.

use super::{Hash, ProofError, empty, node};

/// That the leaf with this hash is leaf `index` of the tree with this size and root.
pub fn verify_inclusion(
    proof: &[Hash],
    leaf: &Hash,
    index: u64,
    size: u64,
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let mut climb = Climb::from(index, size);
    let mut hash = *leaf;
    for step in proof {
        hash = match climb.step(proof)? {
            Side::Left => node(step, &hash),
            Side::Right => node(&hash, step),
        };
    }
    climb.arrive(proof)?;
    equal(&hash, root)
}

/// That the tree with the size and root `new` begins with the tree `old`.
pub fn verify_consistency(
    proof: &[Hash],
    old: (u64, &Hash),
    new: (u64, &Hash),
) -> Result<(), ProofError> {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old > new {
        return Err(ProofError::Sizes { old, new });
    }
    if old == 0 || old == new {
        let expected = if old == 0 { &empty() } else { new_root };
        let empty = proof.is_empty().then_some(());
        empty.ok_or(ProofError::Length(proof.len()))?;
        return equal(old_root, expected);
    }
    let mut climb = Climb::from(old - 1, new);
    climb.skip_left_turns();
    // A complete earlier tree is a node of the later one, and is not repeated in the proof.
    let (start, rest) = match old.is_power_of_two() {
        true => (old_root, proof),
        false => proof.split_first().ok_or(ProofError::Length(0))?,
    };
    let (mut earlier, mut later) = (*start, *start);
    for step in rest {
        match climb.step(proof)? {
            Side::Left => {
                earlier = node(step, &earlier);
                later = node(step, &later);
            }
            Side::Right => later = node(&later, step),
        }
    }
    climb.arrive(proof)?;
    equal(&earlier, old_root)?;
    equal(&later, new_root)
}

/// The way from a node up to the root.
struct Climb {
    /// The place of the node among those of its height.
    at: u64,
    /// The place of the last one.
    last: u64,
}

/// Where the next hash of a proof stands.
enum Side {
    Left,
    Right,
}

impl Climb {
    fn from(index: u64, size: u64) -> Self {
        Self {
            at: index,
            last: size - 1,
        }
    }

    /// Upwards for as long as the node is the right one of two.
    fn skip_left_turns(&mut self) {
        while self.at & 1 == 1 {
            self.up();
        }
    }

    /// Upwards by one hash of the proof.
    fn step(&mut self, proof: &[Hash]) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::Length(proof.len()));
        }
        let side = match self.at & 1 == 1 || self.at == self.last {
            true => Side::Left,
            false => Side::Right,
        };
        // The last node of an uneven row has no neighbour until it is the right one of two.
        while matches!(side, Side::Left) && self.at & 1 == 0 && self.at > 0 {
            self.up();
        }
        self.up();
        Ok(side)
    }

    fn up(&mut self) {
        self.at >>= 1;
        self.last >>= 1;
    }

    fn arrive(&self, proof: &[Hash]) -> Result<(), ProofError> {
        match self.last {
            0 => Ok(()),
            _ => Err(ProofError::Length(proof.len())),
        }
    }
}

fn equal(computed: &Hash, claimed: &Hash) -> Result<(), ProofError> {
    match computed == claimed {
        true => Ok(()),
        false => Err(ProofError::Root),
    }
}
