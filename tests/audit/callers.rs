//! Who may read the evidence.

use quietus::api::v1;
use tonic::Code;

use crate::common::*;
use crate::hall::*;
use crate::help::*;

#[tokio::test(flavor = "multi_thread")]
async fn operators_and_auditors_may_and_an_auditor_may_nothing_else() {
    let stage = hall().await;
    for name in ["operator", "auditor"] {
        let mut client = audit(&stage, name).await;
        let newest = client.get_checkpoint(v1::GetCheckpointRequest::default());
        assert!(newest.await.unwrap().into_inner().size > 0, "{name}");
    }
    let channel = stage.world.connect(&stage.serving, "auditor").await;
    let mut operator = v1::operator_client::OperatorClient::new(channel.clone());
    let answer = operator.reload_policy(v1::ReloadPolicyRequest {}).await;
    refused(answer, Code::PermissionDenied, "NOT_AN_OPERATOR");
    let mut broker = v1::broker_client::BrokerClient::new(channel);
    let answer = broker.open_task(opens("read and write")).await;
    refused(answer, Code::PermissionDenied, "AGENT_NOT_REGISTERED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_refused_every_call_and_each_is_recorded() {
    let stage = hall().await;
    let seq = stage.seq();
    for name in ["agent", "reader", "resource-server"] {
        let mut c = audit(&stage, name).await;
        let denied = |status| {
            refused(status, Code::PermissionDenied, "NOT_AN_AUDITOR");
        };
        denied(
            c.get_checkpoint(v1::GetCheckpointRequest::default())
                .await
                .map(drop_answer),
        );
        denied(
            c.list_checkpoints(v1::ListCheckpointsRequest::default())
                .await
                .map(drop_answer),
        );
        denied(
            c.read_entries(v1::ReadEntriesRequest::default())
                .await
                .map(drop_answer),
        );
        denied(
            c.prove_inclusion(v1::ProveInclusionRequest::default())
                .await
                .map(drop_answer),
        );
        denied(
            c.prove_consistency(v1::ProveConsistencyRequest::default())
                .await
                .map(drop_answer),
        );
        denied(
            c.get_tile(v1::GetTileRequest::default())
                .await
                .map(drop_answer),
        );
        denied(
            c.get_object(v1::GetObjectRequest::default())
                .await
                .map(drop_answer),
        );
        denied(
            c.get_text(v1::GetTextRequest::default())
                .await
                .map(drop_answer),
        );
    }
    let recorded = stage.since(seq);
    let calls: Vec<_> = recorded
        .iter()
        .map(|sealed| &*sealed.entry.detail["call"])
        .collect();
    let once = [
        "GetCheckpoint",
        "ListCheckpoints",
        "ReadEntries",
        "ProveInclusion",
        "ProveConsistency",
        "GetTile",
        "GetObject",
        "GetText",
    ];
    assert_eq!(calls, [once, once, once].concat());
    for sealed in &recorded {
        assert_eq!(sealed.entry.event, "request.refused");
        assert_eq!(sealed.entry.refusal.as_deref(), Some("NOT_AN_AUDITOR"));
        assert!(sealed.entry.caller.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_auditor_in_the_configuration_is_none() {
    let world = World::new();
    let lifetime = std::time::Duration::from_secs(86_400);
    world.add_svid("somebody", "/somebody/else", lifetime);
    let stage = Stage::on(world, |_| {}).await;
    let mut client = audit(&stage, "somebody").await;
    let answer = client
        .get_checkpoint(v1::GetCheckpointRequest::default())
        .await;
    refused(answer, Code::PermissionDenied, "NOT_AN_AUDITOR");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_say_which_field_is_wrong() {
    let stage = hall().await;
    let mut client = audit(&stage, "auditor").await;
    let size = settled(&stage).await.size;
    for path in [
        "",
        "/",
        "tile/0/0",
        "tile/8/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "../keys/evidence.key",
        "tile/0/../../x",
    ] {
        let path = path.to_owned();
        invalid(client.get_tile(v1::GetTileRequest { path }).await, "path");
    }
    for path in [
        "tile/0/001",
        "tile/1/000",
        "tile/entries/001",
        "tile/0/000.p/255",
    ] {
        let path = path.to_owned();
        not_found(client.get_tile(v1::GetTileRequest { path }).await);
    }
    for digest in [
        "",
        "ab",
        &"AB".repeat(32),
        &"zz".repeat(32),
        &"ab".repeat(33),
    ] {
        let request = |kind: v1::ObjectKind| v1::GetObjectRequest {
            digest: digest.to_owned(),
            kind: kind.into(),
        };
        invalid(
            client.get_object(request(v1::ObjectKind::PolicySet)).await,
            "digest",
        );
        invalid(
            client.get_object(request(v1::ObjectKind::Attachment)).await,
            "digest",
        );
    }
    let object = |kind: i32| v1::GetObjectRequest {
        digest: "ab".repeat(32),
        kind,
    };
    invalid(client.get_object(object(0)).await, "kind");
    invalid(client.get_object(object(99)).await, "kind");
    not_found(client.get_object(object(1)).await);
    not_found(client.get_object(object(2)).await);
    for entry in [0, size + 1, u64::MAX] {
        let request = v1::ProveInclusionRequest { entry, size };
        invalid(client.prove_inclusion(request).await, "entry");
    }
    for size in [size + 1, u64::MAX] {
        let request = v1::ProveInclusionRequest { entry: 1, size };
        invalid(client.prove_inclusion(request).await, "size");
    }
    for old in [size + 1, u64::MAX] {
        let request = v1::ProveConsistencyRequest { old, new: size };
        invalid(client.prove_consistency(request).await, "old");
    }
    let task = v1::ReadEntriesRequest {
        task_id: "mine".to_owned(),
        ..Default::default()
    };
    invalid(client.read_entries(task).await, "task_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_set_in_force_can_be_had_by_its_digest() {
    let mut stage = hall().await;
    let digest = stage.status().await.policy_digest;
    let mut client = audit(&stage, "auditor").await;
    let request = v1::GetObjectRequest {
        digest,
        kind: v1::ObjectKind::PolicySet.into(),
    };
    let content = client
        .get_object(request)
        .await
        .unwrap()
        .into_inner()
        .content;
    let files: serde_json::Value = serde_json::from_slice(&content).unwrap();
    assert!(
        files
            .as_object()
            .unwrap()
            .keys()
            .all(|name| name.ends_with(".cedar")),
        "{files}"
    );
    assert!(!files.as_object().unwrap().is_empty());
}

fn drop_answer<T>(_: tonic::Response<T>) -> tonic::Response<()> {
    tonic::Response::new(())
}
