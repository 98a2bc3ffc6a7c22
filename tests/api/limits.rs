//! Every configured limit holds, and says which it is.

use std::num::NonZeroU32;
use std::time::Duration;

use quietus::api::v1;
use tokio::task::JoinSet;
use tonic::Code;

use crate::common::*;
use crate::help::*;

const FULL: Code = Code::ResourceExhausted;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_is_not_read() {
    let mut stage = Stage::with(|config| config.limits.message_bytes = 2048).await;
    let task = open(&mut stage.agent).await;
    let seq = stage.seq();
    let large = "x".repeat(2048);
    let status = stage.agent.open_task(opens(&large)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let many = [large.as_str()];
    let status = stage
        .agent
        .request_credential(wants(&task, &many))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let token = v1::IntrospectRequest {
        token: large.clone(),
        ..Default::default()
    };
    let status = stage.resource.introspect(token).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    let freeze = v1::FreezeRequest {
        selector: of(v1::selector::Of::All(true)),
        reason: large,
    };
    let status = stage.operator.freeze(freeze).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    assert_eq!(stage.events_since(seq), [""; 0]);
    // The connection is none the worse.
    request(&mut stage.agent, &task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_in_one_request() {
    let mut stage = Stage::with(|config| config.limits.scopes_per_request = 2).await;
    let task = open(&mut stage.agent).await;
    let scopes = ["orders-db:read:a", "orders-db:read:b", "orders-db:read:c"];
    stage
        .agent
        .request_credential(wants(&task, &scopes[..2]))
        .await
        .unwrap();
    invalid(
        stage.agent.request_credential(wants(&task, &scopes)).await,
        "scopes",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn live_leases_in_a_task_and_leases_over_its_life() {
    let mut stage = Stage::with(|config| {
        config.limits.live_leases_per_task = 2;
        config.limits.leases_per_task = 3;
    })
    .await;
    let task = open(&mut stage.agent).await;
    let (first, _) = request(&mut stage.agent, &task).await;
    request(&mut stage.agent, &task).await;
    let seq = stage.seq();
    let answer = stage.agent.request_credential(wants(&task, &[READ])).await;
    refused(answer, FULL, "TOO_MANY_LIVE_LEASES");
    stage.agent.revoke_lease(returns(&first)).await.unwrap();
    let (third, _) = request(&mut stage.agent, &task).await;
    stage.agent.revoke_lease(returns(&third)).await.unwrap();
    let answer = stage.agent.request_credential(wants(&task, &[READ])).await;
    refused(answer, FULL, "TOO_MANY_LEASES");
    let events = stage.events_since(seq);
    assert_eq!(
        events
            .iter()
            .filter(|event| *event == "request.refused")
            .count(),
        2
    );
    // Another task has room of its own.
    let other = open(&mut stage.agent).await;
    request(&mut stage.agent, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_leases_hold_against_many_at_once() {
    let mut stage = Stage::with(|config| config.limits.live_leases_per_task = 5).await;
    let task = open(&mut stage.agent).await;
    let mut asking = JoinSet::new();
    for _ in 0..25 {
        let mut agent = stage.agent.clone();
        let ask = wants(&task, &[READ]);
        asking.spawn(async move { agent.request_credential(ask).await });
    }
    let answers = asking.join_all().await;
    let (granted, denied): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((granted.len(), denied.len()), (5, 20));
    for answer in denied {
        refused(answer, FULL, "TOO_MANY_LIVE_LEASES");
    }
    assert_eq!(stage.look(&task.id).await.0.live_leases, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_tasks_of_an_agent_hold_against_many_at_once_and_every_refusal_is_recorded() {
    let mut stage = Stage::with(|config| config.limits.open_tasks_per_agent = 3).await;
    let seq = stage.seq();
    let mut opening = JoinSet::new();
    for _ in 0..20 {
        let mut agent = stage.agent.clone();
        opening.spawn(async move { agent.open_task(opens("work")).await });
    }
    let answers = opening.join_all().await;
    let (opened, denied): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((opened.len(), denied.len()), (3, 17));
    for answer in denied {
        refused(answer, FULL, "TOO_MANY_OPEN_TASKS");
    }
    assert_eq!(stage.serving.engine.store().header().open_tasks, 3);
    let events = stage.events_since(seq);
    let times = |event: &str| events.iter().filter(|found| *found == event).count();
    assert_eq!((times("task.opened"), times("request.refused")), (3, 17));

    // Others have room of their own, and an ended task makes room.
    open(&mut stage.reader).await;
    let first = opened
        .into_iter()
        .next()
        .unwrap()
        .unwrap()
        .into_inner()
        .task
        .unwrap();
    stage.agent.close_task(closes(&first)).await.unwrap();
    open(&mut stage.agent).await;
    refused(
        stage.agent.open_task(opens("x")).await,
        FULL,
        "TOO_MANY_OPEN_TASKS",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_callers_haste_is_no_others_trouble() {
    let mut stage = Stage::with(|config| {
        config.limits.requests_per_second = NonZeroU32::MIN;
        config.limits.request_burst = NonZeroU32::new(5).unwrap();
    })
    .await;
    let task = open(&mut stage.agent).await;
    let seq = stage.seq();
    let mut beating = JoinSet::new();
    for _ in 0..100 {
        let mut agent = stage.agent.clone();
        let beat = beats(&task);
        beating.spawn(async move { agent.heartbeat(beat).await });
    }
    let answers = beating.join_all().await;
    let denied: Vec<_> = answers.into_iter().filter(Result::is_err).collect();
    // One comes back each second; a hundred calls do not take a minute.
    assert!(denied.len() > 40, "{}", denied.len());
    for answer in denied {
        let status = refused(answer, FULL, "TOO_MANY_REQUESTS");
        assert!(status.message().contains(AGENT));
    }
    assert_eq!(stage.events_since(seq), [""; 0]);
    // Another connection is no way around it; another agent has a rate of its own.
    let mut again = stage.world.broker(&stage.serving, "agent").await;
    let mut second = Vec::new();
    for _ in 0..20 {
        second.push(again.heartbeat(beats(&task)).await.is_err());
    }
    assert!(second.contains(&true));
    open(&mut stage.reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_may_not_be_promised_too_often() {
    let least = Duration::from_secs(10);
    let mut stage = Stage::with(|config| config.limits.min_heartbeat = least).await;
    let mut request = opens("work");
    request.heartbeat_interval = seconds(9);
    let status = invalid(
        stage.agent.open_task(request.clone()).await,
        "heartbeat_interval",
    );
    assert!(status.message().contains("10s"));
    request.heartbeat_interval = seconds(10);
    stage.agent.open_task(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_are_what_the_configuration_says() {
    let mut stage = Stage::with(|config| {
        config.limits.default_ttl = Duration::from_secs(42);
        config.limits.default_task = Duration::from_secs(420);
    })
    .await;
    let task = open(&mut stage.agent).await;
    assert_eq!(task.deadline.unwrap().seconds, stage.now() + 420);
    let (lease, _) = request(&mut stage.agent, &task).await;
    assert_eq!(lease.expires_at.unwrap().seconds, stage.now() + 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_as_many_leases_as_may_be_configured_can_still_be_ended() {
    let mut stage = Stage::with(|config| config.limits.live_leases_per_task = 10_000).await;
    let task = open(&mut stage.agent).await;
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let mut agent = stage.agent.clone();
        let task = task.clone();
        asking.spawn(async move {
            for _ in 0..75 {
                request(&mut agent, &task).await;
            }
        });
    }
    asking.join_all().await;
    let closed = stage
        .agent
        .close_task(closes(&task))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(closed.leases.len(), 600);
    let entries = stage.since(0);
    let last = &entries.last().unwrap().entry;
    assert_eq!((&*last.event, last.leases.len()), ("task.ended", 600));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_scopes_as_may_be_configured_are_refused_in_order() {
    let mut stage = Stage::with(|config| {
        config.limits.scopes_per_request = 256;
        config.limits.message_bytes = 1 << 20;
    })
    .await;
    let task = open(&mut stage.agent).await;
    let scope = |n: usize| format!("orders-db:admin:{n:0>256}");
    let scopes: Vec<String> = (0..256).map(scope).collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let answer = stage.agent.request_credential(wants(&task, &scopes)).await;
    refused(answer, Code::FailedPrecondition, "APPROVAL_NEEDED");
    let entries = stage.since(0);
    assert_eq!(entries.last().unwrap().entry.decisions.len(), 256);

    // A token that no verifier would take is not made.
    let reads: Vec<String> = scopes.iter().map(|s| s.replace("admin", "read")).collect();
    let reads: Vec<&str> = reads.iter().map(String::as_str).collect();
    let status = invalid(
        stage.agent.request_credential(wants(&task, &reads)).await,
        "scopes",
    );
    assert!(status.message().contains("too large"));
    assert_eq!(stage.look(&task.id).await.0.issued_leases, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_cannot_be_rotated_until_no_verifier_takes_the_set() {
    let mut stage = Stage::new().await;
    let mut denied = 0;
    for _ in 0..70 {
        let rotated = stage
            .operator
            .rotate_keys(v1::RotateKeysRequest::default())
            .await;
        if rotated.is_err() {
            refused(rotated, FULL, "TOO_MANY_KEYS");
            denied += 1;
        }
    }
    assert!(denied > 0);
    let entries = stage.since(0);
    let named = |reason: &str| {
        let named = entries.iter();
        let named = named.filter(|sealed| sealed.entry.refusal.as_deref() == Some(reason));
        named.count()
    };
    assert_eq!(named("TOO_MANY_KEYS"), denied);
    let kid = stage.status().await.kid;
    let task = open(&mut stage.agent).await;
    let (_, token) = request(&mut stage.agent, &task).await;
    let keys = stage
        .resource
        .get_signing_keys(v1::GetSigningKeysRequest {})
        .await
        .unwrap();
    let set = quietus_token::JwkSet::from_json(keys.into_inner().jwk_set.as_bytes()).unwrap();
    assert!(set.keys().iter().any(|key| key.kid() == kid));

    let mut stage = stage.restart().await;
    assert_eq!(stage.status().await.kid, kid);
    assert!(stage.is_active(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_are_bounded_text() {
    let mut stage = Stage::new().await;
    let seq = stage.seq();
    let all = || of(v1::selector::Of::All(true));
    for reason in [
        "x".repeat(1025),
        "two\nlines".to_owned(),
        "\u{202e}".to_owned(),
    ] {
        let revoke = v1::RevokeRequest {
            selector: all(),
            dry_run: false,
            reason: reason.clone(),
        };
        invalid(stage.operator.revoke(revoke).await, "reason");
        let freeze = v1::FreezeRequest {
            selector: all(),
            reason,
        };
        invalid(stage.operator.freeze(freeze).await, "reason");
    }
    assert_eq!(stage.events_since(seq), [""; 0]);
}
