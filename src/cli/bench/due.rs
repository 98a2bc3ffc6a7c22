//! Very many leases that all expire in the same second, while others go on asking for credentials.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use quietus_core::Timestamp;
use tonic::transport::Channel;

use super::introspect::is_active;
use super::load::run_while;
use super::report::{Report, Target, Unit, quantile_of};
use super::world::{Fill, Filler, Life, Serving, World};
use super::{Plan, echo, mint};
use crate::api::v1::verification_client::VerificationClient;
use crate::engine::Engine;

/// How many leases a task has.
const A_TASK: u32 = 10;
/// When they expire: longer than it takes to issue them all.
const AHEAD: Duration = Duration::from_secs(1800);
const HONOURED: Target = Target::AtMost(0.0);
const RECORDED: Target = Target::AtMost(5.0);
const P99: Target = Target::AtMost(50.0);
/// How long to wait for what should take five seconds.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let shape = format!(
        "{} leases, {A_TASK} in each of {} open tasks, all expire in the same second; {} calls in flight mint meanwhile",
        plan.due,
        plan.due.div_ceil(A_TASK),
        plan.in_flight
    );
    report.heading("due", &shape);
    let world = World::new(&plan.dir)?;
    let serving = world.serve(echo::options()).await?;
    let (end, tokens) = fill(plan, &world, &serving).await?;
    let agents = world.connect(&serving, "agent", plan.connections).await?;
    let servers = world.connect(&serving, "resource-server", 1).await?;
    let recorded = Arc::new(AtomicBool::new(false));
    let go_on = {
        let recorded = Arc::clone(&recorded);
        move || !recorded.load(Ordering::Relaxed)
    };

    let minting = tokio::spawn(run_while(
        mint::workers(&agents, plan.in_flight, false),
        go_on,
    ));
    tokio::time::sleep(plan.round / 4).await;
    world.time.forward(end.since(serving.engine.now()));
    let struck = Instant::now();
    let honoured = tokio::spawn(count_honoured(servers, tokens));
    let took = wait_for_endings(&serving.engine, end, struck).await;
    recorded.store(true, Ordering::Relaxed);
    let minted = minting.await??;

    report.check(
        "due",
        "tokens honoured afterwards",
        honoured.await?? as f64,
        Unit::Count,
        HONOURED,
    );
    report.check(
        "due",
        "all endings recorded within",
        took?.as_secs_f64(),
        Unit::Seconds,
        RECORDED,
    );
    let p99 = quantile_of(std::slice::from_ref(&minted), 0.99);
    report.rounds("due", "mint meanwhile", &[minted]);
    report.check(
        "due",
        "mint meanwhile p99 of 50",
        p99,
        Unit::Milliseconds,
        P99,
    );
    check_all_ended(&serving.engine, end, plan.due)?;
    echo::stop(agents, serving).await
}

async fn fill(
    plan: &Plan,
    world: &World,
    serving: &Serving,
) -> anyhow::Result<(Timestamp, Vec<String>)> {
    let end = serving.engine.now().after(AHEAD);
    let fill = Fill {
        leases: plan.due,
        a_task: A_TASK,
        life: Life::Until(end),
        keep_each: (plan.due / 1_000).max(1),
    };
    let tokens = Filler::new(world, serving)?.fill(fill).await?;
    Ok((end, tokens))
}

async fn count_honoured(servers: Vec<Channel>, tokens: Vec<String>) -> anyhow::Result<usize> {
    let mut honoured = 0;
    for channel in servers {
        let mut client = VerificationClient::new(channel);
        for token in &tokens {
            honoured += usize::from(is_active(&mut client, token.clone()).await?);
        }
    }
    Ok(honoured)
}

async fn wait_for_endings(
    engine: &Engine,
    end: Timestamp,
    struck: Instant,
) -> anyhow::Result<Duration> {
    while !engine.store().read().due(end, None, 1)?.is_empty() {
        ensure!(
            struck.elapsed() < PATIENCE,
            "the endings were never recorded"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(struck.elapsed())
}

/// Every one of them, and nothing else, is recorded as ended.
fn check_all_ended(engine: &Engine, end: Timestamp, expected: u32) -> anyhow::Result<()> {
    let snapshot = engine.store().read();
    let second = end.seconds();
    let (mut ended, mut after) = (0, None);
    loop {
        let page = snapshot.leases(after, 4096)?;
        let due = page
            .rows
            .iter()
            .filter(|lease| lease.expires_at.seconds() == second);
        for lease in due {
            ensure!(!lease.is_live(), "lease {} was not ended", lease.id);
            ended += 1;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    ensure!(
        ended >= expected,
        "only {ended} of {expected} leases fell due in that second"
    );
    Ok(())
}
