//! `quietus serve`: runs a broker until it is told to stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;

use crate::broker::{Broker, BrokerError, Options};
use crate::clock::SystemTime;
use crate::config::{Config, Log, LogFormat};
use crate::engine::Pending;

/// Exit code when the store has failed (sysexits.h EX_IOERR): look at the disk before starting again.
const STORE_FAILED: u8 = 74;

/// How many things that would be ended are listed.
const PENDING: usize = 1000;

/// Run a broker
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  quietus init ./dev && quietus serve --config ./dev/quietus.toml
  quietus serve --config ./dev/quietus.toml --no-revoke    look first what a start would end

Signals: SIGTERM and SIGINT drain: calls under way are finished, then the broker stops.
Exit code 74: the store failed; nothing that was acknowledged is lost.")]
pub struct ServeArgs {
    /// The broker's configuration
    #[arg(long, short, env = "QUIETUS_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Use a store that was restored from a copy: every task in it is ended first
    #[arg(long)]
    accept_restored_store: bool,
    /// Say what would be ended and end nothing: nothing is granted, revoked or changed, only shown
    #[arg(long)]
    no_revoke: bool,
}

/// Serves; the exit code says how it ended.
pub fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(&args.config)?;
    start_log(config.log);
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match runtime.block_on(serve(config, &args)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => match error.downcast_ref::<BrokerError>() {
            Some(BrokerError::Store(_)) => {
                tracing::error!("{error:#}");
                Ok(ExitCode::from(STORE_FAILED))
            }
            _ => Err(error),
        },
    }
}

async fn serve(config: Config, args: &ServeArgs) -> anyhow::Result<()> {
    let options = Options {
        accept_restored: args.accept_restored_store,
        no_revoke: args.no_revoke,
        ..Options::default()
    };
    let stop = stop_signal()?;
    let broker = Broker::start(config, Arc::new(SystemTime), options).await?;
    if args.no_revoke {
        tell_pending(&broker)?;
    }
    introduce(&broker)?;
    broker.run(stop).await?;
    tracing::info!("stopped");
    Ok(())
}

/// What a start without `--no-revoke` would end, one line each.
fn tell_pending(broker: &Broker) -> anyhow::Result<()> {
    let pending = broker.engine().pending(PENDING + 1)?;
    for one in pending.iter().take(PENDING) {
        println!("{}", would_end(one));
    }
    match pending.len() {
        0 => println!("nothing would be ended now"),
        more if more > PENDING => println!("… and more"),
        _ => {}
    }
    println!("Nothing is ended or granted: start without --no-revoke to go on.");
    Ok(())
}

fn would_end(pending: &Pending) -> String {
    match pending {
        Pending::Task(id, live, cause) => {
            format!("would end task {id} ({cause}) with {live} live leases")
        }
        Pending::Leases(id) => format!("would end expired leases of task {id}"),
        Pending::Revocation(id) => format!("would go on revoking lease {id} at its target"),
        Pending::Unfinished(id) => {
            format!("would revoke lease {id}, which was being made when the broker stopped")
        }
    }
}

/// Says plainly what it listens on and whom it trusts: in the log, and in one line that a supervisor can wait for.
fn introduce(broker: &Broker) -> anyhow::Result<()> {
    let address = broker.local_addr()?;
    let engine = broker.engine();
    let status = engine.status();
    for domain in broker.trust().status().iter() {
        let (name, bundle) = (&domain.domain, domain.path.display());
        tracing::info!(trust_domain = %name, anchors = domain.anchors, %bundle, "trusts");
    }
    for target in engine.config().targets() {
        tracing::info!(target = %target.name, kind = target.kind().as_str(), "issues for");
    }
    let store = engine.store().path().display();
    let header = status.header;
    tracing::info!(%store, open_tasks = header.open_tasks, live_leases = header.live_leases, "store");
    let policies = status.policies;
    tracing::info!(
        policies,
        digest = status.policy_digest,
        "policy set in force"
    );
    if let Some(address) = broker.metrics_addr() {
        tracing::info!(%address, "metrics at /metrics");
    }
    tracing::info!(broker = broker.id(), %address, kid = status.kid, "listening");
    println!("quietus: {} is ready on {address}", broker.id());
    Ok(())
}

/// Ready once SIGTERM or SIGINT has come.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: finishing the calls under way"),
            _ = interrupt.recv() => tracing::info!("SIGINT: finishing the calls under way"),
        }
    })
}

/// Each connection is a file: as many as the system lets us have.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Logs go to stderr, so that stdout stays for whoever waits for the broker to be ready.
fn start_log(log: Log) {
    let level: LevelFilter = log.level.into();
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(colours).init();
        }
        LogFormat::Json => builder.json().init(),
    }
}
