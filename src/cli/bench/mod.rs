//! `quietus bench`: what this machine and its disk can do, measured on a real broker.
//!
//! Everything is real: a broker on a loopback socket with mTLS, a store on disk, policies in force. Rates drift with
//! the machine and with its neighbours, so what counts is the ratio to an echo over the same connections, measured
//! in turns with it.

mod due;
mod echo;
mod fsync;
mod introspect;
#[cfg(feature = "postgres")]
mod issue;
mod ledger;
mod load;
mod mint;
mod replay;
mod report;
mod restart;
mod verify;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum, value_parser};

use report::Report;

/// Measures this machine: credentials, introspection, mass expiry, restarts, targets and the ledger, beside a bare echo
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  quietus bench
  quietus bench ledger
  quietus bench --only mint,introspect --seconds 10 --json figures.json
  quietus bench --only restart --leases 1000000 --dir /var/lib")]
pub struct BenchArgs {
    /// The folder to work in, on the disk to measure. What is written there is removed again.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    pub dir: PathBuf,
    /// Only these measurements.
    #[arg(value_name = "NAME")]
    pub names: Vec<Scenario>,
    /// Only these measurements, in one word.
    #[arg(
        long,
        value_name = "NAME,…",
        value_delimiter = ',',
        conflicts_with = "names"
    )]
    pub only: Vec<Scenario>,
    /// How long one round of a measurement takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How many rounds of each; the median is what counts.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=99))]
    pub rounds: u32,
    /// How many calls are under way at once.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u32).range(1..=4096))]
    pub in_flight: u32,
    /// How many connections they share.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=64))]
    pub connections: u32,
    /// How many live leases to restart with.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(10..))]
    pub leases: u32,
    /// How many leases fall due in the same second.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = value_parser!(u32).range(10..))]
    pub due: u32,
    /// How many roles there are when their database goes away.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = value_parser!(u32).range(10..))]
    pub roles: u32,
    /// For how long it is away.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = value_parser!(u64).range(1..=3600))]
    pub outage: u64,
    /// How many entries the ledger has that proofs are made in.
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = value_parser!(u64).range(1_000..))]
    pub entries: u64,
    /// A short run that shows that everything works. Its figures mean nothing.
    #[arg(long)]
    pub quick: bool,
    /// Writes the figures to this file as well.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Fails when a target is missed.
    #[arg(long)]
    pub strict: bool,
    /// Serves the broker in this folder until standard input ends: what a restart is measured on.
    #[arg(long, value_name = "DIR", hide = true)]
    pub restart_child: Option<PathBuf>,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Appends and fdatasyncs to the same disk.
    Fsync,
    /// Bare calls over the same connections.
    Echo,
    /// Durable credentials.
    Mint,
    /// Introspection of live tokens.
    Introspect,
    /// Leases that all expire in the same second.
    Due,
    /// A restart with live leases, clean and after a kill.
    Restart,
    /// What the tree over the ledger costs, and how fast it is verified, proven and replayed.
    Ledger,
    /// Roles in a PostgreSQL database, and ten thousand of them while it is away.
    #[cfg(feature = "postgres")]
    Issue,
}

/// How much of everything.
#[derive(Clone, Debug)]
struct Plan {
    dir: PathBuf,
    round: Duration,
    rounds: u32,
    in_flight: usize,
    connections: usize,
    leases: u32,
    due: u32,
    roles: u32,
    entries: u64,
    outage: Duration,
    warm_tokens: usize,
    cold_tokens: usize,
}

/// Measures, prints, and says by its exit code whether every target was met if that was asked for.
pub fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    if let Some(folder) = &args.restart_child {
        runtime.block_on(restart::child(folder))?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan::of(&args);
    let mut report = Report::new(&args);
    let named = [args.names.clone(), args.only.clone()].concat();
    for scenario in scenarios(&named) {
        runtime.block_on(measure(scenario, &plan, &mut report))?;
    }
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    Ok(match args.strict && report.missed() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

async fn measure(scenario: Scenario, plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    match scenario {
        Scenario::Fsync => fsync::measure(plan, report),
        Scenario::Echo => echo::measure(plan, report).await,
        Scenario::Mint => mint::measure(plan, report).await,
        Scenario::Introspect => introspect::measure(plan, report).await,
        Scenario::Due => due::measure(plan, report).await,
        Scenario::Restart => restart::measure(plan, report).await,
        Scenario::Ledger => ledger::measure(plan, report).await,
        #[cfg(feature = "postgres")]
        Scenario::Issue => issue::measure(plan, report).await,
    }
}

fn scenarios(only: &[Scenario]) -> Vec<Scenario> {
    let all = Scenario::value_variants().iter().copied();
    all.filter(|scenario| only.is_empty() || only.contains(scenario))
        .collect()
}

impl Plan {
    fn of(args: &BenchArgs) -> Self {
        let plan = Self {
            dir: args.dir.clone(),
            round: Duration::from_secs(args.seconds),
            rounds: args.rounds,
            in_flight: args.in_flight as usize,
            connections: args.connections as usize,
            leases: args.leases,
            due: args.due,
            roles: args.roles,
            entries: args.entries,
            outage: Duration::from_secs(args.outage),
            warm_tokens: 1_000,
            cold_tokens: 20_000,
        };
        match args.quick {
            true => plan.quick(),
            false => plan,
        }
    }

    fn quick(self) -> Self {
        Self {
            round: Duration::from_millis(200),
            rounds: 1,
            leases: self.leases.min(500),
            due: self.due.min(500),
            roles: self.roles.min(40),
            entries: self.entries.min(2_000),
            outage: self.outage.min(Duration::from_secs(1)),
            warm_tokens: 50,
            cold_tokens: 100,
            ..self
        }
    }
}
