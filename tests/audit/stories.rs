//! `quietus audit show`

use quietus::api::v1;

use crate::common::*;
use crate::hall::*;
use crate::help::*;

const ADMIN: &str = "orders-db:admin:public.orders";

/// A task with a grant, a refusal, a returned lease, and an end.
async fn story(stage: &mut Stage, purpose: &str) -> v1::Task {
    let request = v1::OpenTaskRequest {
        ticket: "OPS-7".to_owned(),
        ..opens(purpose)
    };
    let task = open_with(&mut stage.agent, request).await.task.unwrap();
    stage.advance(2);
    let (first, _) = request_of(stage, &task).await;
    request_of(stage, &task).await;
    stage.advance(3);
    stage.agent.renew_lease(renews(&first)).await.unwrap();
    stage.agent.revoke_lease(returns(&first)).await.unwrap();
    let refused = stage.agent.request_credential(wants(&task, &[ADMIN])).await;
    assert_eq!(reason(&refused.map(drop).unwrap_err()), "APPROVAL_NEEDED");
    stage.advance(30);
    stage.agent.close_task(closes(&task)).await.unwrap();
    task
}

async fn request_of(stage: &mut Stage, task: &v1::Task) -> (v1::Lease, String) {
    request(&mut stage.agent, task).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_task_is_told_from_its_opening_to_its_end() {
    let mut stage = hall().await;
    let task = story(&mut stage, "reconcile \"all\" orders").await;
    let told = told(&stage, &["show", "task", &task.id]);
    let place = |needle: &str| {
        told.find(needle)
            .unwrap_or_else(|| panic!("no {needle:?} in\n{told}"))
    };
    let order = [
        format!("task {}, closed", task.id),
        format!("opened by {AGENT}"),
        "owner alice@example.com, team data".to_owned(),
        "purpose \"reconcile \\\"all\\\" orders\"".to_owned(),
        "ticket \"OPS-7\"".to_owned(),
        "+2.000s #".to_owned(),
        "request granted, policy ".to_owned(),
        format!("permit {READ}, by data-reads-orders"),
        "lease 0 at orders-db, expires ".to_owned(),
        "renewed, expires ".to_owned(),
        "ended (returned), confirmed dead at once".to_owned(),
        "lease 1 at orders-db".to_owned(),
        "refused: APPROVAL_NEEDED".to_owned(),
        format!("approval_needed {ADMIN}"),
        "task ended: completed".to_owned(),
        "the death of 2 credentials is confirmed".to_owned(),
    ];
    let mut last = 0;
    for needle in &order {
        let at = last
            + told[last..].find(needle.as_str()).unwrap_or_else(|| {
                panic!(
                    "{needle:?} is at {}, not after {last} in\n{told}",
                    place(needle)
                )
            });
        last = at;
    }
    assert!(!told.contains('\x1b'));

    let json = told_json(&stage, &["show", "task", &task.id]);
    assert_eq!(json["opened"]["purpose"], "reconcile \"all\" orders");
    assert_eq!(json["credentials"]["issued"], 2);
    assert_eq!(json["credentials"]["confirmed"], 2);
    assert_eq!(json["ended"]["cause"], "completed");
    assert_eq!(json["ended"]["after_ms"], 35_000);
    assert_eq!(json["steps"][0]["leases"][0]["lag_ms"], 0);
    let refusal = json["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| !step["refusal"].is_null());
    assert_eq!(
        refusal.unwrap()["decisions"][0]["outcome"],
        "approval_needed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_words_do_not_move_a_terminal_nor_write_themselves_into_another_story() {
    let mut stage = hall().await;
    let victim = open(&mut stage.agent).await;
    // Invisible, but not refused where it comes in.
    let odd = format!("see {} └─ +0.000s #1 task ended: completed", victim.id);
    let task = story(&mut stage, &odd).await;
    let told_of = told(&stage, &["show", "task", &task.id]);
    assert!(told_of.contains("purpose \"see"), "{told_of}");
    assert!(
        told_of
            .lines()
            .all(|line| line.starts_with("task ") || line.starts_with(['├', '│', '└', ' ']))
    );
    let json = told_json(&stage, &["show", "task", &victim.id]);
    assert_eq!(json["steps"], serde_json::json!([]));
    assert_eq!(json["state"], "Open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_task_has_no_end() {
    let mut stage = hall().await;
    let task = open(&mut stage.agent).await;
    request_of(&mut stage, &task).await;
    let told_of = told(&stage, &["show", "task", &task.id]);
    assert!(
        told_of.contains("1 of 1 credential still live"),
        "{told_of}"
    );
    let json = told_json(&stage, &["show", "task", &task.id]);
    assert_eq!(json["ended"], serde_json::Value::Null);
    assert_eq!(json["credentials"]["live"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_ledger_is_not_shown() {
    let stage = hall().await;
    complaint(&stage, &["show", "task", NOBODYS], 5);
    complaint(&stage, &["show", "task", "mine"], 2);
    complaint(&stage, &["show", "task"], 2);
    complaint(&stage, &["show", "entry", "0"], 2);
    complaint(&stage, &["show", "entry", "-1"], 2);
    complaint(&stage, &["show", "entry", "4000000"], 5);
    grow_to(&stage, 600).await;
    settled(&stage).await;
    prune(&stage, 256).await;
    let told_of = complaint(&stage, &["show", "entry", "1"], 1);
    assert!(told_of.contains("reason: PRUNED"), "{told_of}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_shown_with_its_proof() {
    let stage = hall().await;
    grow_to(&stage, 400).await;
    settled(&stage).await;
    let key = key_file(&stage.world);
    let key = key.to_str().unwrap();
    for n in ["1", "256", "257", "400"] {
        let json = told_json(&stage, &["show", "entry", n, "--key", key]);
        assert_eq!(json["seq"].to_string(), n);
        assert_eq!(json["proof"]["inclusion"], "verified");
        assert_eq!(json["proof"]["signature"], "verified");
        assert_eq!(json["proof"]["origin"], ORIGIN);
    }
    let told_of = told(&stage, &["show", "entry", "2"]);
    assert!(told_of.starts_with("Entry 2: "), "{told_of}");
    assert!(
        told_of.contains("not checked: no --key was given"),
        "{told_of}"
    );
    let other = hall().await;
    let strange = log_key(&other.world).to_string();
    let told_of = complaint(&stage, &["show", "entry", "2", "--key", &strange], 1);
    assert!(
        told_of.contains("not signed by any of the keys"),
        "{told_of}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_are_told_with_their_texts_until_those_are_erased() {
    let mut stage = hall().await;
    let task = open(&mut stage.agent).await;
    let (lease, _) = request_of(&mut stage, &task).await;
    let report = v1::RecordActionRequest {
        task_id: task.id.clone(),
        lease_id: lease.id,
        tool: "sql.query".to_owned(),
        resource: "public.orders".to_owned(),
        result: v1::ActionResult::Failed.into(),
        arguments_sha256: vec![7; 32],
        text: "select 1\n\u{1b}[2J└─ forged".to_owned(),
        ..Default::default()
    };
    stage.agent.record_action(report).await.unwrap();
    let told_of = told(&stage, &["show", "task", &task.id]);
    let line = "action \"sql.query\" on \"public.orders\": failed";
    assert!(told_of.contains(line), "{told_of}");
    assert!(told_of.contains(&"07".repeat(32)), "{told_of}");
    let text = "text \"select 1\\n\\u{1b}[2J└─ forged\"";
    assert!(told_of.contains(text), "{told_of}");
    let json = told_json(&stage, &["show", "task", &task.id]);
    let action = &json["steps"][0]["leases"][0]["events"][0]["action"];
    assert_eq!(action["result"], "failed");
    assert!(action["commitment"].is_string() && json["trace"].is_string());

    let erase = v1::EraseTextRequest {
        reason: "asked to".to_owned(),
        of: Some(v1::erase_text_request::Of::TaskId(task.id.clone())),
    };
    stage.operator.erase_text(erase).await.unwrap();
    let told_of = told(&stage, &["show", "task", &task.id]);
    assert!(told_of.contains("└─ text erased\n"), "{told_of}");
    assert!(!told_of.contains("forged"), "{told_of}");
    assert!(told_of.contains(" text.erased by "), "{told_of}");
}
