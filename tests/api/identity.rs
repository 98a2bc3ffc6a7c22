//! Who is who: by the SVID of the connection, at every request, and by nothing else.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quietus::api::v1;
use quietus::api::v1::broker_client::BrokerClient;
use quietus::api::v1::operator_client::OperatorClient;
use quietus::api::v1::selector::Of;
use quietus::api::v1::verification_client::VerificationClient;
use quietus::dev::DevCa;
use quietus_token::{JwkSet, Presented, TokenError, Verifier};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::common::*;
use crate::help::*;

/// The two authorities go by the same name.
const NOT_VOUCHED_FOR: &str = "SVID_SIGNATURE_INVALID";
const DAY: Duration = Duration::from_secs(86_400);

/// What every call about a task and a lease comes to, as code, reason and message.
async fn every_call(
    client: &mut BrokerClient<Channel>,
    task: &v1::Task,
    lease: &v1::Lease,
) -> Vec<(Code, String, String)> {
    let told = |status: Status| (status.code(), reason(&status), status.message().to_owned());
    let shown = v1::GetTaskRequest {
        task_id: task.id.clone(),
    };
    vec![
        told(client.get_task(shown).await.unwrap_err()),
        told(client.heartbeat(beats(task)).await.unwrap_err()),
        told(client.hold_task(holds(task)).await.unwrap_err()),
        told(
            client
                .request_credential(wants(task, &[READ]))
                .await
                .unwrap_err(),
        ),
        told(client.renew_lease(renews(lease)).await.unwrap_err()),
        told(client.revoke_lease(returns(lease)).await.unwrap_err()),
        told(client.close_task(closes(task)).await.unwrap_err()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn another_agent_cannot_tell_a_task_from_one_that_does_not_exist() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (lease, token) = request(&mut stage.agent, &task).await;
    let before = stage.look(&task.id).await;
    let seq = stage.seq();

    let ghost = v1::Task {
        id: NOBODYS.to_owned(),
        ..Default::default()
    };
    let ghosts = v1::Lease {
        id: format!("{NOBODYS}.0"),
        ..Default::default()
    };
    let of_the_agents = every_call(&mut stage.reader, &task, &lease).await;
    let of_a_ghost = every_call(&mut stage.reader, &ghost, &ghosts).await;
    assert_eq!(of_the_agents, of_a_ghost);
    for (code, reason, _) in &of_the_agents {
        assert_eq!((*code, reason.as_str()), (Code::NotFound, "NOT_FOUND"));
    }

    let entries = stage.since(seq);
    assert!(
        !entries.is_empty(),
        "who reaches for another's task is noted"
    );
    for sealed in entries {
        assert_eq!(sealed.entry.event, "request.refused");
        assert_eq!(sealed.entry.refusal.as_deref(), Some("NOT_FOUND"));
        assert_eq!(sealed.entry.agent.as_deref(), Some(READER));
    }
    assert_eq!(stage.look(&task.id).await, before);
    assert!(stage.is_active(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unregistered_agent_gets_nothing_and_the_refusal_is_recorded() {
    let stage = Stage::new().await;
    let mut stranger = stage.agent_named("stranger", "/stranger/x", DAY).await;
    let seq = stage.seq();
    let answer = stranger.open_task(opens("hello")).await;
    let status = refused(answer, Code::PermissionDenied, "AGENT_NOT_REGISTERED");
    assert!(status.message().contains("spiffe://dev.example/stranger/x"));

    let entries = stage.since(seq);
    assert_eq!(entries.len(), 1);
    let entry = &entries[0].entry;
    assert_eq!(entry.event, "request.refused");
    assert_eq!(entry.refusal.as_deref(), Some("AGENT_NOT_REGISTERED"));
    let caller = entry.caller.as_ref().unwrap();
    assert_eq!(caller.id, "spiffe://dev.example/stranger/x");
    let certificate = hex(&thumbprint(&stage.world, "stranger"));
    assert_eq!(caller.certificate, certificate);
    assert_eq!(stage.serving.engine.store().header().open_tasks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_struck_off_the_register_gets_no_more_under_its_open_task() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (lease, _) = request(&mut stage.agent, &task).await;
    let world = stage.stop().await;
    let config = std::fs::read_to_string(world.domain.config()).unwrap();
    world.replace("quietus.toml", &config.replace("/agent/*", "/nobody/*"));

    let mut stage = Stage::on(world, |_| {}).await;
    let seq = stage.seq();
    let denied = (Code::PermissionDenied, "AGENT_NOT_REGISTERED");
    let answer = stage.agent.request_credential(wants(&task, &[READ])).await;
    refused(answer, denied.0, denied.1);
    let answer = stage.agent.renew_lease(renews(&lease)).await;
    refused(answer, denied.0, denied.1);
    refused(
        stage.agent.open_task(opens("again")).await,
        denied.0,
        denied.1,
    );
    assert_eq!(stage.events_since(seq), ["request.refused"; 3]);
}

async fn every_operator_call(client: &mut OperatorClient<Channel>) -> Vec<Status> {
    let all = || of(Of::All(true));
    let explain = v1::ExplainDecisionRequest {
        agent: AGENT.to_owned(),
        scopes: vec![READ.to_owned()],
        ..Default::default()
    };
    let revoke = |dry_run| v1::RevokeRequest {
        selector: all(),
        dry_run,
        reason: String::new(),
    };
    let freeze = v1::FreezeRequest {
        selector: all(),
        reason: String::new(),
    };
    vec![
        client
            .list_tasks(v1::ListTasksRequest::default())
            .await
            .unwrap_err(),
        client
            .list_leases(v1::ListLeasesRequest::default())
            .await
            .unwrap_err(),
        client.revoke(revoke(true)).await.unwrap_err(),
        client.revoke(revoke(false)).await.unwrap_err(),
        client.freeze(freeze).await.unwrap_err(),
        client
            .thaw(v1::ThawRequest { selector: all() })
            .await
            .unwrap_err(),
        client
            .reload_policy(v1::ReloadPolicyRequest {})
            .await
            .unwrap_err(),
        client.explain_decision(explain).await.unwrap_err(),
        client
            .rotate_keys(v1::RotateKeysRequest::default())
            .await
            .unwrap_err(),
        client
            .get_status(v1::GetStatusRequest {})
            .await
            .unwrap_err(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_operator_can_call_nothing_of_theirs() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (_, token) = request(&mut stage.agent, &task).await;
    // A name that begins like an operator's is not one.
    stage.world.add_svid("nearly", "/operator/dev/agent", DAY);
    let kid = stage.status().await.kid;
    let seq = stage.seq();
    for name in ["agent", "reader", "resource-server", "nearly"] {
        let channel = stage.world.connect(&stage.serving, name).await;
        for status in every_operator_call(&mut OperatorClient::new(channel)).await {
            let found = (status.code(), reason(&status));
            assert_eq!(
                found,
                (Code::PermissionDenied, "NOT_AN_OPERATOR".to_owned())
            );
        }
    }
    // Each attempt is on record, and nothing else has happened.
    let events = stage.events_since(seq);
    assert!(events.len() >= 4 * 9, "{events:?}");
    assert!(events.iter().all(|event| event == "request.refused"));
    assert_eq!(stage.status().await.kid, kid);
    assert!(stage.status().await.freezes.is_empty());
    assert!(stage.is_active(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_a_task_but_has_no_part_in_it() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (lease, _) = request(&mut stage.agent, &task).await;
    stage.look(&task.id).await;

    let denied = stage.overseer.open_task(opens("just looking")).await;
    refused(denied, Code::PermissionDenied, "AGENT_NOT_REGISTERED");
    let operator = &mut stage.overseer;
    not_found(operator.request_credential(wants(&task, &[READ])).await);
    not_found(operator.renew_lease(renews(&lease)).await);
    not_found(operator.revoke_lease(returns(&lease)).await);
    not_found(operator.heartbeat(beats(&task)).await);
    not_found(operator.hold_task(holds(&task)).await);
    not_found(operator.close_task(closes(&task)).await);
}

async fn introspect(
    client: &mut VerificationClient<Channel>,
    token: &str,
    presenter: &[u8],
) -> v1::IntrospectResponse {
    let request = v1::IntrospectRequest {
        token: token.to_owned(),
        presenter_certificate_sha256: presenter.to_vec(),
    };
    client.introspect(request).await.unwrap().into_inner()
}

async fn published(client: &mut VerificationClient<Channel>) -> JwkSet {
    let keys = client.get_signing_keys(v1::GetSigningKeysRequest {}).await;
    JwkSet::from_json(keys.unwrap().into_inner().jwk_set.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_token_is_worth_nothing_to_the_thief() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (lease, token) = request(&mut stage.agent, &task).await;
    let owner = thumbprint(&stage.world, "agent");
    let thief = thumbprint(&stage.world, "reader");

    let stolen = introspect(&mut stage.resource, &token, &thief).await;
    assert_eq!(stolen, v1::IntrospectResponse::default());
    let good = introspect(&mut stage.resource, &token, &owner).await;
    assert!(good.active);
    assert_eq!(good.lease_id, lease.id);
    assert_eq!(good.certificate_sha256, owner);

    let verifier = Verifier::new(published(&mut stage.resource).await, BROKER, "orders-db");
    let now = stage.serving.engine.now().seconds();
    let shown = |certificate| verifier.verify(&token, Presented::from_thumbprint(certificate), now);
    assert_eq!(shown(thief).unwrap_err(), TokenError::WrongCertificate);
    assert_eq!(shown(owner).unwrap().subject(), AGENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_thumbprint_is_refused_and_not_ignored() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (_, token) = request(&mut stage.agent, &task).await;
    let owner = thumbprint(&stage.world, "agent");
    for wrong in [&owner[..31], &[owner.as_slice(), &[0]].concat(), &[0]] {
        let request = v1::IntrospectRequest {
            token: token.clone(),
            presenter_certificate_sha256: wrong.to_vec(),
        };
        let answer = stage.resource.introspect(request).await;
        invalid(answer, "presenter_certificate_sha256");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_targets_own_resource_servers_learn_anything_of_a_token() {
    let mut stage = Stage::new().await;
    stage.world.add_svid("other-rs", "/rs/payments", DAY);
    stage.world.add_svid("nested-rs", "/rs/orders/replica", DAY);
    let task = open(&mut stage.agent).await;
    let (_, token) = request(&mut stage.agent, &task).await;
    for name in ["other-rs", "nested-rs", "agent", "reader", "operator"] {
        let channel = stage.world.connect(&stage.serving, name).await;
        let told = introspect(&mut VerificationClient::new(channel), &token, &[]).await;
        assert_eq!(told, v1::IntrospectResponse::default(), "{name}");
    }
    assert!(stage.is_active(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_server_of_one_target_learns_nothing_of_another_targets_tokens() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.reader).await;
    let mut held = stage
        .reader
        .hold_task(holds(&task))
        .await
        .unwrap()
        .into_inner();
    held.message().await.unwrap().unwrap();
    let payments = "payments-api:read:invoices";
    let (lease, token) = credential(&mut stage.reader, &task, payments, 60).await;
    assert_eq!(lease.target, "payments-api");
    assert!(!stage.is_active(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_the_broker_did_not_sign_are_inactive() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let (_, token) = request(&mut stage.agent, &task).await;
    let parts: Vec<&str> = token.split('.').collect();
    let (_, claims) = read_token(&token);
    let b64 = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let wider = b64(&claims.to_string().replace(":read:", ":admin:"));
    let none = b64(r#"{"alg":"none","typ":"at+jwt"}"#);
    let foreign = {
        use quietus_token::SigningKey;
        let bytes = SigningKey::generate(&ring::rand::SystemRandom::new()).unwrap();
        let key = SigningKey::from_pkcs8(&bytes).unwrap();
        let claims = serde_json::from_value(claims.clone()).unwrap();
        key.sign(key.prepare(&claims)).expose().to_owned()
    };
    let forged = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "a".repeat(60_000),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{none}.{}.", parts[1]),
        format!("{}.{wider}.{}", parts[0], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], b64(&"\0".repeat(64))),
        format!("{token}="),
        format!("{token} "),
        format!(" {token}"),
        token.to_lowercase(),
        foreign,
    ];
    for forged in &forged {
        assert!(!stage.is_active(forged).await, "{forged}");
    }
    assert!(stage.is_active(&token).await);
}

fn dressed_up<T>(message: T, as_whom: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    let names = [
        "authorization",
        "x-spiffe-id",
        "x-quietus-agent",
        "x-quietus-caller",
        "x-forwarded-for",
        "forwarded",
        "x-remote-user",
        "x-client-dn",
    ];
    for name in names {
        request
            .metadata_mut()
            .insert(name, as_whom.parse().unwrap());
    }
    let envoy = format!("By={BROKER};Hash=00;URI={as_whom}");
    let envoy = envoy.parse().unwrap();
    request
        .metadata_mut()
        .insert("x-forwarded-client-cert", envoy);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_makes_a_caller_somebody_else() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let asked = dressed_up(wants(&task, &[READ]), AGENT);
    not_found(stage.reader.request_credential(asked).await);
    let opened = stage.reader.open_task(dressed_up(opens("x"), AGENT)).await;
    assert_eq!(opened.unwrap().into_inner().task.unwrap().agent, READER);

    let channel = stage.world.connect(&stage.serving, "agent").await;
    let status = dressed_up(v1::GetStatusRequest {}, OPERATOR);
    let answer = OperatorClient::new(channel).get_status(status).await;
    refused(answer, Code::PermissionDenied, "NOT_AN_OPERATOR");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_does_not_outlive_its_svid() {
    let mut stage = Stage::new().await;
    let mut brief = stage
        .agent_named("brief", "/agent/brief", Duration::from_secs(60))
        .await;
    let task = open(&mut brief).await;
    let mut scope = wants(&task, &[READ]);
    scope.ttl = seconds(600);
    let reply = brief.request_credential(scope).await.unwrap().into_inner();
    let token = jwt(reply.credential);
    stage.advance(59);
    brief.heartbeat(beats(&task)).await.unwrap();
    assert!(stage.is_active(&token).await);

    stage.pass(2).await;
    let answer = brief.heartbeat(beats(&task)).await;
    refused(answer, Code::Unauthenticated, "SVID_EXPIRED");
    let answer = brief.request_credential(wants(&task, &[READ])).await;
    refused(answer, Code::Unauthenticated, "SVID_EXPIRED");
    refused(
        brief.close_task(closes(&task)).await,
        Code::Unauthenticated,
        "SVID_EXPIRED",
    );
    refused(
        brief.open_task(opens("x")).await,
        Code::Unauthenticated,
        "SVID_EXPIRED",
    );
    assert!(!stage.is_active(&token).await);

    let ending = stage.look(&task.id).await.0.ending.unwrap();
    assert_eq!(ending.cause, "Revoked");
    assert_eq!(ending.reason, "identity_expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_stream_does_not_outlive_its_svid() {
    let stage = Stage::with(|config| config.limits.grace = Duration::from_secs(1)).await;
    let mut brief = stage
        .agent_named("brief", "/agent/brief", Duration::from_secs(60))
        .await;
    let task = open(&mut brief).await;
    let mut held = brief.hold_task(holds(&task)).await.unwrap().into_inner();
    held.message().await.unwrap().unwrap();
    stage.pass(61).await;
    // The last thing that it hears is either how its task ended or that its SVID is no good any more.
    loop {
        match held.message().await {
            Ok(Some(heard)) => {
                let ended = heard.task.unwrap().ending;
                assert!(ended.is_none_or(|ending| ending.cause != "Completed"));
            }
            Ok(None) => break,
            Err(status) => {
                assert_eq!(status.code(), Code::Unauthenticated);
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_svid_carries_a_task_beyond_the_old_ones_end() {
    let mut stage = Stage::new().await;
    let minute = Duration::from_secs(60);
    let mut brief = stage.agent_named("brief", "/agent/brief", minute).await;
    let task = open(&mut brief).await;
    let mut rotated = stage.agent_named("rotated", "/agent/brief", DAY).await;
    rotated.heartbeat(beats(&task)).await.unwrap();
    stage.pass(120).await;
    rotated.heartbeat(beats(&task)).await.unwrap();
    assert_eq!(stage.look(&task.id).await.0.state(), v1::TaskState::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_token_stays_bound_to_the_certificate_that_it_names() {
    let mut stage = Stage::new().await;
    let mut old = stage.agent_named("old", "/agent/rotating", DAY).await;
    let mut new = stage.agent_named("new", "/agent/rotating", 2 * DAY).await;
    let task = open(&mut old).await;
    let (lease, first) = request(&mut old, &task).await;
    let renewed = new.renew_lease(renews(&lease)).await.unwrap().into_inner();
    let second = jwt(renewed.credential);
    let (old, new) = (
        thumbprint(&stage.world, "old"),
        thumbprint(&stage.world, "new"),
    );

    // As the broker remembers its own tokens, and as it reads them after a restart.
    for _ in 0..2 {
        for (token, bound, other) in [(&first, old, new), (&second, new, old)] {
            let good = introspect(&mut stage.resource, token, &bound).await;
            assert!(good.active);
            assert_eq!(good.certificate_sha256, bound);
            let told = introspect(&mut stage.resource, token, &[]).await;
            assert_eq!(told.certificate_sha256, bound);
            assert!(!introspect(&mut stage.resource, token, &other).await.active);
        }
        stage = stage.restart().await;
    }
}

/// A world in which two authorities vouch for the trust domain, and an agent of the second one.
fn two_authorities() -> (World, String) {
    let world = World::new();
    let domain = DOMAIN.parse().unwrap();
    let second = DevCa::generate(domain, world.start, 30 * DAY).unwrap();
    let svid = second.svid("/agent/second", world.start, 10 * DAY).unwrap();
    std::fs::write(world.path("second.pem"), &svid.chain_pem).unwrap();
    std::fs::write(world.path("second.key"), svid.key_pem.as_bytes()).unwrap();
    let first_only = world.domain.ca.bundle_pem().to_owned();
    let both = format!("{first_only}{}", second.bundle_pem());
    world.replace("bundle.pem", &both);
    (world, first_only)
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_no_bundle_vouches_for_any_more_is_out_at_once_with_all_it_has() {
    let (world, first_only) = two_authorities();
    let mut stage = Stage::on(world, |_| {}).await;
    let mut second = stage.world.broker(&stage.serving, "second").await;
    let (task, bystander) = (open(&mut second).await, open(&mut stage.agent).await);
    let (lease, token) = request(&mut second, &task).await;

    stage.world.replace("bundle.pem", &first_only);
    stage
        .serving
        .trust
        .reload(stage.serving.engine.now().seconds());
    let gone = NOT_VOUCHED_FOR;
    let answer = second.request_credential(wants(&task, &[READ])).await;
    refused(answer, Code::Unauthenticated, gone);
    refused(
        second.renew_lease(renews(&lease)).await,
        Code::Unauthenticated,
        gone,
    );
    refused(
        second.open_task(opens("x")).await,
        Code::Unauthenticated,
        gone,
    );

    stage.serving.engine.trust_changed().await.unwrap();
    assert!(!stage.is_active(&token).await);
    let (shown, leases) = stage.look(&task.id).await;
    assert_eq!(shown.ending.unwrap().reason, "identity_untrusted");
    assert_eq!(leases[0].state(), v1::LeaseState::Ended);
    assert!(stage.look(&bystander.id).await.0.ending.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_bundle_is_noticed_by_the_broker_itself() {
    let (world, first_only) = two_authorities();
    let mut stage = Stage::on(world, |_| {}).await;
    let mut second = stage.world.broker(&stage.serving, "second").await;
    let task = open(&mut second).await;
    stage.world.replace("bundle.pem", &first_only);
    let id = task.id.parse().unwrap();
    let engine = &stage.serving.engine;
    until("the task ends", || async {
        let task = engine.store().read().task(id).unwrap();
        !task.unwrap().is_open()
    })
    .await;
    let answer = second.heartbeat(beats(&task)).await;
    refused(answer, Code::Unauthenticated, NOT_VOUCHED_FOR);
    let ending = stage.look(&task.id).await.0.ending.unwrap();
    assert_eq!(ending.reason, "identity_untrusted");
    assert_eq!(stage.status().await.trust_domains[0].anchors, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_anchor_went_while_no_broker_ran_is_ended_before_anything_is_served() {
    let (world, first_only) = two_authorities();
    let stage = Stage::on(world, |_| {}).await;
    let mut second = stage.world.broker(&stage.serving, "second").await;
    let task = open(&mut second).await;
    let (_, token) = request(&mut second, &task).await;
    drop(second);
    let world = stage.stop().await;
    world.replace("bundle.pem", &first_only);
    let mut stage = Stage::on(world, |_| {}).await;
    assert!(!stage.is_active(&token).await);
    let ending = stage.look(&task.id).await.0.ending.unwrap();
    assert_eq!(ending.reason, "identity_untrusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_bundle_changes_nothing_but_is_shown() {
    let mut stage = Stage::new().await;
    let task = open(&mut stage.agent).await;
    let sound = stage.world.domain.ca.bundle_pem().to_owned();
    assert_eq!(stage.status().await.degraded, [""; 0]);
    for broken in ["", "not a bundle", "-----BEGIN CERTIFICATE-----\n", "{}"] {
        stage.world.replace("bundle.pem", broken);
        stage
            .serving
            .trust
            .reload(stage.serving.engine.now().seconds());
        request(&mut stage.agent, &task).await;
        let status = stage.status().await;
        assert_eq!(status.degraded, ["trust_bundle:dev.example"], "{broken:?}");
        assert_eq!(status.trust_domains[0].anchors, 1);
        assert!(!status.trust_domains[0].error.is_empty());
    }
    std::fs::remove_file(stage.world.path("bundle.pem")).unwrap();
    stage
        .serving
        .trust
        .reload(stage.serving.engine.now().seconds());
    request(&mut stage.agent, &task).await;
    assert_eq!(stage.status().await.degraded, ["trust_bundle:dev.example"]);

    stage.world.replace("bundle.pem", &sound);
    stage
        .serving
        .trust
        .reload(stage.serving.engine.now().seconds());
    let status = stage.status().await;
    assert_eq!(status.degraded, [""; 0]);
    assert_eq!(status.trust_domains[0].error, "");
}
