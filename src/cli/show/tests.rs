use std::time::SystemTime;

use serde_json::json;

use super::*;
use crate::api::{v1, wire};
use crate::cli::style::Palette;

const NOW: i64 = 1_700_000_000;
const AGENT: &str = "spiffe://dev.example/agent";

fn at(seconds: i64) -> Option<wire::Timestamp> {
    let seconds = NOW + seconds;
    Some(wire::Timestamp { seconds, nanos: 0 })
}

fn task(id: &str, purpose: &str) -> v1::Task {
    v1::Task {
        id: id.to_owned(),
        agent: AGENT.to_owned(),
        purpose: purpose.to_owned(),
        environment: "dev".to_owned(),
        opened_at: at(-3),
        deadline: at(252),
        state: v1::TaskState::Open.into(),
        live_leases: 1,
        issued_leases: 2,
        ..v1::Task::default()
    }
}

fn ended_task(id: &str) -> v1::Task {
    v1::Task {
        state: v1::TaskState::Closing.into(),
        ending: Some(v1::Ending {
            cause: "Revoked".to_owned(),
            reason: "operator".to_owned(),
            by: "spiffe://dev.example/operator".to_owned(),
            at: at(-60),
        }),
        live_leases: 0,
        revoking_leases: 1,
        heartbeat_interval: Some(wire::Duration {
            seconds: 10,
            nanos: 0,
        }),
        ..task(id, "x")
    }
}

fn lease(id: &str) -> v1::Lease {
    v1::Lease {
        id: id.to_owned(),
        task_id: "t1".to_owned(),
        agent: AGENT.to_owned(),
        target: "orders-db".to_owned(),
        scopes: vec!["orders-db:read:public.orders".to_owned()],
        issued_at: at(-10),
        expires_at: at(290),
        bound: "policy".to_owned(),
        state: v1::LeaseState::Active.into(),
        kind: "jwt".to_owned(),
        ..v1::Lease::default()
    }
}

fn shown(result: &impl Show) -> String {
    let now = Time::read(at(0)).map_or(SystemTime::UNIX_EPOCH, |time| time.0);
    let mut page = Page::new(Palette::PLAIN, now);
    result.show(&mut page);
    page.into_text()
}

#[test]
fn tasks_in_a_table() {
    let evil = "fix it\n0192 open forged \x1b[2J";
    let tasks = [task("t1", evil), ended_task("t2")].map(Task::from);
    let expected = "\
TASK  STATE    OPENED  ENDS            LEASES                   AGENT                       PURPOSE
t1    open     3s ago  in 4m12s        1 live of 2              spiffe://dev.example/agent  fix it\\n0192 open forged \\u{1b}[2J
t2    closing  3s ago  revoked 1m ago  0 live of 2, 1 revoking  spiffe://dev.example/agent  x
";
    assert_eq!(shown(&tasks.to_vec()), expected);
}

#[test]
fn a_task_with_its_leases() {
    let detail = TaskDetail::read(Some(ended_task("t2")), vec![lease("t2.0")]).unwrap();
    let expected = "\
task:         t2
agent:        spiffe://dev.example/agent
state:        closing
purpose:      x
environment:  dev
opened:       2023-11-14T22:13:17.000Z (3s ago)
deadline:     2023-11-14T22:17:32.000Z (in 4m12s)
heartbeat:    every 10s
ended:        revoked (operator) by spiffe://dev.example/operator, 1m ago
leases:       0 live of 2, 1 revoking

Leases
LEASE  STATE   ENDS      SCOPES                        AGENT
t2.0   active  in 4m50s  orders-db:read:public.orders  spiffe://dev.example/agent
";
    assert_eq!(shown(&detail), expected);
}

#[test]
fn a_lease_that_cannot_be_revoked_says_why() {
    let revoking = Lease::from(v1::Lease {
        state: v1::LeaseState::Revoking.into(),
        attempts: 3,
        last_error: "connection refused".to_owned(),
        ..lease("t1.0")
    });
    let text = shown(&revoking);
    assert!(
        text.contains("bound by:    the longest that policy allows\n"),
        "{text}"
    );
    assert!(
        text.contains("attempts:    3\nlast error:  connection refused\n"),
        "{text}"
    );
}

#[test]
fn leases_that_are_stuck_say_since_when_and_why() {
    let stuck = Lease::from(v1::Lease {
        state: v1::LeaseState::Revoking.into(),
        ending: ended_task("t1").ending,
        attempts: 3,
        last_error: "connection refused\n".to_owned(),
        ..lease("t1.0")
    });
    let rows = [stuck, Lease::from(lease("t1.1"))];
    let expected = "\
LEASE  TARGET     KIND  SINCE   ATTEMPTS  LAST ERROR
t1.0   orders-db  jwt   1m ago  3         connection refused\\n
t1.1   orders-db  jwt   -       0         -
";
    assert_eq!(shown(&Stuck(&rows)), expected);
    let document = serde_json::to_value(Stuck(&rows)).unwrap();
    assert_eq!(document[0]["attempts"], 3);
}

#[test]
fn leases_tell_how_their_credentials_died() {
    let gone = Lease::from(v1::Lease {
        state: v1::LeaseState::Ended.into(),
        ending: ended_task("t1").ending,
        confirmed: "deleted_at_target".to_owned(),
        confirmed_at: at(-50),
        ..lease("t1.0")
    });
    let stuck = Lease::from(v1::Lease {
        state: v1::LeaseState::Revoking.into(),
        ending: ended_task("t1").ending,
        attempts: 1,
        last_error: "connection refused\n".to_owned(),
        ..lease("t1.1")
    });
    let expected = "\
LEASE  KIND  SCOPES                        ENDED           DEATH
t1.0   jwt   orders-db:read:public.orders  revoked 1m ago  deleted_at_target 50s ago
t1.1   jwt   orders-db:read:public.orders  revoked 1m ago  unconfirmed, 1 attempt: connection refused\\n
";
    assert_eq!(shown(&Deaths(&[gone, stuck])), expected);
}

#[test]
fn the_task_document_is_stable() {
    let expected = json!({
        "id": "t2",
        "agent": AGENT,
        "purpose": "x",
        "ticket": null,
        "environment": "dev",
        "state": "closing",
        "opened_at": "2023-11-14T22:13:17.000Z",
        "deadline": "2023-11-14T22:17:32.000Z",
        "heartbeat_interval_ms": 10_000,
        "alive_until": null,
        "ending": {
            "cause": "revoked",
            "reason": "operator",
            "by": "spiffe://dev.example/operator",
            "at": "2023-11-14T22:12:20.000Z",
        },
        "live_leases": 0,
        "issued_leases": 2,
        "revoking_leases": 1,
        "trace_id": null,
    });
    let document = serde_json::to_value(Task::from(ended_task("t2")));
    assert_eq!(document.unwrap(), expected);
}

#[test]
fn the_lease_document_is_stable() {
    let expected = json!({
        "id": "t1.0",
        "task_id": "t1",
        "agent": AGENT,
        "target": "orders-db",
        "kind": "jwt",
        "scopes": ["orders-db:read:public.orders"],
        "state": "active",
        "issued_at": "2023-11-14T22:13:10.000Z",
        "expires_at": "2023-11-14T22:18:10.000Z",
        "bound": "policy",
        "fingerprint": null,
        "renewals": 0,
        "ending": null,
        "confirmed": null,
        "confirmed_at": null,
        "attempts": 0,
        "last_error": null,
    });
    let document = serde_json::to_value(Lease::from(lease("t1.0")));
    assert_eq!(document.unwrap(), expected);
}
