use std::time::{Duration, SystemTime};

use quietus_ledger::receipt::{How, State, VERSION};
use serde_json::json;

use super::*;
use crate::cli::style::Palette;

const ISSUER: &str = "spiffe://dev.example/broker";
const AGENT: &str = "spiffe://dev.example/agent";
const NOW: u64 = 1_700_000_000;

fn at(before: u64) -> u64 {
    (NOW - before) * 1000
}

fn credential(number: u32, end: End) -> receipt::Credential {
    receipt::Credential {
        attempts: 3,
        can_revoke: true,
        cause: "completed".to_owned(),
        end,
        ended_at: at(60),
        expires_at: (NOW + 60) * 1000,
        fingerprint: None,
        issued_at: at(90),
        kind: "postgres".to_owned(),
        lease: format!("t1.{number}"),
        renewals: 0,
        scopes: vec!["orders-db:read:public.orders".to_owned()],
        target: "orders-db".to_owned(),
    }
}

fn gone(number: u32) -> receipt::Credential {
    let how = How::DeletedAtTarget;
    credential(number, End::Confirmed { at: at(50), how })
}

fn stuck(number: u32) -> receipt::Credential {
    let reason = "connection refused\n".to_owned();
    credential(number, End::Unconfirmed { reason })
}

fn signed(credentials: Vec<receipt::Credential>, signature: Signature) -> Signed {
    let complete = credentials.iter().all(|it| it.end.is_confirmed());
    let receipt = receipt::Receipt {
        agent: AGENT.to_owned(),
        at: at(10),
        cause: "completed".to_owned(),
        complete,
        credentials,
        ended: "Completed".to_owned(),
        ended_at: at(60),
        environment: "dev".to_owned(),
        issuer: ISSUER.to_owned(),
        ledger: receipt::Head {
            root: "cd".repeat(32),
            size: 12,
        },
        opened_at: at(120),
        parents: Vec::new(),
        state: if complete {
            State::Closed
        } else {
            State::Closing
        },
        task: "t1".to_owned(),
        v: VERSION,
        version: 2,
    };
    Signed::new(receipt, signature, vec![ISSUER.to_owned()])
}

fn shown(signed: &Signed) -> String {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let mut page = Page::new(Palette::PLAIN, now);
    signed.show(&mut page);
    page.into_text()
}

#[test]
fn what_people_see() {
    let signed = signed(vec![gone(0), stuck(1)], Signature::Verified);
    let expected = "\
task:         t1
agent:        spiffe://dev.example/agent
environment:  dev
opened:       2023-11-14T22:11:20.000Z (2m ago)
ended:        completed, 2023-11-14T22:12:20.000Z (1m ago)
receipt:      version 2, 2023-11-14T22:13:10.000Z (10s ago)
signed by:    spiffe://dev.example/broker, verified

Credentials
LEASE  KIND      SCOPES                        ENDED             DEATH
t1.0   postgres  orders-db:read:public.orders  completed 1m ago  deleted_at_target 50s ago
t1.1   postgres  orders-db:read:public.orders  completed 1m ago  unconfirmed, 3 attempts: connection refused\\n

not complete: 1 of 2 credentials not confirmed dead
";
    assert_eq!(shown(&signed), expected);
}

#[test]
fn what_cannot_be_revoked_is_said() {
    let credential = receipt::Credential {
        can_revoke: false,
        ..stuck(0)
    };
    let mut signed = signed(vec![credential], Signature::Verified);
    signed.receipt.cause = "heartbeat_missed".to_owned();
    let text = shown(&signed);
    assert!(
        text.contains("unconfirmed, cannot be revoked: connection refused\\n\n"),
        "{text}"
    );
    assert!(text.contains("completed (heartbeat_missed), 2"), "{text}");
}

#[test]
fn what_is_known_about_the_signature_is_said() {
    let cases = [
        (
            Signature::Unchecked,
            "not checked, see `quietus receipt verify`\n",
        ),
        (Signature::MatchesBroker, ", by the broker's own word\n"),
        (Signature::Verified, ", verified\n"),
    ];
    for (signature, words) in cases {
        let text = shown(&signed(vec![gone(0)], signature));
        assert!(text.contains(words), "{text}");
        let others = cases.iter().filter(|(other, _)| *other != signature);
        for (_, other) in others {
            assert!(!text.contains(other), "{text}");
        }
    }
}

#[test]
fn complete_or_not() {
    let cases = [
        (vec![], true, "complete: no credential was ever issued"),
        (
            vec![gone(0)],
            true,
            "complete: the death of 1 credential is confirmed",
        ),
        (
            vec![stuck(0)],
            false,
            "not complete: 1 of 1 credential not confirmed dead",
        ),
    ];
    for (credentials, complete, words) in cases {
        let signed = signed(credentials, Signature::Verified);
        assert_eq!(signed.is_complete(), complete);
        assert_eq!(signed.completeness().1, words);
    }
}

#[test]
fn the_document_is_stable() {
    let expected = json!({
        "task": "t1",
        "version": 2,
        "issuer": ISSUER,
        "agent": AGENT,
        "environment": "dev",
        "parents": [],
        "state": "closing",
        "opened_at": "2023-11-14T22:11:20.000Z",
        "ended_at": "2023-11-14T22:12:20.000Z",
        "ended": "completed",
        "cause": "completed",
        "at": "2023-11-14T22:13:10.000Z",
        "complete": false,
        "credentials": [{
            "lease": "t1.1",
            "kind": "postgres",
            "target": "orders-db",
            "scopes": ["orders-db:read:public.orders"],
            "issued_at": "2023-11-14T22:11:50.000Z",
            "expires_at": "2023-11-14T22:14:20.000Z",
            "ended_at": "2023-11-14T22:12:20.000Z",
            "cause": "completed",
            "can_revoke": true,
            "confirmed": null,
            "confirmed_at": null,
            "unconfirmed": "connection refused\n",
            "attempts": 3,
            "renewals": 0,
            "fingerprint": null,
        }],
        "signature": "unchecked",
        "signed_by": [ISSUER],
    });
    let signed = signed(vec![stuck(1)], Signature::Unchecked);
    assert_eq!(serde_json::to_value(signed).unwrap(), expected);
}
