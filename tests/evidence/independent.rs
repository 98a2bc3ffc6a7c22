//! A verifier in another language, which shares nothing with ours, comes to the same result.

use std::process::{Command, Output};

use quietus_ledger::merkle::{Leaves, root};

use crate::log::{self, Copy};
use crate::{Folder, shown};

const COUNT: u64 = 600;

/// What somebody does to the entries.
type Alter<'a> = &'a dyn Fn(&mut Vec<Vec<u8>>);

/// Fails where there is no Python: an independent verification that is skipped is none.
fn python(copy: &Copy) -> Output {
    let folder = Folder::of(copy);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/evidence/verify_log.py");
    Command::new("python3")
        .args(["-I", script, shown(&folder.copy())])
        .arg(log::verifier().to_string())
        .output()
        .expect("python3 is installed")
}

fn text(output: &Output) -> String {
    let out = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&out).into_owned()
}

/// Both verifiers find something, and the other one without tripping over it.
fn both_refuse(copy: &Copy, what: &str) {
    let report = copy.verify();
    assert!(!report.is_good(), "{what}");
    let output = python(copy);
    assert_eq!(output.status.code(), Some(1), "{what}: {}", text(&output));
    assert!(output.stderr.is_empty(), "{what}: {}", text(&output));
}

#[test]
fn a_good_log_is_good_for_both() {
    for count in [1, 256, 257, COUNT] {
        let entries = log::entries(count);
        let copy = log::copy(&entries);
        assert_eq!(copy.verify().findings, []);
        let output = python(&copy);
        assert!(output.status.success(), "{count}: {}", text(&output));
        let leaves = log::leaves(&entries);
        let root = root(&Leaves(&leaves), count).unwrap();
        let hex: String = root.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!("{count} entries, root {hex}\neverything holds\n");
        assert_eq!(text(&output), expected);
    }
}

#[test]
fn a_flipped_byte_in_any_kind_of_file_is_found_by_both() {
    let good = log::copy(&log::entries(COUNT));
    for (path, bytes) in &good.0 {
        for at in [0, bytes.len() / 3, bytes.len() - 1] {
            let mut copy = good.clone();
            copy.0.get_mut(path).unwrap()[at] ^= 1;
            both_refuse(&copy, &format!("{path} byte {at}"));
        }
    }
}

#[test]
fn entries_that_are_dropped_exchanged_cut_off_or_added_are_found_by_both() {
    let entries = log::entries(COUNT);
    let forged = |alter: Alter<'_>| {
        let mut forged = entries.clone();
        alter(&mut forged);
        log::with_checkpoints(log::unsigned(&forged), &entries)
    };
    let cases: [(&str, Alter<'_>); 5] = [
        ("dropped", &|entries| {
            entries.remove(300);
        }),
        ("exchanged", &|entries| entries.swap(10, 11)),
        ("cut off", &|entries| entries.truncate(512)),
        ("added", &|entries| {
            entries.push(log::seal(&log::entry(7), COUNT + 1))
        }),
        ("replaced", &|entries| {
            entries[5] = log::seal(&log::entry(7), 6)
        }),
    ];
    for (what, alter) in cases {
        both_refuse(&forged(alter), what);
    }
}

/// What the log itself signed is wrong all the same if it is not what an entry has to be.
#[test]
fn entries_that_are_none_are_found_by_both_though_they_are_signed() {
    let spelled = |from: &str, to: &str| {
        let mut entries = log::entries(20);
        let text = String::from_utf8(entries[8].clone()).unwrap();
        assert!(text.contains(from), "{from}");
        entries[8] = text.replacen(from, to, 1).into_bytes();
        log::copy(&entries)
    };
    for (from, to) in [
        ("\"seq\":9", "\"seq\":10"),
        ("\"seq\":9", "\"seq\":9.0"),
        ("\"seq\":9", "\"seq\": 9"),
        ("\"v\":2", "\"v\":02"),
        ("\"v\":2", "\"v\":2,\"v\":2"),
        ("☃", "\\u2603"),
        ("\\n", "\\u000a"),
        ("{\"entry\"", " {\"entry\""),
    ] {
        both_refuse(&spelled(from, to), to);
    }
}

#[test]
fn other_heads_and_files_out_of_place_are_found_by_both() {
    let entries = log::entries(COUNT);
    let good = log::copy(&entries);
    let put = |path: &str, bytes: Vec<u8>| {
        let mut copy = good.clone();
        copy.0.insert(path.to_owned(), bytes);
        copy
    };
    let leaves = log::leaves(&entries);
    let mut fork = leaves.clone();
    fork[100] = [7; 32];
    for (what, copy) in [
        (
            "a fork",
            put("checkpoints/256", log::signed(&fork[..256], 1, log::ORIGIN)),
        ),
        (
            "another key",
            put(
                "checkpoints/256",
                log::signed(&leaves[..256], 2, log::ORIGIN),
            ),
        ),
        (
            "another log",
            put("checkpoints/256", log::signed(&leaves[..256], 1, "other")),
        ),
        (
            "another size",
            put("checkpoints/257", log::checkpoint(&entries[..256])),
        ),
        (
            "an older head",
            put("checkpoint", log::checkpoint(&entries[..512])),
        ),
        ("a tile beyond", put("tile/0/009", vec![0; 32 * 256])),
        (
            "a false attachment",
            put(&format!("attachments/{}", log::POLICY), vec![1]),
        ),
    ] {
        both_refuse(&copy, what);
    }
    for path in [
        "tile/0/001",
        "tile/1/000.p/2",
        "tile/entries/001",
        "checkpoint",
    ] {
        let mut copy = good.clone();
        copy.0.remove(path);
        both_refuse(&copy, path);
    }
}
