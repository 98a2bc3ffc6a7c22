//! The engine without its sockets: two trust domains, two targets, and a policy that lets everybody read.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod commits;
pub mod replay;
pub mod rng;

use std::sync::Arc;
use std::time::Duration;

use quietus::client::{Client, ConnectError};
use quietus::clock::TimeSource;
use quietus::config::Config;
use quietus::dev::DevCa;
use quietus::engine::{Engine, Error, Issued, Mode, Once, OpenRequest, RequestOrder, StartError};
use quietus::issuers::Credential;
use quietus::store::Store;
use quietus::tls::{Credentials, SvidFiles};
use quietus::trust::Trust;
use quietus_core::{Lease, LeaseId, Task, TaskId};
use quietus_identity::{Purpose, VerifiedSvid};
use quietus_ledger::Sealed;
use tonic::transport::Channel;

use crate::common::{DOMAIN, World};
use crate::disks::{Platter, Room, options};

pub const OTHER: &str = "other.example";
pub const ORDERS: &str = "orders-db:read:public.orders";
pub const FILES: &str = "files:read:reports";
pub const FORBIDDEN: &str = "orders-db:admin:public.orders";

/// Everything that an engine needs, and who calls on it.
pub struct Inside {
    pub world: World,
    pub config: Config,
    pub trust: Arc<Trust>,
    pub agents: Vec<VerifiedSvid>,
    /// Of the other trust domain.
    pub stranger: VerifiedSvid,
    /// In a trusted domain, but not in the register.
    pub unregistered: VerifiedSvid,
    pub operator: VerifiedSvid,
    pub resource_server: VerifiedSvid,
}

/// A credential, and the token that would be presented.
#[derive(Clone, Debug)]
pub struct Minted {
    pub lease: Lease,
    pub token: String,
}

impl Inside {
    pub fn new() -> Self {
        let world = World::new();
        add_to_config(&world);
        let config = world.config();
        let other = DevCa::generate(OTHER.parse().unwrap(), world.start, MONTH).unwrap();
        std::fs::write(world.path("other.pem"), other.bundle_pem()).unwrap();
        let bundles = config.trust_domains().iter();
        let bundles = bundles.map(|entry| (entry.name.clone(), entry.bundle.clone()));
        let now = world.time.wall().seconds();
        let trust = Arc::new(Trust::load(bundles.collect(), now).unwrap());
        let own = |path| verified(&world, &world.domain.ca, path);
        Self {
            agents: vec![own("/agent/one"), own("/agent/two")],
            stranger: verified(&world, &other, "/agent/three"),
            unregistered: own("/nobody/four"),
            operator: own("/operator/dev"),
            resource_server: own("/rs/orders"),
            trust,
            config,
            world,
        }
    }

    /// On the files of the configuration.
    pub async fn start(&self) -> Result<Arc<Engine>, StartError> {
        self.start_with(false).await
    }

    pub async fn start_with(&self, accept_restored: bool) -> Result<Arc<Engine>, StartError> {
        Engine::start(
            self.config.clone(),
            self.id(),
            Arc::clone(&self.trust),
            self.time(),
            Mode {
                accept_restored,
                ..Mode::default()
            },
        )
        .await
    }

    /// On a disk in memory.
    pub async fn start_on(&self, platter: &Platter) -> Result<Arc<Engine>, StartError> {
        self.start_in(platter.open(&Room::plenty(), &options(self.world.folder.path()))?)
            .await
    }

    pub async fn start_in(&self, store: Store) -> Result<Arc<Engine>, StartError> {
        Engine::start_on(
            store,
            self.config.clone(),
            self.id(),
            Arc::clone(&self.trust),
            self.time(),
        )
        .await
    }

    /// Whether a resource server would honour the token now.
    pub fn honours(&self, engine: &Engine, token: &str) -> bool {
        engine
            .introspect(&self.resource_server, token, None)
            .unwrap()
            .is_some()
    }

    /// To a broker of its own process, as one of `agent`, `operator`, `resource-server`.
    pub async fn connect(&self, address: &str, name: &str) -> Result<Channel, ConnectError> {
        let world = &self.world;
        let time = Arc::clone(&world.time);
        let client = Client {
            address: address.to_owned(),
            broker: world.domain.ca.id("/broker").unwrap(),
            svid: SvidFiles {
                chain: world.path(&format!("{name}.pem")),
                key: world.path(&format!("{name}.key")),
            },
            bundle: world.path("bundle.pem"),
            now: Arc::new(move || time.wall().seconds()),
        };
        client.connect().await
    }

    pub fn advance(&self, seconds: u64) {
        self.world.time.advance(Duration::from_secs(seconds));
    }

    fn id(&self) -> String {
        format!("spiffe://{DOMAIN}/broker")
    }

    fn time(&self) -> Arc<dyn TimeSource> {
        Arc::clone(&self.world.time) as Arc<dyn TimeSource>
    }
}

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn add_to_config(world: &World) {
    let file = world.domain.config();
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.push_str(&format!(
        r#"
[[trust_domain]]
name = "{OTHER}"
bundle = "other.pem"

[[agent]]
id = "spiffe://{OTHER}/agent/*"
owner = "carol@example.com"
team = "data"
environment = "dev"
tier = 1

[[target]]
name = "files"
kind = "jwt"
environment = "dev"
sensitivity = 1
resource_servers = ["spiffe://{DOMAIN}/rs/orders"]
"#
    ));
    std::fs::write(file, text).unwrap();
    let policies = world.path("policies");
    for entry in std::fs::read_dir(&policies).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let policy = r#"@id("all-read") permit (principal, action == Action::"read", resource);"#;
    std::fs::write(policies.join("all-read.cedar"), policy).unwrap();
}

fn verified(world: &World, ca: &DevCa, path: &str) -> VerifiedSvid {
    let svid = ca.svid(path, world.start, MONTH).unwrap();
    let name = path.trim_start_matches('/').replace('/', "-");
    let files = SvidFiles {
        chain: world.path(&format!("{name}.pem")),
        key: world.path(&format!("{name}.key")),
    };
    std::fs::write(&files.chain, &svid.chain_pem).unwrap();
    std::fs::write(&files.key, svid.key_pem.as_bytes()).unwrap();
    let credentials = Credentials::load(&files).unwrap();
    let now = world.time.wall().seconds();
    credentials
        .verify(ca.bundles(), Purpose::Client, now)
        .unwrap()
}

/// A request that carries no idempotency key.
pub fn once() -> Once {
    Once::new("", "", "", b"").unwrap()
}

pub async fn open(engine: &Engine, agent: &VerifiedSvid) -> Result<Task, Error> {
    open_for(engine, agent, None).await
}

pub async fn open_for(
    engine: &Engine,
    agent: &VerifiedSvid,
    seconds: Option<u64>,
) -> Result<Task, Error> {
    let request = OpenRequest {
        duration: seconds.map(Duration::from_secs),
        ..OpenRequest::default()
    };
    let opened = engine.open_task(agent, request, once()).await?;
    Ok(opened.task)
}

pub async fn mint(
    engine: &Arc<Engine>,
    agent: &VerifiedSvid,
    task: TaskId,
    scope: &str,
) -> Result<Minted, Error> {
    let order = RequestOrder {
        task,
        scopes: vec![scope.parse().unwrap()],
        ttl: None,
        key: None,
    };
    let issued = engine.request_credential(agent, order, once()).await;
    issued.map(minted)
}

pub async fn renew(
    engine: &Arc<Engine>,
    agent: &VerifiedSvid,
    id: LeaseId,
) -> Result<Minted, Error> {
    let issued = engine.renew_lease(agent, id, None, once()).await;
    issued.map(minted)
}

fn minted(issued: Issued) -> Minted {
    let Credential::Jwt(token) = &issued.credential else {
        panic!("no token but {:?}", issued.credential);
    };
    Minted {
        token: token.expose().to_owned(),
        lease: issued.lease,
    }
}

/// Stops it as SIGTERM would, and closes its store.
pub async fn stop(engine: Arc<Engine>) {
    engine.stop().await.unwrap();
    abandon(engine);
}

/// Closes its store with not a word in the ledger.
pub fn abandon(engine: Arc<Engine>) {
    drop(Arc::into_inner(engine).expect("nobody else uses the engine"));
}

/// The whole ledger, each entry checked for its form and its place.
pub fn ledger(store: &Store) -> Vec<Sealed> {
    let entries = store.read().whole_entries(1, usize::MAX).unwrap();
    for (place, sealed) in (1..).zip(&entries) {
        assert_eq!(sealed.seq, place, "the ledger has a gap");
    }
    assert_eq!(store.header().seq, entries.len() as u64);
    entries
}
