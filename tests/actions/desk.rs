//! A broker with a task, a lease in it, and everybody who might report on it.

use quietus::api::v1;
use quietus::api::v1::audit_client::AuditClient;
use quietus::api::v1::broker_client::BrokerClient;
use quietus::config::Config;
use quietus_ledger::Entry;
use tonic::Request;
use tonic::transport::Channel;

use crate::common::*;
use crate::help::*;

pub const RESOURCE_SERVER: &str = "spiffe://dev.example/rs/orders";
/// The trace and the span of [`PARENT`].
pub const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub const SPAN: &str = "00f067aa0ba902b7";
pub const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub struct Desk {
    pub stage: Stage,
    pub task: v1::Task,
    pub lease: v1::Lease,
    /// The resource server of the lease's target, at the agents' service.
    pub server: BrokerClient<Channel>,
    /// The resource server of another target.
    pub stranger: BrokerClient<Channel>,
    pub audit: AuditClient<Channel>,
}

impl Desk {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::new();
        let config = std::fs::read_to_string(world.path("quietus.toml")).unwrap();
        let strangers = r#"resource_servers = ["spiffe://dev.example/rs/payments"]"#;
        world.replace(
            "quietus.toml",
            &config.replace("resource_servers = []", strangers),
        );
        let mut stage = Stage::on(world, change).await;
        let task = open(&mut stage.agent).await;
        let (lease, _) = request(&mut stage.agent, &task).await;
        let hour = std::time::Duration::from_secs(3_600);
        Self {
            server: stage.world.broker(&stage.serving, "resource-server").await,
            stranger: stage.agent_named("payments", "/rs/payments", hour).await,
            audit: AuditClient::new(stage.world.connect(&stage.serving, "operator").await),
            stage,
            task,
            lease,
        }
    }

    /// A report that is as good as any.
    pub fn report(&self) -> v1::RecordActionRequest {
        v1::RecordActionRequest {
            task_id: self.task.id.clone(),
            lease_id: self.lease.id.clone(),
            tool: "psql".to_owned(),
            resource: "public.orders".to_owned(),
            result: v1::ActionResult::Succeeded.into(),
            ..Default::default()
        }
    }

    pub fn report_with(&self, text: &str) -> v1::RecordActionRequest {
        v1::RecordActionRequest {
            text: text.to_owned(),
            ..self.report()
        }
    }

    /// Reports it as the agent; the commitment.
    pub async fn record(&mut self, report: v1::RecordActionRequest) -> String {
        record(&mut self.stage.agent, report).await
    }

    pub async fn text(&mut self, commitment: &str) -> Result<v1::GetTextResponse, tonic::Status> {
        let commitment = commitment.to_owned();
        let answer = self.audit.get_text(v1::GetTextRequest { commitment }).await;
        answer.map(tonic::Response::into_inner)
    }

    /// The entries after this one.
    pub fn since(&self, seq: u64) -> Vec<Entry> {
        let entries = self.stage.since(seq).into_iter();
        entries.map(|sealed| sealed.entry).collect()
    }

    /// Every byte of the ledger.
    pub fn ledger_bytes(&self) -> Vec<u8> {
        let store = self.stage.serving.engine.store();
        store.read().entries(1, usize::MAX).unwrap().concat()
    }
}

pub async fn record(client: &mut BrokerClient<Channel>, report: v1::RecordActionRequest) -> String {
    let answer = client.record_action(report).await.unwrap();
    answer.into_inner().commitment
}

pub fn erases(of: v1::erase_text_request::Of) -> v1::EraseTextRequest {
    v1::EraseTextRequest {
        of: Some(of),
        reason: "request 17".to_owned(),
    }
}

/// The same call as a part of a trace.
pub fn within<T>(traceparent: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = traceparent.parse().unwrap();
    request.metadata_mut().insert("traceparent", value);
    request
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|it| it == needle)
}
