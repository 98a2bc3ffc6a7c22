//! Bare calls, as large as a request for a credential: the limit of the transport.

use std::time::{Duration, Instant};

use tonic::transport::Channel;

use super::Plan;
use super::load::{Measured, Worker, run_for};
use super::mint::request;
use super::report::Report;
use super::world::{Serving, World};
use crate::api::bench::EchoRequest;
use crate::api::bench::echo_client::EchoClient;
use crate::broker::Options;

pub(super) async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    report.heading(
        "echo",
        "a bare unary call over the same mTLS connections, as large as a credential request",
    );
    let world = World::new(&plan.dir)?;
    let serving = world.serve(options()).await?;
    let channels = world.connect(&serving, "agent", plan.connections).await?;
    rounds(plan, &channels).await?;
    let mut measured = Vec::new();
    for _ in 0..plan.rounds {
        measured.push(rounds(plan, &channels).await?);
    }
    report.rounds("echo", "echo", &measured);
    let alone = run_for(plan.round, workers(&channels, 1)).await?;
    report.rounds("echo", "echo alone", &[alone]);
    stop(channels, serving).await
}

/// One round.
pub(super) async fn rounds(plan: &Plan, channels: &[Channel]) -> anyhow::Result<Measured> {
    run_for(plan.round, workers(channels, plan.in_flight)).await
}

/// A broker that echoes as well.
pub(super) fn options() -> Options {
    Options {
        echo: true,
        ..Options::default()
    }
}

pub(super) async fn stop(channels: Vec<Channel>, serving: Serving) -> anyhow::Result<()> {
    drop(channels);
    serving.stop().await
}

struct Echo {
    client: EchoClient<Channel>,
    payload: Vec<u8>,
}

impl Worker for Echo {
    async fn call(&mut self) -> anyhow::Result<Duration> {
        let request = EchoRequest {
            payload: self.payload.clone(),
        };
        let before = Instant::now();
        self.client.echo(request).await?;
        Ok(before.elapsed())
    }
}

fn workers(channels: &[Channel], count: usize) -> Vec<Echo> {
    let sample = request("00000000-0000-7000-8000-000000000000", "0123456789abcdef");
    let payload = crate::api::body(&sample);
    let worker = |channel: &Channel| Echo {
        client: EchoClient::new(channel.clone()),
        payload: payload.clone(),
    };
    channels.iter().cycle().take(count).map(worker).collect()
}
