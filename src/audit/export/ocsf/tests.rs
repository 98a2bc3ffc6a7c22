use std::collections::BTreeMap;

use quietus_ledger as ledger;

use super::*;
use crate::audit::events::EVENTS;

/// Activities by class, as the schema has them (1.8.0), besides 0 and 99.
const ACTIVITIES: [(u64, u64, u64); 5] = [
    (0, 0, 0),
    (3, 3004, 13),
    (3, 3005, 4),
    (6, 6002, 8),
    (6, 6003, 4),
];

/// What each class requires besides what all require.
fn required(class: u64) -> &'static [&'static str] {
    match class {
        3004 => &["/entity/uid"],
        3005 => &["/user/uid"],
        6002 => &["/app/name"],
        6003 => &["/actor", "/api/operation", "/src_endpoint/uid"],
        _ => &[],
    }
}

fn entry(event: &str) -> Entry {
    Entry {
        broker: "spiffe://dev.example/broker".to_owned(),
        event: event.to_owned(),
        time: 1_700_000_000_123,
        v: ledger::VERSION,
        ..Entry::default()
    }
}

#[allow(clippy::unwrap_used)]
fn mapped(entry: &Entry) -> Value {
    let bytes = ledger::Draft::new(entry).unwrap().seal(42);
    event(&Found::read(bytes).unwrap(), "dev.example/broker").unwrap()
}

/// With and without what an entry may have.
fn variants(event: &str) -> Vec<Entry> {
    let bare = entry(event);
    let called = Entry {
        caller: Some(ledger::Caller {
            certificate: "ab".repeat(32),
            id: "spiffe://dev.example/agent/a".to_owned(),
        }),
        agent: Some("spiffe://dev.example/agent/a".to_owned()),
        ..bare.clone()
    };
    let lease = |state: &str, error: Option<&str>| ledger::Lease {
        id: "t.0".to_owned(),
        state: state.to_owned(),
        target: "db".to_owned(),
        error: error.map(str::to_owned),
        ..ledger::Lease::default()
    };
    let with = |lease| Entry {
        leases: vec![lease],
        ..called.clone()
    };
    let refused = Entry {
        refusal: Some("NOT_AN_OPERATOR".to_owned()),
        decisions: vec![ledger::Decision {
            deciding: vec![],
            outcome: "deny".to_owned(),
            scope: "db:read:x".to_owned(),
        }],
        trace: Some(ledger::Trace {
            id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
            span: None,
        }),
        ..called.clone()
    };
    let done = Entry {
        action: Some(ledger::Action {
            tool: "psql".to_owned(),
            resource: "orders".to_owned(),
            result: "failed".to_owned(),
            ..ledger::Action::default()
        }),
        ..called.clone()
    };
    let selected = Entry {
        detail: BTreeMap::from([("target".to_owned(), "db".to_owned())]),
        ..called.clone()
    };
    let lists = [
        with(lease("Active", None)),
        with(lease("Revoking", Some("no"))),
    ];
    let others = [bare, called.clone(), refused, done, selected];
    others.into_iter().chain(lists).collect()
}

#[test]
#[allow(clippy::unwrap_used)]
fn every_event_has_what_its_class_requires() {
    for kind in EVENTS {
        for entry in variants(kind.name) {
            let event = mapped(&entry);
            let number = |name: &str| event[name].as_u64().unwrap();
            let class = number("class_uid");
            let (category, _, most) = *ACTIVITIES.iter().find(|(_, uid, _)| *uid == class).unwrap();
            assert_eq!(number("category_uid"), category, "{event}");
            let activity = number("activity_id");
            assert!((1..=most).contains(&activity) || activity == 99, "{event}");
            assert_eq!(number("type_uid"), class * 100 + activity);
            assert!((1..=4).contains(&number("severity_id")), "{event}");
            assert!((1..=2).contains(&number("status_id")), "{event}");
            assert_eq!(number("time"), 1_700_000_000_123);
            assert_eq!(event["metadata"]["uid"], "42");
            assert_eq!(event["metadata"]["version"], VERSION);
            assert_eq!(event["metadata"]["product"]["name"], "Quietus");
            assert_eq!(event["metadata"]["event_code"], kind.name);
            assert!(event["actor"].is_object() && event["unmapped"].is_object());
            for pointer in required(class) {
                let there = event
                    .pointer(pointer)
                    .unwrap_or_else(|| unreachable!("{pointer} {event}"));
                assert_ne!(there, "", "{pointer} {event}");
            }
        }
    }
}

#[test]
fn only_what_befalls_clocks_is_a_base_event() {
    for kind in EVENTS {
        let base = mapped(&entry(kind.name))["class_uid"] == 0;
        assert_eq!(base, kind.name.starts_with("clock."), "{}", kind.name);
    }
    assert_eq!(mapped(&entry("moon.rose"))["class_uid"], 0);
}

#[test]
fn refusals_and_attempts_in_vain_are_failures_and_nothing_else_is() {
    let of = |event: &str, n: usize| mapped(&variants(event)[n]);
    assert_eq!(of("request.refused", 2)["status_id"], 2);
    assert_eq!(of("request.refused", 2)["status_code"], "NOT_AN_OPERATOR");
    assert_eq!(of("action.recorded", 3)["status_id"], 2);
    assert_eq!(of("lease.settled", 6)["status_id"], 2);
    assert_eq!(of("lease.settled", 6)["activity_id"], 2);
    assert_eq!(of("lease.settled", 5)["status_id"], 1);
    assert_eq!(of("lease.settled", 5)["activity_id"], 1);
    assert_eq!(of("task.ended", 1)["status_id"], 1);
}

#[test]
fn nothing_of_an_entry_is_lost() {
    let event = mapped(&variants("request.refused")[2]);
    assert_eq!(event["unmapped"]["decisions"][0]["outcome"], "deny");
    assert_eq!(event["privileges"][0], "db:read:x");
    assert_eq!(
        event["metadata"]["correlation_uid"],
        "0af7651916cd43dd8448eb211c80319c"
    );
    for name in MAPPED {
        assert!(event["unmapped"].get(name).is_none(), "{name}");
    }
}
