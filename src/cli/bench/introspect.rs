//! Introspection of live tokens: of those the broker has just made, and of those it knows nothing of but its keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use tonic::transport::Channel;

use super::load::{Worker, run_for, run_while};
use super::report::{Report, Target, Unit, median};
use super::world::{Filler, World};
use super::{Plan, echo};
use crate::api::v1;
use crate::api::v1::verification_client::VerificationClient;

const A_TASK: u32 = 50;
const RATIO: Target = Target::AtLeast(0.75);
const LIFE: Duration = Duration::from_secs(3600);

pub(super) async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    report.heading(
        "introspect",
        "Introspect of live tokens, warm; then each once after a restart",
    );
    let world = World::new(&plan.dir)?;
    let serving = world.serve(echo::options()).await?;
    let filler = Filler::new(&world, &serving)?;
    let warm: Arc<[String]> = filler.tokens(plan.warm_tokens, A_TASK, LIFE).await?.into();
    let cold: Arc<[String]> = filler.tokens(plan.cold_tokens, A_TASK, LIFE).await?.into();
    drop(filler);
    let agents = world.connect(&serving, "agent", plan.connections).await?;
    let servers = world
        .connect(&serving, "resource-server", plan.connections)
        .await?;
    let (mut echoes, mut asked) = (Vec::new(), Vec::new());
    for round in 0..=plan.rounds {
        let echo = echo::rounds(plan, &agents).await?;
        let ask = run_for(plan.round, workers(&servers, plan.in_flight, &warm)).await?;
        if round > 0 {
            echoes.push(echo);
            asked.push(ask);
        }
    }
    report.rounds("introspect", "echo", &echoes);
    report.rounds("introspect", "introspect", &asked);
    let ratios = asked.iter().zip(&echoes);
    let ratio = median(ratios.map(|(ask, echo)| ask.per_second() / echo.per_second()));
    report.check("introspect", "introspect / echo", ratio, Unit::Ratio, RATIO);
    drop(agents);
    echo::stop(servers, serving).await?;
    measure_cold(plan, report, &world, cold).await
}

async fn measure_cold(
    plan: &Plan,
    report: &mut Report,
    world: &World,
    tokens: Arc<[String]>,
) -> anyhow::Result<()> {
    let serving = world.serve(echo::options()).await?;
    let servers = world
        .connect(&serving, "resource-server", plan.connections)
        .await?;
    let workers = workers(&servers, plan.in_flight, &tokens);
    let next = workers.first().map(|worker| Arc::clone(&worker.next));
    let next = next.unwrap_or_default();
    let count = tokens.len();
    let measured = run_while(workers, move || next.load(Ordering::Relaxed) < count).await?;
    report.rounds("introspect", "introspect cold", &[measured]);
    echo::stop(servers, serving).await
}

struct Ask {
    client: VerificationClient<Channel>,
    tokens: Arc<[String]>,
    next: Arc<AtomicUsize>,
}

impl Worker for Ask {
    async fn call(&mut self) -> anyhow::Result<Duration> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.tokens.len();
        let token = self.tokens[at].clone();
        let before = Instant::now();
        let active = is_active(&mut self.client, token).await?;
        let took = before.elapsed();
        ensure!(active, "a live token is not active");
        Ok(took)
    }
}

/// Whether the broker honours a token.
pub(super) async fn is_active(
    client: &mut VerificationClient<Channel>,
    token: String,
) -> anyhow::Result<bool> {
    let request = v1::IntrospectRequest {
        token,
        ..Default::default()
    };
    Ok(client.introspect(request).await?.into_inner().active)
}

fn workers(channels: &[Channel], count: usize, tokens: &Arc<[String]>) -> Vec<Ask> {
    let next = Arc::new(AtomicUsize::new(0));
    let worker = |channel: &Channel| Ask {
        client: VerificationClient::new(channel.clone()),
        tokens: Arc::clone(tokens),
        next: Arc::clone(&next),
    };
    channels.iter().cycle().take(count).map(worker).collect()
}
