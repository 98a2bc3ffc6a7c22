//! Every byte of every file.

use quietus_ledger::audit::{Walk, verify_entry, verify_hashes};
use quietus_ledger::tiles::{self, Kind};
use quietus_ledger::{Hash, Tile};

use crate::COUNT;
use crate::log::{self, Copy};

/// What a verification does with one file, done with every byte of it altered. An entry is checked by itself and a tile
/// against its hashes, because that is how a whole verification does it, and it would take days to do it all each time.
#[test]
fn every_flipped_byte_of_every_file_is_found() {
    let entries = log::entries(COUNT);
    let leaves = log::leaves(&entries);
    let copy = log::copy(&entries);
    assert_eq!(copy.verify().findings, []);
    let mut tried = 0;
    for (path, bytes) in &copy.0 {
        tried += match path.parse::<Tile>() {
            Ok(tile) if tile.kind() == Kind::Entries => bundle(tile, bytes, &leaves),
            Ok(tile) => hashes(tile, bytes, &leaves),
            Err(_) if path.starts_with("checkpoint") => checkpoint(path, bytes),
            Err(_) => policy(path, bytes),
        };
    }
    assert!(tried > 500_000, "{tried}");
}

/// The same through the whole verification, for some hundred places of every kind of file.
#[test]
fn flipped_bytes_are_found_by_the_whole_verification_and_named() {
    let entries = log::entries(COUNT);
    let copy = log::copy(&entries);
    for (path, bytes) in &copy.0 {
        for at in (0..bytes.len()).step_by(bytes.len() / 20) {
            let mut altered = copy.clone();
            altered.0.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
            let report = altered.verify();
            assert!(!report.is_good(), "{path} byte {at}");
            names(path, at, &report.findings);
        }
    }
}

fn names(path: &str, at: usize, findings: &[quietus_ledger::audit::Finding]) {
    let shown = || format!("{path} byte {at}: {findings:?}");
    match path.parse::<Tile>() {
        Ok(tile) if tile.kind() == Kind::Entries => {
            let first = tile.start() + 1;
            let inside = |seq: u64| (first..first + u64::from(tile.width())).contains(&seq);
            let named = |finding: &quietus_ledger::audit::Finding| {
                finding.seq().is_some_and(inside) || finding.name().as_deref() == Some(path)
            };
            assert!(
                findings.iter().all(named) && findings.len() <= 2,
                "{}",
                shown()
            );
        }
        // What it covered is covered by none then.
        Err(_) if path == "checkpoint" => {
            assert_eq!(findings[0].name().as_deref(), Some(path), "{}", shown());
        }
        _ => {
            let names: Vec<_> = findings.iter().map(|finding| finding.name()).collect();
            assert_eq!(names, [Some(path.to_owned())], "{}", shown());
        }
    }
}

fn bundle(tile: Tile, bytes: &[u8], leaves: &[Hash]) -> usize {
    let mut altered = bytes.to_vec();
    let mut at = 0;
    let whole = tiles::entries(bytes, tile.width()).unwrap();
    for (entry, place) in whole.iter().zip(usize::try_from(tile.start()).unwrap()..) {
        let seq = place as u64 + 1;
        assert_eq!(verify_entry(seq, entry, &leaves[place]), []);
        // The length, on which the whole bundle hangs.
        for at in at..at + 2 {
            altered[at] ^= 1 << (at % 8);
            let found = match tiles::entries(&altered, tile.width()) {
                Err(_) => true,
                Ok(entries) => !verify_entry(seq, entries[place % 256], &leaves[place]).is_empty(),
            };
            assert!(found, "{tile} byte {at}");
            altered[at] = bytes[at];
        }
        let mut copy = entry.to_vec();
        for inside in 0..entry.len() {
            copy[inside] ^= 1 << (inside % 8);
            assert!(
                !verify_entry(seq, &copy, &leaves[place]).is_empty(),
                "{tile} {seq} {inside}"
            );
            copy[inside] = entry[inside];
        }
        at += 2 + entry.len();
    }
    assert_eq!(at, bytes.len());
    bytes.len()
}

fn hashes(tile: Tile, bytes: &[u8], leaves: &[Hash]) -> usize {
    let right = right(tile, leaves);
    assert_eq!(verify_hashes(tile, Some(bytes), &right), []);
    let mut altered = bytes.to_vec();
    for at in 0..bytes.len() {
        altered[at] ^= 1 << (at % 8);
        let findings = verify_hashes(tile, Some(&altered), &right);
        assert_eq!(findings.len(), 1, "{tile} byte {at}");
        altered[at] = bytes[at];
    }
    bytes.len()
}

fn right(tile: Tile, leaves: &[Hash]) -> Vec<Hash> {
    let start = usize::try_from(tile.start()).unwrap();
    match tile.kind() {
        Kind::Hashes(0) => leaves[start..start + usize::from(tile.width())].to_vec(),
        _ => leaves.chunks_exact(256).map(log::head).collect(),
    }
}

fn policy(path: &str, bytes: &[u8]) -> usize {
    let mut walk = Walk::new(log::trust());
    let entries = log::entries(8);
    let head = log::signed_head(8, log::head(&log::leaves(&entries)), 1, log::ORIGIN);
    walk.checkpoint("checkpoint", &head).unwrap();
    entries.iter().for_each(|entry| drop(walk.entry(entry)));
    let mut altered = bytes.to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            altered[at] ^= 1 << bit;
            let mut walk = walk.clone();
            walk.policy(log::POLICY, Some(&altered));
            assert_eq!(log::words(&walk.finish()), ["policy"], "{path} byte {at}");
            altered[at] = bytes[at];
        }
    }
    walk.policy(log::POLICY, Some(bytes));
    assert!(walk.finish().is_good());
    bytes.len()
}

fn checkpoint(path: &str, bytes: &[u8]) -> usize {
    let mut altered = bytes.to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            altered[at] ^= 1 << bit;
            let mut walk = Walk::new(log::trust());
            assert_eq!(walk.checkpoint(path, &altered), None, "{path} byte {at}");
            assert_eq!(log::words(&walk.finish()), ["checkpoint", "no_checkpoint"]);
            altered[at] = bytes[at];
        }
    }
    bytes.len()
}

#[test]
fn every_shorter_form_of_every_file_is_found() {
    let copy = log::copy(&log::entries(300));
    let cut = |path: &str, length: usize| {
        let mut cut = copy.clone();
        cut.0.get_mut(path).unwrap().truncate(length);
        cut.verify().is_good()
    };
    for (path, bytes) in &copy.0 {
        let step = (bytes.len() / 40).max(1);
        for length in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            assert!(!cut(path, length), "{path} cut to {length}");
        }
        let mut longer: Copy = copy.clone();
        longer.0.get_mut(path).unwrap().push(0);
        assert!(!longer.verify().is_good(), "{path}");
    }
}

#[test]
fn every_missing_file_is_found() {
    let copy = log::copy(&log::entries(COUNT));
    for path in copy
        .0
        .keys()
        .filter(|path| !path.starts_with("checkpoints"))
    {
        let mut without = copy.clone();
        without.0.remove(path);
        let report = without.verify();
        assert!(!report.is_good(), "{path}");
    }
}
