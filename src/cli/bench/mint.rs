//! Durable credentials, asked for as agents do: open a task, ask for some, close it.

use std::time::{Duration, Instant};

use anyhow::Context;
use tonic::transport::Channel;

use super::Plan;
use super::load::{Measured, Worker, run_for};
use super::report::{Report, Target, Unit, median, quantile_of};
use super::world::{SCOPE, World};
use super::{echo, world};
use crate::api::v1;
use crate::api::v1::broker_client::BrokerClient;

/// How many credentials an agent asks for in one task.
const A_TASK: u32 = 50;
/// How many a second, beside the echo of the same round.
const RATIO: Target = Target::AtLeast(0.30);
const P99: Target = Target::AtMost(15.0);

pub(super) async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    report.heading(
        "mint",
        "RequestCredential, durable; each worker opens a task, asks for 50 credentials and closes it",
    );
    let world = World::new(&plan.dir)?;
    let serving = world.serve(echo::options()).await?;
    let channels = world.connect(&serving, "agent", plan.connections).await?;
    let (mut echoes, mut plain, mut keyed) = (Vec::new(), Vec::new(), Vec::new());
    // The first round only warms up.
    for round in 0..=plan.rounds {
        let echo = echo::rounds(plan, &channels).await?;
        let mint = run_for(plan.round, workers(&channels, plan.in_flight, false)).await?;
        let once = run_for(plan.round, workers(&channels, plan.in_flight, true)).await?;
        if round > 0 {
            echoes.push(echo);
            plain.push(mint);
            keyed.push(once);
        }
    }
    report.rounds("mint", "echo", &echoes);
    told(report, "mint", &echoes, &plain);
    told(report, "mint with key", &echoes, &keyed);
    let alone = run_for(plan.round, workers(&channels, 1, true)).await?;
    report.rounds("mint", "mint alone", &[alone]);
    echo::stop(channels, serving).await
}

/// Workers on tasks of their own.
pub(super) fn workers(channels: &[Channel], count: usize, keyed: bool) -> Vec<Mint> {
    let channels = channels.iter().cycle().take(count);
    channels.map(|channel| Mint::new(channel, keyed)).collect()
}

/// What an agent sends for a credential.
pub(super) fn request(task: &str, key: &str) -> v1::RequestCredentialRequest {
    v1::RequestCredentialRequest {
        key: None,
        idempotency_key: key.to_owned(),
        task_id: task.to_owned(),
        scopes: vec![SCOPE.to_owned()],
        ttl: None,
    }
}

fn told(report: &mut Report, name: &str, echoes: &[Measured], mints: &[Measured]) {
    report.rounds("mint", name, mints);
    let ratios = mints
        .iter()
        .zip(echoes)
        .map(|(mint, echo)| mint.per_second() / echo.per_second());
    let ratio = median(ratios);
    report.check("mint", &format!("{name} / echo"), ratio, Unit::Ratio, RATIO);
    let p99 = quantile_of(mints, 0.99);
    report.check(
        "mint",
        &format!("{name} p99 of 15"),
        p99,
        Unit::Milliseconds,
        P99,
    );
}

pub(super) struct Mint {
    client: BrokerClient<Channel>,
    keyed: bool,
    task: Option<(String, u32)>,
}

impl Mint {
    fn new(channel: &Channel, keyed: bool) -> Self {
        Self {
            client: BrokerClient::new(channel.clone()),
            keyed,
            task: None,
        }
    }

    /// The task to ask in, and how often it was asked in.
    async fn task(&mut self) -> anyhow::Result<(String, u32)> {
        match self.task.take() {
            Some((task, asked)) if asked < A_TASK => Ok((task, asked)),
            Some((task, _)) => {
                self.close(task).await?;
                self.open().await
            }
            None => self.open().await,
        }
    }

    async fn open(&mut self) -> anyhow::Result<(String, u32)> {
        let request = v1::OpenTaskRequest {
            purpose: "reconcile the orders of yesterday with what the warehouse shipped".to_owned(),
            ticket: "OPS-4711".to_owned(),
            ..Default::default()
        };
        let opened = self.client.open_task(request).await?.into_inner();
        Ok((opened.task.context("no task in the answer")?.id, 0))
    }

    async fn close(&mut self, task_id: String) -> anyhow::Result<()> {
        let request = v1::CloseTaskRequest {
            task_id,
            ..Default::default()
        };
        self.client.close_task(request).await?;
        Ok(())
    }
}

impl Worker for Mint {
    async fn call(&mut self) -> anyhow::Result<Duration> {
        let (task, asked) = self.task().await?;
        let key = match self.keyed {
            true => world::unique_key()?,
            false => String::new(),
        };
        let request = request(&task, &key);
        let before = Instant::now();
        self.client.request_credential(request).await?;
        let took = before.elapsed();
        self.task = Some((task, asked + 1));
        Ok(took)
    }

    async fn finish(mut self) -> anyhow::Result<()> {
        match self.task.take() {
            Some((task, _)) => self.close(task).await,
            None => Ok(()),
        }
    }
}
