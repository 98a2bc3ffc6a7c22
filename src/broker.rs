//! A whole broker: engine, sockets, and whatever watches files and clocks, put together and taken down.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quietus_identity::{Purpose, SvidError, VerifiedSvid};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, TimeSource};
use crate::config::Config;
use crate::engine::{Engine, Mode, StartError};
use crate::server::{Extras, Front, ServeError};
use crate::tls::{CredentialError, ServerSvid, ServerTls, SvidChange, SvidFiles, TlsError};
use crate::trust::{Change, Now, Trust, TrustError};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long calls under way may take to finish once the broker is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// What is asked for besides the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Use a store that is older than the last one used here, and first end every task in it.
    pub accept_restored: bool,
    /// End nothing and grant nothing; only show what is there.
    pub no_revoke: bool,
    /// Serve an echo, for benchmarks.
    pub echo: bool,
    /// Let no tree grow over the ledger, for benchmarks.
    pub without_tree: bool,
}

/// A broker that is ready and listens, but answers nobody yet.
pub struct Broker {
    engine: Arc<Engine>,
    trust: Arc<Trust>,
    svid: Arc<ServerSvid>,
    tls: ServerTls,
    socket: TcpListener,
    now: Now,
    id: String,
    options: Options,
}

/// Why a broker cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The trust bundles.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The broker's own SVID.
    #[error(transparent)]
    Svid(#[from] CredentialError),
    /// The broker's own SVID is not one that anybody would accept.
    #[error("the broker's own SVID would be refused by its own trust bundle: {0}")]
    OwnSvid(SvidError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// The server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The store failed while serving.
    #[error(
        "the store failed, so the broker stopped: {0}. Nothing that was acknowledged is lost; look at the disk, then start again"
    )]
    Store(String),
}

impl Broker {
    /// Gets everything ready: listens, and ends what fell due while no broker ran.
    pub async fn start(
        config: Config,
        time: Arc<dyn TimeSource>,
        options: Options,
    ) -> Result<Self, BrokerError> {
        let address = config.broker.listen;
        let wall = Clock::new(Arc::clone(&time), quietus_core::Timestamp(0))
            .now()
            .seconds();
        let bundles = config.trust_domains().iter();
        let bundles = bundles
            .map(|entry| (entry.name.clone(), entry.bundle.clone()))
            .collect();
        let trust = Arc::new(Trust::load(bundles, wall)?);
        let svid = Arc::new(ServerSvid::load(svid_files(&config), wall)?);
        let own = own_svid(&svid, &trust, wall)?;
        let listen = |error| BrokerError::Listen { address, error };
        let socket = TcpListener::bind(address).await.map_err(listen)?;
        let id = own.id().to_string();
        let mode = Mode {
            accept_restored: options.accept_restored,
            maintenance: options.no_revoke,
            without_tree: options.without_tree,
        };
        let engine = Engine::start(config, id.clone(), Arc::clone(&trust), time, mode).await?;
        let clock = Arc::clone(&engine);
        let now: Now = Arc::new(move || clock.now().seconds());
        let tls = ServerTls::new(Arc::clone(&svid), Arc::clone(&trust), Arc::clone(&now))?;
        Ok(Self {
            engine,
            trust,
            svid,
            tls,
            socket,
            now,
            id,
            options,
        })
    }

    /// The engine behind it.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// The trust bundles in force.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Its SPIFFE ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop` is ready, or the store fails.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), BrokerError> {
        let mut watchers = self.watchers();
        let (stopping, told) = watch::channel(false);
        let fatal = self.engine.store().fatal();
        let front = Front::new(Arc::clone(&self.engine), Arc::clone(&self.trust), told);
        let extras = Extras {
            echo: self.options.echo,
        };
        let serving = front.serve(self.socket, self.tls, extras);
        tokio::pin!(serving);
        let served = tokio::select! {
            served = &mut serving => served.map_err(BrokerError::from),
            () = failure(fatal.clone()) => Ok(()),
            () = stop => {
                stopping.send_replace(true);
                // Whoever is not done by then is cut off.
                let drained = tokio::time::timeout(DRAIN, &mut serving).await;
                drained.unwrap_or(Ok(())).map_err(BrokerError::from)
            }
        };
        watchers.shutdown().await;
        let failed = fatal.borrow().clone();
        if let Some(reason) = failed {
            return Err(BrokerError::Store(reason));
        }
        if let Err(error) = self.engine.stop().await {
            tracing::warn!(%error, "the stop could not be recorded");
        }
        served
    }

    fn watchers(&self) -> JoinSet<()> {
        let mut watchers = JoinSet::new();
        watchers.spawn(Arc::clone(&self.engine).keep_time());
        watchers.spawn(Arc::clone(&self.engine).keep_targets());
        let (changed, changes) = mpsc::unbounded_channel();
        let tell = move |found: Vec<Change>| {
            let _ = changed.send(found);
        };
        watchers.spawn(Arc::clone(&self.trust).watch(LOOK, Arc::clone(&self.now), tell));
        watchers.spawn(heed_trust(Arc::clone(&self.engine), changes));
        let report = |change: SvidChange| match change {
            SvidChange::Replaced => tracing::info!("the broker's own SVID was replaced"),
            SvidChange::Kept(error) => {
                tracing::warn!(%error, "the broker's own SVID cannot be read; the old one is kept");
            }
        };
        let svid = Arc::clone(&self.svid);
        watchers.spawn(svid.watch(LOOK, Arc::clone(&self.now), report));
        watchers
    }
}

/// Tells of bundles that changed, and ends the tasks whose agents are no longer trusted.
async fn heed_trust(engine: Arc<Engine>, mut changes: mpsc::UnboundedReceiver<Vec<Change>>) {
    while let Some(found) = changes.recv().await {
        let mut replaced = false;
        for change in found {
            let (domain, path) = (&change.domain, change.path.display());
            match &change.outcome {
                Ok(anchors) => {
                    tracing::info!(%domain, anchors, "a trust bundle was replaced");
                    replaced = true;
                }
                Err(error) => {
                    tracing::error!(%domain, %path, %error, "a trust bundle cannot be read; the old one stays in force");
                }
            }
        }
        while replaced && let Err(error) = engine.trust_changed().await {
            tracing::error!(%error, "tasks of agents that are no longer trusted could not be ended; trying again");
            tokio::time::sleep(LOOK).await;
        }
    }
}

async fn failure(mut fatal: watch::Receiver<Option<String>>) {
    let _ = fatal.wait_for(Option::is_some).await;
}

fn svid_files(config: &Config) -> SvidFiles {
    SvidFiles {
        chain: config.broker.svid.clone(),
        key: config.broker.key.clone(),
    }
}

/// The broker's own SVID by its own bundles: what clients would say of it.
fn own_svid(svid: &ServerSvid, trust: &Trust, now: u64) -> Result<VerifiedSvid, BrokerError> {
    let verified = svid
        .current()
        .verify(&trust.current(), Purpose::Server, now);
    verified.map_err(BrokerError::OwnSvid)
}
