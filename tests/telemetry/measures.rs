//! What Prometheus finds.

use std::time::Duration;

use quietus::api::v1;

use crate::common::{READ, open, request, wants};
use crate::stage::{KEYS, Stage, closing};

#[tokio::test]
async fn what_happens_is_counted() {
    let stage = Stage::start(None).await;
    let mut agent = stage.agent().await;
    let before = stage.scrape().await;
    assert_eq!(before.get("quietus_tasks{state=\"open\"}"), 0);
    assert_eq!(
        before.get("quietus_leases{kind=\"jwt\",state=\"active\"}"),
        0
    );
    let task = open(&mut agent).await;
    request(&mut agent, &task).await;
    request(&mut agent, &task).await;
    // Two scopes are two decisions, and recorded as such.
    let two = wants(&task, &[READ, "orders-db:read:public.customers"]);
    agent.request_credential(two).await.unwrap();
    let during = stage.scrape().await;
    assert_eq!(during.get("quietus_tasks{state=\"open\"}"), 1);
    assert_eq!(
        during.get("quietus_leases{kind=\"jwt\",state=\"active\"}"),
        3
    );
    assert_eq!(during.get("quietus_decisions_total{outcome=\"permit\"}"), 4);
    let count = "quietus_revocation_lag_seconds_count{kind=\"jwt\"}";
    assert_eq!(during.get(count), 0);
    agent.close_task(closing(&task)).await.unwrap();
    let after = stage.scrape().await;
    assert_eq!(after.get("quietus_tasks{state=\"open\"}"), 0);
    assert_eq!(after.get("quietus_tasks{state=\"closing\"}"), 0);
    assert_eq!(
        after.get("quietus_leases{kind=\"jwt\",state=\"active\"}"),
        0
    );
    assert_eq!(after.get(count), 3);
    for grows in [
        "quietus_ledger_entries",
        "quietus_commit_seconds_count",
        "quietus_commit_batch_size_count",
        "quietus_commit_batch_size_sum",
    ] {
        assert!(after.get(grows) > before.get(grows), "{grows}");
    }
    let commits = after.get("quietus_commit_batch_size_count");
    assert_eq!(
        after.get("quietus_commit_batch_size_bucket{le=\"+Inf\"}"),
        commits
    );
}

#[tokio::test]
async fn a_repeated_request_is_not_decided_again() {
    let stage = Stage::start(None).await;
    let mut agent = stage.agent().await;
    let task = open(&mut agent).await;
    let wanted = v1::RequestCredentialRequest {
        idempotency_key: "once".to_owned(),
        ..wants(&task, &[READ])
    };
    for _ in 0..3 {
        agent.request_credential(wanted.clone()).await.unwrap();
    }
    let scraped = stage.scrape().await;
    assert_eq!(
        scraped.get("quietus_decisions_total{outcome=\"permit\"}"),
        1
    );
}

#[tokio::test]
async fn refusals_are_counted_by_what_policy_said() {
    let stage = Stage::start(None).await;
    let mut agent = stage.agent().await;
    let task = open(&mut agent).await;
    for scope in [
        "payments-api:write:payouts",
        "orders-db:admin:public.orders",
        "nowhere:read:x",
    ] {
        agent
            .request_credential(wants(&task, &[scope]))
            .await
            .unwrap_err();
    }
    // Somebody else's task: policy is not asked.
    let mut reader = stage.world.broker(&stage.serving, "reader").await;
    reader
        .request_credential(wants(&task, &[READ]))
        .await
        .unwrap_err();
    let scraped = stage.scrape().await;
    assert_eq!(
        scraped.get("quietus_decisions_total{outcome=\"permit\"}"),
        0
    );
    assert_eq!(scraped.get("quietus_decisions_total{outcome=\"deny\"}"), 1);
    assert_eq!(
        scraped.get("quietus_decisions_total{outcome=\"approval_needed\"}"),
        1
    );
    assert_eq!(
        scraped.get("quietus_leases{kind=\"jwt\",state=\"active\"}"),
        0
    );
}

#[tokio::test]
async fn a_grant_that_is_not_made_for_want_of_its_target_is_no_decision_that_was_recorded() {
    let stage = Stage::start(None).await;
    let mut agent = stage.agent().await;
    let task = open(&mut agent).await;
    // Nobody is at the socket: after a few calls nothing is committed any more.
    for _ in 0..6 {
        agent
            .request_credential(wants(&task, &[KEYS]))
            .await
            .unwrap_err();
    }
    let scraped = stage.scrape().await;
    assert_eq!(scraped.get("quietus_target_up{target=\"billing-keys\"}"), 0);
    assert_eq!(scraped.get("quietus_target_up{target=\"orders-db\"}"), 1);
    let permits = scraped.get("quietus_decisions_total{outcome=\"permit\"}");
    assert!((1..6).contains(&permits), "{permits}");
}

#[tokio::test]
async fn a_revocation_that_does_not_get_on_is_stuck_until_it_does() {
    let stage = Stage::start(None).await;
    let mut agent = stage.agent().await;
    let issuer = stage.issuer();
    let task = open(&mut agent).await;
    agent
        .request_credential(wants(&task, &[KEYS]))
        .await
        .unwrap();
    let alive = stage.scrape().await;
    assert_eq!(
        alive.get("quietus_leases{kind=\"external\",state=\"active\"}"),
        1
    );
    assert_eq!(
        alive.get("quietus_leases{kind=\"external\",state=\"issuing\"}"),
        0
    );
    assert_eq!(
        alive.get("quietus_revocations_stuck{target=\"billing-keys\"}"),
        0
    );
    drop(issuer);
    std::fs::remove_file(stage.world.path("issuer.sock")).unwrap();
    agent.close_task(closing(&task)).await.unwrap();
    let stuck = "quietus_revocations_stuck{target=\"billing-keys\"}";
    let away = stage.scrape_until(|it| it.get(stuck) == 1).await;
    assert_eq!(
        away.get("quietus_leases{kind=\"external\",state=\"revoking\"}"),
        1
    );
    assert_eq!(away.get("quietus_tasks{state=\"closing\"}"), 1);
    let lag = "quietus_revocation_lag_seconds_count{kind=\"external\"}";
    assert_eq!(away.get(lag), 0);
    stage.world.time.advance(Duration::from_secs(30));
    let _issuer = stage.issuer();
    let over = stage.scrape_until(|it| it.get(lag) == 1).await;
    assert_eq!(over.get(stuck), 0);
    assert_eq!(over.get("quietus_tasks{state=\"closing\"}"), 0);
    // The time in this world stands still but for what it was advanced.
    assert_eq!(
        over.get("quietus_revocation_lag_seconds_sum{kind=\"external\"}"),
        30
    );
    assert_eq!(
        over.get("quietus_revocation_lag_seconds_bucket{le=\"15.0\",kind=\"external\"}"),
        0
    );
    assert_eq!(
        over.get("quietus_revocation_lag_seconds_bucket{le=\"60.0\",kind=\"external\"}"),
        1
    );
}

#[tokio::test]
async fn labels_name_no_agent_and_no_task() {
    let stage = Stage::start(None).await;
    let mut agent = stage.agent().await;
    let _issuer = stage.issuer();
    let task = open(&mut agent).await;
    request(&mut agent, &task).await;
    agent
        .request_credential(wants(&task, &[KEYS]))
        .await
        .unwrap();
    let scraped = stage.scrape().await;
    for series in scraped.series.keys() {
        assert!(!series.contains(&task.id), "{series}");
        assert!(!series.contains("spiffe://"), "{series}");
        let labels = series.split(['{', '}']).nth(1).unwrap_or_default();
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (name, _) = label.split_once('=').unwrap();
            let known = ["kind", "le", "outcome", "state", "target", "version"];
            assert!(known.contains(&name), "{series}");
        }
    }
}

#[tokio::test]
async fn a_broker_that_is_not_told_to_has_no_metrics() {
    let world = crate::common::World::new();
    let serving = world.serve().await;
    assert_eq!(serving.metrics, None);
}
