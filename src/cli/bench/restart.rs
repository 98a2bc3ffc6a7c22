//! A restart with very many live leases, in a process of its own so that its memory can be told.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::Channel;

use super::introspect::is_active;
use super::load::run_for;
use super::report::{Report, Target, Unit, quantile_of};
use super::world::{self, Fill, Filler, Life, World};
use super::{Plan, mint};
use crate::api::v1::verification_client::VerificationClient;
use crate::broker::{Broker, Options};
use crate::clock::SystemTime;

const A_TASK: u32 = 10;
const LIFE: Duration = Duration::from_secs(12 * 3600);
const START: Target = Target::AtMost(2.0);
const MEMORY: Target = Target::AtMost(400.0);
/// How many live leases are looked at after a restart.
const SAMPLES: u32 = 100;

pub(super) async fn measure(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let shape = format!(
        "{} live leases, {A_TASK} in each of {} open tasks; from exec to the first answer",
        plan.leases,
        plan.leases.div_ceil(A_TASK)
    );
    report.heading("restart", &shape);
    let world = World::new(&plan.dir)?;
    let tokens = fill(plan, &world, report).await?;
    let clean = Restarted::start(&world.folder, &tokens).await?;
    clean.told(report, "clean");
    clean.dirty(plan, &world.folder, report).await?;
    let killed = Restarted::start(&world.folder, &tokens).await?;
    killed.told(report, "killed");
    killed.stop().await
}

/// Serves until standard input ends.
pub(super) async fn child(folder: &Path) -> anyhow::Result<()> {
    let config = world::config(folder)?;
    let broker = Broker::start(config, Arc::new(SystemTime), Options::default()).await?;
    println!("{}", broker.local_addr()?);
    Ok(broker.run(end_of_input()).await?)
}

async fn end_of_input() {
    let wait = || std::io::stdin().read_to_end(&mut Vec::new());
    let _ = tokio::task::spawn_blocking(wait).await;
}

async fn fill(plan: &Plan, world: &World, report: &mut Report) -> anyhow::Result<Vec<String>> {
    let serving = world.serve(Options::default()).await?;
    let fill = Fill {
        leases: plan.leases,
        a_task: A_TASK,
        life: Life::For(LIFE),
        keep_each: (plan.leases / SAMPLES).max(1),
    };
    let begun = Instant::now();
    let tokens = Filler::new(world, &serving)?.fill(fill).await?;
    let rate = f64::from(plan.leases) / begun.elapsed().as_secs_f64();
    report.note("restart", "issued in process", rate, Unit::PerSecond);
    let bytes = serving.engine.store().bytes_on_disk() as f64 / f64::from(plan.leases);
    report.note("restart", "on disk a lease", bytes, Unit::Bytes);
    serving.stop().await?;
    Ok(tokens)
}

/// A broker in a process of its own.
struct Restarted {
    process: Child,
    address: String,
    took: Duration,
    memory: Memory,
}

/// Resident memory, in MiB.
struct Memory {
    now: f64,
    peak: f64,
}

impl Restarted {
    async fn start(folder: &Path, tokens: &[String]) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let mut process = spawn(folder)?;
        let address = address(&mut process).await?;
        let client = world::client(folder, &address, "resource-server")?;
        let mut client = VerificationClient::new(client.connect().await?);
        let token = tokens.first().context("no token was kept")?;
        ensure!(
            is_active(&mut client, token.clone()).await?,
            "a live lease was lost"
        );
        let took = begun.elapsed();
        for token in tokens {
            ensure!(
                is_active(&mut client, token.clone()).await?,
                "a live lease was lost"
            );
        }
        let memory = Memory::of(&process)?;
        Ok(Self {
            process,
            address,
            took,
            memory,
        })
    }

    fn told(&self, report: &mut Report, how: &str) {
        report.check(
            "restart",
            &format!("{how}: first answer after"),
            self.took.as_secs_f64(),
            Unit::Seconds,
            START,
        );
        let Memory { now, peak } = self.memory;
        for (name, value) in [("resident", now), ("resident at most", peak)] {
            let name = format!("{how}: {name}");
            report.check("restart", &name, value, Unit::Mebibytes, MEMORY);
        }
    }

    /// Has it work, and kills it in the middle of that.
    async fn dirty(
        mut self,
        plan: &Plan,
        folder: &Path,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let agent = world::client(folder, &self.address, "agent")?;
        let channels: Vec<Channel> = vec![agent.connect().await?];
        let workers = || mint::workers(&channels, plan.in_flight, true);
        let full = run_for(plan.round, workers()).await?;
        report.note(
            "restart",
            "mint on the full store",
            full.per_second(),
            Unit::PerSecond,
        );
        let p99 = quantile_of(&[full], 0.99);
        report.note(
            "restart",
            "mint on the full store p99",
            p99,
            Unit::Milliseconds,
        );
        let working = tokio::spawn(run_for(Duration::from_secs(3600), workers()));
        tokio::time::sleep(plan.round / 4).await;
        self.process.kill().await?;
        // The calls that were under way have failed, as they should.
        ensure!(
            working.await?.is_err(),
            "a broker that was killed went on answering"
        );
        Ok(())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        let status = self.process.wait().await?;
        ensure!(status.success(), "the broker stopped with {status}");
        Ok(())
    }
}

impl Memory {
    fn of(process: &Child) -> anyhow::Result<Self> {
        let id = process.id().context("the broker is gone")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kibibytes
                .map(|kibibytes: f64| kibibytes / 1024.0)
                .with_context(|| format!("no {name} in the process status"))
        };
        Ok(Self {
            now: field("VmRSS:")?,
            peak: field("VmHWM:")?,
        })
    }
}

fn spawn(folder: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe()?;
    Command::new(program)
        .args(["bench", "--restart-child"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a broker")
}

async fn address(process: &mut Child) -> anyhow::Result<String> {
    let stdout = process.stdout.take().context("no standard output")?;
    let line = BufReader::new(stdout).lines().next_line().await?;
    line.context("the broker did not start")
}
