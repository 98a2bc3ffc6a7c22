//! Entries that are dropped, exchanged, inserted or cut off by somebody who cannot sign: all else is made to fit.

use quietus_ledger::Sealed;
use quietus_ledger::audit::{Report, Walk};

use crate::COUNT;
use crate::log;

/// A walk with the checkpoints of the good log.
fn walk(good: &[Vec<u8>]) -> Walk {
    let mut walk = Walk::new(log::trust());
    for size in (256..good.len()).step_by(256).chain([good.len()]) {
        let note = log::checkpoint(&good[..size]);
        walk.checkpoint(&size.to_string(), &note).unwrap();
    }
    walk
}

fn finished(mut walk: Walk, rest: &[Vec<u8>]) -> Report {
    for entry in rest {
        walk.entry(entry);
    }
    walk.finish()
}

fn renumbered(entries: &[Vec<u8>], first: u64) -> Vec<Vec<u8>> {
    let numbered = entries.iter().zip(first..);
    let sealed = numbered.map(|(entry, seq)| log::seal(&Sealed::parse(entry).unwrap().entry, seq));
    sealed.collect()
}

#[test]
fn every_dropped_entry_is_found_renumbered_or_not() {
    let entries = log::entries(COUNT);
    let mut before = walk(&entries);
    for at in 0..entries.len() {
        let (seq, rest) = (at as u64 + 1, &entries[at + 1..]);
        let report = finished(before.clone(), &rest[..rest.len().min(2)]);
        let first = rest.first().map_or("truncated", |_| "out_of_place");
        assert_eq!(log::words(&report)[0], first, "{seq}");
        // Renumbered, the tree tells, at the next checkpoint.
        let end = (at / 256 + 1) * 256;
        let rest = renumbered(&rest[..rest.len().min(end - at)], seq);
        let report = finished(before.clone(), &rest);
        assert!(!log::words(&report).contains(&"out_of_place"));
        let told = log::words(&report)[0];
        assert_eq!(
            told,
            if end < entries.len() {
                "fork"
            } else {
                "truncated"
            },
            "{seq}"
        );
        before.entry(&entries[at]);
    }
    assert!(before.finish().is_good());
}

#[test]
fn a_dropped_entry_is_found_in_a_copy_that_was_made_to_fit() {
    let entries = log::entries(COUNT);
    for at in [0, 1, 255, 256, 500, 998, 999] {
        let mut without = entries.clone();
        without.remove(at);
        let renumbered = renumbered(&without, 1);
        for forged in [without, renumbered] {
            let copy = log::with_checkpoints(log::unsigned(&forged), &entries);
            assert!(!copy.verify().is_good(), "{at}");
        }
    }
}

#[test]
fn every_two_neighbours_that_change_places_are_found() {
    let entries = log::entries(COUNT);
    let mut before = walk(&entries);
    for at in 0..entries.len() - 1 {
        let mut pair = entries[at..at + 2].to_vec();
        pair.swap(0, 1);
        let report = finished(before.clone(), &pair);
        let words = log::words(&report);
        let displaced = words.iter().filter(|word| **word == "out_of_place");
        assert_eq!(displaced.count(), 2, "{at}");
        // As far as the first checkpoint that covers both or one of them.
        let end = ((at + 1) / 256 + 1) * 256;
        let mut fitted = renumbered(&pair, at as u64 + 1);
        fitted.extend_from_slice(&entries[at + 2..end.clamp(at + 2, entries.len())]);
        let report = finished(before.clone(), &fitted);
        assert!(
            log::words(&report).contains(&"fork"),
            "{at}: {:?}",
            report.findings
        );
        before.entry(&entries[at]);
    }
}

#[test]
fn a_log_cut_off_anywhere_is_found() {
    let entries = log::entries(COUNT);
    let mut before = walk(&entries);
    for (at, entry) in entries.iter().enumerate() {
        let report = before.clone().finish();
        let newest = report.findings.last().unwrap();
        assert_eq!(newest.word(), "truncated");
        assert_eq!(newest.seq(), Some(at as u64 + 1));
        before.entry(entry);
    }
}

#[test]
fn a_copy_cut_off_anywhere_is_found_with_its_newest_checkpoint_or_an_older_one() {
    let entries = log::entries(600);
    for size in (0..600)
        .step_by(37)
        .chain([255, 256, 257, 511, 512, 513, 599])
    {
        let cut = &entries[..size];
        let newest = log::with_checkpoints(log::unsigned(cut), &entries);
        assert!(!newest.verify().is_good(), "{size}");
        // A checkpoint that fits what is left, while another that was kept tells of more.
        let mut older = log::copy(cut);
        older
            .0
            .insert("checkpoints/600".to_owned(), log::checkpoint(&entries));
        let report = older.verify();
        assert_eq!(log::words(&report), ["truncated"], "{size}");
        assert_eq!(report.findings[0].seq(), Some(size as u64 + 1));
    }
}

#[test]
fn every_inserted_entry_is_found() {
    let entries = log::entries(COUNT);
    let mut before = walk(&entries);
    for at in 0..=entries.len() {
        let seq = at as u64 + 1;
        let mut more = vec![log::seal(&log::entry(7), seq)];
        let end = ((at / 256 + 1) * 256).min(entries.len());
        more.extend(renumbered(&entries[at..end], seq + 1));
        let report = finished(before.clone(), &more);
        let told = if at < entries.len() {
            "fork"
        } else {
            "uncovered"
        };
        assert!(
            log::words(&report).contains(&told),
            "{at}: {:?}",
            report.findings
        );
        if let Some(entry) = entries.get(at) {
            before.entry(entry);
        }
    }
}

#[test]
fn entries_beyond_the_newest_checkpoint_are_named() {
    let entries = log::entries(600);
    for (held, paths) in [
        (590, &["tile/0/002.p/88", "tile/entries/002.p/88"][..]),
        (512, &["tile/0/002.p/88", "tile/entries/002.p/88"]),
        (
            300,
            &["tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/002.p/88"],
        ),
    ] {
        let mut copy = log::copy(&entries[..held]);
        for (path, bytes) in log::unsigned(&entries).0 {
            copy.0.entry(path).or_insert(bytes);
        }
        let report = copy.verify();
        assert!(log::words(&report).iter().all(|word| *word == "beyond"));
        let named: Vec<_> = report
            .findings
            .iter()
            .filter_map(|finding| finding.name())
            .collect();
        for path in paths {
            assert!(named.contains(&(*path).to_owned()), "{held}: {named:?}");
        }
    }
}

#[test]
fn older_forms_of_a_tile_may_stay_if_they_are_how_it_began() {
    let entries = log::entries(600);
    let mut copy = log::copy(&entries);
    let older = log::unsigned(&entries[..550]);
    let stale = ["tile/0/002.p/38", "tile/entries/002.p/38"];
    for path in stale {
        copy.0.insert(path.to_owned(), older.0[path].clone());
    }
    assert_eq!(copy.verify().findings, []);
    for path in stale {
        for at in [0, 5, older.0[path].len() - 1] {
            let mut altered = copy.clone();
            altered.0.get_mut(path).unwrap()[at] ^= 1;
            assert_eq!(altered.words(), ["stale"], "{path} {at}");
        }
    }
}
