#![allow(clippy::unwrap_used, clippy::panic)]

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::merkle::{self, Frontier, Leaves, Nodes, consistency, inclusion, leaf, root};

type Files = BTreeMap<String, Vec<u8>>;

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|n| leaf(&n.to_be_bytes())).collect()
}

/// Every hash tile of a tree, as RFC and specification define them: computed from all leaves.
fn files(leaves: &[Hash]) -> Files {
    let mut row = leaves.to_vec();
    let mut files = Files::new();
    for level in 0.. {
        if row.is_empty() {
            break;
        }
        for (index, hashes) in row.chunks(256).enumerate() {
            let width = u16::try_from(hashes.len()).unwrap();
            let tile = Tile::new(Kind::Hashes(level), index as u64, width).unwrap();
            files.insert(tile.to_string(), hashes.concat());
        }
        let full = row.chunks_exact(256);
        row = full.map(|tile| root(&Leaves(tile), 256).unwrap()).collect();
    }
    files
}

fn fetch(files: &Files, tile: Tile) -> Result<Vec<u8>, TileError> {
    files.get(&tile.to_string()).cloned().ok_or(TileError::Path)
}

fn tile(path: &str) -> Tile {
    path.parse().unwrap()
}

#[test]
fn paths_are_those_of_the_specification() {
    let cases = [
        (Kind::Hashes(0), 0, 256, "tile/0/000"),
        (Kind::Hashes(0), 999, 256, "tile/0/999"),
        (Kind::Hashes(0), 1000, 256, "tile/0/x001/000"),
        (Kind::Hashes(0), 1234, 5, "tile/0/x001/234.p/5"),
        (Kind::Hashes(3), 1_234_067, 256, "tile/3/x001/x234/067"),
        (
            Kind::Entries,
            1_234_067,
            255,
            "tile/entries/x001/x234/067.p/255",
        ),
        (Kind::Hashes(7), 0, 255, "tile/7/000.p/255"),
        (
            Kind::Hashes(0),
            (1 << 56) - 2,
            256,
            "tile/0/x072/x057/x594/x037/x927/934",
        ),
        (
            Kind::Entries,
            (1 << 56) - 1,
            255,
            "tile/entries/x072/x057/x594/x037/x927/935.p/255",
        ),
    ];
    for (kind, index, width, path) in cases {
        let tile = Tile::new(kind, index, width).unwrap();
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
        assert_eq!(
            (tile.kind(), tile.index(), tile.width()),
            (kind, index, width)
        );
        assert_eq!(tile.is_partial(), width < 256);
        assert_eq!(tile.start(), index * 256);
    }
}

#[test]
fn other_paths_are_refused() {
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/234",
        "tile/0/x1/234",
        "tile/0/x001234",
        "tile/0/x001/x234",
        "tile/0/X001/234",
        "tile/0/x001//234",
        "tile/00/000",
        "tile/+0/000",
        "tile/-1/000",
        "tile/8/000",
        "tile/63/000",
        "tile/256/000",
        "tile/7/000",
        "tile/7/001.p/1",
        "tile/data/000",
        "tile/Entries/000",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/05",
        "tile/0/000.p/+5",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/65536",
        "tile/0/000.p/5/",
        "tile/0/000.p/5.p/5",
        "tile/0/000 ",
        "tile/0/0o0",
        "tile/0/٠٠٠",
        "tile/0/..",
        "tile/0/../0/000",
        "tile/entries/../../checkpoint",
        "tile/0/x072/x057/x594/x037/x927/935",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        &format!("tile/0/{}000", "x000/".repeat(1000)),
    ] {
        assert_eq!(path.parse::<Tile>(), Err(TileError::Path), "{path}");
    }
}

#[test]
fn tiles_that_no_tree_has_are_not_named() {
    for (kind, index, width) in [
        (Kind::Hashes(0), 0, 0),
        (Kind::Hashes(0), 0, 257),
        (Kind::Hashes(8), 0, 1),
        (Kind::Hashes(255), 0, 1),
        (Kind::Hashes(7), 0, 256),
        (Kind::Hashes(7), 1, 1),
        (Kind::Hashes(6), 256, 1),
        (Kind::Entries, 1 << 56, 1),
        (Kind::Entries, u64::MAX, 1),
    ] {
        assert_eq!(
            Tile::new(kind, index, width),
            None,
            "{kind:?} {index} {width}"
        );
    }
    for (kind, index, size) in [
        (Kind::Hashes(0), 0, 0),
        (Kind::Hashes(0), 1, 256),
        (Kind::Hashes(1), 0, 255),
        (Kind::Hashes(2), 0, 65_535),
        (Kind::Hashes(200), 0, u64::MAX),
        (Kind::Entries, u64::MAX, u64::MAX),
    ] {
        assert_eq!(Tile::of(kind, index, size), None, "{kind:?} {index} {size}");
    }
}

#[test]
fn a_tree_of_70_000_has_the_tiles_that_the_specification_counts() {
    let tiles: Vec<_> = grown(0, 70_000).collect();
    let count = |kind, partial| {
        let like = |tile: &&Tile| tile.kind() == kind && tile.is_partial() == partial;
        tiles.iter().filter(like).count()
    };
    for (kind, full, partial) in [
        (Kind::Hashes(0), 273, 1),
        (Kind::Hashes(1), 1, 1),
        (Kind::Hashes(2), 0, 1),
        (Kind::Hashes(3), 0, 0),
        (Kind::Entries, 273, 1),
    ] {
        assert_eq!(
            (count(kind, false), count(kind, true)),
            (full, partial),
            "{kind:?}"
        );
    }
    assert!(tiles.contains(&tile("tile/0/273.p/112")));
    assert!(tiles.contains(&tile("tile/1/001.p/17")));
    assert!(tiles.contains(&tile("tile/2/000.p/1")));
    let small: Vec<_> = grown(0, 256).map(|tile| tile.to_string()).collect();
    assert_eq!(small, ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
}

#[test]
fn growth_names_exactly_the_tiles_that_are_new() {
    let sizes = [
        0, 1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 66_000,
    ];
    let tiles = |size| grown(0, size).collect::<std::collections::BTreeSet<_>>();
    for old in sizes {
        for new in sizes {
            let named: std::collections::BTreeSet<_> = grown(old, new).collect();
            match old < new {
                true => assert_eq!(named, &tiles(new) - &tiles(old), "{old} {new}"),
                false => assert!(named.is_empty(), "{old} {new}"),
            }
        }
    }
}

#[test]
fn the_definition_and_the_names_agree() {
    for size in [1, 255, 256, 257, 1000, 65_536, 66_000] {
        let expected: Vec<_> = files(&leaves(size)).into_keys().collect();
        let hashes = grown(0, size).filter(|tile| tile.kind() != Kind::Entries);
        let mut named: Vec<_> = hashes.map(|tile| tile.to_string()).collect();
        named.sort();
        assert_eq!(named, expected, "{size}");
    }
}

#[test]
fn what_growth_tells_is_what_tiles_hold() {
    let all = leaves(66_000);
    let mut frontier = Frontier::default();
    let mut rows = BTreeMap::<u32, Vec<Hash>>::new();
    for leaf in &all {
        frontier.push(*leaf, |level, _, hash| {
            if level % 8 == 0 {
                rows.entry(level / 8).or_default().push(*hash);
            }
        });
    }
    let files = files(&all);
    for tile in grown(0, 66_000) {
        let Kind::Hashes(level) = tile.kind() else {
            continue;
        };
        let hashes = &rows[&u32::from(level)];
        let start = usize::try_from(tile.start()).unwrap();
        let held = &hashes[start..start + usize::from(tile.width())];
        assert_eq!(held.concat(), files[&tile.to_string()], "{tile}");
    }
}

#[test]
fn proofs_out_of_tiles_are_those_out_of_leaves() {
    let all = leaves(66_000);
    for size in [
        1, 2, 70, 255, 256, 257, 512, 1000, 65_535, 65_536, 65_537, 66_000,
    ] {
        let tree = &all[..usize::try_from(size).unwrap()];
        let files = files(tree);
        let nodes = || TileNodes::new(size, |tile| fetch(&files, tile));
        let head = root(&nodes(), size).unwrap();
        assert_eq!(Ok(head), root(&Leaves(tree), size), "{size}");
        assert_eq!(Frontier::read(&nodes(), size).unwrap().root(), head);
        for at in [0, 1, 254, 255, 256, 999, 65_534, 65_536, size - 1] {
            if at >= size {
                assert!(inclusion(&nodes(), at, size).is_err());
                continue;
            }
            let proof = inclusion(&nodes(), at, size).unwrap();
            let leaf = &tree[usize::try_from(at).unwrap()];
            merkle::verify_inclusion(&proof, leaf, at, size, &head).unwrap();
            let earlier = root(&Leaves(tree), at + 1).unwrap();
            let proof = consistency(&nodes(), at + 1, size).unwrap();
            merkle::verify_consistency(&proof, (at + 1, &earlier), (size, &head)).unwrap();
        }
    }
}

#[test]
fn a_proof_fetches_each_tile_once() {
    let all = leaves(66_000);
    let files = files(&all);
    let fetches = Cell::new(0);
    let nodes = TileNodes::new(66_000, |tile| {
        fetches.set(fetches.get() + 1);
        fetch(&files, tile)
    });
    inclusion(&nodes, 1000, 66_000).unwrap();
    // Levels 0 and 1 around the leaf; levels 0 and 1 at the right edge.
    assert!(fetches.get() <= 5, "{}", fetches.get());
}

#[test]
fn missing_short_and_altered_tiles_prove_nothing() {
    let (all, size, at) = (leaves(1000), 1000, 700);
    let whole = files(&all);
    let head = root(&Leaves(&all), size).unwrap();
    for path in ["tile/0/002", "tile/0/003.p/232", "tile/1/000.p/3"] {
        let mut missing = whole.clone();
        missing.remove(path);
        let nodes = TileNodes::new(size, |tile| fetch(&missing, tile));
        assert_eq!(inclusion(&nodes, at, size), Err(TileError::Path), "{path}");
        for length in [0, 31, 32, whole[path].len() - 1, whole[path].len() + 32] {
            let mut resized = whole.clone();
            resized.get_mut(path).unwrap().resize(length, 0);
            let nodes = TileNodes::new(size, |tile| fetch(&resized, tile));
            let refused = inclusion(&nodes, at, size);
            assert!(
                matches!(refused, Err(TileError::Size { .. })),
                "{path} {length}"
            );
        }
        let mut altered = whole.clone();
        altered.get_mut(path).unwrap()[0] ^= 1;
        let nodes = TileNodes::new(size, |tile| fetch(&altered, tile));
        let proof = inclusion(&nodes, at, size).unwrap();
        let leaf = &all[usize::try_from(at).unwrap()];
        let verified = merkle::verify_inclusion(&proof, leaf, at, size, &head);
        assert_eq!(verified, Err(ProofError::Root), "{path}");
    }
}

#[test]
fn nodes_beyond_the_tree_are_missing() {
    let files = files(&leaves(300));
    let nodes = TileNodes::new(300, |tile| fetch(&files, tile));
    let places = [
        (0, 300),
        (0, 512),
        (0, u64::MAX),
        (1, 150),
        (7, 2),
        (8, 1),
        (9, 0),
        (64, 0),
    ];
    for (level, index) in places.into_iter().chain([(3, u64::MAX), (u32::MAX, 0)]) {
        let missing = TileError::Proof(ProofError::Missing { level, index });
        assert_eq!(nodes.node(level, index), Err(missing), "{level} {index}");
    }
}

#[test]
fn bundles_read_back() {
    let longest = vec![7; MAX_BUNDLED];
    for all in [
        vec![&b""[..]],
        vec![b"one", b"", b"three"],
        vec![&longest; 3],
        vec![&b"x"[..]; 256],
    ] {
        let bytes = bundle(&all).unwrap();
        assert_eq!(
            bytes.len(),
            all.iter().map(|entry| entry.len() + 2).sum::<usize>()
        );
        assert_eq!(entries(&bytes, u16::try_from(all.len()).unwrap()), Ok(all));
    }
    assert_eq!(bundle(&["ab", "c"]).unwrap(), b"\x00\x02ab\x00\x01c");
}

#[test]
fn what_is_no_bundle_is_refused() {
    assert_eq!(bundle(&[""; 0]), Err(TileError::Count(0)));
    assert_eq!(bundle(&["x"; 257]), Err(TileError::Count(257)));
    let long = vec![0; MAX_BUNDLED + 1];
    assert_eq!(bundle(&[&long]), Err(TileError::Entry(MAX_BUNDLED + 1)));
    let bytes = bundle(&["one", "", "three"]).unwrap();
    for width in [0, 1, 2, 4, 256, u16::MAX] {
        assert_eq!(entries(&bytes, width), Err(TileError::Bundle(width)));
    }
    for at in 0..bytes.len() {
        assert_eq!(entries(&bytes[..at], 3), Err(TileError::Bundle(3)), "{at}");
    }
    let after = [&bytes[..], b"\0"].concat();
    assert_eq!(entries(&after, 3), Err(TileError::Bundle(3)));
}
