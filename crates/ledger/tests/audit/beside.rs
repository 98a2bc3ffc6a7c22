//! What lies beside the entries: attached lists, policy sets, and what was pruned.

use std::collections::BTreeMap;

use quietus_ledger::audit::{Finding, MAX_FINDINGS};
use quietus_ledger::{Draft, Entry, Lease};

use crate::log::{self, Copy};

const ATTACHED_AT: u64 = 40;

/// A log in which one task ended with more leases than fit.
fn with_attachment() -> (Copy, String) {
    let mut entries = log::entries(60);
    let ended = Entry {
        leases: (0..400).map(wide).collect(),
        ..log::entry(5)
    };
    let draft = Draft::new(&ended).unwrap();
    let [attachment] = draft.attachments() else {
        panic!("one list is too large");
    };
    let hex: String = attachment
        .digest
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let (path, bytes) = (format!("attachments/{hex}"), attachment.bytes.clone());
    entries[usize::try_from(ATTACHED_AT).unwrap() - 1] = draft.seal(ATTACHED_AT);
    let mut copy = log::copy(&entries);
    copy.0.insert(path.clone(), bytes);
    (copy, path)
}

fn wide(number: u64) -> Lease {
    Lease {
        error: Some("x".repeat(200)),
        id: format!("{}.{number}", log::task(5)),
        state: "Revoking".to_owned(),
        target: "orders-db".to_owned(),
        ..Lease::default()
    }
}

#[test]
fn an_attached_list_must_be_there_and_right() {
    let (copy, path) = with_attachment();
    let report = copy.verify();
    assert_eq!((report.attachments, report.findings), (1, vec![]));
    let mut without = copy.clone();
    let bytes = without.0.remove(&path).unwrap();
    let report = without.verify();
    assert_eq!(log::words(&report), ["no_attachment"]);
    assert_eq!(report.findings[0].seq(), Some(ATTACHED_AT));
    let mut put = |bytes: Vec<u8>| {
        without.0.insert(path.clone(), bytes);
        without.words()
    };
    for at in (0..bytes.len()).step_by(bytes.len() / 50) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        assert_eq!(put(altered), ["attachment"], "byte {at}");
        assert_eq!(put(bytes[..at].to_vec()), ["attachment"], "cut to {at}");
    }
    assert_eq!(put([&bytes[..], b" "].concat()), ["attachment"]);
}

#[test]
fn a_file_among_the_attachments_that_nothing_refers_to_must_be_what_its_name_says() {
    let (mut copy, path) = with_attachment();
    let bytes = copy.0[&path].clone();
    let mut second = log::copy(&log::entries(60));
    second.0.insert(path.clone(), bytes);
    assert_eq!(second.verify().findings, []);
    second.0.get_mut(&path).unwrap()[3] ^= 1;
    assert_eq!(second.words(), ["misnamed"]);
    copy.0.insert("attachments/other".to_owned(), Vec::new());
    assert_eq!(copy.words(), ["misnamed"]);
}

#[test]
fn a_policy_set_that_decided_must_be_archived() {
    let mut copy = log::copy(&log::entries(60));
    copy.0.remove(&format!("policies/{}", log::POLICY));
    let missing = Finding::NoPolicy {
        seq: 2,
        digest: log::POLICY.to_owned(),
    };
    assert_eq!(copy.verify().findings, [missing]);
}

#[test]
fn names_in_entries_lead_nowhere_but_into_their_folders() {
    let mut entries = log::entries(10);
    let entry = Entry {
        policy: Some("../checkpoint".to_owned()),
        ..log::entry(1)
    };
    entries[1] = log::seal(&entry, 2);
    let mut copy = log::copy(&entries);
    copy.0
        .insert("policies/../checkpoint".to_owned(), Vec::new());
    assert_eq!(copy.words(), ["no_policy"]);
}

/// A log whose last entry says that entries are pruned.
fn pruned(count: u64, through: &str) -> Copy {
    let mut entries = log::entries(count);
    let announcement = Entry {
        broker: log::BROKER.to_owned(),
        detail: BTreeMap::from([("through".to_owned(), through.to_owned())]),
        event: "ledger.pruned".to_owned(),
        time: log::START,
        v: quietus_ledger::VERSION,
        ..Entry::default()
    };
    entries.push(log::seal(&announcement, count + 1));
    log::copy(&entries)
}

#[test]
fn pruned_entries_may_be_absent_if_the_log_says_so() {
    let mut copy = pruned(900, "512");
    assert_eq!(copy.verify().findings, []);
    for (bundle, gone) in [("tile/entries/000", 256), ("tile/entries/001", 512)] {
        copy.0.remove(bundle);
        let report = copy.verify();
        assert_eq!(report.findings, [], "{bundle}");
        assert_eq!(
            (report.pruned, report.entries, report.size),
            (gone, 901 - gone, 901)
        );
        assert_eq!(report.checkpoints, 4);
    }
    copy.0.remove("tile/entries/002");
    let beyond = Finding::Missing {
        first: 513,
        last: 768,
    };
    assert_eq!(copy.verify().findings, [beyond]);
}

#[test]
fn absent_entries_that_nothing_announces_are_missing() {
    for (bundle, first, last) in [("000", 1, 256), ("001", 257, 512), ("003.p/133", 769, 901)] {
        let mut copy = pruned(900, "0");
        copy.0.remove(&format!("tile/entries/{bundle}"));
        let report = copy.verify();
        assert_eq!(report.findings, [Finding::Missing { first, last }]);
    }
}

#[test]
fn the_hashes_of_what_is_pruned_must_stay() {
    let mut copy = pruned(900, "512");
    copy.0.remove("tile/entries/000");
    let mut altered = copy.clone();
    altered.0.get_mut("tile/0/000").unwrap()[99] ^= 1;
    let words = altered.words();
    assert!(
        words.contains(&"hash") && words.contains(&"fork"),
        "{words:?}"
    );
    copy.0.remove("tile/0/000");
    let words = copy.words();
    assert_eq!(words[..2], ["no_tile", "unchecked"]);
}

#[test]
fn an_announcement_must_name_an_entry_before_it() {
    for through in ["", "x", "-1", "901", "18446744073709551616"] {
        assert_eq!(pruned(900, through).words(), ["pruning"], "{through:?}");
    }
}

#[test]
fn findings_are_counted_when_there_are_too_many_to_tell() {
    let entries = log::entries(2000);
    let mut copy = log::copy(&entries);
    let other = log::unsigned(&log::entries(2001)[1..]);
    for (path, bytes) in other
        .0
        .into_iter()
        .filter(|(path, _)| path.starts_with("tile/entries"))
    {
        copy.0.insert(path, bytes);
    }
    let report = copy.verify();
    assert_eq!(report.findings.len(), MAX_FINDINGS);
    assert!(report.more >= 2000);
    assert!(!report.is_good());
}
