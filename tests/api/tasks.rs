//! Tasks: how they open, how they are kept alive, and every way in which they end.

use std::time::Duration;

use quietus::api::v1;
use quietus::api::v1::selector::Of;
use tonic::Code;

use crate::common::*;
use crate::help::*;

/// An open task with three credentials.
struct Doomed {
    task: v1::Task,
    tokens: Vec<String>,
    seq: u64,
}

async fn doomed(stage: &mut Stage, request: v1::OpenTaskRequest) -> Doomed {
    let task = open_with(&mut stage.agent, request).await.task.unwrap();
    let mut tokens = Vec::new();
    for scope in [READ, "orders-db:write:public.orders", "orders-db:delete:x"] {
        tokens.push(credential(&mut stage.agent, &task, scope, 600).await.1);
    }
    for token in &tokens {
        assert!(stage.is_active(token).await);
    }
    let seq = stage.seq();
    Doomed { task, tokens, seq }
}

/// The task has ended in this way, every credential with it, in one commit, and nothing brings it back.
async fn assert_ended(stage: &mut Stage, doomed: &Doomed, cause: &str, reason: &str, by: &str) {
    let (task, leases) = stage.look(&doomed.task.id).await;
    assert_eq!(task.state(), v1::TaskState::Closed);
    assert_eq!((task.live_leases, task.revoking_leases), (0, 0));
    let ending = task.ending.unwrap();
    assert_eq!(
        (&*ending.cause, &*ending.reason, &*ending.by),
        (cause, reason, by)
    );
    assert_eq!(leases.len(), 3);
    for lease in &leases {
        assert_eq!(lease.state(), v1::LeaseState::Ended);
        assert_eq!(lease.ending.as_ref().unwrap().cause, "TaskEnded");
        assert_eq!(lease.confirmed, "refused_by_introspection");
        assert!(lease.confirmed_at.is_some());
    }
    for token in &doomed.tokens {
        assert!(!stage.is_active(token).await);
    }
    assert_one_entry(stage, doomed, reason);

    let seq = stage.seq();
    let agent = &mut stage.agent;
    let ended = (Code::FailedPrecondition, "TASK_ENDED");
    let answer = agent.request_credential(wants(&doomed.task, &[READ])).await;
    refused(answer, ended.0, ended.1);
    refused(
        agent.renew_lease(renews(&leases[0])).await,
        ended.0,
        ended.1,
    );
    refused(agent.heartbeat(beats(&doomed.task)).await, ended.0, ended.1);
    refused(agent.hold_task(holds(&doomed.task)).await, ended.0, ended.1);
    // What has ended can be closed and given back again, to no effect.
    let again = agent
        .close_task(closes(&doomed.task))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again.task.unwrap().ending.unwrap().reason, reason);
    let back = agent
        .revoke_lease(returns(&leases[0]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(back.lease.unwrap(), leases[0]);
    assert!(!stage.events_since(seq).contains(&"task.ended".to_owned()));
    assert_eq!(stage.look(&doomed.task.id).await.1, leases);
}

fn assert_one_entry(stage: &Stage, doomed: &Doomed, reason: &str) {
    let entries = stage.since(doomed.seq);
    let about = |entry: &&quietus_ledger::Sealed| {
        let task = entry.entry.task.as_ref();
        let named = task.is_some_and(|task| task.id == doomed.task.id);
        named && entry.entry.event.ends_with(".ended")
    };
    let about: Vec<_> = entries.iter().filter(about).collect();
    assert_eq!(about.len(), 1, "{about:?}");
    let entry = &about[0].entry;
    assert_eq!(entry.event, "task.ended");
    assert_eq!(entry.cause.as_deref(), Some(reason));
    let numbers: Vec<_> = entry.leases.iter().map(|lease| lease.id.clone()).collect();
    let expected = [0, 1, 2].map(|number| format!("{}.{number}", doomed.task.id));
    assert_eq!(numbers, expected);
    assert!(entry.leases.iter().all(|lease| lease.state == "Ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_task_is_completed_or_failed_as_its_agent_says() {
    for (failed, cause, reason) in [
        (false, "Completed", "completed"),
        (true, "Failed", "failed"),
    ] {
        let mut stage = Stage::new().await;
        let doomed = doomed(&mut stage, opens("work")).await;
        let mut close = closes(&doomed.task);
        close.failed = failed;
        let closed = stage.agent.close_task(close).await.unwrap().into_inner();
        assert_eq!(closed.leases.len(), 3);
        assert_ended(&mut stage, &doomed, cause, reason, "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_does_not_outlive_its_deadline() {
    let mut stage = Stage::new().await;
    let mut request = opens("work");
    request.duration = seconds(300);
    let doomed = doomed(&mut stage, request).await;
    stage.pass(299).await;
    assert!(stage.is_active(&doomed.tokens[0]).await);
    stage.pass(1).await;
    assert_ended(&mut stage, &doomed, "Expired", "expired", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_when_a_promised_heartbeat_is_missed() {
    let mut stage = Stage::new().await;
    let mut request = opens("work");
    request.heartbeat_interval = seconds(30);
    let doomed = doomed(&mut stage, request).await;
    for _ in 0..5 {
        stage.pass(39).await;
        let due = stage.agent.heartbeat(beats(&doomed.task)).await.unwrap();
        assert_eq!(
            due.into_inner().alive_until.unwrap().seconds,
            stage.now() + 40
        );
    }
    stage.pass(40).await;
    assert_ended(&mut stage, &doomed, "Abandoned", "heartbeat_missed", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_heartbeat_does_not_save_a_task_that_nobody_has_ended_yet() {
    let mut stage = Stage::new().await;
    let mut request = opens("work");
    request.heartbeat_interval = seconds(30);
    let doomed = doomed(&mut stage, request).await;
    stage.advance(41);
    let answer = stage.agent.heartbeat(beats(&doomed.task)).await;
    refused(answer, Code::FailedPrecondition, "TASK_ENDED");
    stage.pass(0).await;
    assert_ended(&mut stage, &doomed, "Abandoned", "heartbeat_missed", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_task_too_late_does_not_rewrite_why_it_ended() {
    let mut stage = Stage::new().await;
    let mut request = opens("work");
    request.duration = seconds(300);
    let doomed = doomed(&mut stage, request).await;
    stage.advance(301);
    let closed = stage.agent.close_task(closes(&doomed.task)).await.unwrap();
    let ending = closed.into_inner().task.unwrap().ending.unwrap();
    assert_eq!(ending.reason, "expired");
    assert_ended(&mut stage, &doomed, "Expired", "expired", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_ends_when_its_hold_is_gone_for_longer_than_the_grace() {
    let mut stage = Stage::new().await;
    let doomed = doomed(&mut stage, opens("work")).await;
    let mut held = stage
        .agent
        .hold_task(holds(&doomed.task))
        .await
        .unwrap()
        .into_inner();
    let first = held.message().await.unwrap().unwrap().task.unwrap();
    assert_eq!(first.alive_until.unwrap().seconds, stage.now() + 10);
    stage.advance(1);
    drop(held);
    let (engine, seq) = (&stage.serving.engine, doomed.seq);
    until("the broker notices", || async {
        let entries = entries_after(engine, seq);
        entries
            .iter()
            .any(|sealed| sealed.entry.event == "task.hold_dropped")
    })
    .await;
    stage.pass(8).await;
    assert!(stage.is_active(&doomed.tokens[0]).await);
    stage.pass(1).await;
    assert_ended(&mut stage, &doomed, "Abandoned", "hold_lost", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_held_lives_on() {
    let mut stage = Stage::with(|config| config.limits.grace = Duration::from_secs(1)).await;
    let task = open(&mut stage.agent).await;
    let mut held = stage
        .agent
        .hold_task(holds(&task))
        .await
        .unwrap()
        .into_inner();
    held.message().await.unwrap().unwrap();
    let millis = |at: &prost_types::Timestamp| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000;
    for _ in 0..4 {
        stage.world.time.advance(Duration::from_millis(900));
        let renewed = stage.serving.engine.now().0 + 1000;
        // The next renewal, or the one after it, is made at the new time.
        loop {
            let heard = held.message().await.unwrap().unwrap().task.unwrap();
            assert_eq!(heard.state(), v1::TaskState::Open);
            if millis(&heard.alive_until.unwrap()) == i64::try_from(renewed).unwrap() {
                break;
            }
        }
    }
    stage.pass(0).await;
    assert!(stage.look(&task.id).await.0.ending.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_hold_of_two_is_enough() {
    let mut stage = Stage::with(|config| config.limits.grace = Duration::from_secs(1)).await;
    let task = open(&mut stage.agent).await;
    let mut first = stage
        .agent
        .hold_task(holds(&task))
        .await
        .unwrap()
        .into_inner();
    let mut second = stage
        .agent
        .hold_task(holds(&task))
        .await
        .unwrap()
        .into_inner();
    first.message().await.unwrap().unwrap();
    second.message().await.unwrap().unwrap();
    drop(first);
    let close = stage.agent.close_task(closes(&task)).await.unwrap();
    assert_eq!(
        close.into_inner().task.unwrap().ending.unwrap().reason,
        "completed"
    );
    // The one that is left is still told.
    let mut last = None;
    while let Some(heard) = second.message().await.unwrap() {
        last = heard.task;
    }
    assert_eq!(last.unwrap().ending.unwrap().reason, "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_ends_a_task() {
    let selectors: [fn(&v1::Task) -> Of; 4] = [
        |task| Of::TaskId(task.id.clone()),
        |_| Of::Agent(AGENT.to_owned()),
        |_| Of::TrustDomain(DOMAIN.to_owned()),
        |_| Of::All(true),
    ];
    for selector in selectors {
        let mut stage = Stage::new().await;
        let doomed = doomed(&mut stage, opens("work")).await;
        let revoked = stage.revoke(selector(&doomed.task)).await;
        assert_eq!((revoked.tasks, revoked.leases), (1, 3));
        assert_ended(&mut stage, &doomed, "Revoked", "operator", OPERATOR).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_task_is_told_how_it_ended() {
    let mut stage = Stage::new().await;
    for how in 0..3 {
        let task = open(&mut stage.agent).await;
        let mut held = stage
            .agent
            .hold_task(holds(&task))
            .await
            .unwrap()
            .into_inner();
        let first = held.message().await.unwrap().unwrap();
        assert!(first.task.unwrap().ending.is_none());
        let expected = match how {
            0 => {
                stage.revoke(Of::TaskId(task.id.clone())).await;
                "operator"
            }
            1 => {
                stage.revoke(Of::All(true)).await;
                "operator"
            }
            _ => {
                stage.pass(3600).await;
                "hold_lost"
            }
        };
        let mut last = None;
        while let Some(heard) = held.message().await.unwrap() {
            last = heard.task;
        }
        assert_eq!(last.unwrap().ending.unwrap().reason, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holding_what_is_not_ones_own_leaves_nothing_behind() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    for _ in 0..5 {
        not_found(stage.reader.hold_task(holds(&task)).await);
        let nobodys = v1::HoldTaskRequest {
            task_id: NOBODYS.to_owned(),
        };
        not_found(stage.reader.hold_task(nobodys).await);
    }
    assert_eq!(stage.serving.engine.held_tasks(), 0);
    let held = stage.agent.hold_task(holds(&task)).await.unwrap();
    assert_eq!(stage.serving.engine.held_tasks(), 1);
    drop(held);
    let engine = &stage.serving.engine;
    until("the hold is forgotten", || async {
        engine.held_tasks() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_welcome_where_none_was_promised_and_change_nothing() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let answer = stage
        .agent
        .heartbeat(beats(&task))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.alive_until, None);
    stage.pass(3599).await;
    assert!(stage.look(&task.id).await.0.ending.is_none());
    stage.pass(1).await;
    assert_eq!(
        stage.look(&task.id).await.0.ending.unwrap().reason,
        "expired"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_do_not_move_the_deadline() {
    let mut stage = Stage::new().await;
    let mut request = opens("work");
    request.duration = seconds(60);
    request.heartbeat_interval = seconds(10);
    let task = open_with(&mut stage.agent, request).await.task.unwrap();
    for _ in 0..6 {
        stage.agent.heartbeat(beats(&task)).await.unwrap();
        stage.pass(10).await;
    }
    let shown = stage.look(&task.id).await.0;
    assert_eq!(shown.deadline, task.deadline);
    assert_eq!(shown.ending.unwrap().reason, "expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duration_is_as_asked_up_to_the_configured_most() {
    let mut stage = Stage::with(|config| {
        config.limits.default_task = Duration::from_secs(600);
        config.limits.max_task = Duration::from_secs(3600);
    })
    .await;
    let cases = [
        (None, 600, "config"),
        (seconds(1), 1, "request"),
        (seconds(3600), 3600, "request"),
        (seconds(3601), 3600, "config"),
        (seconds(i64::MAX), 3600, "config"),
    ];
    for (asked, lasts, bound) in cases {
        let mut request = opens("work");
        request.duration = asked;
        let opened = open_with(&mut stage.agent, request).await;
        assert_eq!(opened.bound, bound, "{asked:?}");
        let deadline = opened.task.unwrap().deadline.unwrap().seconds;
        assert_eq!(deadline, stage.now() + lasts, "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_says_what_it_was_opened_with() {
    let mut stage = Stage::new().await;
    let request = v1::OpenTaskRequest {
        purpose: "p".repeat(1024),
        ticket: "t".repeat(128),
        heartbeat_interval: seconds(30),
        ..Default::default()
    };
    let task = open_with(&mut stage.reader, request.clone())
        .await
        .task
        .unwrap();
    assert_eq!(
        (&task.purpose, &task.ticket),
        (&request.purpose, &request.ticket)
    );
    assert_eq!((&*task.agent, &*task.environment), (READER, "prod"));
    assert_eq!(task.heartbeat_interval, seconds(30));
    assert_eq!(task.alive_until.unwrap().seconds, stage.now() + 40);
    assert_eq!(task.state(), v1::TaskState::Open);
    assert_eq!((task.live_leases, task.issued_leases), (0, 0));
    assert_eq!(stage.look(&task.id).await.0, task);
}

fn lasting(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_task_is_refused_by_the_field_that_is_wrong() {
    let mut stage = Stage::new().await;
    let seq = stage.seq();
    type Spoil = fn(&mut v1::OpenTaskRequest);
    let cases: &[(&str, Spoil)] = &[
        ("purpose", |r| r.purpose = "x".repeat(1025)),
        ("purpose", |r| r.purpose = "\u{e4}".repeat(513)),
        ("purpose", |r| r.purpose = "two\nlines".to_owned()),
        ("purpose", |r| r.purpose = "\u{1b}[2J".to_owned()),
        ("purpose", |r| r.purpose = "nul\0".to_owned()),
        ("purpose", |r| r.purpose = "c1\u{9b}2J".to_owned()),
        // Text that shows otherwise than it reads.
        ("purpose", |r| r.purpose = "gro.\u{202e}elpmaxe".to_owned()),
        ("purpose", |r| r.purpose = "\u{2066}isolated".to_owned()),
        ("purpose", |r| r.purpose = "two\u{2028}lines".to_owned()),
        ("ticket", |r| r.ticket = "x".repeat(129)),
        ("ticket", |r| r.ticket = "OPS-1\r".to_owned()),
        ("ticket", |r| r.ticket = "OPS-\u{202d}1".to_owned()),
        ("duration", |r| r.duration = lasting(0, 0)),
        ("duration", |r| r.duration = lasting(-1, 0)),
        ("duration", |r| r.duration = lasting(i64::MIN, i32::MIN)),
        ("duration", |r| r.duration = lasting(0, 999_999_999)),
        ("duration", |r| r.duration = lasting(1, -2_000_000_000)),
        ("heartbeat_interval", |r| {
            r.heartbeat_interval = lasting(0, 0)
        }),
        ("heartbeat_interval", |r| {
            r.heartbeat_interval = lasting(-5, 0)
        }),
        ("heartbeat_interval", |r| {
            r.heartbeat_interval = lasting(0, 999_999_999)
        }),
        ("heartbeat_interval", |r| {
            r.heartbeat_interval = lasting(86_401, 0)
        }),
        ("heartbeat_interval", |r| {
            r.heartbeat_interval = lasting(i64::MAX, 0)
        }),
        ("idempotency_key", |r| r.idempotency_key = "k".repeat(65)),
    ];
    for (field, spoil) in cases {
        let mut request = opens("work");
        spoil(&mut request);
        invalid(stage.agent.open_task(request).await, field);
    }
    assert_eq!(stage.events_since(seq), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_task_is_refused_by_the_field_that_is_wrong() {
    let mut stage = Stage::new().await;
    let upper = NOBODYS.to_uppercase();
    let bare = NOBODYS.replace('-', "");
    let braced = format!("{{{NOBODYS}}}");
    let urn = format!("urn:uuid:{NOBODYS}");
    let padded = format!(" {NOBODYS}");
    let long = "0".repeat(10_000);
    let bad = ["", "x", "../../etc", &bare, &braced, &urn, &padded, &long];
    for id in bad {
        let task = v1::Task {
            id: id.to_owned(),
            ..Default::default()
        };
        let shown = v1::GetTaskRequest {
            task_id: id.to_owned(),
        };
        let agent = &mut stage.agent;
        invalid(agent.get_task(shown).await, "task_id");
        invalid(agent.heartbeat(beats(&task)).await, "task_id");
        invalid(agent.hold_task(holds(&task)).await, "task_id");
        invalid(agent.close_task(closes(&task)).await, "task_id");
        invalid(
            agent.request_credential(wants(&task, &[READ])).await,
            "task_id",
        );
    }
    // Another spelling of a task's name is either refused or means that task.
    let task = v1::Task {
        id: upper,
        ..Default::default()
    };
    not_found(stage.agent.heartbeat(beats(&task)).await);

    let bare = NOBODYS.to_owned();
    for id in [
        "",
        "x",
        &bare,
        &format!("{bare}."),
        &format!("{bare}.01"),
        &format!("{bare}.-1"),
    ] {
        let lease = v1::Lease {
            id: id.to_owned(),
            ..Default::default()
        };
        invalid(stage.agent.renew_lease(renews(&lease)).await, "lease_id");
        invalid(stage.agent.revoke_lease(returns(&lease)).await, "lease_id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_forgotten_after_its_retention_and_its_story_is_not() {
    let mut stage = Stage::with(|config| config.limits.retention = Duration::from_secs(60)).await;
    let task = open(&mut stage.agent).await;
    let (_, token) = request(&mut stage.agent, &task).await;
    stage.agent.close_task(closes(&task)).await.unwrap();
    let seq = stage.seq();
    stage.pass(59).await;
    stage.look(&task.id).await;
    stage.pass(1).await;
    let shown = v1::GetTaskRequest {
        task_id: task.id.clone(),
    };
    not_found(stage.agent.get_task(shown).await);
    not_found(stage.agent.close_task(closes(&task)).await);
    assert!(!stage.is_active(&token).await);
    assert_eq!(stage.events_since(seq)[0], "task.purged");
    let story = stage.since(0);
    let told = |event: &str| {
        story.iter().any(|sealed| {
            let named = sealed.entry.task.as_ref().is_some_and(|t| t.id == task.id);
            named && sealed.entry.event == event
        })
    };
    assert!(
        ["task.opened", "lease.issued", "task.ended"]
            .iter()
            .all(|event| told(event))
    );
}
