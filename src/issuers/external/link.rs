//! A connection to an external issuer: over mTLS, or over a unix socket.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::geteuid;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::client::{Client, ConnectError, over};
use crate::config::ExternalEndpoint;
use crate::issuers::Failure;
use crate::tls::SvidFiles;
use quietus_core::Timestamp;

/// What the write bits of group and others let in.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const ROOT: u32 = 0;

/// How an issuer is reached.
#[derive(Clone, Debug)]
pub(super) enum Link {
    Tls(Client),
    Socket { path: PathBuf, uid: u32 },
}

impl Link {
    /// The way to an endpoint; over TLS as whoever the SVID says.
    pub(super) fn new(
        endpoint: &ExternalEndpoint,
        svid: Option<&SvidFiles>,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Result<Self, String> {
        match (endpoint, svid) {
            (ExternalEndpoint::Socket { path, uid }, _) => Ok(Self::Socket {
                path: path.clone(),
                uid: uid.unwrap_or_else(own_uid),
            }),
            (ExternalEndpoint::Tls { .. }, None) => {
                Err("mTLS needs an X.509-SVID of our own".to_owned())
            }
            (
                ExternalEndpoint::Tls {
                    address,
                    issuer_id,
                    bundle,
                },
                Some(svid),
            ) => Ok(Self::Tls(Client {
                address: address.clone(),
                broker: issuer_id.clone(),
                svid: svid.clone(),
                bundle: bundle.clone(),
                now: Arc::new(move || now().seconds()),
            })),
        }
    }

    /// One connection. It is not made again by itself when it is lost.
    pub(super) async fn open(&self) -> Result<Channel, Failure> {
        match self {
            Self::Tls(client) => client.connect_once().await.map_err(|error| explain(&error)),
            Self::Socket { path, uid } => {
                check_folder(path, *uid).await.map_err(Failure::away)?;
                let stream = reach(path, *uid).await.map_err(Failure::away)?;
                let channel = over(Endpoint::from_static("http://issuer"), stream).await;
                channel.map_err(|_| Failure::away("the issuer does not speak HTTP/2"))
            }
        }
    }
}

/// Whoever may write in the socket's folder can put a socket of his own there.
async fn check_folder(socket: &Path, uid: u32) -> Result<(), String> {
    let folder = match socket.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let shown = folder.display();
    let metadata = tokio::fs::metadata(folder)
        .await
        .map_err(|error| format!("the socket's folder {shown} cannot be looked at: {error}"))?;
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(format!(
            "others may write in the socket's folder {shown}: run chmod go-w on it"
        ));
    }
    match is_ours(metadata.uid(), uid) {
        true => Ok(()),
        false => Err(format!(
            "the socket's folder {shown} belongs to user {}: write uid = {0} if the issuer runs as that",
            metadata.uid()
        )),
    }
}

async fn reach(path: &Path, uid: u32) -> Result<UnixStream, String> {
    let shown = path.display();
    let unreachable = |error| format!("{shown} cannot be reached: {error}");
    let stream = UnixStream::connect(path).await.map_err(unreachable)?;
    let peer = stream.peer_cred().map_err(unreachable)?.uid();
    // Ours is nobody's but the issuer's where another user was named.
    match peer == uid || peer == ROOT {
        true => Ok(stream),
        false => Err(format!(
            "user {peer} listens at {shown}, not user {uid}: write uid = {peer} if the issuer runs as that"
        )),
    }
}

fn is_ours(owner: u32, uid: u32) -> bool {
    [ROOT, uid, own_uid()].contains(&owner)
}

fn own_uid() -> u32 {
    geteuid().as_raw()
}

/// The client's words are about brokers.
fn explain(error: &ConnectError) -> Failure {
    match error {
        ConnectError::BrokerRefused(refusal) => Failure::away(refusal),
        ConnectError::SvidRefused { alert } => Failure::away(format_args!(
            "the issuer refuses the broker's SVID (TLS alert {alert:?}): its log has the reason"
        )),
        ConnectError::Bundle { path, problem } => Failure::away(format_args!(
            "the issuer's trust bundle, {}, {problem}",
            path.display()
        )),
        ConnectError::TimedOut { address } => {
            Failure::away(format_args!("{address} did not answer in time"))
        }
        ConnectError::Closed => Failure::away("the issuer closed the connection"),
        ConnectError::NotHttp2 => {
            Failure::away("the issuer does not speak HTTP/2 over TLS (ALPN h2)")
        }
        ConnectError::Handshake(_) => {
            Failure::away("the TLS handshake failed: does the issuer speak TLS 1.3?")
        }
        ConnectError::Http2(_) => Failure::away("HTTP/2 did not start"),
        other => Failure::away(other),
    }
}
