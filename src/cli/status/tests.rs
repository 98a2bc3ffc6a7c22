use super::*;
use crate::api::wire;
use crate::cli::style::Palette;

fn status(degraded: &[&str], error: &str) -> Status {
    let at = |seconds| Some(wire::Timestamp { seconds, nanos: 0 });
    let answer = v1::GetStatusResponse {
        version: "0.1.0".to_owned(),
        broker: "spiffe://dev.example/broker".to_owned(),
        started_at: at(1_699_996_400),
        now: at(1_700_000_000),
        clock_ahead: Some(wire::Duration {
            seconds: 2,
            nanos: 0,
        }),
        open_tasks: 3,
        live_leases: 7,
        revoking_leases: 1,
        ledger_entries: 42,
        store_bytes: 1 << 20,
        policy_digest: "ab12".to_owned(),
        policies: 9,
        kid: "k1".to_owned(),
        trust_domains: vec![v1::TrustDomainStatus {
            name: "dev.example".to_owned(),
            anchors: 1,
            bundle: "ca.pem".to_owned(),
            loaded_at: at(1_699_999_990),
            error: error.to_owned(),
        }],
        freezes: vec![v1::FreezeStatus {
            selector: Some(v1::Selector {
                of: Some(v1::selector::Of::All(true)),
            }),
            by: "spiffe://dev.example/operator".to_owned(),
            at: at(1_699_999_400),
            reason: "drill".to_owned(),
        }],
        degraded: degraded.iter().map(ToString::to_string).collect(),
        targets: vec![v1::TargetStatus {
            name: "orders-db".to_owned(),
            kind: "jwt".to_owned(),
            configured: true,
            ..Default::default()
        }],
    };
    Status::read(answer).unwrap()
}

fn shown(status: &Status) -> String {
    let mut page = Page::new(Palette::PLAIN, status.now.0);
    status.show(&mut page);
    page.into_text()
}

#[test]
fn what_people_see() {
    let expected = "\
broker:       spiffe://dev.example/broker
health:       all is well
version:      0.1.0
started:      2023-11-14T21:13:20.000Z (1h ago)
clock:        2023-11-14T22:13:20.000Z, 2s ahead of the machine's
open tasks:   3
leases:       7 live, 1 revoking
ledger:       42 entries
store:        1.0 MiB
policies:     9 (ab12)
signing key:  k1

TRUST DOMAIN  ANCHORS  LOADED   BUNDLE
dev.example   1        10s ago  ca.pem

TARGET     KIND  STATE
orders-db  jwt   ok

FROZEN      SINCE    BY                             REASON
everything  10m ago  spiffe://dev.example/operator  drill
";
    assert_eq!(shown(&status(&[], "")), expected);
}

#[test]
fn what_is_degraded_is_said_and_makes_the_exit_code() {
    let broken = status(
        &["disk_short_of_space", "trust_bundle:dev.example"],
        "is not PEM",
    );
    let text = shown(&broken);
    assert!(
        text.contains("degraded: disk_short_of_space, trust_bundle:dev.example\n"),
        "{text}"
    );
    assert!(text.contains("ca.pem: is not PEM\n"), "{text}");
    assert_eq!(broken.exit(), Exit::Degraded);
    assert_eq!(status(&[], "").exit(), Exit::Done);
}

#[test]
fn targets_that_are_not_well_are_degraded() {
    let target = |name: &str, configured, away| {
        Target::from(v1::TargetStatus {
            name: name.to_owned(),
            configured,
            away,
            ..Default::default()
        })
    };
    let targets = [
        target("a", true, false),
        target("b", true, true),
        target("c", false, false),
    ];
    let said = vec!["disk_full".to_owned(), "target_away:b".to_owned()];
    assert_eq!(
        degraded(said, &targets),
        ["disk_full", "target_away:b", "target_not_configured:c"]
    );
}

#[test]
fn the_document_is_stable() {
    let document = serde_json::to_value(status(&[], "")).unwrap();
    assert_eq!(document["now"], "2023-11-14T22:13:20.000Z");
    assert_eq!(document["clock_ahead_ms"], 2000);
    assert_eq!(
        document["trust_domains"][0]["error"],
        serde_json::Value::Null
    );
    let freeze = serde_json::json!({ "kind": "all", "name": null });
    assert_eq!(document["freezes"][0]["selector"], freeze);
}
