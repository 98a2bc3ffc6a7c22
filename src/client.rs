//! Connects to a broker, as a workload that has an X.509-SVID.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use hyper_util::rt::TokioIo;
use quietus_identity::SpiffeId;
use rustls::{AlertDescription, ClientConfig};
use thiserror::Error;
use tokio::io::AsyncBufReadExt;
#[cfg(feature = "external")]
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::tls::{
    self, ALPN, BrokerRefusal, CredentialError, Credentials, SvidFiles, TlsError, client_config,
};
use crate::trust::{BundleFileError, Now, read_bundle};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Who to connect to, and as whom.
#[derive(Clone)]
pub struct Client {
    /// Host and port of the broker.
    pub address: String,
    /// The broker's SPIFFE ID. Whoever else answers is refused.
    pub broker: SpiffeId,
    /// The SVID to present. The files are read for every connection, so that a rotated SVID is used from the next.
    pub svid: SvidFiles,
    /// The trust bundle of the broker's trust domain, read for every connection as well.
    pub bundle: PathBuf,
    /// The clock to verify the broker's SVID by.
    pub now: Now,
}

impl Client {
    /// Connects, and returns once the broker has accepted our SVID or said why not.
    ///
    /// The channel connects again by itself when its connection is lost. What goes wrong then is found in the
    /// request's error by [`ConnectError::within`].
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        let endpoint = self.endpoint()?;
        let first = Mutex::new(Some(self.dial().await?));
        let client = self.clone();
        let connector = service_fn(move |_| {
            let dialled = first.lock().unwrap_or_else(PoisonError::into_inner).take();
            let client = client.clone();
            async move {
                match dialled {
                    Some(stream) => Ok(TokioIo::new(stream)),
                    None => client.dial().await.map(TokioIo::new),
                }
            }
        });
        let channel = endpoint.connect_with_connector(connector).await;
        channel.map_err(|error| ConnectError::Http2(error.into()))
    }

    #[cfg(feature = "external")]
    /// Connects once: the channel does not connect again by itself when its connection is lost.
    pub(crate) async fn connect_once(&self) -> Result<Channel, ConnectError> {
        let endpoint = self.endpoint()?;
        let channel = over(endpoint, self.dial().await?).await;
        channel.map_err(|error| ConnectError::Http2(error.into()))
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let bad_address = || ConnectError::Address(self.address.clone());
        let authority: Authority = self.address.parse().map_err(|_| bad_address())?;
        authority.port().ok_or_else(bad_address)?;
        let endpoint = Endpoint::from_shared(format!("https://{authority}"));
        Ok(endpoint
            .map_err(|_| bad_address())?
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true))
    }

    async fn dial(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let timed_out = || ConnectError::TimedOut {
            address: self.address.clone(),
        };
        let secured = tokio::time::timeout(CONNECT_TIMEOUT, self.secure()).await;
        secured.unwrap_or_else(|_| Err(timed_out()))
    }

    async fn secure(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let connector = TlsConnector::from(Arc::new(self.tls()?));
        let tcp = self.reach().await?;
        let handshake = connector.connect(tls::no_server_name(), tcp).await;
        let mut stream = handshake.map_err(handshake_error)?;
        check_protocol(&stream)?;
        await_welcome(&mut stream).await?;
        Ok(stream)
    }

    fn tls(&self) -> Result<ClientConfig, ConnectError> {
        let credentials = Credentials::load(&self.svid)?;
        let bundle = read_bundle(self.broker.trust_domain(), &self.bundle);
        let bundle = bundle.map_err(|problem| ConnectError::Bundle {
            path: self.bundle.clone(),
            problem,
        })?;
        let now = Arc::clone(&self.now);
        Ok(client_config(
            &credentials,
            self.broker.clone(),
            bundle,
            now,
        )?)
    }

    async fn reach(&self) -> Result<TcpStream, ConnectError> {
        let unreachable = |problem| ConnectError::Unreachable {
            address: self.address.clone(),
            problem,
        };
        let tcp = TcpStream::connect(&self.address)
            .await
            .map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        Ok(tcp)
    }
}

#[cfg(feature = "external")]
/// A channel over this very connection, and over no other.
pub(crate) async fn over<S>(
    endpoint: Endpoint,
    stream: S,
) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let only = Mutex::new(Some(stream));
    let connector = service_fn(move |_| {
        let stream = only.lock().unwrap_or_else(PoisonError::into_inner).take();
        let stream = stream.map(TokioIo::new);
        async { stream.ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
    });
    endpoint.connect_with_connector(connector).await
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("broker", &self.broker)
            .field("svid", &self.svid)
            .field("bundle", &self.bundle)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection to the broker.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Not `host:port`.
    #[error("{0:?} is not an address: write host:port")]
    Address(String),
    /// Our own SVID cannot be loaded.
    #[error("our SVID cannot be loaded: {0}")]
    Credentials(#[from] CredentialError),
    /// The broker's trust bundle cannot be loaded.
    #[error("the broker's trust bundle, {path}, {problem}", path = path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: BundleFileError,
    },
    /// TLS cannot be configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No TCP connection.
    #[error("{address} cannot be reached: {problem}")]
    Unreachable {
        /// Where to.
        address: String,
        /// What the network says.
        problem: io::Error,
    },
    /// Something listens there, but nothing came of it in ten seconds.
    #[error("{address} did not answer in time: is a broker running there?")]
    TimedOut {
        /// Where to.
        address: String,
    },
    /// The server is not the broker that was expected.
    #[error(transparent)]
    BrokerRefused(#[from] BrokerRefusal),
    /// The broker refused our SVID.
    #[error("the broker refuses our SVID: {} (TLS alert {alert:?})", explanation(*alert))]
    SvidRefused {
        /// What it said.
        alert: AlertDescription,
    },
    /// The TLS handshake failed before either SVID was refused.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// The server does not speak HTTP/2.
    #[error("the server does not speak HTTP/2 over TLS (ALPN h2): is it a broker?")]
    NotHttp2,
    /// The broker hung up.
    #[error("the broker closed the connection: it is shutting down, or has as many as it may have")]
    Closed,
    /// HTTP/2 did not start.
    #[error("HTTP/2 did not start: {0}")]
    Http2(Box<dyn StdError + Send + Sync>),
}

impl ConnectError {
    /// A stable name for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Address(_) => "ADDRESS_INVALID",
            Self::Credentials(_) => "CREDENTIALS_UNUSABLE",
            Self::Bundle { .. } => "BUNDLE_UNUSABLE",
            Self::Tls(_) => "TLS_CONFIG",
            Self::Unreachable { .. } => "BROKER_UNREACHABLE",
            Self::TimedOut { .. } => "BROKER_TIMED_OUT",
            Self::BrokerRefused(refusal) => refusal.reason(),
            Self::SvidRefused { .. } => "OUR_SVID_REFUSED",
            Self::Handshake(_) => "TLS_HANDSHAKE",
            Self::NotHttp2 => "TLS_NOT_HTTP2",
            Self::Closed => "BROKER_CLOSED",
            Self::Http2(_) => "HTTP2_NOT_STARTED",
        }
    }

    /// The connect error that an error of a later request comes from, if it comes from one.
    pub fn within<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        causes.find_map(|error| error.downcast_ref())
    }
}

/// Waits for the broker's first bytes, which it sends once it has accepted our SVID, and leaves them to be read.
///
/// In TLS 1.3 a client has finished its handshake before the server has looked at the client's certificate: a refusal
/// comes on the first read, where HTTP/2 would turn it into a mere broken connection.
async fn await_welcome(stream: &mut TlsStream<TcpStream>) -> Result<(), ConnectError> {
    match stream.fill_buf().await {
        Ok([]) => Err(ConnectError::Closed),
        Ok(_) => Ok(()),
        Err(error) => Err(read_error(error)),
    }
}

fn check_protocol(stream: &TlsStream<TcpStream>) -> Result<(), ConnectError> {
    match stream.get_ref().1.alpn_protocol() {
        Some(protocol) if protocol == ALPN => Ok(()),
        _ => Err(ConnectError::NotHttp2),
    }
}

fn handshake_error(error: io::Error) -> ConnectError {
    match tls_error(&error).and_then(BrokerRefusal::within) {
        Some(refusal) => refusal.clone().into(),
        None if hung_up(&error) => ConnectError::Closed,
        None => ConnectError::Handshake(error),
    }
}

fn read_error(error: io::Error) -> ConnectError {
    match tls_error(&error) {
        Some(rustls::Error::AlertReceived(alert)) => ConnectError::SvidRefused { alert: *alert },
        None if hung_up(&error) => ConnectError::Closed,
        _ => ConnectError::Handshake(error),
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
    )
}

fn explanation(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateExpired => {
            "by the broker's clock it has expired or is not valid yet"
        }
        AlertDescription::UnknownCA => {
            "none of the broker's trust bundles vouches for it, so ask for ours to be configured there"
        }
        AlertDescription::UnsupportedCertificate => {
            "its key usage does not allow it to authenticate a client"
        }
        AlertDescription::BadCertificate => "it is malformed",
        _ => "the broker's log has the reason",
    }
}
