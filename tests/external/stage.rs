//! An issuer that is served, and the broker's side of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quietus::api::issuer::issuer_server::{Issuer as Service, IssuerServer};
use quietus::config::{ExternalEndpoint, ExternalSettings, Settings, Target};
use quietus::issuers::external::ExternalIssuer;
use quietus::issuers::{Credential, Failure, Issuer, Made, Shared};
use quietus::keys::Keys;
use quietus::tls::SvidFiles;
use quietus_core::{Confirmation, IssueOrder};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use crate::example::ApiKeys;
use crate::orders::{TARGET, now};

pub const BROKER: &str = "spiffe://dev.example/broker";
/// No call takes so long, wherever the tests run.
pub const PATIENT: Duration = Duration::from_secs(60);

/// A service on a unix socket, until this is dropped.
pub struct Served {
    pub folder: TempDir,
    pub socket: PathBuf,
    server: JoinHandle<()>,
}

impl Served {
    /// The example.
    pub fn sound() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = keys(folder.path());
        Self::service(folder, keys, 64 * 1024)
    }

    /// Another service, that takes messages of this size.
    pub fn service(folder: TempDir, service: impl Service, limit: usize) -> Self {
        let socket = folder.path().join("issuer.sock");
        Self {
            server: listen(&socket, service, limit),
            socket,
            folder,
        }
    }

    /// Ends it and serves the same file again.
    pub async fn restart(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
        std::fs::remove_file(&self.socket).unwrap();
        self.server = listen(&self.socket, keys(self.folder.path()), 64 * 1024);
    }

    pub fn endpoint(&self) -> ExternalEndpoint {
        socket(&self.socket)
    }

    pub fn issuer(&self) -> ExternalIssuer {
        issuer(settings(self.endpoint()), PATIENT)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn keys(folder: &Path) -> ApiKeys {
    ApiKeys::open(folder.join("keys.json")).unwrap()
}

pub fn socket(path: &Path) -> ExternalEndpoint {
    ExternalEndpoint::Socket {
        path: path.to_owned(),
        uid: None,
    }
}

/// What the example is configured as.
pub fn settings(endpoint: ExternalEndpoint) -> ExternalSettings {
    ExternalSettings {
        kind: "api-key".to_owned(),
        endpoint,
        can_revoke: true,
        confirms_by: Some(Confirmation::DeletedAtTarget),
        expires_at_target: true,
        renewable: true,
    }
}

pub fn issuer(settings: ExternalSettings, timeout: Duration) -> ExternalIssuer {
    let nowhere = PathBuf::from("/nonexistent");
    let files = SvidFiles {
        chain: nowhere.clone(),
        key: nowhere,
    };
    issuer_as(settings, timeout, files)
}

/// As a broker with this SVID.
pub fn issuer_as(settings: ExternalSettings, timeout: Duration, svid: SvidFiles) -> ExternalIssuer {
    let folder = tempfile::tempdir().unwrap();
    let shared = Shared {
        keys: Arc::new(Keys::open(folder.path(), PATIENT, now()).unwrap()),
        issuer: BROKER.to_owned(),
        broker: BROKER.to_owned(),
        svid,
        now: Arc::new(now),
    };
    let target = Target {
        name: TARGET.parse().unwrap(),
        settings: Settings::External(Box::new(settings.clone())),
        environment: "dev".to_owned(),
        sensitivity: 1,
        resource_servers: vec![],
        concurrency: 8.try_into().unwrap(),
        timeout,
    };
    ExternalIssuer::new(&target, &settings, &shared).unwrap()
}

pub async fn issue(issuer: &ExternalIssuer, order: &IssueOrder) -> Result<Made, Failure> {
    issuer.issue(order, None).unwrap().run().await
}

/// The key that was handed out.
pub fn api_key(made: &Made) -> String {
    match &made.credential {
        Credential::External { secret, .. } => secret["API_KEY"].expose().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn said<T: std::fmt::Debug>(answer: Result<T, Failure>) -> String {
    match answer {
        Err(Failure::Said(text)) => text,
        other => panic!("it did not say no: {other:?}"),
    }
}

#[track_caller]
pub fn away<T: std::fmt::Debug>(answer: Result<T, Failure>) -> String {
    match answer {
        Err(Failure::Away(text)) => text,
        other => panic!("it was not away: {other:?}"),
    }
}

fn listen(socket: &Path, service: impl Service, limit: usize) -> JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    let service = IssuerServer::new(service)
        .max_decoding_message_size(limit)
        .max_encoding_message_size(usize::MAX);
    tokio::spawn(async move {
        Server::builder()
            .add_service(service)
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await
            .unwrap();
    })
}
