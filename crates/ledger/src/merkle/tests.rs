#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

const MOST: u64 = 70;

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf(&n.to_be_bytes())).collect()
}

/// MTH of RFC 6962 section 2.1, word for word.
fn mth(entries: &[Hash]) -> Hash {
    match entries.len() {
        0 => empty(),
        1 => entries[0],
        n => {
            let (left, right) = entries.split_at(k(n));
            node(&mth(left), &mth(right))
        }
    }
}

/// PATH of RFC 6962 section 2.1.1, word for word.
fn path(m: usize, entries: &[Hash]) -> Vec<Hash> {
    let n = entries.len();
    match n {
        1 => Vec::new(),
        _ if m < k(n) => [path(m, &entries[..k(n)]), vec![mth(&entries[k(n)..])]].concat(),
        _ => [
            path(m - k(n), &entries[k(n)..]),
            vec![mth(&entries[..k(n)])],
        ]
        .concat(),
    }
}

/// SUBPROOF of RFC 6962 section 2.1.2, word for word.
fn subproof(m: usize, entries: &[Hash], whole: bool) -> Vec<Hash> {
    let n = entries.len();
    match whole {
        true if m == n => Vec::new(),
        false if m == n => vec![mth(entries)],
        _ if m <= k(n) => [
            subproof(m, &entries[..k(n)], whole),
            vec![mth(&entries[k(n)..])],
        ]
        .concat(),
        _ => [
            subproof(m - k(n), &entries[k(n)..], false),
            vec![mth(&entries[..k(n)])],
        ]
        .concat(),
    }
}

fn k(n: usize) -> usize {
    (0..)
        .map(|bit| 1 << bit)
        .take_while(|power| *power < n)
        .last()
        .unwrap()
}

fn hex(hash: Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Each proof with one thing wrong: a bit, a hash more, a hash less, two exchanged.
fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at][at % 32] ^= 1 << (at % 8);
        let mut without = proof.to_vec();
        without.remove(at);
        let mut twice = proof.to_vec();
        twice.insert(at, proof[at]);
        all.extend([flipped, without, twice]);
        if at > 0 {
            let mut exchanged = proof.to_vec();
            exchanged.swap(at - 1, at);
            all.push(exchanged);
        }
    }
    all.push([proof, &[[0; 32]]].concat());
    all.push([&[[0; 32]], proof].concat());
    all
}

#[test]
fn hashes_are_those_of_rfc_6962() {
    // Vectors of Certificate Transparency's and Trillian's tests.
    let entries: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let leaves: Vec<_> = entries.map(leaf).to_vec();
    let mut frontier = Frontier::default();
    for (size, expected) in roots.iter().enumerate() {
        assert_eq!(hex(root(&Leaves(&leaves), size as u64).unwrap()), *expected);
        assert_eq!(hex(frontier.root()), *expected);
        frontier.push(leaves[size.min(7)], |_, _, _| ());
    }
}

#[test]
fn roots_of_all_sizes_agree_with_the_definition() {
    let all = leaves(600);
    let mut frontier = Frontier::default();
    for size in 0..=all.len() {
        let expected = mth(&all[..size]);
        assert_eq!(root(&Leaves(&all), size as u64), Ok(expected), "{size}");
        frontier.check(size as u64, &expected).unwrap();
        assert_eq!(
            Frontier::read(&Leaves(&all), size as u64).unwrap(),
            frontier
        );
        let kept = Frontier::new(size as u64, frontier.hashes().to_vec());
        assert_eq!(kept.as_ref(), Some(&frontier));
        if let Some(leaf) = all.get(size) {
            frontier.push(*leaf, |_, _, _| ());
        }
    }
}

#[test]
fn growth_tells_of_every_node_once_and_rightly() {
    let all = leaves(600);
    let mut frontier = Frontier::default();
    let mut told = std::collections::BTreeMap::new();
    for leaf in &all {
        frontier.push(*leaf, |level, index, hash| {
            assert!(told.insert((level, index), *hash).is_none());
        });
    }
    let expected: usize = (0..10).map(|level| all.len() >> level).sum();
    assert_eq!(told.len(), expected);
    for ((level, index), hash) in told {
        assert_eq!(Leaves(&all).node(level, index), Ok(hash), "{level} {index}");
    }
}

#[test]
fn a_frontier_that_is_not_one_is_refused() {
    for (size, hashes) in [(0, 1), (1, 0), (1, 2), (2, 2), (3, 1), (u64::MAX, 63)] {
        assert_eq!(
            Frontier::new(size, vec![[0; 32]; hashes]),
            None,
            "{size} {hashes}"
        );
    }
    let mut frontier = Frontier::default();
    frontier.push([1; 32], |_, _, _| ());
    assert_eq!(
        frontier.check(2, &[1; 32]),
        Err(ProofError::Sizes { old: 2, new: 1 })
    );
    assert_eq!(frontier.check(1, &[2; 32]), Err(ProofError::Root));
    assert_eq!(
        Frontier::default().check(0, &[0; 32]),
        Err(ProofError::Root)
    );
}

#[test]
fn every_leaf_of_every_size_is_proven_and_no_altered_proof_is_believed() {
    let all = leaves(MOST);
    for size in 1..=MOST {
        let tree = &all[..size as usize];
        let root = mth(tree);
        for index in 0..size {
            let leaf = &tree[index as usize];
            let proof = inclusion(&Leaves(tree), index, size).unwrap();
            assert_eq!(proof, path(index as usize, tree), "{index} of {size}");
            assert_eq!(verify_inclusion(&proof, leaf, index, size, &root), Ok(()));
            for altered in mutations(&proof) {
                assert!(verify_inclusion(&altered, leaf, index, size, &root).is_err());
            }
        }
    }
}

#[test]
fn an_inclusion_proof_is_good_for_its_leaf_its_place_its_size_and_its_root_only() {
    let all = leaves(MOST);
    for size in 1..=MOST {
        let tree = &all[..size as usize];
        let root = mth(tree);
        for index in 0..size {
            let leaf = &tree[index as usize];
            let proof = inclusion(&Leaves(tree), index, size).unwrap();
            for other in (0..=size).filter(|other| *other != index) {
                assert!(verify_inclusion(&proof, leaf, other, size, &root).is_err());
            }
            assert!(verify_inclusion(&proof, &[7; 32], index, size, &root).is_err());
            assert!(verify_inclusion(&proof, leaf, index, size, &[7; 32]).is_err());
            for other in [0, index] {
                let none = ProofError::Index { index, size: other };
                assert_eq!(
                    verify_inclusion(&proof, leaf, index, other, &root),
                    Err(none)
                );
            }
        }
    }
}

#[test]
fn every_pair_of_sizes_is_consistent_and_no_altered_proof_is_believed() {
    let all = leaves(MOST);
    let roots: Vec<_> = (0..=MOST).map(|size| mth(&all[..size as usize])).collect();
    for new in 0..=MOST {
        for old in 0..=new {
            let tree = &all[..new as usize];
            let proof = consistency(&Leaves(tree), old, new).unwrap();
            if old > 0 {
                assert_eq!(proof, subproof(old as usize, tree, true), "{old} of {new}");
            }
            let (a, b) = ((old, &roots[old as usize]), (new, &roots[new as usize]));
            assert_eq!(verify_consistency(&proof, a, b), Ok(()), "{old} of {new}");
            for altered in mutations(&proof) {
                assert!(
                    verify_consistency(&altered, a, b).is_err(),
                    "{old} of {new}"
                );
            }
            assert!(verify_consistency(&proof, (old, &[7; 32]), b).is_err());
            let unlike = (new, &[7; 32]);
            // Every tree begins with the empty one.
            assert_eq!(verify_consistency(&proof, a, unlike).is_ok(), old == 0);
        }
    }
}

#[test]
fn a_consistency_proof_is_good_for_its_sizes_only() {
    let all = leaves(33);
    let root = |size: u64| mth(&all[..size as usize]);
    for new in 1..=33 {
        for old in 1..=new {
            let proof = consistency(&Leaves(&all), old, new).unwrap();
            for other in (0..=new + 1).filter(|other| *other != old) {
                let verified = verify_consistency(&proof, (other, &root(old)), (new, &root(new)));
                assert!(verified.is_err(), "{old} {new} {other}");
            }
        }
    }
}

#[test]
fn a_history_that_was_rewritten_has_no_proof() {
    let all = leaves(40);
    for changed in 0..20 {
        let mut other = all.clone();
        other[changed] = leaf(b"other");
        for proof in [&all, &other].map(|tree| consistency(&Leaves(tree), 20, 40).unwrap()) {
            let verified = verify_consistency(&proof, (20, &mth(&all[..20])), (40, &mth(&other)));
            assert_eq!(verified, Err(ProofError::Root), "{changed}");
        }
    }
}

#[test]
fn what_is_not_there_is_not_proven() {
    let all = leaves(10);
    let tree = Leaves(&all);
    assert_eq!(
        inclusion(&tree, 0, 0),
        Err(ProofError::Index { index: 0, size: 0 })
    );
    assert_eq!(
        inclusion(&tree, 10, 10),
        Err(ProofError::Index {
            index: 10,
            size: 10
        })
    );
    assert_eq!(
        consistency(&tree, 3, 2),
        Err(ProofError::Sizes { old: 3, new: 2 })
    );
    let shrunk = verify_consistency(&[], (3, &[0; 32]), (2, &[0; 32]));
    assert_eq!(shrunk, Err(ProofError::Sizes { old: 3, new: 2 }));
    for size in [11, 12, 1 << 40, u64::MAX] {
        assert!(
            matches!(root(&tree, size), Err(ProofError::Missing { .. })),
            "{size}"
        );
        assert!(matches!(
            inclusion(&tree, 0, size),
            Err(ProofError::Missing { .. })
        ));
        assert!(matches!(
            consistency(&tree, 9, size),
            Err(ProofError::Missing { .. })
        ));
    }
    assert!(matches!(tree.node(64, 0), Err(ProofError::Missing { .. })));
    assert!(matches!(tree.node(63, 3), Err(ProofError::Missing { .. })));
}

#[test]
fn endless_proofs_end() {
    let long = vec![[0; 32]; 10_000];
    let length = Err(ProofError::Length(10_000));
    assert_eq!(
        verify_inclusion(&long, &[0; 32], 5, u64::MAX, &[0; 32]),
        length
    );
    assert_eq!(
        verify_consistency(&long, (5, &[0; 32]), (u64::MAX, &[0; 32])),
        length
    );
    let top = u64::MAX;
    assert!(verify_inclusion(&long[..64], &[0; 32], top - 1, top, &[0; 32]).is_err());
    assert!(verify_consistency(&[], (top - 1, &[0; 32]), (top, &[0; 32])).is_err());
}
