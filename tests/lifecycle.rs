//! The main job over real sockets: a task gets a credential that dies with it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use common::*;
use quietus::api::v1;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_gets_a_credential_that_dies_with_it() {
    let world = World::new();
    let serving = world.serve().await;
    let mut agent = world.broker(&serving, "agent").await;
    let mut resource = world.verification(&serving).await;

    let task = open(&mut agent).await;
    let (lease, token) = request(&mut agent, &task).await;
    assert_eq!(lease.scopes, [READ]);
    assert!(is_active(&mut resource, &token).await);

    let close = v1::CloseTaskRequest {
        task_id: task.id.clone(),
        ..Default::default()
    };
    let closed = agent.close_task(close).await.unwrap().into_inner();
    assert_eq!(closed.task.unwrap().ending.unwrap().cause, "Completed");
    assert_eq!(closed.leases[0].confirmed, "refused_by_introspection");
    assert!(!is_active(&mut resource, &token).await);

    let refused = agent
        .request_credential(wants(&task, &[READ]))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused), "TASK_ENDED");
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_escalation_is_refused_with_the_reason_and_recorded() {
    let world = World::new();
    let serving = world.serve().await;
    let mut agent = world.broker(&serving, "agent").await;
    let task = open(&mut agent).await;

    let escalation = "orders-db:admin:public.orders";
    let refused = agent
        .request_credential(wants(&task, &[escalation]))
        .await
        .unwrap_err();
    assert!(["DENIED_BY_POLICY", "APPROVAL_NEEDED"].contains(&reason(&refused).as_str()));
    assert!(
        refused.message().contains(escalation),
        "{}",
        refused.message()
    );

    let entries = ledger(&serving.engine);
    let last = entries.last().unwrap();
    assert_eq!(last.entry.event, "request.refused");
    assert_eq!(last.entry.decisions[0].scope, escalation);
    assert_eq!(last.seq, entries.len() as u64);
    serving.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_task_though_nobody_calls() {
    let world = World::new();
    let serving = world.serve().await;
    let mut agent = world.broker(&serving, "agent").await;
    let mut resource = world.verification(&serving).await;
    let task = open(&mut agent).await;
    let (_, token) = request(&mut agent, &task).await;

    world.time.advance(Duration::from_secs(2 * 3600));
    assert!(!is_active(&mut resource, &token).await);
    serving.engine.run_due().await.unwrap();
    let shown = agent
        .get_task(v1::GetTaskRequest { task_id: task.id })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown.task.unwrap().ending.unwrap().reason, "expired");
    assert_eq!(shown.leases[0].state(), v1::LeaseState::Ended);
    serving.stop().await.unwrap();
}
