//! `quietus audit export`

use std::collections::BTreeSet;
use std::fs;

use quietus::api::v1;
use quietus::api::v1::selector::Of;
use serde_json::Value;

use crate::common::*;
use crate::hall::*;
use crate::help::*;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Most of what can happen.
async fn busy() -> Stage {
    let mut stage = hall().await;
    let task = open(&mut stage.agent).await;
    let (lease, _) = request(&mut stage.agent, &task).await;
    stage.agent.renew_lease(renews(&lease)).await.unwrap();
    stage.agent.revoke_lease(returns(&lease)).await.unwrap();
    let wide = stage
        .agent
        .request_credential(wants(&task, &["orders-db:admin:public.orders"]))
        .await;
    assert!(wide.is_err());
    let intruder = audit(&stage, "agent")
        .await
        .get_checkpoint(v1::GetCheckpointRequest::default())
        .await;
    assert!(intruder.is_err());
    let freeze = v1::FreezeRequest {
        selector: of(Of::Agent(AGENT.to_owned())),
        reason: "drill".to_owned(),
    };
    stage.operator.freeze(freeze).await.unwrap();
    let thaw = v1::ThawRequest {
        selector: of(Of::Agent(AGENT.to_owned())),
    };
    stage.operator.thaw(thaw).await.unwrap();
    stage
        .operator
        .rotate_keys(v1::RotateKeysRequest::default())
        .await
        .unwrap();
    stage.revoke(Of::Agent(AGENT.to_owned())).await;
    stage.serving.engine.trust_changed().await.unwrap();
    settled(&stage).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_are_the_entries_as_they_were_hashed() {
    let stage = busy().await;
    let client = audit(&stage, "auditor").await;
    let size = stage.seq();
    let request = v1::ReadEntriesRequest {
        to: size,
        ..Default::default()
    };
    let entries = read(&client, request).await.unwrap();
    let expected: String = entries
        .iter()
        .map(|bytes| format!("{}\n", str::from_utf8(bytes).unwrap()))
        .collect();
    let to = size.to_string();
    assert_eq!(told(&stage, &["export", "--to", &to]), expected);
    assert_eq!(
        told(&stage, &["export", "-", "--to", &to, "--format", "jsonl"]),
        expected
    );
    let file = stage.world.path("ledger.jsonl");
    fs::write(&file, "the one before").unwrap();
    assert_eq!(
        told(&stage, &["export", file.to_str().unwrap(), "--to", &to]),
        ""
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    let part = told(&stage, &["export", "--from", "2", "--to", "3"]);
    let part = lines(&part);
    assert_eq!((part.len(), &part[0]["seq"]), (2, &2.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_recorded_event_has_what_ocsf_requires() {
    let stage = busy().await;
    let exported = lines(&told(&stage, &["export", "--format", "ocsf"]));
    let mut codes = BTreeSet::new();
    for event in &exported {
        for name in [
            "activity_id",
            "category_uid",
            "class_uid",
            "type_uid",
            "severity_id",
            "status_id",
            "time",
        ] {
            assert!(event[name].is_u64(), "{name} {event}");
        }
        let number = |name: &str| event[name].as_u64().unwrap();
        assert_eq!(
            number("type_uid"),
            number("class_uid") * 100 + number("activity_id")
        );
        assert_eq!(number("category_uid"), number("class_uid") / 1000);
        assert!(event["metadata"]["product"]["name"].is_string());
        assert_eq!(event["metadata"]["log_name"], ORIGIN);
        codes.insert(event["metadata"]["event_code"].as_str().unwrap());
    }
    for code in [
        "task.opened",
        "lease.issued",
        "lease.renewed",
        "request.refused",
        "task.ended",
        "freeze.set",
        "freeze.lifted",
        "keys.rotated",
        "revoke.ordered",
        "revoke.swept",
        "policy.loaded",
        "broker.started",
        "trust.changed",
    ] {
        assert!(codes.contains(code), "{code} is not among {codes:?}");
    }
    let refused = exported
        .iter()
        .find(|event| event["status_code"] == "APPROVAL_NEEDED")
        .unwrap();
    assert_eq!(
        (&refused["class_uid"], &refused["status_id"]),
        (&3005.into(), &2.into())
    );
    let uids: Vec<_> = exported
        .iter()
        .map(|event| {
            event["metadata"]["uid"]
                .as_str()
                .unwrap()
                .parse::<usize>()
                .unwrap()
        })
        .collect();
    assert_eq!(uids, (1..=uids.len()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn cloud_events_have_what_their_specification_requires() {
    let stage = busy().await;
    for event in lines(&told(&stage, &["export", "--format", "cloudevents"])) {
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["source"], ORIGIN);
        assert_eq!(event["datacontenttype"], "application/json");
        assert_eq!(event["id"], event["data"]["seq"].to_string());
        let kind = event["data"]["entry"]["event"].as_str().unwrap();
        assert_eq!(event["type"], format!("com.quietus.ledger.{kind}"));
        assert!(event["time"].as_str().unwrap().ends_with('Z'));
        let subject = event["data"]["entry"]["task"]["id"].as_str();
        assert_eq!(event.get("subject").and_then(Value::as_str), subject);
        let named = event.as_object().unwrap().keys();
        assert!(
            named
                .clone()
                .all(|name| name.bytes().all(|b| b.is_ascii_lowercase())),
            "{event}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn selections_leave_the_rest_out() {
    let mut stage = busy().await;
    stage.advance(3600);
    let noon = stage.serving.engine.now().0;
    let task = open(&mut stage.agent).await;
    stage.advance(3600);
    open(&mut stage.agent).await;
    let time = |millis: u64| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        humantime::format_rfc3339_millis(time).to_string()
    };
    let between = told(
        &stage,
        &["export", "--since", &time(noon), "--until", &time(noon + 1)],
    );
    let between = lines(&between);
    assert_eq!(between.len(), 1, "{between:?}");
    assert_eq!(between[0]["entry"]["task"]["id"], task.id);
    let of_task = lines(&told(&stage, &["export", "--task", &task.id]));
    assert_eq!(of_task[0], between[0]);
    let foreign = of_task
        .iter()
        .any(|line| line["entry"]["task"]["id"] != task.id);
    assert!(!foreign, "{of_task:?}");
    assert_eq!(told(&stage, &["export", "--task", NOBODYS]), "");
    assert_eq!(told(&stage, &["export", "--from", "9", "--to", "8"]), "");
    assert_eq!(
        told(&stage, &["export", "--until", "1971-01-01T00:00:00Z"]),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_leaves_the_file_as_it_was() {
    let stage = hall().await;
    grow_to(&stage, 600).await;
    settled(&stage).await;
    prune(&stage, 256).await;
    let file = stage.world.path("ledger.jsonl");
    let shown = file.to_str().unwrap();
    fs::write(&file, "the one before").unwrap();
    let told_of = complaint(&stage, &["export", shown, "--from", "1"], 1);
    assert!(told_of.contains("PRUNED"), "{told_of}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "the one before");
    complaint(&stage, &["export", "/nowhere/at/all"], 1);
    complaint(&stage, &["export", "--from", "0"], 2);
    complaint(&stage, &["export", "--format", "xml"], 2);
    complaint(&stage, &["export", "--since", "yesterday"], 2);
    complaint(&stage, &["export", "--task", "mine"], 2);
    // A reader that goes away.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = audit_command(&stage, &["export", "--from", "257"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(141), 0),
        "{output:?}"
    );
}
