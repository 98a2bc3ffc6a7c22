//! What operators can do: revoke, freeze, reload, explain, rotate, and see.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use quietus::api::v1;
use quietus::api::v1::selector::Of;
use quietus_core::Digest;
use quietus_token::JwkSet;
use tonic::Code;

use crate::common::*;
use crate::help::*;

const WRITE: &str = "orders-db:write:public.orders";
const DAY: Duration = Duration::from_secs(86_400);
const READS: &str = "@id(\"reads\") permit (principal, action == Action::\"read\", resource);";

fn agent_of(id: &str) -> Of {
    Of::Agent(id.to_owned())
}

fn orders() -> Of {
    Of::Target("orders-db".to_owned())
}

fn domain() -> Of {
    Of::TrustDomain(DOMAIN.to_owned())
}

/// Two tasks of the agent's and one of the reader's, each with two credentials for orders.
struct Scene {
    first: v1::Task,
    second: v1::Task,
    readers: v1::Task,
    /// By task, in the order above.
    tokens: [Vec<String>; 3],
    leases: [Vec<v1::Lease>; 3],
}

async fn scene(stage: &mut Stage) -> Scene {
    let first = open(&mut stage.agent).await;
    let second = open(&mut stage.agent).await;
    let readers = open(&mut stage.reader).await;
    let mut tokens: [Vec<String>; 3] = Default::default();
    let mut leases: [Vec<v1::Lease>; 3] = Default::default();
    for _ in 0..2 {
        for (n, task) in [&first, &second, &readers].into_iter().enumerate() {
            let client = if n < 2 {
                &mut stage.agent
            } else {
                &mut stage.reader
            };
            let (lease, token) = request(client, task).await;
            tokens[n].push(token);
            leases[n].push(lease);
        }
    }
    Scene {
        first,
        second,
        readers,
        tokens,
        leases,
    }
}

/// Which tokens are alive, task by task.
async fn alive(stage: &mut Stage, scene: &Scene) -> [[bool; 2]; 3] {
    let mut alive = [[false; 2]; 3];
    for (n, tokens) in scene.tokens.iter().enumerate() {
        for (m, token) in tokens.iter().enumerate() {
            alive[n][m] = stage.is_active(token).await;
        }
    }
    alive
}

const NONE: [bool; 2] = [false; 2];
const BOTH: [bool; 2] = [true; 2];

#[tokio::test(flavor = "multi_thread")]
async fn revoking_ends_what_the_selector_covers_and_a_dry_run_says_beforehand() {
    type Case = (fn(&Scene) -> Of, (u64, u64), [[bool; 2]; 3], [bool; 3]);
    let cases: [Case; 9] = [
        (
            |s| Of::TaskId(s.first.id.clone()),
            (1, 2),
            [NONE, BOTH, BOTH],
            [false, true, true],
        ),
        (
            |s| Of::LeaseId(s.leases[0][1].id.clone()),
            (0, 1),
            [[true, false], BOTH, BOTH],
            [true; 3],
        ),
        (
            |_| agent_of(AGENT),
            (2, 4),
            [NONE, NONE, BOTH],
            [false, false, true],
        ),
        (
            |_| agent_of(READER),
            (1, 2),
            [BOTH, BOTH, NONE],
            [true, true, false],
        ),
        (
            |_| agent_of("spiffe://dev.example/agent/nobody"),
            (0, 0),
            [BOTH; 3],
            [true; 3],
        ),
        (|_| orders(), (0, 6), [NONE; 3], [true; 3]),
        (
            |_| Of::Target("payments-api".to_owned()),
            (0, 0),
            [BOTH; 3],
            [true; 3],
        ),
        (|_| domain(), (3, 6), [NONE; 3], [false; 3]),
        (|_| Of::All(true), (3, 6), [NONE; 3], [false; 3]),
    ];
    for (selector, counts, left, open) in cases {
        let mut stage = Stage::new().await;
        let scene = scene(&mut stage).await;
        let seq = stage.seq();
        let dry = v1::RevokeRequest {
            selector: of(selector(&scene)),
            dry_run: true,
            reason: String::new(),
        };
        let would = stage.operator.revoke(dry).await.unwrap().into_inner();
        assert_eq!(
            stage.events_since(seq),
            [""; 0],
            "a dry run changes nothing"
        );
        assert_eq!(alive(&mut stage, &scene).await, [BOTH; 3]);

        let did = stage.revoke(selector(&scene)).await;
        assert_eq!((did.tasks, did.leases), counts);
        assert_eq!((would.tasks, would.leases), counts);
        let sorted = |ids: &[String]| {
            let mut ids = ids.to_vec();
            ids.sort();
            ids
        };
        assert_eq!(sorted(&would.task_ids), sorted(&did.task_ids));
        assert_eq!(sorted(&would.lease_ids), sorted(&did.lease_ids));
        assert_eq!(
            (did.task_ids.len() as u64, did.lease_ids.len() as u64),
            counts
        );
        assert_eq!(alive(&mut stage, &scene).await, left);
        for (task, open) in [&scene.first, &scene.second, &scene.readers]
            .into_iter()
            .zip(open)
        {
            assert_eq!(stage.look(&task.id).await.0.ending.is_none(), open);
        }
        let again = stage.revoke(selector(&scene)).await;
        assert_eq!((again.tasks, again.leases), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_revocation_new_work_is_possible() {
    for selector in [agent_of(AGENT), orders(), domain(), Of::All(true)] {
        let mut stage = Stage::new().await;
        let before = open(&mut stage.agent).await;
        let (lease, _) = request(&mut stage.agent, &before).await;
        stage.revoke(selector.clone()).await;
        stage.agent.renew_lease(renews(&lease)).await.unwrap_err();
        let task = open(&mut stage.agent).await;
        let (_, token) = request(&mut stage.agent, &task).await;
        assert!(stage.is_active(&token).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_nothing_is_not_revoked_by_accident() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (_, token) = request(&mut stage.agent, &task).await;
    let seq = stage.seq();
    let ask = |selector: Option<v1::Selector>, dry_run| v1::RevokeRequest {
        selector,
        dry_run,
        reason: String::new(),
    };
    let missing = [
        Of::TaskId(NOBODYS.to_owned()),
        Of::LeaseId(format!("{NOBODYS}.0")),
        Of::LeaseId(format!("{}.7", task.id)),
    ];
    let nothing = [None, Some(v1::Selector { of: None }), of(Of::All(false))];
    let malformed = [
        ("task_id", Of::TaskId("*".to_owned())),
        ("lease_id", Of::LeaseId(task.id.clone())),
        ("agent", Of::Agent(String::new())),
        ("agent", Of::Agent("spiffe://DEV.example/agent".to_owned())),
        (
            "agent",
            Of::Agent("spiffe://dev.example/agent/*".to_owned()),
        ),
        ("target", Of::Target("*".to_owned())),
        ("target", Of::Target(String::new())),
        ("trust_domain", Of::TrustDomain("*".to_owned())),
        ("trust_domain", Of::TrustDomain(String::new())),
        ("trust_domain", Of::TrustDomain("Dev.Example".to_owned())),
    ];
    for dry_run in [true, false] {
        for selector in missing.clone() {
            not_found(stage.operator.revoke(ask(of(selector), dry_run)).await);
        }
        for selector in nothing.clone() {
            invalid(
                stage.operator.revoke(ask(selector, dry_run)).await,
                "selector",
            );
        }
        for (field, selector) in malformed.clone() {
            invalid(
                stage.operator.revoke(ask(of(selector), dry_run)).await,
                field,
            );
        }
    }
    assert_eq!(stage.events_since(seq), [""; 0]);
    assert!(stage.is_active(&token).await);
}

async fn freeze(stage: &mut Stage, selector: Of) {
    let request = v1::FreezeRequest {
        selector: of(selector),
        reason: "an incident".to_owned(),
    };
    stage.operator.freeze(request).await.unwrap();
}

async fn thaw(stage: &mut Stage, selector: Of) -> bool {
    let request = v1::ThawRequest {
        selector: of(selector),
    };
    stage
        .operator
        .thaw(request)
        .await
        .unwrap()
        .into_inner()
        .thawed
}

/// Whether opening, requesting and renewing are refused as frozen; what runs must run on.
async fn frozen(stage: &mut Stage, task: &v1::Task, lease: &v1::Lease, token: &str) -> [bool; 3] {
    let is_frozen = |status: Option<tonic::Status>| {
        status.is_some_and(|status| {
            assert_eq!(reason(&status), "FROZEN", "{status:?}");
            assert_eq!(status.code(), Code::PermissionDenied);
            assert!(status.message().contains("an incident"));
            true
        })
    };
    let agent = &mut stage.agent;
    let opened = is_frozen(agent.open_task(opens("x")).await.err());
    let asked = is_frozen(agent.request_credential(wants(task, &[READ])).await.err());
    let renewed = is_frozen(agent.renew_lease(renews(lease)).await.err());
    agent.heartbeat(beats(task)).await.unwrap();
    assert!(stage.is_active(token).await);
    [opened, asked, renewed]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_refuses_more_and_ends_nothing_until_it_is_thawed() {
    let all = [true; 3];
    let cases = [
        (agent_of(AGENT), all),
        (domain(), all),
        (Of::All(true), all),
        (orders(), [false, true, true]),
        (agent_of(READER), [false; 3]),
        (Of::Target("payments-api".to_owned()), [false; 3]),
        (Of::TrustDomain("other.example".to_owned()), [false; 3]),
    ];
    for (selector, expected) in cases {
        let mut stage = Stage::new().await;
        let task = open(&mut stage.agent).await;
        let (lease, token) = request(&mut stage.agent, &task).await;
        freeze(&mut stage, selector.clone()).await;
        assert_eq!(
            frozen(&mut stage, &task, &lease, &token).await,
            expected,
            "{selector:?}"
        );

        stage = stage.restart().await;
        let shown = stage.status().await.freezes;
        assert_eq!(shown.len(), 1);
        assert_eq!(shown[0].selector, of(selector.clone()));
        assert_eq!(
            (&*shown[0].by, &*shown[0].reason),
            (OPERATOR, "an incident")
        );
        assert_eq!(
            frozen(&mut stage, &task, &lease, &token).await,
            expected,
            "{selector:?}"
        );

        assert!(thaw(&mut stage, selector.clone()).await);
        assert!(!thaw(&mut stage, selector).await);
        assert_eq!(frozen(&mut stage, &task, &lease, &token).await, [false; 3]);
        assert!(stage.status().await.freezes.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_freezes_are_lifted_one_by_one() {
    let mut stage = Stage::new().await;
    freeze(&mut stage, agent_of(AGENT)).await;
    freeze(&mut stage, Of::All(true)).await;
    assert!(thaw(&mut stage, Of::All(true)).await);
    let answer = stage.agent.open_task(opens("x")).await;
    refused(answer, Code::PermissionDenied, "FROZEN");
    open(&mut stage.reader).await;
    assert!(thaw(&mut stage, agent_of(AGENT)).await);
    open(&mut stage.agent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_leases_are_revoked_and_not_frozen() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (lease, _) = request(&mut stage.agent, &task).await;
    let seq = stage.seq();
    for narrow in [
        Of::TaskId(task.id.clone()),
        Of::LeaseId(lease.id.clone()),
        Of::All(false),
    ] {
        let request = v1::FreezeRequest {
            selector: of(narrow.clone()),
            reason: String::new(),
        };
        invalid(stage.operator.freeze(request).await, "selector");
        let request = v1::ThawRequest {
            selector: of(narrow),
        };
        invalid(stage.operator.thaw(request).await, "selector");
    }
    assert_eq!(stage.events_since(seq), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_swaps_the_whole_set_and_archives_it() {
    let mut stage = Stage::new().await;
    let before = stage.status().await;
    let task = open(&mut stage.agent).await;
    stage
        .agent
        .request_credential(wants(&task, &[WRITE]))
        .await
        .unwrap();
    let reloaded = stage.adopt(READS).await;
    assert_eq!(reloaded.previous_digest, before.policy_digest);
    assert_ne!(reloaded.digest, before.policy_digest);
    assert_eq!(reloaded.policies, 1);
    let status = stage.status().await;
    assert_eq!(
        (status.policy_digest, status.policies),
        (reloaded.digest.clone(), 1)
    );
    let answer = stage.agent.request_credential(wants(&task, &[WRITE])).await;
    refused(answer, Code::PermissionDenied, "DENIED_BY_POLICY");
    request(&mut stage.agent, &task).await;

    let archived = |hex: &str| {
        let mut digest = [0; 32];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        }
        let snapshot = stage.serving.engine.store().read();
        let kept = snapshot.policy(Digest(digest)).unwrap().unwrap();
        serde_json::from_slice::<serde_json::Value>(&kept).unwrap()
    };
    assert_eq!(
        archived(&reloaded.digest),
        serde_json::json!({"only.cedar": READS})
    );
    let sample = include_str!("../../config/policies/orders.cedar");
    assert_eq!(archived(&before.policy_digest)["orders.cedar"], sample);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_does_not_compile_changes_nothing_and_says_where() {
    let mut stage = Stage::new().await;
    let before = stage.status().await.policy_digest;
    let seq = stage.seq();
    let broken = [
        ("permit (principal, action, resource)", "bad.cedar:1"),
        (
            "permit (principal, action, resource);\n\npermit (principal, action ==",
            "bad.cedar:3",
        ),
        (
            "permit (principal, action == Action::\"fly\", resource);",
            "bad.cedar:1",
        ),
        (
            "permit (principal, action, resource)\nwhen { context.purpose == \"x\" };",
            "bad.cedar:",
        ),
        (
            "@id(\"data-reads-orders\")\npermit (principal, action, resource);",
            "bad.cedar:",
        ),
    ];
    let times = broken.len();
    for (text, place) in broken {
        stage.world.replace("policies/bad.cedar", text);
        let answer = stage
            .operator
            .reload_policy(v1::ReloadPolicyRequest {})
            .await;
        let status = refused(answer, Code::FailedPrecondition, "POLICY_NOT_LOADED");
        assert!(status.message().contains(place), "{}", status.message());
        assert_eq!(stage.status().await.policy_digest, before);
    }
    let recorded = stage.since(seq);
    assert_eq!(recorded.len(), times);
    for sealed in recorded {
        assert_eq!(sealed.entry.event, "request.refused");
        assert_eq!(sealed.entry.refusal.as_deref(), Some("POLICY_NOT_LOADED"));
        assert_eq!(sealed.entry.detail["call"], "ReloadPolicy");
        assert!(sealed.entry.caller.is_some());
    }
    let task = open(&mut stage.agent).await;
    stage
        .agent
        .request_credential(wants(&task, &[READ, WRITE]))
        .await
        .unwrap();
    std::fs::remove_file(stage.world.path("policies/bad.cedar")).unwrap();
    assert_eq!(stage.reload().await.digest, before);
}

async fn explain(stage: &mut Stage, agent: &str, scope: &str, task: &str) -> v1::ScopeExplanation {
    let request = v1::ExplainDecisionRequest {
        agent: agent.to_owned(),
        scopes: vec![scope.to_owned()],
        ttl: None,
        task_id: task.to_owned(),
    };
    let seq = stage.seq();
    let answer = stage
        .operator
        .explain_decision(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        stage.events_since(seq),
        [""; 0],
        "explaining grants and records nothing"
    );
    assert_eq!(answer.policy_digest, stage.status().await.policy_digest);
    assert_eq!(answer.scopes.len(), 1);
    answer.scopes.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_explained_with_its_policies_and_what_would_have_to_differ() {
    let mut stage = Stage::new().await;
    let permit = explain(&mut stage, AGENT, READ, "").await;
    assert_eq!(permit.outcome, "permit");
    assert_eq!(permit.determining[0].id, "data-reads-orders");
    assert!(permit.determining[0].file.starts_with("orders.cedar:"));
    assert!(permit.determining[0].text.contains("Team::\"data\""));
    assert_eq!(permit.max_ttl, seconds(900));
    assert_eq!(permit.max_ttl_policy, "data-reads-orders");

    let deny = explain(&mut stage, AGENT, "payments-api:read:x", "").await;
    assert_eq!(deny.outcome, "deny");
    assert_eq!(deny.determining[0].id, "no-crossing-into-prod");

    let approval = explain(&mut stage, AGENT, "orders-db:admin:x", "").await;
    assert_eq!(approval.outcome, "approval_needed");
    assert_eq!(approval.determining[0].id, "admin-needs-approval");

    let near = explain(&mut stage, READER, "orders-db:read:public.secrets", "").await;
    assert_eq!(near.outcome, "deny");
    assert!(near.determining.is_empty());
    let told = near.near_misses.join("\n");
    assert!(told.contains("support-reads-orders"), "{told}");

    // A task's own facts: this one is held.
    let payments = "payments-api:read:invoices";
    let task = open(&mut stage.reader).await;
    assert_eq!(
        explain(&mut stage, READER, payments, &task.id)
            .await
            .outcome,
        "deny"
    );
    let mut held = stage
        .reader
        .hold_task(holds(&task))
        .await
        .unwrap()
        .into_inner();
    held.message().await.unwrap().unwrap();
    assert_eq!(
        explain(&mut stage, READER, payments, &task.id)
            .await
            .outcome,
        "permit"
    );
    assert_eq!(
        explain(&mut stage, READER, payments, "").await.outcome,
        "deny"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_explained_is_refused() {
    let mut stage = Stage::new().await;
    let sound = v1::ExplainDecisionRequest {
        agent: AGENT.to_owned(),
        scopes: vec![READ.to_owned()],
        ..Default::default()
    };
    type Spoil = fn(&mut v1::ExplainDecisionRequest);
    let spoilt: [(&str, Spoil); 6] = [
        ("agent", |r| r.agent = "builder".to_owned()),
        ("scopes", |r| r.scopes = vec!["x".to_owned()]),
        ("scopes", |r| r.scopes = vec!["nowhere:read:x".to_owned()]),
        ("scopes", |r| r.scopes.clear()),
        ("ttl", |r| r.ttl = seconds(-1)),
        ("task_id", |r| r.task_id = "x".to_owned()),
    ];
    for (field, spoil) in spoilt {
        let mut request = sound.clone();
        spoil(&mut request);
        invalid(stage.operator.explain_decision(request).await, field);
    }
    let mut request = sound.clone();
    request.agent = "spiffe://dev.example/stranger".to_owned();
    not_found(stage.operator.explain_decision(request).await);
    let mut request = sound;
    request.task_id = NOBODYS.to_owned();
    not_found(stage.operator.explain_decision(request).await);
}

async fn key_ids(stage: &mut Stage) -> Vec<String> {
    let keys = stage
        .resource
        .get_signing_keys(v1::GetSigningKeysRequest {})
        .await
        .unwrap();
    let set = JwkSet::from_json(keys.into_inner().jwk_set.as_bytes()).unwrap();
    let mut ids: Vec<String> = set.keys().iter().map(|key| key.kid().to_owned()).collect();
    ids.sort();
    ids
}

fn key_files(world: &World) -> Vec<(String, u32)> {
    let files = std::fs::read_dir(world.path("state/keys")).unwrap();
    let all = files.map(|file| file.unwrap());
    // Beside them lies the key that signs receipts.
    all.filter(|file| file.path().extension().is_some_and(|end| end == "pk8"))
        .map(|file| {
            let mode = file.metadata().unwrap().permissions().mode() & 0o7777;
            (file.file_name().into_string().unwrap(), mode)
        })
        .collect()
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_verifies_until_nothing_it_signed_can_be_alive() {
    let mut stage = Stage::new().await;
    let old = stage.status().await.kid;
    let mut day = opens("long work");
    day.duration = seconds(86_400);
    let task = open_with(&mut stage.agent, day).await.task.unwrap();
    let (_, before) = request(&mut stage.agent, &task).await;
    stage.advance(60);
    let rotated = stage
        .operator
        .rotate_keys(v1::RotateKeysRequest::default())
        .await;
    let rotated = rotated.unwrap().into_inner();
    assert_eq!(rotated.previous_kid, old);
    assert_ne!(rotated.kid, old);
    assert_eq!(stage.status().await.kid, rotated.kid);
    let (_, after) = request(&mut stage.agent, &task).await;
    assert_eq!(read_token(&before).0["kid"], *old);
    assert_eq!(read_token(&after).0["kid"], *rotated.kid);

    // Twice: as rotated, and as found after a restart.
    for _ in 0..2 {
        assert!(stage.is_active(&before).await && stage.is_active(&after).await);
        assert_eq!(
            key_ids(&mut stage).await,
            sorted(vec![old.clone(), rotated.kid.clone()])
        );
        assert_eq!(stage.status().await.kid, rotated.kid);
        let files = key_files(&stage.world);
        assert_eq!(files.len(), 2);
        assert!(files.iter().all(|(_, mode)| *mode == 0o600), "{files:?}");
        stage = stage.restart().await;
    }

    // The longest life of a token, and a minute for clocks that are behind.
    stage.advance(3659);
    stage.serving.engine.retire_keys().unwrap();
    assert_eq!(key_ids(&mut stage).await.len(), 2);
    stage.advance(1);
    stage.serving.engine.retire_keys().unwrap();
    assert_eq!(key_ids(&mut stage).await, [rotated.kid.as_str()]);
    let files = key_files(&stage.world);
    assert_eq!(files.len(), 1);
    assert!(files[0].0.contains(&rotated.kid));
    let (_, token) = request(&mut stage.agent, &task).await;
    assert!(stage.is_active(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_does_not_start_on_keys_that_others_can_read_or_that_are_none() {
    let spoil: [fn(&std::path::Path); 3] = [
        |path| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap(),
        |path| std::fs::write(path, b"not a key").unwrap(),
        |path| std::fs::rename(path, path.with_file_name("0000000000000001-other.pk8")).unwrap(),
    ];
    for spoil in spoil {
        let stage = Stage::new().await;
        let world = stage.stop().await;
        let (name, _) = key_files(&world).into_iter().next().unwrap();
        spoil(&world.path("state/keys").join(name));
        let config = world.config();
        let options = quietus::broker::Options::default();
        assert!(world.serve_with(config, options).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_how_things_stand() {
    let mut stage = Stage::new().await;
    let started = stage.now();
    stage.advance(5);
    let task = open(&mut stage.agent).await;
    let (first, _) = request(&mut stage.agent, &task).await;
    request(&mut stage.agent, &task).await;
    stage.agent.revoke_lease(returns(&first)).await.unwrap();
    let ended = open(&mut stage.reader).await;
    stage.reader.close_task(closes(&ended)).await.unwrap();
    let entries = stage.seq();
    let status = stage.status().await;
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.broker, BROKER);
    assert_eq!(status.started_at.unwrap().seconds, started);
    assert_eq!(status.now.unwrap().seconds, started + 5);
    assert_eq!(status.clock_ahead, seconds(0));
    assert_eq!(
        (
            status.open_tasks,
            status.live_leases,
            status.revoking_leases
        ),
        (1, 1, 0)
    );
    assert_eq!(status.ledger_entries, entries);
    assert_eq!(status.policies, 14);
    assert_eq!(status.policy_digest.len(), 64);
    assert!(status.store_bytes > 0);
    assert_eq!(status.degraded, [""; 0]);
    let targets: Vec<_> = status
        .targets
        .iter()
        .map(|t| (&*t.name, &*t.kind))
        .collect();
    assert_eq!(targets, [("orders-db", "jwt"), ("payments-api", "jwt")]);
    let domain = &status.trust_domains[0];
    assert_eq!(
        (&*domain.name, domain.anchors, &*domain.error),
        (DOMAIN, 1, "")
    );
    assert!(domain.bundle.ends_with("bundle.pem"));

    stage.world.time.set_wall(quietus_core::Timestamp(0));
    let status = stage.status().await;
    assert_eq!(status.now.unwrap().seconds, started + 5);
    assert_eq!(status.clock_ahead.unwrap().seconds, started + 5);
}

async fn list_tasks(
    stage: &mut Stage,
    filter: &v1::ListTasksRequest,
    page_size: u32,
) -> (Vec<String>, usize) {
    let mut request = filter.clone();
    request.page_size = page_size;
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let page = stage
            .operator
            .list_tasks(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.tasks.len() <= page_size as usize);
        ids.extend(page.tasks.into_iter().map(|task| task.id));
        pages += 1;
        if page.next_page_token.is_empty() {
            return (ids, pages);
        }
        request.page_token = page.next_page_token;
    }
}

async fn list_leases(
    stage: &mut Stage,
    filter: &v1::ListLeasesRequest,
    page_size: u32,
) -> (Vec<String>, usize) {
    let mut request = filter.clone();
    request.page_size = page_size;
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let page = stage
            .operator
            .list_leases(request.clone())
            .await
            .unwrap()
            .into_inner();
        assert!(page.leases.len() <= page_size as usize);
        ids.extend(page.leases.into_iter().map(|lease| lease.id));
        pages += 1;
        if page.next_page_token.is_empty() {
            return (ids, pages);
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_page_through_everything_that_the_filter_matches_once() {
    let mut stage = Stage::new().await;
    let mut other = stage.agent_named("other", "/agent/other", DAY).await;
    let (mut mine, mut others, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..12 {
        stage.advance(1);
        let task = open(&mut stage.agent).await;
        if n % 3 == 0 {
            stage.agent.close_task(closes(&task)).await.unwrap();
            closed.push(task.id.clone());
        }
        mine.push(task.id);
        stage.advance(1);
        others.push(open(&mut other).await.id);
    }
    let all: Vec<String> = mine
        .iter()
        .zip(&others)
        .flat_map(|(a, b)| [a.clone(), b.clone()])
        .collect();
    let any = v1::ListTasksRequest::default();
    for size in [1, 5, 24, 1000] {
        assert_eq!(list_tasks(&mut stage, &any, size).await.0, all);
    }
    assert!(list_tasks(&mut stage, &any, 5).await.1 >= 5);
    let of_agent = v1::ListTasksRequest {
        agent: AGENT.to_owned(),
        ..any.clone()
    };
    assert_eq!(list_tasks(&mut stage, &of_agent, 5).await.0, mine);
    let mut done = any.clone();
    done.set_state(v1::TaskState::Closed);
    assert_eq!(list_tasks(&mut stage, &done, 3).await.0, closed);
    let mut both = of_agent.clone();
    both.set_state(v1::TaskState::Open);
    let still: Vec<_> = mine
        .iter()
        .filter(|id| !closed.contains(id))
        .cloned()
        .collect();
    assert_eq!(list_tasks(&mut stage, &both, 3).await.0, still);
    let of_domain = |name: &str| v1::ListTasksRequest {
        trust_domain: name.to_owned(),
        ..Default::default()
    };
    assert_eq!(list_tasks(&mut stage, &of_domain(DOMAIN), 7).await.0, all);
    assert_eq!(
        list_tasks(&mut stage, &of_domain("dev.exampl"), 7).await.0,
        [""; 0]
    );
    // Unset means 100 rows at a time.
    let page = stage.operator.list_tasks(any).await.unwrap().into_inner();
    assert_eq!(page.tasks.len(), 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_listed_by_task_agent_target_and_state() {
    let mut stage = Stage::new().await;
    let scene = scene(&mut stage).await;
    let mut held = stage
        .reader
        .hold_task(holds(&scene.readers))
        .await
        .unwrap()
        .into_inner();
    held.message().await.unwrap().unwrap();
    let payments = "payments-api:read:invoices";
    let (paid, _) = credential(&mut stage.reader, &scene.readers, payments, 60).await;
    let given = &scene.leases[0][0];
    stage.agent.revoke_lease(returns(given)).await.unwrap();

    let ids = |leases: &[v1::Lease]| leases.iter().map(|l| l.id.clone()).collect::<Vec<_>>();
    let [first, second, readers] = [0, 1, 2].map(|n| ids(&scene.leases[n]));
    let readers = [readers, vec![paid.id.clone()]].concat();
    let all = sorted([first.clone(), second.clone(), readers.clone()].concat());
    let any = v1::ListLeasesRequest::default();
    for size in [1, 2, 7, 100] {
        assert_eq!(sorted(list_leases(&mut stage, &any, size).await.0), all);
    }
    let by_task = |id: &str| v1::ListLeasesRequest {
        task_id: id.to_owned(),
        ..Default::default()
    };
    assert_eq!(
        list_leases(&mut stage, &by_task(&scene.second.id), 1)
            .await
            .0,
        second
    );
    assert_eq!(
        list_leases(&mut stage, &by_task(&scene.readers.id), 2)
            .await
            .0,
        readers
    );
    assert_eq!(
        list_leases(&mut stage, &by_task(NOBODYS), 2).await.0,
        [""; 0]
    );
    let by_agent = v1::ListLeasesRequest {
        agent: AGENT.to_owned(),
        ..Default::default()
    };
    let agents = sorted([first.clone(), second].concat());
    assert_eq!(
        sorted(list_leases(&mut stage, &by_agent, 3).await.0),
        agents
    );
    let by_target = v1::ListLeasesRequest {
        target: "payments-api".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        list_leases(&mut stage, &by_target, 1).await.0,
        [paid.id.as_str()]
    );
    let mut ended = any.clone();
    ended.set_state(v1::LeaseState::Ended);
    assert_eq!(
        list_leases(&mut stage, &ended, 1).await.0,
        [given.id.as_str()]
    );
    let page = stage
        .operator
        .list_leases(by_target)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (&*page.leases[0].agent, &*page.leases[0].kind),
        (READER, "jwt")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_cannot_be_asked_for_nonsense() {
    let mut stage = Stage::new().await;
    open(&mut stage.agent).await;
    for token in [
        "x",
        "../..",
        "0",
        &format!("{NOBODYS}.0"),
        &"9".repeat(5000),
    ] {
        let request = v1::ListTasksRequest {
            page_token: token.to_owned(),
            ..Default::default()
        };
        invalid(stage.operator.list_tasks(request).await, "page_token");
    }
    for token in [
        "x",
        NOBODYS,
        &format!("{NOBODYS}.x"),
        &format!("{NOBODYS}.-1"),
    ] {
        let request = v1::ListLeasesRequest {
            page_token: token.to_owned(),
            ..Default::default()
        };
        invalid(stage.operator.list_leases(request).await, "page_token");
    }
    let request = v1::ListTasksRequest {
        state: 99,
        ..Default::default()
    };
    invalid(stage.operator.list_tasks(request).await, "state");
    type Spoil = fn(&mut v1::ListLeasesRequest);
    let spoilt: [(&str, Spoil); 3] = [
        ("state", |r| r.state = -1),
        ("task_id", |r| r.task_id = "x".to_owned()),
        ("target", |r| r.target = "*".to_owned()),
    ];
    for (field, spoil) in spoilt {
        let mut request = v1::ListLeasesRequest::default();
        spoil(&mut request);
        invalid(stage.operator.list_leases(request).await, field);
    }
    // More than fits on a page is cut, not refused.
    let request = v1::ListTasksRequest {
        page_size: u32::MAX,
        ..Default::default()
    };
    stage.operator.list_tasks(request).await.unwrap();
}
