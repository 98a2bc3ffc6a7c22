//! A whole broker in this process: real sockets, real mTLS, a real store, and a clock that is moved by hand.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quietus::api::v1;
use quietus::api::v1::broker_client::BrokerClient;
use quietus::api::v1::operator_client::OperatorClient;
use quietus::api::v1::verification_client::VerificationClient;
use quietus::broker::{Broker, BrokerError, Options};
use quietus::client::Client;
use quietus::clock::{ManualTime, TimeSource};
use quietus::config::Config;
use quietus::dev::{DevDomain, DevDomainOptions, Svid};
use quietus::engine::Engine;
use quietus::tls::SvidFiles;
use quietus::trust::Trust;
use quietus_core::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic_types::StatusExt;

pub const DOMAIN: &str = "dev.example";
pub const READ: &str = "orders-db:read:public.orders";

/// A development trust domain in a folder of its own, and the time in it.
pub struct World {
    pub folder: tempfile::TempDir,
    pub domain: DevDomain,
    pub time: Arc<ManualTime>,
    pub start: SystemTime,
}

/// A broker that serves.
pub struct Serving {
    pub engine: Arc<Engine>,
    pub trust: Arc<Trust>,
    pub address: String,
    /// Where its metrics are, if it has any.
    pub metrics: Option<std::net::SocketAddr>,
    /// Where the ledger's files are served, if they are.
    pub files: Option<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), BrokerError>>,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Whole seconds, so that what a token says and what the clock says can be compared.
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
        let options = DevDomainOptions {
            trust_domain: DOMAIN.parse().unwrap(),
            listen: "127.0.0.1:8443".parse().unwrap(),
            now: start,
            lifetime: Duration::from_secs(30 * 86_400),
            force: false,
        };
        let domain = DevDomain::create(folder.path(), &options).unwrap();
        let time = ManualTime::at(Timestamp::from_seconds(now));
        Self {
            folder,
            domain,
            time,
            start,
        }
    }

    pub fn config(&self) -> Config {
        let mut config = Config::load(self.domain.config()).unwrap();
        config.broker.listen = "127.0.0.1:0".parse().unwrap();
        // A developer's disk may be nearly full.
        config.store.min_free_bytes = 1 << 20;
        config
    }

    pub async fn serve(&self) -> Serving {
        self.serve_with(self.config(), Options::default())
            .await
            .unwrap()
    }

    pub async fn serve_with(
        &self,
        config: Config,
        options: Options,
    ) -> Result<Serving, BrokerError> {
        let time = Arc::clone(&self.time) as Arc<dyn TimeSource>;
        let broker = Broker::start(config, time, options).await?;
        let address = format!("127.0.0.1:{}", broker.local_addr().unwrap().port());
        let metrics = broker.metrics_addr();
        let files = broker.ledger_addr();
        let engine = Arc::clone(broker.engine());
        let trust = Arc::clone(broker.trust());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(broker.run(async move {
            let _ = stopped.await;
        }));
        Ok(Serving {
            engine,
            trust,
            address,
            metrics,
            files,
            stop: Some(stop),
            running,
        })
    }

    /// A connection as one of `agent`, `reader`, `operator`, `resource-server`.
    pub async fn connect(&self, serving: &Serving, name: &str) -> Channel {
        self.try_connect(serving, name).await.unwrap()
    }

    pub async fn try_connect(
        &self,
        serving: &Serving,
        name: &str,
    ) -> Result<Channel, quietus::client::ConnectError> {
        let file = |end: &str| self.folder.path().join(format!("{name}.{end}"));
        let time = Arc::clone(&self.time);
        Client {
            address: serving.address.clone(),
            broker: self.domain.ca.id("/broker").unwrap(),
            svid: SvidFiles {
                chain: file("pem"),
                key: file("key"),
            },
            bundle: self.path("bundle.pem"),
            now: Arc::new(move || time.wall().seconds()),
        }
        .connect()
        .await
    }

    pub async fn broker(&self, serving: &Serving, name: &str) -> BrokerClient<Channel> {
        BrokerClient::new(self.connect(serving, name).await)
    }

    pub async fn operator(&self, serving: &Serving) -> OperatorClient<Channel> {
        OperatorClient::new(self.connect(serving, "operator").await)
    }

    pub async fn verification(&self, serving: &Serving) -> VerificationClient<Channel> {
        VerificationClient::new(self.connect(serving, "resource-server").await)
    }

    /// Writes another SVID of the domain into the folder, to connect with by `name`.
    pub fn add_svid(&self, name: &str, path: &str, lifetime: Duration) -> Svid {
        let svid = self.domain.ca.svid(path, self.start, lifetime).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), &svid.chain_pem).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), svid.key_pem.as_bytes()).unwrap();
        svid
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.config().store.path
    }

    /// Replaces a file as a careful operator does.
    pub fn replace(&self, name: &str, text: &str) {
        replace(&self.path(name), text);
    }
}

pub fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, path).unwrap();
}

impl Serving {
    /// Stops as SIGTERM does, and waits until the store is closed.
    pub async fn stop(mut self) -> Result<(), BrokerError> {
        let _ = self.stop.take().unwrap().send(());
        let done = self.running.await.unwrap();
        drop_last(self.engine).await;
        done
    }

    /// Waits until it stops by itself.
    pub async fn ended(self) -> Result<(), BrokerError> {
        self.running.await.unwrap()
    }
}

/// Connections that are still being torn down hold on to the engine for a moment.
async fn drop_last(mut engine: Arc<Engine>) {
    loop {
        match Arc::try_unwrap(engine) {
            Ok(last) => return drop(last),
            Err(shared) => engine = shared,
        }
        tokio::task::yield_now().await;
    }
}

/// The stable reason of a refusal or error.
pub fn reason(status: &tonic::Status) -> String {
    status
        .get_details_error_info()
        .map(|info| info.reason)
        .unwrap_or_default()
}

pub fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

pub async fn open(client: &mut BrokerClient<Channel>) -> v1::Task {
    let request = v1::OpenTaskRequest {
        purpose: "reconcile orders".to_owned(),
        ..Default::default()
    };
    client
        .open_task(request)
        .await
        .unwrap()
        .into_inner()
        .task
        .unwrap()
}

pub fn wants(task: &v1::Task, scopes: &[&str]) -> v1::RequestCredentialRequest {
    v1::RequestCredentialRequest {
        task_id: task.id.clone(),
        scopes: scopes.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

pub async fn request(client: &mut BrokerClient<Channel>, task: &v1::Task) -> (v1::Lease, String) {
    let reply = client
        .request_credential(wants(task, &[READ]))
        .await
        .unwrap()
        .into_inner();
    (reply.lease.unwrap(), jwt(reply.credential))
}

pub fn jwt(credential: Option<v1::Credential>) -> String {
    match credential.unwrap().kind.unwrap() {
        v1::credential::Kind::Jwt(token) => token,
        other => panic!("no token but {other:?}"),
    }
}

pub async fn is_active(client: &mut VerificationClient<Channel>, token: &str) -> bool {
    let request = v1::IntrospectRequest {
        token: token.to_owned(),
        ..Default::default()
    };
    client
        .introspect(request)
        .await
        .unwrap()
        .into_inner()
        .active
}

pub fn of(selector: v1::selector::Of) -> Option<v1::Selector> {
    Some(v1::Selector { of: Some(selector) })
}

/// Every entry of the ledger, parsed, from a store that nobody has open.
pub fn ledger(engine: &Engine) -> Vec<quietus_ledger::Sealed> {
    let snapshot = engine.store().read();
    snapshot.whole_entries(1, usize::MAX).unwrap()
}
