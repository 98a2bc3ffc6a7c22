//! Credentials at a real target: roles in a PostgreSQL database that is started for it. What the broker adds to the
//! same statements sent by hand, and what becomes of very many leases while the database is away.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use quietus_core::{LeaseId, Scope, TaskId, Timestamp};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::load::{Measured, Worker, progress, run_for};
use super::report::{Report, Target, Unit, median, quantile_of};
use super::world::{Serving, World};
use super::{Plan, echo, mint, world};
use crate::api::v1::broker_client::BrokerClient;
use crate::api::{v1, wire};
use crate::config::Settings;
use crate::dev::{DevPostgres, DevPostgresError, DevPostgresOptions};
use crate::issuers::postgres::PostgresIssuer;

const NAME: &str = "shop";
/// PostgreSQL keeps the rights on a table in one row, which some 2,400 roles fill.
const TABLES: u32 = 16;
/// How many calls to the database are made at once, by the broker and by hand.
const AT_ONCE: usize = 8;
/// How many credentials are asked for in one task.
const A_TASK: u32 = 20;
/// How many calls in flight mint elsewhere while the database is away.
const ELSEWHERE: usize = 16;
const RATIO: Target = Target::AtLeast(0.7);
const UNAFFECTED: Target = Target::AtMost(1.5);
const CAUGHT_UP: Target = Target::AtMost(60.0);
const NONE: Target = Target::AtMost(0.0);
/// How long to wait for what should take a minute.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(20);

pub(super) async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let about = format!(
        "a PostgreSQL role per lease, {AT_ONCE} at once, dropped, looked up and found absent; beside it the same statements by hand"
    );
    report.heading("issue", &about);
    let options = DevPostgresOptions {
        fsync: true,
        settings: vec![("max_connections".to_owned(), "64".to_owned())],
        ..DevPostgresOptions::default()
    };
    let mut database = match DevPostgres::launch(&options) {
        Ok(database) => database,
        Err(error @ DevPostgresError::NotInstalled) => {
            println!("left out: {error}");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let tables = (0..TABLES).map(|table| format!("CREATE TABLE public.orders_{table} (id int);"));
    database
        .run("postgres", &tables.collect::<String>())
        .await?;
    let world = World::new(&plan.dir)?;
    world.add_target(NAME, &target(&database))?;
    let serving = world.serve(echo::options()).await?;
    let channels = world.connect(&serving, "agent", plan.connections).await?;
    beside_hand(plan, report, &serving, &channels).await?;
    outage(plan, report, &serving, &channels, &mut database).await?;
    echo::stop(channels, serving).await
}

fn target(database: &DevPostgres) -> String {
    format!(
        "\n[[target]]\nname = \"{NAME}\"\nkind = \"postgres\"\nenvironment = \"dev\"\nsensitivity = 1\n\
         resource_servers = []\nconcurrency = {AT_ONCE}\n\n[target.postgres]\n{}",
        database.target_settings("postgres")
    )
}

/// Turn by turn.
async fn beside_hand(
    plan: &Plan,
    report: &mut Report,
    serving: &Serving,
    channels: &[Channel],
) -> anyhow::Result<()> {
    let issuer = Arc::new(issuer(serving)?);
    let (mut hands, mut brokers) = (Vec::new(), Vec::new());
    // The first round only warms up.
    for round in 0..=plan.rounds {
        let hand = run_for(plan.round, by_hand(&issuer, serving.engine.now())?).await?;
        let broker = run_for(plan.round, workers(channels, AT_ONCE)).await?;
        if round > 0 {
            hands.push(hand);
            brokers.push(broker);
        }
    }
    report.rounds("issue", "by hand", &hands);
    report.rounds("issue", "through the broker", &brokers);
    let ratio = median(
        brokers
            .iter()
            .zip(&hands)
            .map(|(broker, hand)| broker.per_second() / hand.per_second()),
    );
    report.check("issue", "broker / by hand", ratio, Unit::Ratio, RATIO);
    Ok(())
}

/// The issuer again, with connections of its own.
fn issuer(serving: &Serving) -> anyhow::Result<PostgresIssuer> {
    let engine = &serving.engine;
    let target = engine
        .config()
        .target(&NAME.parse()?)
        .context("no target")?;
    let Settings::Postgres(settings) = &target.settings else {
        anyhow::bail!("the target is of another kind");
    };
    PostgresIssuer::new(target, settings, engine.shared()).map_err(|error| anyhow!(error))
}

struct ByHand {
    issuer: Arc<PostgresIssuer>,
    scopes: Vec<Scope>,
    task: TaskId,
    number: u32,
    until: Timestamp,
}

fn by_hand(issuer: &Arc<PostgresIssuer>, now: Timestamp) -> anyhow::Result<Vec<ByHand>> {
    let worker = |worker| {
        Ok(ByHand {
            issuer: Arc::clone(issuer),
            scopes: vec![scope(worker).parse()?],
            task: TaskId(uuid::Uuid::parse_str(&world::unique_key()?)?),
            number: 0,
            until: now.after(Duration::from_secs(3600)),
        })
    };
    (0..AT_ONCE as u32).map(worker).collect()
}

impl Worker for ByHand {
    async fn call(&mut self) -> anyhow::Result<Duration> {
        self.number += 1;
        let lease = LeaseId {
            task: self.task,
            number: self.number,
        };
        let before = Instant::now();
        self.issuer.by_hand(lease, &self.scopes, self.until).await?;
        Ok(before.elapsed())
    }
}

/// An agent with one task after the other, each closed only when every role is confirmed gone.
struct Agent {
    client: BrokerClient<Channel>,
    scope: String,
    task: Option<(String, u32)>,
}

fn workers(channels: &[Channel], count: usize) -> Vec<Agent> {
    let channels = channels.iter().cycle().take(count);
    channels
        .zip(0..)
        .map(|(channel, number)| Agent {
            scope: scope(number),
            client: BrokerClient::new(channel.clone()),
            task: None,
        })
        .collect()
}

impl Worker for Agent {
    async fn call(&mut self) -> anyhow::Result<Duration> {
        let (task, asked) = match self.task.take() {
            Some(task) => task,
            None => (open(&mut self.client).await?, 0),
        };
        let before = Instant::now();
        request(&mut self.client, &task, &self.scope).await?;
        let took = before.elapsed();
        match asked + 1 {
            A_TASK => close(&mut self.client, task, true).await?,
            asked => self.task = Some((task, asked)),
        }
        Ok(took)
    }

    async fn finish(mut self) -> anyhow::Result<()> {
        match self.task.take() {
            Some((task, _)) => close(&mut self.client, task, true).await,
            None => Ok(()),
        }
    }
}

async fn open(client: &mut BrokerClient<Channel>) -> anyhow::Result<String> {
    let opened = client.open_task(v1::OpenTaskRequest::default()).await?;
    Ok(opened
        .into_inner()
        .task
        .context("no task in the answer")?
        .id)
}

fn scope(number: u32) -> String {
    format!("{NAME}:read:public.orders_{}", number % TABLES)
}

async fn request(
    client: &mut BrokerClient<Channel>,
    task: &str,
    scope: &str,
) -> anyhow::Result<()> {
    let request = v1::RequestCredentialRequest {
        task_id: task.to_owned(),
        scopes: vec![scope.to_owned()],
        ..Default::default()
    };
    client.request_credential(request).await?;
    Ok(())
}

async fn close(
    client: &mut BrokerClient<Channel>,
    task_id: String,
    wait: bool,
) -> anyhow::Result<()> {
    let seconds = if wait { 300 } else { 0 };
    let request = v1::CloseTaskRequest {
        task_id,
        wait: Some(wire::Duration { seconds, nanos: 0 }),
        ..Default::default()
    };
    let closed = client.close_task(request).await?.into_inner();
    let complete = closed.receipt.is_some_and(|receipt| receipt.complete);
    ensure!(complete || !wait, "a role was not confirmed gone");
    Ok(())
}

/// All roles are to go while the database is away.
async fn outage(
    plan: &Plan,
    report: &mut Report,
    serving: &Serving,
    channels: &[Channel],
    database: &mut DevPostgres,
) -> anyhow::Result<()> {
    let tasks = fill(plan.roles, channels).await?;
    let mint = || mint::workers(channels, ELSEWHERE, false);
    let calm = run_for(plan.round, mint()).await?;
    database.kill();
    end_all(channels, tasks).await?;
    let meanwhile = run_for(plan.outage, mint()).await?;
    let waiting = serving.engine.store().header().revoking_leases;
    ensure!(
        waiting >= u64::from(plan.roles),
        "only {waiting} of {} leases wait for the database",
        plan.roles
    );
    database.start()?;
    let back = Instant::now();
    let took = caught_up(serving, back).await?;
    told(report, plan, &calm, &meanwhile, took);
    let count = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'quietus%'";
    let roles = database.run("postgres", count).await?;
    let left = roles.first().context("no count")?.parse()?;
    report.check("issue", "roles left", left, Unit::Count, NONE);
    Ok(())
}

fn told(report: &mut Report, plan: &Plan, calm: &Measured, meanwhile: &Measured, took: Duration) {
    let (before, after) = (
        quantile_of(std::slice::from_ref(calm), 0.99),
        quantile_of(std::slice::from_ref(meanwhile), 0.99),
    );
    report.note(
        "issue",
        "leases that ended in the outage",
        f64::from(plan.roles),
        Unit::Count,
    );
    report.note(
        "issue",
        "mint elsewhere before, p99",
        before,
        Unit::Milliseconds,
    );
    report.note(
        "issue",
        "mint elsewhere meanwhile, p99",
        after,
        Unit::Milliseconds,
    );
    report.check(
        "issue",
        "p99 meanwhile / before",
        after / before,
        Unit::Ratio,
        UNAFFECTED,
    );
    report.check(
        "issue",
        "all revoked within",
        took.as_secs_f64(),
        Unit::Seconds,
        CAUGHT_UP,
    );
}

/// Roles in tasks of so many each.
async fn fill(roles: u32, channels: &[Channel]) -> anyhow::Result<Vec<String>> {
    let bar = progress(u64::from(roles), "making roles");
    let left = Arc::new(AtomicU32::new(roles.div_ceil(A_TASK)));
    let mut running = JoinSet::new();
    for channel in channels.iter().cycle().take(AT_ONCE) {
        let (left, bar) = (Arc::clone(&left), bar.clone());
        let mut client = BrokerClient::new(channel.clone());
        running.spawn(async move {
            let mut tasks = Vec::new();
            while world::take(&left) {
                let task = open(&mut client).await?;
                for number in 0..A_TASK {
                    let table = number + A_TASK * tasks.len() as u32;
                    request(&mut client, &task, &scope(table)).await?;
                    bar.inc(1);
                }
                tasks.push(task);
            }
            anyhow::Ok(tasks)
        });
    }
    let mut tasks = Vec::new();
    while let Some(done) = running.join_next().await {
        tasks.extend(done.context("a worker died")??);
    }
    bar.finish_and_clear();
    Ok(tasks)
}

async fn end_all(channels: &[Channel], tasks: Vec<String>) -> anyhow::Result<()> {
    let channel = channels.first().context("no connection")?;
    let mut client = BrokerClient::new(channel.clone());
    for task in tasks {
        close(&mut client, task, false).await?;
    }
    Ok(())
}

async fn caught_up(serving: &Serving, since: Instant) -> anyhow::Result<Duration> {
    while serving.engine.store().header().revoking_leases > 0 {
        ensure!(since.elapsed() < PATIENCE, "leases were abandoned");
        tokio::time::sleep(LOOK).await;
    }
    Ok(since.elapsed())
}
