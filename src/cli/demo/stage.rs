//! The demo's stage: a throwaway trust domain and the processes in it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use quietus_identity::SpiffeId;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::cast::{Order, Report};
use crate::config::ClientConfig;
use crate::dev::{DevDomain, DevDomainOptions};

pub(super) const TRUST_DOMAIN: &str = "demo.example";
pub(super) const TARGET: &str = "orders-db";
pub(super) const RESOURCE: &str = "public.orders";
/// How long a silent agent is given, in the demo.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// Nothing in the demo takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a trust domain, and what runs on it.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    temporary: bool,
    broker: Child,
    /// A real database, or why there is none.
    #[cfg(feature = "postgres")]
    pub(super) database: Result<crate::dev::DevPostgres, String>,
}

/// A process of the demo that is spoken to by lines.
pub(super) struct Actor {
    process: Child,
    tell: ChildStdin,
    hear: Lines<BufReader<ChildStdout>>,
}

impl Stage {
    /// Makes the trust domain and starts a broker in it; the broker's own ready line comes back as well.
    pub(super) async fn set(keep: Option<PathBuf>) -> anyhow::Result<(Self, String)> {
        let temporary = keep.is_none();
        let folder = keep.unwrap_or_else(throwaway);
        let options = DevDomainOptions {
            trust_domain: TRUST_DOMAIN.parse()?,
            listen: TcpListener::bind("127.0.0.1:0")?.local_addr()?,
            now: SystemTime::now(),
            lifetime: Duration::from_secs(86_400),
            force: false,
        };
        DevDomain::create(&folder, &options)?;
        shorten_grace(&folder.join("quietus.toml"))?;
        #[cfg(feature = "postgres")]
        let database = match temporary {
            true => super::database::launch().await,
            false => Err("its target would not be there when the demo is started again".to_owned()),
        };
        #[cfg(feature = "postgres")]
        if let Ok(server) = &database {
            super::database::configure(&folder, server)?;
        }
        let mut broker = start(&["serve", "--config"], &folder.join("quietus.toml"))?;
        let out = broker.stdout.take().context("the broker has no stdout")?;
        let ready = patiently(BufReader::new(out).lines().next_line()).await??;
        let ready = ready.context("the broker did not start; its log is in the folder")?;
        let stage = Self {
            folder,
            temporary,
            broker,
            #[cfg(feature = "postgres")]
            database,
        };
        Ok((stage, ready))
    }

    pub(super) fn broker_pid(&self) -> u32 {
        self.broker.id().unwrap_or_default()
    }

    pub(super) fn identity(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.toml"))
    }

    /// Starts another process under one of the identities.
    pub(super) fn enter(&self, part: &str, name: &str) -> anyhow::Result<Actor> {
        let mut process = start(
            &["demo", "--part", part, "--played-by"],
            &self.identity(name),
        )?;
        let hear = process.stdout.take().context("no stdout")?;
        let tell = process.stdin.take().context("no stdin")?;
        Ok(Actor {
            process,
            tell,
            hear: BufReader::new(hear).lines(),
        })
    }

    /// Stops the broker as a supervisor would, with SIGTERM, and clears up.
    pub(super) async fn strike(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.broker_pid())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let pid = pid.context("the broker is gone")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = patiently(self.broker.wait()).await??;
        match status.success() {
            true => Ok(()),
            false => bail!("the broker ended with {status}"),
        }
    }
}

/// A demo that failed leaves nothing behind either.
impl Drop for Stage {
    fn drop(&mut self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Actor {
    pub(super) fn pid(&self) -> u32 {
        self.process.id().unwrap_or_default()
    }

    /// Tells it to do something, and hears what came of it.
    pub(super) async fn act(&mut self, order: &Order) -> anyhow::Result<Report> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.tell.write_all(&line).await?;
        self.hear().await
    }

    pub(super) async fn hear(&mut self) -> anyhow::Result<Report> {
        let line = patiently(self.hear.next_line()).await??;
        let line = line.context("a process of the demo has ended too early")?;
        Ok(serde_json::from_str(&line)?)
    }

    /// SIGKILL: nothing of the process gets to say goodbye.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill().await.context("cannot kill the agent")
    }
}

/// The resource server's SPIFFE ID, by the demo's naming.
pub(super) fn resource_server_id(config: &ClientConfig) -> anyhow::Result<SpiffeId> {
    Ok(format!("spiffe://{}/rs/orders", config.broker.trust_domain()).parse()?)
}

fn start(args: &[&str], file: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::options()
        .append(true)
        .create(true)
        .open(file.with_extension("log"))?;
    Command::new(std::env::current_exe()?)
        .args(args)
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a process of the demo")
}

async fn patiently<T>(wait: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(PATIENCE, wait)
        .await
        .context("nothing happened for too long")
}

fn throwaway() -> PathBuf {
    let name = format!("quietus-demo-{}", uuid::Uuid::from_u128(random()));
    std::env::temp_dir().join(name)
}

fn random() -> u128 {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; 16];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u128::from_be_bytes(bytes),
        Err(_) => u128::from(std::process::id()),
    }
}

/// The demo does not wait as long for a silent agent as one would in earnest.
fn shorten_grace(config: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(config)?;
    let mut document: toml::Table = text.parse()?;
    let limits = document
        .entry("limits")
        .or_insert_with(|| toml::Table::new().into());
    let limits = limits.as_table_mut().context("[limits] is not a table")?;
    limits.insert(
        "grace".to_owned(),
        humantime::format_duration(GRACE).to_string().into(),
    );
    Ok(std::fs::write(config, toml::to_string(&document)?)?)
}
