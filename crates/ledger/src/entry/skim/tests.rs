#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::entry::Draft;
use crate::entry::tests::full;

fn bytes() -> Vec<u8> {
    Draft::new(&full()).unwrap().seal(42)
}

fn slow(bytes: &[u8]) -> Option<Skimmed<'_>> {
    Sealed::parse(bytes).ok().map(Skimmed::from)
}

#[test]
fn every_member_is_recognised() {
    let bytes = bytes();
    let found = fast(&bytes).unwrap();
    assert_eq!(Some(&found), slow(&bytes).as_ref());
    assert_eq!((found.seq, found.time), (42, 1_800_000_000_000));
    assert_eq!(found.event, "lease.issued");
    assert_eq!(found.policy.as_deref(), Some("dd"));
    let task = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";
    assert_eq!(found.task.as_deref(), Some(task));
    assert!(found.attached);
}

/// Whatever is done to one byte, the fast pass says nothing that the strict reader would not say.
#[test]
fn it_never_takes_what_the_strict_reader_refuses() {
    let bytes = bytes();
    let agrees = |altered: &[u8]| {
        let Some(found) = fast(altered) else { return };
        let strict = slow(altered);
        assert_eq!(Some(found), strict, "{}", String::from_utf8_lossy(altered));
    };
    for at in 0..bytes.len() {
        for other in (0..=255).filter(|other| *other != bytes[at]) {
            let mut altered = bytes.clone();
            altered[at] = other;
            agrees(&altered);
        }
        let mut without = bytes.clone();
        without.remove(at);
        agrees(&without);
        for more in *b"0\"\\,:{}[] a" {
            let mut with = bytes.clone();
            with.insert(at, more);
            agrees(&with);
        }
        agrees(&bytes[..at]);
    }
}

#[test]
fn other_spellings_of_text_and_numbers_are_not_recognised() {
    let text = String::from_utf8(bytes()).unwrap();
    for (from, to) in [
        ("\\\"", "\\u0022"),
        ("\\n", "\\u000a"),
        ("\\n", "\\u000A"),
        ("\\u0001", "\\u0041"),
        ("\\u0001", "\\/"),
        ("\u{7f}", "\\u007f"),
        ("☃", "\\u2603"),
        ("\"v\":2", "\"v\":2.0"),
        ("\"v\":2", "\"v\":2e0"),
        ("\"v\":2", "\"v\":4294967296"),
        ("\"v\":2", "\"v\":null"),
        ("\"task_age\":3", "\"task_age\":03"),
        ("\"task_age\":3", "\"task_age\":-3"),
        ("\"task_age\":3", "\"task_age\":18446744073709551616"),
        ("\"target_sensitivity\":-1", "\"target_sensitivity\":-0"),
        ("\"target_sensitivity\":-1", "\"target_sensitivity\":-01"),
        ("\"approved\":false", "\"approved\":0"),
        ("\"a\":\"1\",\"b\":\"2\"", "\"b\":\"2\",\"a\":\"1\""),
        ("\"a\":\"1\",\"b\":\"2\"", "\"a\":\"1\",\"a\":\"2\""),
        (
            "\"scopes\":[\"orders-db:read:public.orders\"]",
            "\"scopes\":[]",
        ),
        ("\"detail\":{\"a\":\"1\",\"b\":\"2\"}", "\"detail\":{}"),
        (
            "\"cause\":\"expired\",\"decisions\"",
            "\"cause\":null,\"decisions\"",
        ),
        ("\"tier\":1,", ""),
    ] {
        assert!(text.contains(from), "{from}");
        let altered = text.replacen(from, to, 1);
        assert_eq!(fast(altered.as_bytes()), None, "{to}");
        assert!(skim(altered.as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn what_it_does_not_recognise_may_be_canonical_all_the_same() {
    let mut entry = full();
    entry.detail.insert("tab\t".to_owned(), String::new());
    let bytes = Draft::new(&entry).unwrap().seal(1);
    assert_eq!(fast(&bytes), None);
    assert_eq!(skim(&bytes).ok(), slow(&bytes));
}
