use std::time::SystemTime;

use super::*;
use crate::audit::story::Credentials;
use crate::cli::style::Palette;

fn told(story: &Story) -> String {
    let mut page = Page::new(Palette::PLAIN, SystemTime::UNIX_EPOCH);
    story.show(&mut page);
    page.into_text()
}

fn at(entry: u64, event: &str, after_ms: u64) -> At {
    At {
        entry,
        event: event.to_owned(),
        after_ms,
        ..At::default()
    }
}

fn action(result: &str) -> Action {
    Action {
        tool: "sql.query".to_owned(),
        resource: "orders".to_owned(),
        result: result.to_owned(),
        ..Action::default()
    }
}

fn with_lease(events: Vec<LeaseEvent>) -> Story {
    let lease = LeaseStory {
        id: "t.0".to_owned(),
        target: "orders-db".to_owned(),
        expires_after_ms: Some(127_000),
        bound: Some("request".to_owned()),
        state: "Revoking".to_owned(),
        lag_ms: Some(2_000),
        events,
        ..LeaseStory::default()
    };
    Story {
        task: "t".to_owned(),
        state: Some("Closing".to_owned()),
        opened: Some(Opened {
            at: at(1, "task.opened", 0),
            agent: "spiffe://dev.example/agent/a".to_owned(),
            purpose: Some("x\u{1b}[2J\n└─ forged \"quote\"".to_owned()),
            ..Opened::default()
        }),
        steps: vec![Step {
            at: at(2, "lease.issued", 7_000),
            leases: vec![lease],
            ..Step::default()
        }],
        credentials: Credentials {
            issued: 1,
            unconfirmed: 1,
            ..Credentials::default()
        },
        ..Story::default()
    }
}

#[test]
fn a_story_is_a_tree() {
    let events = vec![
        LeaseEvent {
            at: at(3, "action.recorded", 9_000),
            action: Some(Action {
                text: Some("select *\nfrom orders".to_owned()),
                arguments: Some("ab".repeat(32)),
                ..action("succeeded")
            }),
            ..LeaseEvent::default()
        },
        LeaseEvent {
            at: at(4, "lease.settled", 31_000),
            state: Some("Revoking".to_owned()),
            attempts: Some(1),
            error: Some("no route".to_owned()),
            ..LeaseEvent::default()
        },
        LeaseEvent {
            at: at(5, "lease.settled", 32_000),
            cause: Some("returned".to_owned()),
            confirmed: Some("dropped".to_owned()),
            ..LeaseEvent::default()
        },
    ];
    let digest = "ab".repeat(32);
    let expected = format!(
        "\
task t, closing
├─ +0.000s #1 opened by spiffe://dev.example/agent/a, 1970-01-01T00:00:00.000Z
│  └─ purpose \"x\\u{{1b}}[2J\\n└─ forged \\\"quote\\\"\"
├─ +7.000s #2 request granted
│  └─ lease 0 at orders-db, expires +2m7s, bound by what was asked for
│     ├─ +9.000s #3 action \"sql.query\" on \"orders\": succeeded
│     │  ├─ arguments {digest}
│     │  └─ text \"select *\\nfrom orders\"
│     ├─ +31s #4 revoking, 1 attempt in vain: \"no route\"
│     └─ +32s #5 ended (returned), confirmed dead after 2s: dropped
└─ 1 of 1 credential not confirmed dead
"
    );
    assert_eq!(told(&with_lease(events)), expected);
}

#[test]
fn a_text_that_was_erased_is_said_to_be() {
    let event = LeaseEvent {
        action: Some(Action {
            text_missing: Some("erased".to_owned()),
            ..action("failed")
        }),
        ..LeaseEvent::default()
    };
    let told = told(&with_lease(vec![event]));
    assert!(told.contains("\"orders\": failed\n"), "{told}");
    assert!(told.contains("└─ text erased\n"), "{told}");
}

#[test]
fn what_is_not_known_is_not_made_up() {
    let bare = Story {
        task: "t".to_owned(),
        ..Story::default()
    };
    let expected = "\
task t, unknown
├─ its opening is not in the ledger any more
└─ no credential was issued
";
    assert_eq!(told(&bare), expected);
}
