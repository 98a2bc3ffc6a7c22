//! A whole broker: engine, sockets, and whatever watches files and clocks, put together and taken down.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quietus_identity::{Purpose, SvidError, VerifiedSvid};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::clock::{Clock, Stopwatch, TimeSource};
use crate::config::{Config, LedgerClients, LedgerHttps};
use crate::engine::{Engine, Mode, StartError};
use crate::server::{Extras, Front, ServeError};
use crate::telemetry::{About, Exporter, Measure};
use crate::tls::{CredentialError, ServerSvid, ServerTls, SvidChange, SvidFiles, TlsError};
use crate::trust::{Change, Now, Trust, TrustError};
use crate::web::{self, Greeter, Tiles};
use crate::witness::{WitnessError, Witnesses};

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long calls under way may take to finish once the broker is told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long what is left to tell a collector may take.
const FAREWELL: Duration = Duration::from_secs(2);

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
    metrics: Option<TcpListener>,
    files: Option<Files>,
    witnesses: Witnesses,
    now: Now,
    id: String,
    options: Options,
}

/// The ledger over HTTPS.
struct Files {
    socket: TcpListener,
    clients: LedgerClients,
    /// Its certificate, if it is not the broker's SVID.
    certificate: Option<Arc<ServerSvid>>,
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
    /// The certificate of the ledger's HTTPS server.
    #[error("ledger.https: {0}")]
    Https(CredentialError),
    /// A witness.
    #[error(transparent)]
    Witness(#[from] WitnessError),
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
        let socket = listen(address).await?;
        let metrics = match config.telemetry.metrics {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let files = match &config.ledger.https {
            Some(https) => Some(Files::open(https, wall).await?),
            None => None,
        };
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
        let witnesses = Witnesses::new(&engine, &now)?;
        Ok(Self {
            engine,
            trust,
            svid,
            tls,
            socket,
            metrics,
            files,
            witnesses,
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

    /// Where it serves metrics, if it does.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// Where it serves the ledger's files, if it does.
    pub fn ledger_addr(&self) -> Option<SocketAddr> {
        self.files.as_ref()?.socket.local_addr().ok()
    }

    /// Serves until `stop` is ready, or the store fails.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), BrokerError> {
        let mut watchers = self.watchers()?;
        let (end_telling, telling_ends) = watch::channel(false);
        let telling = self.tell(telling_ends);
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
        end_telling.send_replace(true);
        wait_for(telling).await;
        served
    }

    /// Sends spans and measures to a collector, if there is one.
    fn tell(&self, stopping: watch::Receiver<bool>) -> Option<JoinHandle<()>> {
        let about = About {
            broker: self.id.clone(),
            since: self.engine.now().0.saturating_mul(1_000_000),
            watch: Stopwatch::start(),
        };
        let telemetry = self.engine.telemetry();
        let exporter = Exporter::new(telemetry, about, measure(&self.engine), stopping)?;
        Some(tokio::spawn(exporter.run()))
    }

    fn watchers(&mut self) -> Result<JoinSet<()>, TlsError> {
        let mut watchers = JoinSet::new();
        watchers.spawn(Arc::clone(&self.engine).keep_time());
        watchers.spawn(Arc::clone(&self.engine).keep_retention());
        watchers.spawn(Arc::clone(&self.engine).keep_targets());
        if let Some(socket) = self.metrics.take() {
            let metrics = web::Metrics::new(measure(&self.engine));
            let service = web::Service {
                greet: web::plain,
                answer: move |request| metrics.clone().answer(request),
                limits: web::Limits::default(),
            };
            watchers.spawn(web::serve(socket, service, std::future::pending()));
        }
        self.publish(&mut watchers)?;
        let (changed, changes) = mpsc::unbounded_channel();
        let tell = move |found: Vec<Change>| {
            let _ = changed.send(found);
        };
        watchers.spawn(Arc::clone(&self.trust).watch(LOOK, Arc::clone(&self.now), tell));
        watchers.spawn(heed_trust(Arc::clone(&self.engine), changes));
        let svid = Arc::clone(&self.svid);
        watchers.spawn(svid.watch(LOOK, Arc::clone(&self.now), report("the broker's own SVID")));
        Ok(watchers)
    }

    /// Serves the ledger's files and has its checkpoints cosigned, as far as that is configured.
    fn publish(&mut self, watchers: &mut JoinSet<()>) -> Result<(), TlsError> {
        if let Some(files) = self.files.take() {
            let shown = files.certificate.as_ref().unwrap_or(&self.svid);
            let (trust, now) = (Arc::clone(&self.trust), Arc::clone(&self.now));
            let tls = ServerTls::new(Arc::clone(shown), trust, now)?;
            let tiles = Tiles::new(Arc::clone(&self.engine), Arc::clone(&self.trust));
            let greeter = Greeter::new(tls, files.clients);
            let service = web::Service {
                greet: move |stream| greeter.clone().greet(stream),
                answer: move |request| tiles.clone().answer(request),
                limits: web::Limits::default(),
            };
            watchers.spawn(web::serve(files.socket, service, std::future::pending()));
            if let Some(certificate) = files.certificate {
                let report = report("the certificate of the ledger's HTTPS server");
                watchers.spawn(certificate.watch(LOOK, Arc::clone(&self.now), report));
            }
        }
        if !self.options.no_revoke {
            let witnesses = std::mem::take(&mut self.witnesses);
            watchers.spawn(witnesses.run(Arc::clone(&self.engine)));
        }
        Ok(())
    }
}

fn report(what: &'static str) -> impl Fn(SvidChange) + Send {
    move |change| match change {
        SvidChange::Replaced => tracing::info!("{what} was replaced"),
        SvidChange::Kept(error) => {
            tracing::warn!(%error, "{what} cannot be read; the old one is kept");
        }
    }
}

impl Files {
    async fn open(https: &LedgerHttps, now: u64) -> Result<Self, BrokerError> {
        let own = https.certificate.clone();
        let own = own.map(|(chain, key)| ServerSvid::load(SvidFiles { chain, key }, now));
        let certificate = own.transpose().map_err(BrokerError::Https)?;
        Ok(Self {
            socket: listen(https.listen).await?,
            clients: https.clients,
            certificate: certificate.map(Arc::new),
        })
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, BrokerError> {
    let listen = |error| BrokerError::Listen { address, error };
    TcpListener::bind(address).await.map_err(listen)
}

/// A failure is told in the log; what asks gets nothing.
fn measure(engine: &Arc<Engine>) -> Measure {
    let engine = Arc::clone(engine);
    Arc::new(move || {
        let measured = engine.measure();
        let failed = |error: &_| tracing::error!(%error, "the measures cannot be read");
        measured.inspect_err(failed).ok()
    })
}

/// Not for long: a collector that does not answer must not keep a broker from stopping.
async fn wait_for(telling: Option<JoinHandle<()>>) {
    if let Some(mut telling) = telling
        && tokio::time::timeout(FAREWELL, &mut telling).await.is_err()
    {
        telling.abort();
        let _ = telling.await;
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
