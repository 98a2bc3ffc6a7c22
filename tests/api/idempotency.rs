//! The same key with the same request has the same answer, and never a second effect.

use quietus::api::v1;
use quietus::api::v1::selector::Of;
use tokio::task::JoinSet;
use tonic::Code;

use crate::common::*;
use crate::help::*;

const REUSED: (Code, &str) = (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
const STALE: (Code, &str) = (Code::FailedPrecondition, "IDEMPOTENCY_KEY_STALE");

fn keyed_open(key: &str) -> v1::OpenTaskRequest {
    v1::OpenTaskRequest {
        idempotency_key: key.to_owned(),
        ..opens("work")
    }
}

fn keyed_ask(task: &v1::Task, key: &str) -> v1::RequestCredentialRequest {
    v1::RequestCredentialRequest {
        idempotency_key: key.to_owned(),
        ..wants(task, &[READ])
    }
}

fn keyed_renewal(lease: &v1::Lease, key: &str) -> v1::RenewLeaseRequest {
    v1::RenewLeaseRequest {
        idempotency_key: key.to_owned(),
        ..renews(lease)
    }
}

fn keyed_return(lease: &v1::Lease, key: &str) -> v1::RevokeLeaseRequest {
    v1::RevokeLeaseRequest {
        idempotency_key: key.to_owned(),
        ..returns(lease)
    }
}

fn keyed_close(task: &v1::Task, key: &str) -> v1::CloseTaskRequest {
    v1::CloseTaskRequest {
        idempotency_key: key.to_owned(),
        ..closes(task)
    }
}

fn keyed_rotation(key: &str) -> v1::RotateKeysRequest {
    v1::RotateKeysRequest {
        idempotency_key: key.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_is_answered_alike_and_done_once() {
    let mut stage = Stage::new().await;
    let agent = &mut stage.agent;
    let opened = open_with(agent, keyed_open("k")).await;
    assert_eq!(open_with(agent, keyed_open("k")).await, opened);
    let task = opened.task.unwrap();

    let ask = keyed_ask(&task, "k");
    let issued = agent
        .request_credential(ask.clone())
        .await
        .unwrap()
        .into_inner();
    let again = agent
        .request_credential(ask.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, issued);
    let first = issued.lease.unwrap();

    stage.world.time.advance(std::time::Duration::from_secs(5));
    let agent = &mut stage.agent;
    let again = agent.request_credential(ask).await.unwrap().into_inner();
    assert_eq!(
        again.credential, issued.credential,
        "byte for byte, though later"
    );
    let renewal = keyed_renewal(&first, "k");
    let renewed = agent
        .renew_lease(renewal.clone())
        .await
        .unwrap()
        .into_inner();
    let again = agent.renew_lease(renewal).await.unwrap().into_inner();
    assert_eq!(again, renewed);
    assert_eq!(renewed.lease.as_ref().unwrap().renewals, 1);

    let giving = keyed_return(&first, "k");
    let returned = agent
        .revoke_lease(giving.clone())
        .await
        .unwrap()
        .into_inner();
    let again = agent.revoke_lease(giving).await.unwrap().into_inner();
    assert_eq!(again, returned);

    let close = keyed_close(&task, "k");
    let closed = agent.close_task(close.clone()).await.unwrap().into_inner();
    assert_eq!(agent.close_task(close).await.unwrap().into_inner(), closed);

    let rotated = stage
        .operator
        .rotate_keys(keyed_rotation("k"))
        .await
        .unwrap()
        .into_inner();
    let again = stage
        .operator
        .rotate_keys(keyed_rotation("k"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, rotated);
    assert_eq!(stage.status().await.kid, rotated.kid);

    let done: Vec<_> = stage.events_since(0);
    let times = |event: &str| done.iter().filter(|done| *done == event).count();
    let once = [
        "task.opened",
        "lease.issued",
        "lease.renewed",
        "lease.ended",
        "task.ended",
        "keys.rotated",
    ];
    for event in once {
        assert_eq!(times(event), 1, "{event}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_request_only() {
    let mut stage = Stage::new().await;
    let agent = &mut stage.agent;
    let task = open_with(agent, keyed_open("k")).await.task.unwrap();
    let other = open_with(agent, keyed_open("other")).await.task.unwrap();
    let issued = agent
        .request_credential(keyed_ask(&task, "k"))
        .await
        .unwrap()
        .into_inner();
    let lease = issued.lease.unwrap();
    let second = agent
        .request_credential(wants(&task, &[READ]))
        .await
        .unwrap();
    let second = second.into_inner().lease.unwrap();
    agent.renew_lease(keyed_renewal(&lease, "k")).await.unwrap();
    agent.revoke_lease(keyed_return(&lease, "k")).await.unwrap();
    let seq = stage.seq();
    let agent = &mut stage.agent;

    let mut request = keyed_open("k");
    request.purpose.push('!');
    refused(agent.open_task(request).await, REUSED.0, REUSED.1);
    let mut request = keyed_open("k");
    request.duration = seconds(60);
    refused(agent.open_task(request).await, REUSED.0, REUSED.1);
    let mut request = keyed_ask(&task, "k");
    request.ttl = seconds(60);
    refused(agent.request_credential(request).await, REUSED.0, REUSED.1);
    let mut request = keyed_ask(&task, "k");
    request.scopes = vec!["orders-db:write:x".to_owned()];
    refused(agent.request_credential(request).await, REUSED.0, REUSED.1);
    let request = keyed_ask(&other, "k");
    refused(agent.request_credential(request).await, REUSED.0, REUSED.1);
    let mut request = keyed_renewal(&lease, "k");
    request.ttl = seconds(60);
    refused(agent.renew_lease(request).await, REUSED.0, REUSED.1);
    refused(
        agent.renew_lease(keyed_renewal(&second, "k")).await,
        REUSED.0,
        REUSED.1,
    );
    refused(
        agent.revoke_lease(keyed_return(&second, "k")).await,
        REUSED.0,
        REUSED.1,
    );
    assert_eq!(stage.events_since(seq), [""; 0]);

    let agent = &mut stage.agent;
    agent.close_task(keyed_close(&task, "k")).await.unwrap();
    refused(
        agent.close_task(keyed_close(&other, "k")).await,
        REUSED.0,
        REUSED.1,
    );
    let mut request = keyed_close(&task, "k");
    request.failed = true;
    refused(agent.close_task(request).await, REUSED.0, REUSED.1);
    assert!(stage.look(&other.id).await.0.ending.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_taken_even_by_a_request_that_found_nothing_left_to_do() {
    let mut stage = Stage::new().await;
    let agent = &mut stage.agent;
    let (ended, other) = (open(agent).await, open(agent).await);
    let (first, _) = request(agent, &other).await;
    let (second, token) = request(agent, &other).await;
    agent.close_task(closes(&ended)).await.unwrap();
    agent.revoke_lease(returns(&first)).await.unwrap();

    agent.close_task(keyed_close(&ended, "k")).await.unwrap();
    refused(
        agent.close_task(keyed_close(&other, "k")).await,
        REUSED.0,
        REUSED.1,
    );
    agent.revoke_lease(keyed_return(&first, "k")).await.unwrap();
    refused(
        agent.revoke_lease(keyed_return(&second, "k")).await,
        REUSED.0,
        REUSED.1,
    );
    assert!(stage.is_active(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agents_key_is_another_key() {
    let mut stage = Stage::new().await;
    let agents = open_with(&mut stage.agent, keyed_open("k"))
        .await
        .task
        .unwrap();
    let readers = open_with(&mut stage.reader, keyed_open("k"))
        .await
        .task
        .unwrap();
    assert_ne!(agents.id, readers.id);
    assert_eq!(readers.agent, READER);
    let ask = keyed_ask(&agents, "k");
    let token = jwt(stage
        .agent
        .request_credential(ask.clone())
        .await
        .unwrap()
        .into_inner()
        .credential);
    // The key of another, with the very body of another, opens nothing.
    not_found(stage.reader.request_credential(ask).await);
    let own = keyed_ask(&readers, "k");
    let readers = jwt(stage
        .reader
        .request_credential(own)
        .await
        .unwrap()
        .into_inner()
        .credential);
    assert_ne!(token, readers);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_may_serve_for_different_calls() {
    let mut stage = Stage::new().await;
    let agent = &mut stage.agent;
    let task = open_with(agent, keyed_open("k")).await.task.unwrap();
    let issued = agent
        .request_credential(keyed_ask(&task, "k"))
        .await
        .unwrap()
        .into_inner();
    agent
        .revoke_lease(keyed_return(&issued.lease.unwrap(), "k"))
        .await
        .unwrap();
    agent.close_task(keyed_close(&task, "k")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_64_bytes_at_most() {
    let mut stage = Stage::new().await;
    let agent = &mut stage.agent;
    let longest = "\u{e4}".repeat(32);
    let task = open_with(agent, keyed_open(&longest)).await.task.unwrap();
    let (lease, _) = request(agent, &task).await;
    let field = "idempotency_key";
    for long in ["k".repeat(65), "\u{e4}".repeat(33), "k".repeat(10_000)] {
        invalid(agent.open_task(keyed_open(&long)).await, field);
        invalid(
            agent.request_credential(keyed_ask(&task, &long)).await,
            field,
        );
        invalid(agent.renew_lease(keyed_renewal(&lease, &long)).await, field);
        invalid(agent.revoke_lease(keyed_return(&lease, &long)).await, field);
        invalid(agent.close_task(keyed_close(&task, &long)).await, field);
        invalid(
            stage.operator.rotate_keys(keyed_rotation(&long)).await,
            field,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_open_one_task_and_get_one_credential() {
    // Even where only one may be open: the others are the same one, not one too many.
    let mut stage = Stage::with(|config| config.limits.open_tasks_per_agent = 1).await;
    let mut opening = JoinSet::new();
    for _ in 0..20 {
        let mut agent = stage.agent.clone();
        opening.spawn(async move { open_with(&mut agent, keyed_open("k")).await });
    }
    let opened = opening.join_all().await;
    assert!(opened.iter().all(|one| *one == opened[0]));
    assert_eq!(stage.serving.engine.store().header().open_tasks, 1);

    let task = opened[0].task.clone().unwrap();
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let mut agent = stage.agent.clone();
        let ask = keyed_ask(&task, "k");
        asking.spawn(async move { agent.request_credential(ask).await.unwrap().into_inner() });
    }
    let issued = asking.join_all().await;
    assert!(issued.iter().all(|one| *one == issued[0]));
    assert_eq!(stage.look(&task.id).await.1.len(), 1);

    let lease = issued[0].lease.clone().unwrap();
    stage.advance(1);
    let mut renewing = JoinSet::new();
    for _ in 0..20 {
        let mut agent = stage.agent.clone();
        let renewal = keyed_renewal(&lease, "k");
        renewing.spawn(async move { agent.renew_lease(renewal).await.unwrap().into_inner() });
    }
    let renewed = renewing.join_all().await;
    assert!(renewed.iter().all(|one| *one == renewed[0]));
    assert_eq!(stage.look(&task.id).await.1[0].renewals, 1);

    let mut rotating = JoinSet::new();
    for _ in 0..20 {
        let mut operator = stage.operator.clone();
        rotating.spawn(async move {
            operator
                .rotate_keys(keyed_rotation("k"))
                .await
                .unwrap()
                .into_inner()
        });
    }
    let rotated = rotating.join_all().await;
    assert!(rotated.iter().all(|one| *one == rotated[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_no_key() {
    let mut stage = Stage::new().await;
    let opened = open_with(&mut stage.agent, keyed_open("k")).await;
    let task = opened.task.clone().unwrap();
    let ask = keyed_ask(&task, "k");
    let issued = stage
        .agent
        .request_credential(ask.clone())
        .await
        .unwrap()
        .into_inner();
    let admin = v1::RequestCredentialRequest {
        idempotency_key: "denied".to_owned(),
        ..wants(&task, &["orders-db:admin:x"])
    };
    stage
        .agent
        .request_credential(admin.clone())
        .await
        .unwrap_err();
    let rotated = stage
        .operator
        .rotate_keys(keyed_rotation("k"))
        .await
        .unwrap()
        .into_inner();

    let mut stage = stage.restart().await;
    let seq = stage.seq();
    // The task now has the lease; all else of it is as it was.
    let again = open_with(&mut stage.agent, keyed_open("k"))
        .await
        .task
        .unwrap();
    assert_eq!((&again.id, again.deadline), (&task.id, task.deadline));
    let again = stage
        .agent
        .request_credential(ask)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, issued, "signed with the key of then");
    let answer = stage.agent.request_credential(admin).await;
    refused(answer, Code::FailedPrecondition, "APPROVAL_NEEDED");
    let again = stage
        .operator
        .rotate_keys(keyed_rotation("k"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(again, rotated);
    assert_eq!(stage.events_since(seq), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_never_brings_back_what_has_ended() {
    type End = fn(&v1::Task, &v1::Lease) -> Of;
    let ends: [End; 5] = [
        |_, lease| Of::LeaseId(lease.id.clone()),
        |task, _| Of::TaskId(task.id.clone()),
        |_, _| Of::Target("orders-db".to_owned()),
        |_, _| Of::Agent(AGENT.to_owned()),
        |_, _| Of::All(true),
    ];
    for end in ends {
        let mut stage = Stage::new().await;
        let task = open(&mut stage.agent).await;
        let ask = keyed_ask(&task, "k");
        let issued = stage
            .agent
            .request_credential(ask.clone())
            .await
            .unwrap()
            .into_inner();
        let lease = issued.lease.unwrap();
        let renewal = keyed_renewal(&lease, "r");
        stage.agent.renew_lease(renewal.clone()).await.unwrap();
        stage.revoke(end(&task, &lease)).await;
        let seq = stage.seq();
        refused(stage.agent.request_credential(ask).await, STALE.0, STALE.1);
        refused(stage.agent.renew_lease(renewal).await, STALE.0, STALE.1);
        assert_eq!(stage.events_since(seq), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_not_outlast_the_clock_either() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let mut ask = keyed_ask(&task, "k");
    ask.ttl = seconds(60);
    stage.agent.request_credential(ask.clone()).await.unwrap();
    // Overdue is over, whether or not anybody has said so.
    stage.advance(60);
    refused(
        stage.agent.request_credential(ask.clone()).await,
        STALE.0,
        STALE.1,
    );
    stage.pass(0).await;
    refused(stage.agent.request_credential(ask).await, STALE.0, STALE.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_renewed_away_is_not_made_again() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let ask = keyed_ask(&task, "k");
    let issued = stage
        .agent
        .request_credential(ask.clone())
        .await
        .unwrap()
        .into_inner();
    let lease = issued.lease.unwrap();
    stage.advance(1);
    let first = keyed_renewal(&lease, "first");
    stage.agent.renew_lease(first.clone()).await.unwrap();
    stage.advance(1);
    stage
        .agent
        .renew_lease(keyed_renewal(&lease, "second"))
        .await
        .unwrap();
    refused(stage.agent.request_credential(ask).await, STALE.0, STALE.1);
    refused(stage.agent.renew_lease(first).await, STALE.0, STALE.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_repeated_even_if_it_would_now_be_permitted() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let mut ask = keyed_ask(&task, "k");
    ask.scopes = vec!["orders-db:admin:public.orders".to_owned()];
    let first = stage
        .agent
        .request_credential(ask.clone())
        .await
        .unwrap_err();
    stage.adopt("permit (principal, action, resource);").await;
    let seq = stage.seq();
    let again = stage
        .agent
        .request_credential(ask.clone())
        .await
        .unwrap_err();
    assert_eq!(
        (again.code(), again.message()),
        (first.code(), first.message())
    );
    assert_eq!(reason(&again), "APPROVAL_NEEDED");
    assert_eq!(stage.events_since(seq), [""; 0]);
    ask.idempotency_key = "fresh".to_owned();
    stage.agent.request_credential(ask).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_want_of_room_is_repeated_and_recorded_once() {
    let mut stage = Stage::with(|config| config.limits.open_tasks_per_agent = 1).await;
    let task = open(&mut stage.agent).await;
    let seq = stage.seq();
    let full = (Code::ResourceExhausted, "TOO_MANY_OPEN_TASKS");
    for _ in 0..3 {
        refused(stage.agent.open_task(keyed_open("k")).await, full.0, full.1);
    }
    assert_eq!(stage.events_since(seq), ["request.refused"]);
    stage.agent.close_task(closes(&task)).await.unwrap();
    refused(stage.agent.open_task(keyed_open("k")).await, full.0, full.1);
    stage.agent.open_task(keyed_open("fresh")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_every_call_is_a_call() {
    let mut stage = Stage::new().await;
    let (one, two) = (open(&mut stage.agent).await, open(&mut stage.agent).await);
    assert_ne!(one.id, two.id);
    let (first, _) = request(&mut stage.agent, &one).await;
    let (second, _) = request(&mut stage.agent, &one).await;
    assert_ne!(first.id, second.id);
}
