use super::*;
use crate::canonical::by_hand::canonical;

pub(crate) fn full() -> Entry {
    let text = |s: &str| Some(s.to_owned());
    Entry {
        action: Some(Action {
            arguments: text("a1"),
            call: text("call-1"),
            ended_at: Some(2),
            lease: text("0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0"),
            prompt: text("a2"),
            resource: "public.orders".to_owned(),
            response: text("a3"),
            result: "succeeded".to_owned(),
            started_at: Some(1),
            text: text("a4"),
            tool: "sql".to_owned(),
        }),
        approval: Some(Approval {
            by: vec!["spiffe://dev.example/human/ann".to_owned()],
            id: "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a56".to_owned(),
            request: "a5".to_owned(),
        }),
        attached: BTreeMap::from([(
            "other".to_owned(),
            Attached {
                bytes: 7,
                count: 1,
                sha256: "a6".to_owned(),
            },
        )]),
        delegation: vec![Delegator {
            agent: "spiffe://dev.example/agent/planner".to_owned(),
            task: "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a57".to_owned(),
        }],
        agent: text("spiffe://dev.example/agent/builder"),
        broker: "spiffe://dev.example/broker".to_owned(),
        caller: Some(Caller {
            certificate: "aa".repeat(32),
            id: "spiffe://dev.example/agent/builder".to_owned(),
        }),
        cause: text("expired"),
        decisions: vec![Decision {
            deciding: vec!["readers".to_owned()],
            outcome: "permit".to_owned(),
            scope: "orders-db:read:public.orders".to_owned(),
        }],
        detail: BTreeMap::from([
            ("b".to_owned(), "2".to_owned()),
            ("a".to_owned(), "1".to_owned()),
        ]),
        event: "lease.issued".to_owned(),
        facts: Some(Facts {
            agent_environment: "dev".to_owned(),
            approved: false,
            delegation_depth: 0,
            owner: "alice".to_owned(),
            target_environment: "dev".to_owned(),
            target_kind: "jwt".to_owned(),
            target_sensitivity: -1,
            task_age: 3,
            task_environment: "dev".to_owned(),
            task_held: true,
            task_leases: 2,
            team: "data".to_owned(),
            tier: 1,
            time: 1_800_000_000,
            ttl: 300,
        }),
        leases: vec![Lease {
            attempts: Some(1),
            bound: text("policy"),
            cause: text("expired"),
            certificate: text("bb"),
            confirmed: text("refused_by_introspection"),
            error: text("target away"),
            expires_at: Some(9_007_199_254_740_991),
            fingerprint: text("cc"),
            id: "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0".to_owned(),
            scopes: vec!["orders-db:read:public.orders".to_owned()],
            state: "Ended".to_owned(),
            target: "orders-db".to_owned(),
        }],
        policy: text("dd"),
        refusal: text("TASK_ENDED"),
        request: text("ee"),
        task: Some(Task {
            deadline: Some(1),
            environment: text("dev"),
            id: "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55".to_owned(),
            purpose: text(
                "quote \" backslash \\ control \u{1}\n\u{7f} snowman ☃ astral 😀 </script>",
            ),
            previous: 6,
            prompt: text("a7"),
            state: "Open".to_owned(),
            ticket: text("OPS-1"),
            version: 7,
        }),
        time: 1_800_000_000_000,
        trace: Some(Trace {
            id: "0192f0c17d7e7c3a9b1d2f6c1d0e8a55".to_owned(),
            span: text("00f067aa0ba902b7"),
        }),
        v: VERSION,
    }
}

#[test]
fn an_entry_with_every_member_is_canonical() {
    let bytes = Draft::new(&full()).unwrap().seal(42);
    let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), canonical(&value));
}

#[test]
fn an_entry_reads_back() {
    let bytes = Draft::new(&full()).unwrap().seal(42);
    let sealed = Sealed::parse(&bytes).unwrap();
    assert_eq!((sealed.entry, sealed.seq), (full(), 42));
}

#[test]
fn other_spellings_of_an_entry_are_refused() {
    let text = String::from_utf8(Draft::new(&full()).unwrap().seal(42)).unwrap();
    let cases = [
        text.replace(",\"seq\":42", ", \"seq\":42"),
        text.replace("\"v\":2", "\"v\":2,\"w\":2"),
        text.replace("42}", "042}"),
        text.replace("42}", "42.0}"),
        text.replace("42}", "-42}"),
        text.replace("☃", "\\u2603"),
        format!("{text} "),
        text[..text.len() - 1].to_owned(),
        format!("{{\"seq\":42,{}", &text[1..].replace(",\"seq\":42", "")),
    ];
    for case in cases {
        assert!(Sealed::parse(case.as_bytes()).is_err(), "{case}");
    }
}

#[test]
fn an_entry_over_the_limit_is_refused() {
    let mut entry = full();
    entry.event = "x".repeat(MAX_ENTRY);
    assert!(matches!(Draft::new(&entry), Err(EntryError::TooLarge(_))));
}

fn with_leases(count: usize) -> Entry {
    let mut entry = full();
    entry.attached.clear();
    entry.leases = vec![entry.leases[0].clone(); count];
    entry
}

#[test]
fn lists_of_a_large_entry_are_kept_by_their_digests_and_can_be_put_back() {
    let entry = with_leases(1_000);
    let draft = Draft::new(&entry).unwrap();
    let attachments = draft.attachments().to_vec();
    let bytes = draft.seal(u64::MAX >> 11);
    assert!(bytes.len() <= MAX_ENTRY);
    let mut read = Sealed::parse(&bytes).unwrap().entry;
    assert!(read.leases.is_empty() && read.decisions.is_empty());
    assert_eq!(read.attached["leases"].count, 1_000);
    read.restore("leases", &attachments[0].bytes).unwrap();
    read.restore("decisions", &attachments[1].bytes).unwrap();
    assert_eq!(read, entry);
}

#[test]
fn ten_thousand_leases_have_room() {
    assert_eq!(
        Draft::new(&with_leases(10_000))
            .unwrap()
            .attachments()
            .len(),
        2
    );
}

#[test]
fn a_list_beyond_all_bounds_is_refused() {
    assert!(matches!(
        Draft::new(&with_leases(20_000)),
        Err(EntryError::Attachment(_))
    ));
}

#[test]
fn an_entry_that_fits_has_nothing_attached() {
    assert!(
        Draft::new(&with_leases(1))
            .unwrap()
            .attachments()
            .is_empty()
    );
}

#[test]
fn another_list_is_not_put_back() {
    let draft = Draft::new(&with_leases(1_000)).unwrap();
    let leases = draft.attachments()[0].bytes.clone();
    let other = Draft::new(&with_leases(1_001)).unwrap().attachments()[0]
        .bytes
        .clone();
    let mut read = Sealed::parse(&draft.seal(1)).unwrap().entry;
    for (name, bytes) in [
        ("leases", &other),
        ("decisions", &leases),
        ("nothing", &leases),
    ] {
        assert!(matches!(
            read.restore(name, bytes),
            Err(EntryError::NotAttached(_))
        ));
    }
}
