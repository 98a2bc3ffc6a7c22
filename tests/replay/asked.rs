//! A broker that was asked for much, by two agents, while its policies changed.

use std::num::NonZeroU32;
use std::time::Duration;

use quietus::api::v1;
use quietus::api::v1::audit_client::AuditClient;
use quietus::api::v1::broker_client::BrokerClient;
use quietus::api::v1::operator_client::OperatorClient;
use quietus::api::wire;
use quietus::audit::{Log, Remote};
use quietus::broker::Options;
use tonic::transport::Channel;

use crate::common::*;
use crate::rng::Rng;

/// The shipped policies, and others that decide by every fact that time and the task change.
pub const POLICIES: [&str; 3] = [
    r#"
    @id("data") permit (principal in Team::"data", action, resource in Target::"orders-db")
    when { context.ttl <= 300 && context.task.leases < 3 };
    @id("morning") permit (principal, action == Action::"read", resource) when { context.time.hour < 12 };
    @id("ask") @approval("owners") forbid (principal, action in [Action::"delete", Action::"export"], resource)
    unless { context.approved };
    "#,
    r#"
    @id("young") permit (principal, action, resource) when { context.task.age < 100 };
    @id("never") forbid (principal, action == Action::"admin", resource) unless { principal.tier < 1 };
    "#,
    "",
];
const SCOPES: [&str; 7] = [
    READ,
    "orders-db:read:public.customers",
    "orders-db:write:public.orders",
    "orders-db:delete:public.orders",
    "orders-db:export:public.orders",
    "orders-db:admin:public.orders",
    "orders-db:execute:public.refresh",
];

pub struct Asked {
    pub world: World,
    pub serving: Serving,
    agents: [BrokerClient<Channel>; 2],
    operator: OperatorClient<Channel>,
    audit: AuditClient<Channel>,
    tasks: Vec<(usize, String)>,
    leases: Vec<(usize, String)>,
}

impl Asked {
    pub async fn new() -> Self {
        let world = World::new();
        let mut config = world.config();
        let many = NonZeroU32::new(1_000_000).unwrap();
        config.limits.requests_per_second = many;
        config.limits.request_burst = many;
        let serving = world.serve_with(config, Options::default()).await.unwrap();
        let operator = world.connect(&serving, "operator").await;
        Self {
            agents: [
                world.broker(&serving, "agent").await,
                world.broker(&serving, "reader").await,
            ],
            audit: AuditClient::new(operator.clone()),
            operator: OperatorClient::new(operator),
            tasks: Vec::new(),
            leases: Vec::new(),
            serving,
            world,
        }
    }

    pub fn log(&self) -> Log {
        Log::Broker(Box::new(Remote::new(self.audit.clone())))
    }

    pub fn size(&self) -> u64 {
        self.serving.engine.store().header().seq
    }

    /// Does one thing or another. Refusals are as good as grants.
    pub async fn round(&mut self, rng: &mut Rng) {
        match rng.below(20) {
            _ if self.tasks.is_empty() || rng.one_in(20) => self.open(rng.below(2)).await,
            0..=1 => self.reload(rng).await,
            2 => self.pass(rng).await,
            3 => self.close(rng).await,
            4..=7 => self.renew(rng).await,
            _ => self.request(rng).await,
        }
    }

    /// As one of two agents.
    pub async fn open(&mut self, agent: usize) {
        let request = v1::OpenTaskRequest {
            purpose: "a test".to_owned(),
            ..Default::default()
        };
        let opened = self.agents[agent].open_task(request).await.unwrap();
        let id = opened.into_inner().task.unwrap().id;
        self.tasks.push((agent, id));
    }

    async fn request(&mut self, rng: &mut Rng) {
        let (agent, task) = rng.pick(&self.tasks).clone();
        let start = rng.below(SCOPES.len());
        let scopes = SCOPES[start..].iter().take(1 + rng.below(3));
        let scopes: Vec<&str> = scopes.copied().collect();
        self.ask(agent, &task, &scopes, ttl(rng)).await;
    }

    pub async fn ask(&mut self, agent: usize, task: &str, scopes: &[&str], ttl: i64) {
        let request = v1::RequestCredentialRequest {
            task_id: task.to_owned(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            ttl: seconds(ttl),
            ..Default::default()
        };
        if let Ok(answer) = self.agents[agent].request_credential(request).await {
            let lease = answer.into_inner().lease.unwrap();
            self.leases.push((agent, lease.id));
        }
    }

    pub fn task(&self) -> (usize, String) {
        self.tasks[0].clone()
    }

    async fn renew(&mut self, rng: &mut Rng) {
        if self.leases.is_empty() {
            return;
        }
        let (agent, lease_id) = rng.pick(&self.leases).clone();
        let request = v1::RenewLeaseRequest {
            lease_id,
            ttl: seconds(ttl(rng)),
            ..Default::default()
        };
        let _ = self.agents[agent].renew_lease(request).await;
    }

    async fn reload(&mut self, rng: &mut Rng) {
        self.adopt(POLICIES[rng.below(POLICIES.len())]).await;
    }

    pub async fn adopt(&mut self, policies: &str) {
        self.world.replace("policies/more.cedar", policies);
        let request = v1::ReloadPolicyRequest {};
        self.operator.reload_policy(request).await.unwrap();
    }

    async fn pass(&mut self, rng: &mut Rng) {
        let seconds = [1, 60, 400, 4_000][rng.below(4)];
        self.world.time.advance(Duration::from_secs(seconds));
        self.serving.engine.run_due().await.unwrap();
    }

    async fn close(&mut self, rng: &mut Rng) {
        let (agent, task_id) = self.tasks.swap_remove(rng.below(self.tasks.len()));
        let request = v1::CloseTaskRequest {
            task_id,
            ..Default::default()
        };
        let _ = self.agents[agent].close_task(request).await;
    }
}

fn ttl(rng: &mut Rng) -> i64 {
    [10, 120, 299, 301, 3_000][rng.below(5)]
}

fn seconds(seconds: i64) -> Option<wire::Duration> {
    Some(wire::Duration { seconds, nanos: 0 })
}
