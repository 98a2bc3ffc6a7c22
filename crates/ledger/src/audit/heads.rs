//! The signed heads that a tree must agree with on its way up.

use std::collections::BTreeMap;

use super::Trust;
use super::finding::{Finding, Findings};
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::merkle::{Frontier, Hash};
use crate::note::Note;

/// A size and a root that somebody signed.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub name: String,
    pub root: Hash,
}

/// All of them, by size.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    by_size: BTreeMap<u64, Vec<Head>>,
    pub right: u64,
    pub cosignatures: u64,
}

impl Heads {
    /// Reads a signed checkpoint; none if it is not to be believed. The first one names the log, unless it is known.
    pub fn read(
        &mut self,
        trust: &mut Trust,
        name: &str,
        note: &[u8],
        findings: &mut Findings,
    ) -> Option<Checkpoint> {
        match opened(trust, note) {
            Ok(checkpoint) => {
                trust.origin = Some(checkpoint.origin.clone());
                self.cosigned(trust, name, note, findings);
                self.add(name, checkpoint.size, checkpoint.root, findings);
                Some(checkpoint)
            }
            Err(error) => {
                let name = name.to_owned();
                findings.add(Finding::Checkpoint { name, error });
                None
            }
        }
    }

    /// A head that the tree must have; the name says who claims so.
    pub fn add(&mut self, name: &str, size: u64, root: Hash, findings: &mut Findings) {
        let heads = self.by_size.entry(size).or_default();
        if let Some(other) = heads.iter().find(|head| head.root != root) {
            findings.add(Finding::SplitView {
                name: name.to_owned(),
                other: other.name.clone(),
                size,
            });
        }
        let name = name.to_owned();
        heads.push(Head { name, root });
    }

    /// Whether somebody signed that a tree of this size has this root.
    pub fn expect(&self, size: u64, root: &Hash) -> bool {
        let heads = self.by_size.get(&size);
        heads.is_some_and(|heads| heads.iter().any(|head| head.root == *root))
    }

    /// Compares the tree with the heads of its size.
    pub fn check(&mut self, tree: &Frontier, is_whole: bool, findings: &mut Findings) {
        let first = self.by_size.first_key_value();
        if first.is_none_or(|(size, _)| *size > tree.size()) {
            return;
        }
        let root = tree.root();
        let later = self.by_size.split_off(&(tree.size() + 1));
        for (size, heads) in std::mem::replace(&mut self.by_size, later) {
            for Head { name, root: signed } in heads {
                match () {
                    // It came when the tree was larger already.
                    () if size < tree.size() || !is_whole => {
                        findings.add(Finding::Unchecked { name, size });
                    }
                    () if signed == root => self.right += 1,
                    () => findings.add(Finding::Fork { name, size }),
                }
            }
        }
    }

    /// Those that the tree never grew to.
    pub fn left(self, held: u64) -> impl Iterator<Item = Finding> {
        let named =
            |(size, heads): (u64, Vec<Head>)| heads.into_iter().map(move |head| (size, head.name));
        let left = self.by_size.into_iter().flat_map(named);
        left.map(move |(size, name)| Finding::Truncated { name, size, held })
    }

    fn cosigned(&mut self, trust: &Trust, name: &str, note: &[u8], findings: &mut Findings) {
        let Ok(note) = Note::parse(note) else { return };
        for witness in &trust.witnesses {
            match witness.verify(&note) {
                Ok(Some(_)) => self.cosignatures += 1,
                Ok(None) => {}
                Err(error) => findings.add(Finding::Cosignature {
                    name: name.to_owned(),
                    witness: witness.name().to_owned(),
                    error,
                }),
            }
        }
    }
}

fn opened(trust: &Trust, note: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let first = note.split(|byte| *byte == b'\n').next();
    let first = first.and_then(|line| std::str::from_utf8(line).ok());
    let origin = trust.origin.as_deref().or(first).unwrap_or_default();
    checkpoint::verify(note, origin, &trust.named(origin))
}
