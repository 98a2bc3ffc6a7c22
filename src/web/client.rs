//! A small HTTP/1.1 client: one request, one bounded answer, one connection.
//!
//! It follows no redirects and sends nothing that it was not given.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::{self, WEB_ALPN};
use crate::trust::Now;

/// Where systems keep the authorities that they trust.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Largest file of authorities that is read.
const MAX_CA: usize = 4 << 20;
const AGENT: &str = concat!("quietus/", env!("CARGO_PKG_VERSION"));

/// How much a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first packet to the last.
    pub time: Duration,
    /// The most bytes in the body of an answer.
    pub body: usize,
}

/// Somebody who is asked.
#[derive(Clone)]
pub struct Endpoint {
    prefix: Uri,
    tls: Option<(ServerName<'static>, TlsConnector)>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// What the body is said to be.
    pub media: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Why an endpoint cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The file of authorities.
    #[error("{path} {problem}", path = path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No authorities of the system.
    #[error("the system has no file of certificate authorities: name one with `ca`")]
    NoSystem,
    /// A host that no certificate can name.
    #[error("{0} is not a host name")]
    Host(String),
    /// TLS.
    #[error("TLS cannot be configured: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No connection, or no TLS on it.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// What came back is not HTTP, or broke off.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// The request cannot be put in words.
    #[error("the request cannot be sent: {0}")]
    Request(#[from] http::Error),
    /// The answer is too large.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// The answer broke off.
    #[error("the answer broke off")]
    Broken,
    /// It took too long.
    #[error("no answer within {0:?}")]
    TooLate(Duration),
}

impl Endpoint {
    /// An endpoint below this URL. For https:// these authorities vouch for it, or if none are given the system's.
    ///
    /// # Errors
    /// [`EndpointError`] if TLS cannot be spoken with it.
    pub fn new(prefix: Uri, ca: Option<&Path>, now: Now) -> Result<Self, EndpointError> {
        let tls = match prefix.scheme_str() {
            Some("http") => None,
            _ => Some((server_name(&prefix)?, connector(ca, now)?)),
        };
        Ok(Self { prefix, tls })
    }

    /// Posts a body.
    ///
    /// # Errors
    /// [`AskError`] if there is no answer within the limits. Any status is an answer.
    pub async fn post(&self, name: &str, body: String, limits: Limits) -> Result<Reply, AskError> {
        let asked = tokio::time::timeout(limits.time, self.ask(name, body, limits.body));
        let answer = asked.await;
        answer.unwrap_or(Err(AskError::TooLate(limits.time)))
    }

    async fn ask(&self, name: &str, body: String, most: usize) -> Result<Reply, AskError> {
        let request = self.request(name, body)?;
        let stream = TcpStream::connect(self.address()).await;
        let stream = stream.map_err(AskError::Connect)?;
        stream.set_nodelay(true).map_err(AskError::Connect)?;
        match &self.tls {
            None => exchange(stream, request, most).await,
            Some((name, connector)) => {
                let stream = connector.connect(name.clone(), stream).await;
                exchange(stream.map_err(AskError::Connect)?, request, most).await
            }
        }
    }

    fn request(&self, name: &str, body: String) -> Result<Request<Full<Bytes>>, http::Error> {
        let prefix = self.prefix.path().trim_end_matches('/');
        let authority = self.prefix.authority().map_or("", |it| it.as_str());
        Request::post(format!("{prefix}/{name}"))
            .header(HOST, authority)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .header(CONTENT_LENGTH, body.len())
            .body(Full::new(Bytes::from(body)))
    }

    fn address(&self) -> (&str, u16) {
        let host = self.prefix.host().unwrap_or_default();
        let port = if self.tls.is_some() { 443 } else { 80 };
        (unbracketed(host), self.prefix.port_u16().unwrap_or(port))
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.prefix)
    }
}

/// The connection is driven while the answer is read, and ends with it.
async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Reply, AskError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let asking = async move { read(sender.send_request(request).await?, most).await };
    tokio::pin!(asking);
    tokio::select! {
        biased;
        reply = &mut asking => reply,
        // Once it has ended there may still be what it has brought.
        _ = connection => asking.await,
    }
}

async fn read(response: Response<Incoming>, most: usize) -> Result<Reply, AskError> {
    let status = response.status();
    let media = response.headers().get(CONTENT_TYPE);
    let media = media.and_then(|media| media.to_str().ok().map(str::to_owned));
    let body = Limited::new(response.into_body(), most).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => AskError::TooLarge(most),
        false => AskError::Broken,
    })?;
    Ok(Reply {
        status,
        media,
        body: body.to_bytes(),
    })
}

fn connector(ca: Option<&Path>, now: Now) -> Result<TlsConnector, EndpointError> {
    let roots = match ca {
        Some(path) => authorities(path)?,
        None => system()?,
    };
    let mut config: ClientConfig = tls::plain_client_config(roots, now)?;
    config.alpn_protocols = vec![WEB_ALPN.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn system() -> Result<RootCertStore, EndpointError> {
    let there = SYSTEM.iter().map(Path::new).find(|path| path.exists());
    authorities(there.ok_or(EndpointError::NoSystem)?)
}

fn authorities(path: &Path) -> Result<RootCertStore, EndpointError> {
    let wrong = |problem: String| EndpointError::Ca {
        path: path.to_owned(),
        problem,
    };
    let pem = crate::files::read(path, MAX_CA).map_err(|error| wrong(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates =
        certificates.map_err(|_| wrong("is not a PEM file of certificates".to_owned()))?;
    let mut roots = RootCertStore::empty();
    // Systems carry authorities that are not understood here; one that is understood is enough.
    roots.add_parsable_certificates(certificates);
    match roots.is_empty() {
        true => Err(wrong("has no usable CERTIFICATE in it".to_owned())),
        false => Ok(roots),
    }
}

fn server_name(url: &Uri) -> Result<ServerName<'static>, EndpointError> {
    let host = unbracketed(url.host().unwrap_or_default()).to_owned();
    ServerName::try_from(host.clone()).map_err(|_| EndpointError::Host(host))
}

fn unbracketed(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
