//! A broker that serves nothing but its health, over a real socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quietus::client::{Client, ConnectError};
use quietus::server::listener::{Limits, Listener};
use quietus::server::{Authenticate, peer};
use quietus::tls::{Credentials, ServerSvid, ServerTls, SvidFiles, client_config, no_server_name};
use quietus::trust::{Now, Trust};
use quietus_identity::{SpiffeId, TrustBundle, VerifiedSvid};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::service::Interceptor;
use tonic::transport::{Channel, Server};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::authority::{Authority, NOON};

pub const BROKER: &str = "spiffe://prod.example/broker";

pub struct Broker {
    pub authority: Authority,
    pub folder: TempDir,
    pub trust: Arc<Trust>,
    pub svid: Arc<ServerSvid>,
    pub address: SocketAddr,
    /// Who called, from where, for every request that was let through.
    pub calls: mpsc::UnboundedReceiver<(String, SocketAddr)>,
    /// The reasons why connections were refused.
    pub refusals: mpsc::UnboundedReceiver<&'static str>,
    clock: Arc<AtomicU64>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Broker {
    pub async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub async fn start_with(limits: Limits) -> Self {
        let authority = Authority::new("prod.example");
        let folder = tempfile::tempdir().expect("folder");
        let bundle = folder.path().join("bundle.pem");
        authority.write_bundle(&bundle);
        let domain = "prod.example".parse().expect("trust domain");
        let trust = Arc::new(Trust::load(vec![(domain, bundle)], NOON).expect("trust"));
        let files = authority.svid("/broker", folder.path());
        let svid = Arc::new(ServerSvid::load(files, NOON).expect("SVID"));

        let clock = Arc::new(AtomicU64::new(NOON));
        let now = now(&clock);
        let tls = ServerTls::new(svid.clone(), trust.clone(), now.clone()).expect("TLS");
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("socket");
        let (refused, refusals) = mpsc::unbounded_channel();
        let listener = Listener::new(socket, tls, limits).on_refusal(move |_, refusal| {
            let _ = refused.send(refusal.reason());
        });
        let address = listener.local_addr().expect("address");
        let (called, calls) = mpsc::unbounded_channel();
        let authenticate = Authenticate::new(trust.clone(), now);
        let (stop, stopped) = oneshot::channel();
        Self {
            server: tokio::spawn(serve(
                listener,
                Record {
                    authenticate,
                    called,
                },
                stopped,
            )),
            authority,
            folder,
            trust,
            svid,
            address,
            calls,
            refusals,
            clock,
            stop,
        }
    }

    /// A client with an SVID of the broker's own domain.
    pub fn client(&self) -> Client {
        self.client_with(self.authority.svid("/agent", self.folder.path()))
    }

    pub fn client_with(&self, svid: SvidFiles) -> Client {
        Client {
            address: self.address.to_string(),
            broker: BROKER.parse().expect("SPIFFE ID"),
            svid,
            bundle: self.bundle_for_clients(),
            // A clock of its own: the broker's may be ahead.
            now: Arc::new(|| NOON),
        }
    }

    /// A handshake and nothing more, with the usual configuration or one that `alter` makes of it.
    pub async fn raw(&self, alter: impl FnOnce(&mut ClientConfig)) -> TlsStream<TcpStream> {
        self.raw_with(Arc::new(self.raw_config(alter))).await
    }

    pub async fn raw_with(&self, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.expect("TCP");
        let connector = TlsConnector::from(config);
        let handshake = connector.connect(no_server_name(), stream).await;
        handshake.expect("handshake, as the client sees it")
    }

    pub fn raw_config(&self, alter: impl FnOnce(&mut ClientConfig)) -> ClientConfig {
        let client = self.client();
        let credentials = Credentials::load(&client.svid).expect("SVID");
        let bytes = std::fs::read(&client.bundle).expect("bundle file");
        let broker: SpiffeId = client.broker;
        let bundle = TrustBundle::parse(broker.trust_domain().clone(), &bytes).expect("bundle");
        let mut config = client_config(&credentials, broker, bundle, client.now).expect("TLS");
        alter(&mut config);
        config
    }

    pub fn set_clock(&self, unix_seconds: u64) {
        self.clock.store(unix_seconds, Ordering::SeqCst);
    }

    pub fn bundle_path(&self) -> PathBuf {
        self.folder.path().join("bundle.pem")
    }

    pub async fn refusal(&mut self) -> &'static str {
        self.refusals.recv().await.expect("broker is up")
    }

    pub async fn call(&mut self) -> (String, SocketAddr) {
        self.calls.recv().await.expect("broker is up")
    }

    /// Returns once every connection is closed. The files go with what it returns.
    pub async fn stop(self) -> TempDir {
        self.stop.send(()).expect("broker is up");
        self.server.await.expect("broker stops in order");
        self.folder
    }

    /// Not the broker's file, which tests replace and break.
    fn bundle_for_clients(&self) -> PathBuf {
        let path = self.folder.path().join("bundle-for-clients.pem");
        self.authority.write_bundle(&path);
        path
    }
}

pub async fn check_health(channel: &Channel) -> Result<(), Status> {
    let request = HealthCheckRequest::default();
    HealthClient::new(channel.clone()).check(request).await?;
    Ok(())
}

pub async fn connect_error(client: &Client) -> ConnectError {
    client
        .connect()
        .await
        .expect_err("the connection is refused")
}

/// Tells who called, once they have been let through.
#[derive(Clone)]
struct Record {
    authenticate: Authenticate,
    called: mpsc::UnboundedSender<(String, SocketAddr)>,
}

impl Interceptor for Record {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let request = self.authenticate.call(request)?;
        let svid: &VerifiedSvid = request.extensions().get().expect("authenticated");
        let remote = peer(&request).expect("over TLS").remote();
        drop(self.called.send((svid.id().to_string(), remote)));
        Ok(request)
    }
}

async fn serve(listener: Listener, record: Record, stopped: oneshot::Receiver<()>) {
    let health = HealthService::from_health_reporter(HealthReporter::new());
    let stopped = async move { drop(stopped.await) };
    let health = HealthServer::with_interceptor(health, record);
    Server::builder()
        .serve_with_incoming_shutdown(health, listener.incoming(), stopped)
        .await
        .expect("serving");
}

fn now(clock: &Arc<AtomicU64>) -> Now {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.load(Ordering::SeqCst))
}
