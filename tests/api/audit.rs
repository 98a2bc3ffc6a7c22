//! What the ledger says of every call: who, with which certificate, what, by which policy, and what came of it.

use quietus::api::v1;
use quietus::api::v1::selector::Of;
use quietus_ledger::Entry;

use crate::common::*;
use crate::help::*;

const WRITE: &str = "orders-db:write:public.orders";

/// The entries of one call.
async fn told<T>(stage: &mut Stage, call: impl AsyncFnOnce(&mut Stage) -> T) -> (T, Vec<Entry>) {
    let seq = stage.seq();
    let answer = call(stage).await;
    let entries = stage.since(seq).into_iter();
    (answer, entries.map(|sealed| sealed.entry).collect())
}

/// One entry and no more, by this event and caller.
#[track_caller]
fn one(stage: &Stage, entries: Vec<Entry>, event: &str, name: &str) -> Entry {
    let events: Vec<_> = entries.iter().map(|entry| &*entry.event).collect();
    assert_eq!(events, [event]);
    let entry = entries.into_iter().next().unwrap();
    let id = match name {
        "agent" => AGENT,
        "reader" => READER,
        _ => OPERATOR,
    };
    let caller = entry.caller.as_ref().unwrap();
    assert_eq!(caller.id, id);
    assert_eq!(caller.certificate, hex(&thumbprint(&stage.world, name)));
    assert_eq!(entry.broker, BROKER);
    assert_eq!(entry.time, stage.serving.engine.now().0);
    entry
}

/// The digest of a request: of the call's name and its bytes without the key, each after its length.
fn request_digest(call: &str, message: &impl prost::Message) -> String {
    let body = message.encode_to_vec();
    let mut bytes = Vec::new();
    for part in [call.as_bytes(), &body] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    hex(&sha256(&bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_a_task_is_recorded_with_all_it_was_opened_with() {
    let mut stage = Stage::new().await;
    let request = v1::OpenTaskRequest {
        ticket: "OPS-7".to_owned(),
        duration: seconds(600),
        ..opens("reconcile")
    };
    let keyed = v1::OpenTaskRequest {
        idempotency_key: "k".to_owned(),
        ..request.clone()
    };
    let (opened, entries) = told(&mut stage, async |s| open_with(&mut s.agent, keyed).await).await;
    let task = opened.task.unwrap();
    let entry = one(&stage, entries, "task.opened", "agent");
    assert_eq!(entry.agent.as_deref(), Some(AGENT));
    assert_eq!(entry.request, Some(request_digest("OpenTask", &request)));
    let fact = entry.task.unwrap();
    assert_eq!(fact.id, task.id);
    assert_eq!(
        (fact.purpose.as_deref(), fact.ticket.as_deref()),
        (Some("reconcile"), Some("OPS-7"))
    );
    assert_eq!(
        (fact.environment.as_deref(), &*fact.state, fact.version),
        (Some("dev"), "Open", 1)
    );
    assert_eq!(fact.deadline, Some(stage.serving.engine.now().0 + 600_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_recorded_with_its_decision_and_the_facts_it_rests_on() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    stage.advance(7);
    request(&mut stage.agent, &task).await;
    let mut ask = wants(&task, &[READ, WRITE]);
    ask.ttl = seconds(120);
    let sent = ask.clone();
    let (reply, entries) = told(&mut stage, async |s| {
        s.agent.request_credential(sent).await.unwrap().into_inner()
    })
    .await;
    let lease = reply.lease.unwrap();
    let entry = one(&stage, entries, "lease.issued", "agent");
    assert_eq!(
        entry.request,
        Some(request_digest("RequestCredential", &ask))
    );
    assert_eq!(entry.policy, Some(stage.status().await.policy_digest));
    let decided: Vec<_> = entry
        .decisions
        .iter()
        .map(|d| (&*d.scope, &*d.outcome, &*d.deciding[0]))
        .collect();
    assert_eq!(
        decided,
        [
            (READ, "permit", "data-reads-orders"),
            (WRITE, "permit", "dev-changes")
        ]
    );

    let facts = entry.facts.unwrap();
    assert_eq!(
        (&*facts.owner, &*facts.team, facts.tier),
        ("alice@example.com", "data", 1)
    );
    assert_eq!(
        (&*facts.agent_environment, &*facts.task_environment),
        ("dev", "dev")
    );
    assert_eq!(
        (&*facts.target_environment, &*facts.target_kind),
        ("dev", "jwt")
    );
    assert_eq!((facts.target_sensitivity, facts.delegation_depth), (2, 0));
    assert_eq!(
        (facts.task_age, facts.task_leases, facts.task_held),
        (7, 1, false)
    );
    assert_eq!((facts.ttl, facts.approved), (120, false));
    assert_eq!(i64::try_from(facts.time).unwrap(), stage.now());

    assert_eq!(entry.leases.len(), 1);
    let fact = &entry.leases[0];
    assert_eq!(
        (&*fact.id, &*fact.target, &*fact.state),
        (&*lease.id, "orders-db", "Active")
    );
    assert_eq!(fact.scopes, [READ, WRITE]);
    assert_eq!(fact.fingerprint, Some(lease.fingerprint));
    assert_eq!(
        fact.certificate,
        Some(hex(&thumbprint(&stage.world, "agent")))
    );
    assert_eq!(fact.bound.as_deref(), Some("request"));
    assert_eq!(
        fact.expires_at,
        Some(stage.serving.engine.now().0 + 120_000)
    );
    assert_eq!(entry.task.unwrap().id, task.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_recorded_like_a_grant() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let ask = wants(&task, &[READ, "orders-db:admin:public.orders"]);
    let sent = ask.clone();
    let (_, entries) = told(&mut stage, async |s| {
        s.agent.request_credential(sent).await.unwrap_err()
    })
    .await;
    let entry = one(&stage, entries, "request.refused", "agent");
    assert_eq!(entry.refusal.as_deref(), Some("APPROVAL_NEEDED"));
    assert_eq!(entry.agent.as_deref(), Some(AGENT));
    assert_eq!(
        entry.request,
        Some(request_digest("RequestCredential", &ask))
    );
    assert_eq!(entry.policy, Some(stage.status().await.policy_digest));
    let outcomes: Vec<_> = entry.decisions.iter().map(|d| &*d.outcome).collect();
    assert_eq!(outcomes, ["permit", "approval_needed"]);
    assert_eq!(entry.decisions[1].deciding, ["admin-needs-approval"]);
    assert_eq!(entry.facts.unwrap().ttl, 300);
    assert_eq!(entry.task.unwrap().id, task.id);
    assert!(entry.leases.is_empty());

    // What the lifecycle refuses, too, with what policy had said.
    stage.agent.close_task(closes(&task)).await.unwrap();
    let ask = wants(&task, &[READ]);
    let (_, entries) = told(&mut stage, async |s| {
        s.agent.request_credential(ask).await.unwrap_err()
    })
    .await;
    let entry = one(&stage, entries, "request.refused", "agent");
    assert_eq!(entry.refusal.as_deref(), Some("TASK_ENDED"));
    assert_eq!(entry.decisions[0].outcome, "permit");
    assert!(entry.request.is_some() && entry.policy.is_some() && entry.facts.is_some());

    let freeze = v1::FreezeRequest {
        selector: of(Of::All(true)),
        reason: String::new(),
    };
    stage.operator.freeze(freeze).await.unwrap();
    let request = opens("x");
    let sent = request.clone();
    let (_, entries) = told(&mut stage, async |s| {
        s.reader.open_task(sent).await.unwrap_err()
    })
    .await;
    let entry = one(&stage, entries, "request.refused", "reader");
    assert_eq!(entry.refusal.as_deref(), Some("FROZEN"));
    assert_eq!(entry.request, Some(request_digest("OpenTask", &request)));
}

#[tokio::test(flavor = "multi_thread")]
async fn renewing_returning_and_closing_are_recorded_once_each() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (lease, _) = request(&mut stage.agent, &task).await;
    let renewal = v1::RenewLeaseRequest {
        ttl: seconds(60),
        ..renews(&lease)
    };
    let sent = renewal.clone();
    let (_, entries) = told(&mut stage, async |s| {
        s.agent.renew_lease(sent).await.unwrap()
    })
    .await;
    let entry = one(&stage, entries, "lease.renewed", "agent");
    assert_eq!(entry.request, Some(request_digest("RenewLease", &renewal)));
    assert_eq!(entry.decisions[0].outcome, "permit");
    assert_eq!(entry.facts.unwrap().ttl, 60);
    assert_eq!(entry.leases[0].id, lease.id);
    assert!(entry.policy.is_some());

    let giving = returns(&lease);
    let (_, entries) = told(&mut stage, async |s| {
        s.agent.revoke_lease(giving).await.unwrap()
    })
    .await;
    let entry = one(&stage, entries, "lease.ended", "agent");
    assert_eq!(
        entry.request,
        Some(request_digest("RevokeLease", &returns(&lease)))
    );
    assert_eq!(entry.cause.as_deref(), Some("returned"));
    assert_eq!(entry.leases[0].cause.as_deref(), Some("returned"));
    assert_eq!(
        entry.leases[0].confirmed.as_deref(),
        Some("refused_by_introspection")
    );

    let close = closes(&task);
    let (_, entries) = told(&mut stage, async |s| {
        s.agent.close_task(close).await.unwrap()
    })
    .await;
    let entry = one(&stage, entries, "task.ended", "agent");
    assert_eq!(
        entry.request,
        Some(request_digest("CloseTask", &closes(&task)))
    );
    assert_eq!(entry.cause.as_deref(), Some("completed"));
    assert_eq!(entry.task.unwrap().state, "Closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_and_looking_leave_no_entry() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (_, token) = request(&mut stage.agent, &task).await;
    let (_, entries) = told(&mut stage, async |s| {
        s.agent.heartbeat(beats(&task)).await.unwrap();
        s.look(&task.id).await;
        s.status().await;
        s.is_active(&token).await;
        s.operator
            .list_tasks(v1::ListTasksRequest::default())
            .await
            .unwrap();
        s.operator
            .list_leases(v1::ListLeasesRequest::default())
            .await
            .unwrap();
        s.resource
            .get_signing_keys(v1::GetSigningKeysRequest {})
            .await
            .unwrap();
    })
    .await;
    assert_eq!(entries, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_svid_is_recorded() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let longer = std::time::Duration::from_secs(31 * 86_400);
    // The CA ends first: it is the newer certificate that is noted, not a longer trust.
    let mut newer = stage.agent_named("newer", "/agent/builder", longer).await;
    let seq = stage.seq();
    newer.heartbeat(beats(&task)).await.unwrap();
    let entries = stage.since(seq);
    assert_eq!(entries.len(), 1);
    let entry = &entries[0].entry;
    assert_eq!(entry.event, "task.identity_renewed");
    let certificate = &entry.caller.as_ref().unwrap().certificate;
    assert_eq!(*certificate, hex(&thumbprint(&stage.world, "newer")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_an_operator_is_recorded_with_its_reason() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (lease, _) = request(&mut stage.agent, &task).await;
    let reason = |entry: &Entry| entry.detail.get("reason").cloned();

    let of_lease = Of::LeaseId(lease.id.clone());
    let (_, entries) = told(&mut stage, async |s| s.revoke(of_lease).await).await;
    let entry = one(&stage, entries, "lease.ended", "operator");
    assert_eq!(reason(&entry).as_deref(), Some("a test"));
    assert_eq!(entry.cause.as_deref(), Some("operator"));
    assert_eq!(entry.leases[0].id, lease.id);

    let of_task = Of::TaskId(task.id.clone());
    let (_, entries) = told(&mut stage, async |s| s.revoke(of_task).await).await;
    let entry = one(&stage, entries, "task.ended", "operator");
    assert_eq!(reason(&entry).as_deref(), Some("a test"));
    assert_eq!(entry.cause.as_deref(), Some("operator"));

    let freeze = v1::FreezeRequest {
        selector: of(Of::Agent(AGENT.to_owned())),
        reason: "odd".to_owned(),
    };
    let (_, entries) = told(&mut stage, async |s| {
        s.operator.freeze(freeze).await.unwrap()
    })
    .await;
    let entry = one(&stage, entries, "freeze.set", "operator");
    assert_eq!(reason(&entry).as_deref(), Some("odd"));
    assert_eq!(entry.detail["agent"], AGENT);
    let thaw = v1::ThawRequest {
        selector: of(Of::Agent(AGENT.to_owned())),
    };
    let again = thaw.clone();
    let (_, entries) = told(&mut stage, async |s| s.operator.thaw(thaw).await.unwrap()).await;
    one(&stage, entries, "freeze.lifted", "operator");
    let (_, entries) = told(&mut stage, async |s| s.operator.thaw(again).await.unwrap()).await;
    assert_eq!(entries, []);

    let (reloaded, entries) = told(&mut stage, async |s| s.reload().await).await;
    let entry = one(&stage, entries, "policy.loaded", "operator");
    assert_eq!(entry.policy, Some(reloaded.digest));

    let rotation = v1::RotateKeysRequest::default();
    let (rotated, entries) = told(&mut stage, async |s| {
        s.operator
            .rotate_keys(rotation.clone())
            .await
            .unwrap()
            .into_inner()
    })
    .await;
    let entry = one(&stage, entries, "keys.rotated", "operator");
    assert_eq!(
        (&entry.detail["kid"], &entry.detail["previous"]),
        (&rotated.kid, &rotated.previous_kid)
    );
    assert_eq!(entry.request, Some(request_digest("RotateKeys", &rotation)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_revocation_is_recorded_as_ordered_task_by_task_and_as_done() {
    let mut stage = Stage::new().await;
    for _ in 0..3 {
        let task = open(&mut stage.agent).await;
        request(&mut stage.agent, &task).await;
    }
    let (_, entries) = told(&mut stage, async |s| {
        s.revoke(Of::Agent(AGENT.to_owned())).await
    })
    .await;
    let events: Vec<_> = entries.iter().map(|entry| &*entry.event).collect();
    let ended = "task.ended";
    assert_eq!(
        events,
        ["revoke.ordered", ended, ended, ended, "revoke.swept"]
    );
    assert_eq!(entries[0].caller.as_ref().unwrap().id, OPERATOR);
    assert_eq!(entries[0].detail["agent"], AGENT);
    assert_eq!(entries[0].detail["reason"], "a test");
    for entry in &entries[1..4] {
        assert_eq!(entry.cause.as_deref(), Some("operator"));
        assert_eq!(entry.leases.len(), 1);
        assert_eq!(entry.agent.as_deref(), Some(AGENT));
    }
    assert_eq!(
        (&*entries[4].detail["tasks"], &*entries[4].detail["leases"]),
        ("3", "3")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endings_that_nobody_ordered_are_recorded_without_a_caller() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    credential(&mut stage.agent, &task, READ, 60).await;
    let (_, entries) = told(&mut stage, async |s| s.pass(60).await).await;
    assert_eq!((entries.len(), &*entries[0].event), (1, "lease.ended"));
    assert_eq!(entries[0].cause.as_deref(), Some("expired"));
    assert_eq!(entries[0].caller, None);
    assert_eq!(entries[0].agent.as_deref(), Some(AGENT));
    let (_, entries) = told(&mut stage, async |s| s.pass(3540).await).await;
    assert_eq!((entries.len(), &*entries[0].event), (1, "task.ended"));
    assert_eq!(entries[0].caller, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_counts_without_gaps_through_restarts() {
    let mut stage = Stage::new().await;
    for _ in 0..3 {
        let task = open(&mut stage.agent).await;
        request(&mut stage.agent, &task).await;
        stage = stage.restart().await;
    }
    let entries = stage.since(0);
    let numbers: Vec<u64> = entries.iter().map(|sealed| sealed.seq).collect();
    assert_eq!(numbers, (1..=entries.len() as u64).collect::<Vec<_>>());
    let times: Vec<u64> = entries.iter().map(|sealed| sealed.entry.time).collect();
    assert!(times.is_sorted());
    let starts = entries
        .iter()
        .filter(|sealed| sealed.entry.event == "broker.started");
    assert_eq!(starts.count(), 4);
}
