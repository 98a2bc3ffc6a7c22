//! Whatever is done to a log of a thousand entries is found.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod alterations;
mod beside;
mod bytes;
mod heads;
mod log;
mod receipts;
mod speed;

use quietus_ledger::Frontier;

/// As many as the tests take.
const COUNT: u64 = 1000;

#[test]
fn a_good_log_is_good() {
    for count in [1, 2, 255, 256, 257, 511, 512, 513, COUNT] {
        let entries = log::entries(count);
        let report = log::copy(&entries).verify();
        assert_eq!(report.findings, [], "{count}");
        assert!(report.is_good());
        assert_eq!(
            (report.size, report.entries, report.pruned),
            (count, count, 0)
        );
        assert_eq!(report.checkpoints, 1 + count / 256);
        assert_eq!(report.origin.as_deref(), Some(log::ORIGIN));
        assert_eq!(report.policies, u64::from(count > 1));
        let last = log::START + 100 * (count - 1);
        assert_eq!((report.first, report.last), (Some(log::START), Some(last)));
        let mut tree = Frontier::default();
        for leaf in log::leaves(&entries) {
            tree.push(leaf, |_, _, _| ());
        }
        assert_eq!(report.root, tree.root());
    }
}

#[test]
fn an_empty_log_is_good_and_nothing_is_not() {
    let mut copy = log::Copy::default();
    assert_eq!(copy.words(), ["no_checkpoint"]);
    copy.0.insert("checkpoint".to_owned(), log::checkpoint(&[]));
    let report = copy.verify();
    assert_eq!(
        (report.findings, report.size, report.checkpoints),
        (vec![], 0, 1)
    );
}

#[test]
fn the_upper_levels_of_a_larger_tree_are_checked_too() {
    let entries = log::entries(66_000);
    let copy = log::copy(&entries);
    assert_eq!(copy.verify().findings, []);
    for path in ["tile/1/000", "tile/1/001.p/1", "tile/2/000.p/1"] {
        let mut altered = copy.clone();
        altered.0.get_mut(path).unwrap()[7] ^= 1;
        assert_eq!(altered.words(), ["hash"], "{path}");
        altered.0.remove(path);
        assert_eq!(altered.words(), ["no_tile"], "{path}");
    }
}
