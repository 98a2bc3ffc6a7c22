//! A development trust domain in a folder of its own, brokers in it, and ways to fill them.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use quietus_core::{LeaseId, TaskId, Timestamp};
use quietus_identity::{Purpose, VerifiedSvid};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tonic::transport::Channel;

use super::load::progress;
use crate::broker::{Broker, BrokerError, Options};
use crate::client::Client;
use crate::clock::{self, TimeSource};
use crate::config::Config;
use crate::dev::{DevDomain, DevDomainOptions};
use crate::engine::{Engine, Once, OpenRequest, RequestOrder};
use crate::issuers::Credential;
use crate::tls::{Credentials, SvidFiles};

const DOMAIN: &str = "dev.example";
const AGENT: &str = "spiffe://dev.example/agent/builder";
/// What everybody asks for.
pub(super) const SCOPE: &str = "warehouse:read:public.shipments";
/// How many policies are in force that do not bear on it.
const OTHER_POLICIES: usize = 200;
const DAY: Duration = Duration::from_secs(86_400);
/// How many requests fill a store side by side.
const FILLING: u32 = 256;

const TARGET: &str = r#"
[[target]]
name = "warehouse"
kind = "jwt"
environment = "dev"
sensitivity = 1
resource_servers = ["spiffe://dev.example/rs/orders"]
"#;
const POLICY: &str = r#"
@id("data-reads-warehouse")
@max_ttl("12h")
permit (
    principal in Team::"data",
    action == Action::"read",
    resource in Target::"warehouse"
)
when { context.delegation_depth == 0 };
"#;

/// A trust domain in a folder that goes with it, and its clock.
pub(super) struct World {
    pub(super) folder: PathBuf,
    pub(super) time: Arc<Shifted>,
}

/// The machine's clock, and how far it was set forward.
#[derive(Debug, Default)]
pub(super) struct Shifted(AtomicU64);

/// A broker that serves.
pub(super) struct Serving {
    pub(super) engine: Arc<Engine>,
    pub(super) address: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), BrokerError>>,
}

/// Fills a store through the engine: the same road as over the network, without the network.
#[derive(Clone)]
pub(super) struct Filler {
    engine: Arc<Engine>,
    svid: VerifiedSvid,
}

/// What a store is to be filled with.
#[derive(Clone, Copy)]
pub(super) struct Fill {
    pub(super) leases: u32,
    pub(super) a_task: u32,
    pub(super) life: Life,
    /// Of how many tokens one is kept.
    pub(super) keep_each: u32,
}

/// How long leases live.
#[derive(Clone, Copy)]
pub(super) enum Life {
    For(Duration),
    Until(Timestamp),
}

impl World {
    pub(super) fn new(dir: &Path) -> anyhow::Result<Self> {
        let folder = dir.join(format!("quietus-bench-{}", unique_key()?));
        let options = DevDomainOptions {
            trust_domain: DOMAIN.parse()?,
            listen: "127.0.0.1:8443".parse()?,
            now: SystemTime::now(),
            lifetime: 30 * DAY,
            force: false,
        };
        DevDomain::create(&folder, &options)?;
        let world = Self {
            folder,
            time: Arc::default(),
        };
        world.add_policies()?;
        Ok(world)
    }

    #[cfg(feature = "postgres")]
    /// Another target, and leave for everybody to read there.
    pub(super) fn add_target(&self, name: &str, target: &str) -> anyhow::Result<()> {
        let policy = format!(
            "@id(\"reads-{name}\")\n@max_ttl(\"12h\")\npermit (principal, action == Action::\"read\", resource in Target::\"{name}\");\n"
        );
        std::fs::write(
            self.folder.join("policies").join(format!("{name}.cedar")),
            policy,
        )?;
        let path = self.folder.join("quietus.toml");
        let text = std::fs::read_to_string(&path)? + target;
        Ok(std::fs::write(path, text)?)
    }

    pub(super) async fn serve(&self, options: Options) -> anyhow::Result<Serving> {
        let time = Arc::clone(&self.time) as Arc<dyn TimeSource>;
        let broker = Broker::start(config(&self.folder)?, time, options).await?;
        let address = broker.local_addr()?.to_string();
        let engine = Arc::clone(broker.engine());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(broker.run(async move {
            let _ = stopped.await;
        }));
        Ok(Serving {
            engine,
            address,
            stop,
            running,
        })
    }

    /// Connections of `agent` or `resource-server`.
    pub(super) async fn connect(
        &self,
        serving: &Serving,
        name: &str,
        count: usize,
    ) -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::new();
        for _ in 0..count {
            let client = client(&self.folder, &serving.address, name)?;
            channels.push(client.connect().await?);
        }
        Ok(channels)
    }

    fn add_policies(&self) -> anyhow::Result<()> {
        let policies = self.folder.join("policies");
        std::fs::write(policies.join("warehouse.cedar"), POLICY)?;
        std::fs::write(policies.join("others.cedar"), other_policies()?)?;
        let path = self.folder.join("quietus.toml");
        let text = std::fs::read_to_string(&path)? + TARGET;
        Ok(std::fs::write(path, text)?)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Serving {
    /// Stops as SIGTERM does, and waits until the store is closed.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.running.await??;
        let mut engine = self.engine;
        while let Err(shared) = Arc::try_unwrap(engine) {
            // Connections that are being torn down hold on to it for a moment.
            engine = shared;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Shifted {
    pub(super) fn forward(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::SeqCst);
    }

    fn ahead(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl TimeSource for Shifted {
    fn wall(&self) -> Timestamp {
        clock::SystemTime.wall().after(self.ahead())
    }

    fn since_boot(&self) -> Duration {
        clock::SystemTime.since_boot() + self.ahead()
    }
}

impl Filler {
    pub(super) fn new(world: &World, serving: &Serving) -> anyhow::Result<Self> {
        let credentials = Credentials::load(&svid_files(&world.folder, "agent"))?;
        let bundle = std::fs::read(world.folder.join("bundle.pem"))?;
        let bundle = quietus_identity::TrustBundle::from_pem(DOMAIN.parse()?, &bundle)?;
        let bundles = [bundle].into_iter().collect();
        let now = serving.engine.now().seconds();
        Ok(Self {
            engine: Arc::clone(&serving.engine),
            svid: credentials.verify(&bundles, Purpose::Client, now)?,
        })
    }

    /// So many live tokens.
    pub(super) async fn tokens(
        &self,
        count: usize,
        a_task: u32,
        life: Duration,
    ) -> anyhow::Result<Vec<String>> {
        let fill = Fill {
            leases: u32::try_from(count)?,
            a_task,
            life: Life::For(life),
            keep_each: 1,
        };
        self.fill(fill).await
    }

    /// Issues leases in tasks of so many each; some of the tokens.
    pub(super) async fn fill(&self, fill: Fill) -> anyhow::Result<Vec<String>> {
        let bar = progress(u64::from(fill.leases), "filling");
        let left = Arc::new(AtomicU32::new(fill.leases.div_ceil(fill.a_task)));
        let mut running = JoinSet::new();
        for _ in 0..FILLING {
            let (filler, left, bar) = (self.clone(), Arc::clone(&left), bar.clone());
            running.spawn(async move {
                let mut kept = Vec::new();
                while take(&left) {
                    filler.fill_task(&fill, &mut kept).await?;
                    bar.inc(u64::from(fill.a_task));
                }
                anyhow::Ok(kept)
            });
        }
        let mut kept = Vec::new();
        while let Some(done) = running.join_next().await {
            kept.extend(done.context("a worker died")??);
        }
        bar.finish_and_clear();
        Ok(kept)
    }

    async fn fill_task(&self, fill: &Fill, kept: &mut Vec<String>) -> anyhow::Result<()> {
        let task = self.open().await?;
        for _ in 0..fill.a_task {
            let (lease, token) = self.issue(task, fill.life).await?;
            // By the task as well as by the number, or it would always be the same place of a task.
            let place = u32::from_be_bytes(last_four(lease.task)).wrapping_add(lease.number);
            if place.is_multiple_of(fill.keep_each) {
                kept.push(token);
            }
        }
        Ok(())
    }

    async fn open(&self) -> anyhow::Result<TaskId> {
        let request = OpenRequest {
            purpose: "reconcile the orders of yesterday with what the warehouse shipped".to_owned(),
            ticket: "OPS-4711".to_owned(),
            duration: Some(DAY),
            heartbeat: None,
            prompt: None,
        };
        let once = Once::new(AGENT, "OpenTask", "", b"")?;
        Ok(self
            .engine
            .open_task(&self.svid, request, once)
            .await?
            .task
            .id)
    }

    async fn issue(&self, task: TaskId, life: Life) -> anyhow::Result<(LeaseId, String)> {
        let ttl = match life {
            Life::For(ttl) => ttl,
            Life::Until(end) => end.since(self.engine.now()),
        };
        let order = RequestOrder {
            task,
            scopes: vec![SCOPE.parse().context("a scope")?],
            ttl: Some(ttl),
            key: None,
        };
        let once = Once::new(AGENT, "RequestCredential", "", b"")?;
        let issued = self
            .engine
            .request_credential(&self.svid, order, once)
            .await?;
        match issued.credential {
            Credential::Jwt(token) => Ok((issued.lease.id, token.expose().to_owned())),
            other => anyhow::bail!("asked for a token, given {other:?}"),
        }
    }
}

/// The configuration in a folder, with limits that do not limit a benchmark.
pub(super) fn config(folder: &Path) -> anyhow::Result<Config> {
    let mut config = Config::load(folder.join("quietus.toml"))?;
    config.broker.listen = "127.0.0.1:0".parse()?;
    let limits = &mut config.limits;
    limits.requests_per_second = limits.requests_per_second.saturating_add(100_000_000);
    limits.request_burst = limits.requests_per_second;
    limits.open_tasks_per_agent = u32::MAX;
    limits.max_ttl = DAY;
    Ok(config)
}

/// A client of the broker at this address.
pub(super) fn client(folder: &Path, address: &str, name: &str) -> anyhow::Result<Client> {
    Ok(Client {
        address: address.to_owned(),
        broker: format!("spiffe://{DOMAIN}/broker").parse()?,
        svid: svid_files(folder, name),
        bundle: folder.join("bundle.pem"),
        now: Arc::new(|| clock::SystemTime.wall().seconds()),
    })
}

/// Something that is not there yet.
pub(super) fn unique_key() -> anyhow::Result<String> {
    let mut random = [0; 16];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| anyhow!("the system has no randomness"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

fn svid_files(folder: &Path, name: &str) -> SvidFiles {
    SvidFiles {
        chain: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    }
}

pub(super) fn take(left: &AtomicU32) -> bool {
    let order = Ordering::Relaxed;
    left.fetch_update(order, order, |left| left.checked_sub(1))
        .is_ok()
}

fn last_four(task: TaskId) -> [u8; 4] {
    let [.., a, b, c, d] = task.to_bytes();
    [a, b, c, d]
}

/// Policies of other teams and agents, about other targets, of every shape that is usual.
fn other_policies() -> anyhow::Result<String> {
    let mut text = String::new();
    for number in 0..OTHER_POLICIES {
        let (team, target) = (number % 40, number % 25);
        let head = match number % 5 {
            0 => format!(
                "@max_ttl(\"15m\")\npermit (principal in Team::\"team-{team}\", action == Action::\"read\", resource in Target::\"service-{target}\")"
            ),
            1 => format!(
                "@max_ttl(\"5m\")\npermit (principal == Agent::\"spiffe://{DOMAIN}/job/{number}\", action in [Action::\"read\", Action::\"write\"], resource in Target::\"service-{target}\")"
            ),
            2 => format!(
                "permit (principal in Team::\"team-{team}\", action == Action::\"execute\", resource == Resource::\"service-{target}/deploy\")"
            ),
            3 => format!(
                "forbid (principal in Team::\"team-{team}\", action in [Action::\"delete\", Action::\"export\"], resource in Target::\"service-{target}\")"
            ),
            _ => format!(
                "@approval(\"security-oncall\")\nforbid (principal, action == Action::\"admin\", resource in Target::\"service-{target}\")"
            ),
        };
        let condition = match number % 5 {
            4 => "unless { context.approved }",
            3 => "when { principal.tier > 2 || context.task.environment == \"prod\" }",
            2 => "when { context.task.held && context.ttl <= 600 }",
            _ => {
                "when { principal.environment == resource.environment && context.task.leases < 20 }"
            }
        };
        writeln!(text, "@id(\"other-{number}\")\n{head}\n{condition};\n")?;
    }
    Ok(text)
}
