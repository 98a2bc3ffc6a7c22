//! A broker with every kind of caller connected, and short words for what tests ask of it.

use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quietus::api::v1;
use quietus::api::v1::broker_client::BrokerClient;
use quietus::api::v1::operator_client::OperatorClient;
use quietus::api::v1::verification_client::VerificationClient;
use quietus::broker::Options;
use quietus::config::Config;
use quietus::engine::Engine;
use quietus_ledger::Sealed;
use serde_json::Value;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::common::*;

pub const AGENT: &str = "spiffe://dev.example/agent/builder";
pub const READER: &str = "spiffe://dev.example/agent/reader";
pub const OPERATOR: &str = "spiffe://dev.example/operator/dev";
pub const BROKER: &str = "spiffe://dev.example/broker";
/// A task that nobody has opened.
pub const NOBODYS: &str = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55";

/// A broker, and its callers on connections of their own.
pub struct Stage {
    pub world: World,
    pub serving: Serving,
    pub agent: BrokerClient<Channel>,
    pub reader: BrokerClient<Channel>,
    pub operator: OperatorClient<Channel>,
    /// The operator at the agents' service.
    pub overseer: BrokerClient<Channel>,
    pub resource: VerificationClient<Channel>,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With another configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(World::new(), change).await
    }

    /// In a world that may have been served before.
    pub async fn on(world: World, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = world.config();
        // Rates have tests of their own.
        let many = NonZeroU32::new(1_000_000).unwrap();
        config.limits.requests_per_second = many;
        config.limits.request_burst = many;
        change(&mut config);
        let serving = world.serve_with(config, Options::default()).await.unwrap();
        let operator = world.connect(&serving, "operator").await;
        Self {
            agent: world.broker(&serving, "agent").await,
            reader: world.broker(&serving, "reader").await,
            overseer: BrokerClient::new(operator.clone()),
            operator: OperatorClient::new(operator),
            resource: world.verification(&serving).await,
            serving,
            world,
        }
    }

    /// Stops the broker and keeps its files.
    pub async fn stop(self) -> World {
        let Self { world, serving, .. } = self;
        serving.stop().await.unwrap();
        world
    }

    /// Stops the broker and starts it again on the same files.
    pub async fn restart(self) -> Self {
        Self::on(self.stop().await, |_| {}).await
    }

    pub async fn agent_named(
        &self,
        name: &str,
        path: &str,
        lifetime: Duration,
    ) -> BrokerClient<Channel> {
        self.world.add_svid(name, path, lifetime);
        self.world.broker(&self.serving, name).await
    }

    pub fn advance(&self, seconds: u64) {
        self.world.time.advance(Duration::from_secs(seconds));
    }

    /// Time passes, and what is due by then happens.
    pub async fn pass(&self, seconds: u64) {
        self.advance(seconds);
        self.serving.engine.run_due().await.unwrap();
    }

    pub fn now(&self) -> i64 {
        i64::try_from(self.serving.engine.now().seconds()).unwrap()
    }

    pub fn seq(&self) -> u64 {
        self.serving.engine.store().header().seq
    }

    /// The ledger after an entry.
    pub fn since(&self, seq: u64) -> Vec<Sealed> {
        entries_after(&self.serving.engine, seq)
    }

    /// What happened after an entry.
    pub fn events_since(&self, seq: u64) -> Vec<String> {
        let entries = self.since(seq).into_iter();
        entries.map(|sealed| sealed.entry.event).collect()
    }

    /// The task and its leases, as operators see them.
    pub async fn look(&mut self, task: &str) -> (v1::Task, Vec<v1::Lease>) {
        let request = v1::GetTaskRequest {
            task_id: task.to_owned(),
        };
        let shown = self.overseer.get_task(request).await.unwrap().into_inner();
        (shown.task.unwrap(), shown.leases)
    }

    pub async fn is_active(&mut self, token: &str) -> bool {
        is_active(&mut self.resource, token).await
    }

    pub async fn reload(&mut self) -> v1::ReloadPolicyResponse {
        let request = v1::ReloadPolicyRequest {};
        let reloaded = self.operator.reload_policy(request).await;
        reloaded.unwrap().into_inner()
    }

    /// Puts this one policy file in place of all others.
    pub async fn adopt(&mut self, policies: &str) -> v1::ReloadPolicyResponse {
        only_policy(&self.world, policies);
        self.reload().await
    }

    pub async fn status(&mut self) -> v1::GetStatusResponse {
        let request = v1::GetStatusRequest {};
        self.operator
            .get_status(request)
            .await
            .unwrap()
            .into_inner()
    }

    pub async fn revoke(&mut self, of_what: v1::selector::Of) -> v1::RevokeResponse {
        let request = v1::RevokeRequest {
            selector: of(of_what),
            dry_run: false,
            reason: "a test".to_owned(),
        };
        self.operator.revoke(request).await.unwrap().into_inner()
    }
}

pub fn only_policy(world: &World, policies: &str) {
    for entry in std::fs::read_dir(world.path("policies")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    world.replace("policies/only.cedar", policies);
}

pub fn entries_after(engine: &Engine, seq: u64) -> Vec<Sealed> {
    let entries = ledger(engine).into_iter();
    entries.filter(|sealed| sealed.seq > seq).collect()
}

/// A call that must be refused, with this code and reason.
#[track_caller]
pub fn refused<T>(answer: Result<Response<T>, Status>, code: Code, expected: &str) -> Status {
    let Err(status) = answer else {
        panic!("was not refused: {code:?} {expected} expected");
    };
    let found = (status.code(), reason(&status));
    assert_eq!(found, (code, expected.to_owned()), "{status:?}");
    status
}

/// A call that must be invalid, by a violation of this field.
#[track_caller]
pub fn invalid<T>(answer: Result<Response<T>, Status>, field: &str) -> Status {
    let status = refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
    let details = status.get_details_bad_request().unwrap();
    let fields: Vec<_> = details.field_violations.iter().map(|v| &*v.field).collect();
    assert_eq!(fields, [field], "{status:?}");
    status
}

#[track_caller]
pub fn not_found<T>(answer: Result<Response<T>, Status>) -> Status {
    refused(answer, Code::NotFound, "NOT_FOUND")
}

/// Asks again until it holds: for what another task of this process is about to do. Bounded.
pub async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    for _ in 0..6000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came about that {what}");
}

/// The SHA-256 of a client's certificate.
pub fn thumbprint(world: &World, name: &str) -> [u8; 32] {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let pem = std::fs::read(world.path(&format!("{name}.pem"))).unwrap();
    let leaf = CertificateDer::from_pem_slice(&pem).unwrap();
    sha256(&leaf)
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().try_into().unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The header and the claims, read without our own library.
pub fn read_token(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        serde_json::from_slice(&bytes).unwrap_or_default()
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

pub fn opens(purpose: &str) -> v1::OpenTaskRequest {
    v1::OpenTaskRequest {
        purpose: purpose.to_owned(),
        ..Default::default()
    }
}

pub fn closes(task: &v1::Task) -> v1::CloseTaskRequest {
    v1::CloseTaskRequest {
        task_id: task.id.clone(),
        ..Default::default()
    }
}

pub fn renews(lease: &v1::Lease) -> v1::RenewLeaseRequest {
    v1::RenewLeaseRequest {
        lease_id: lease.id.clone(),
        ..Default::default()
    }
}

pub fn returns(lease: &v1::Lease) -> v1::RevokeLeaseRequest {
    v1::RevokeLeaseRequest {
        lease_id: lease.id.clone(),
        ..Default::default()
    }
}

pub fn beats(task: &v1::Task) -> v1::HeartbeatRequest {
    v1::HeartbeatRequest {
        task_id: task.id.clone(),
    }
}

pub fn holds(task: &v1::Task) -> v1::HoldTaskRequest {
    v1::HoldTaskRequest {
        task_id: task.id.clone(),
    }
}

pub async fn open_with(
    client: &mut BrokerClient<Channel>,
    request: v1::OpenTaskRequest,
) -> v1::OpenTaskResponse {
    client.open_task(request).await.unwrap().into_inner()
}

/// A credential for one scope, asked for this many seconds.
pub async fn credential(
    client: &mut BrokerClient<Channel>,
    task: &v1::Task,
    scope: &str,
    ttl: i64,
) -> (v1::Lease, String) {
    let mut request = wants(task, &[scope]);
    request.ttl = seconds(ttl);
    let reply = client.request_credential(request).await.unwrap();
    let reply = reply.into_inner();
    (reply.lease.unwrap(), jwt(reply.credential))
}
