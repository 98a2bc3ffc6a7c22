//! TLS as the broker speaks it: version 1.3, X.509-SVIDs on both sides, HTTP/2 inside, and no session resumption.
//!
//! A resumed handshake skips the client's certificate, so nothing here stores a session or sends a ticket. Times
//! come from the clock that is passed in, never from the system.

mod credentials;
mod server_svid;
mod verifier;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use quietus_identity::{SpiffeId, TrustBundle};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use thiserror::Error;

use crate::trust::{Now, Trust};

pub use credentials::{CredentialError, Credentials, SvidFiles};
pub use server_svid::{ServerSvid, SvidChange, SvidStatus};
pub use verifier::{BrokerRefusal, BrokerVerifier, CallerVerifier};

/// The application protocol of the API: HTTP/2 over TLS (RFC 9113, section 3.2).
pub const ALPN: &[u8] = b"h2";

/// What is spoken with those who read files: HTTP/1.1.
pub const WEB_ALPN: &[u8] = b"http/1.1";

/// The broker's side of TLS.
pub struct ServerTls {
    builder: ConfigBuilder<ServerConfig, WantsVerifier>,
    svid: Arc<ServerSvid>,
    trust: Arc<Trust>,
    now: Now,
}

impl ServerTls {
    /// Serves `svid` and asks every caller for an SVID that `trust` vouches for at `now`.
    pub fn new(svid: Arc<ServerSvid>, trust: Arc<Trust>, now: Now) -> Result<Self, TlsError> {
        let builder =
            ServerConfig::builder_with_details(provider(), Arc::new(Clock(Arc::clone(&now))));
        Ok(Self {
            builder: builder.with_protocol_versions(&[&TLS13])?,
            svid,
            trust,
            now,
        })
    }

    /// The time that callers are verified by, in unix seconds.
    pub(crate) fn now(&self) -> u64 {
        (self.now)()
    }

    /// What one handshake needs: its configuration, and the verifier that will know who the caller is.
    ///
    /// Serve a single connection with it: the verifier remembers one caller.
    pub fn handshake(&self) -> (Arc<ServerConfig>, Arc<CallerVerifier>) {
        self.handshake_for(ALPN)
    }

    /// The same for HTTP/1.1.
    pub fn web_handshake(&self) -> (Arc<ServerConfig>, Arc<CallerVerifier>) {
        self.handshake_for(WEB_ALPN)
    }

    /// For HTTP/1.1 with callers who are not asked who they are.
    pub fn web_handshake_with_anybody(&self) -> Arc<ServerConfig> {
        let builder = self.builder.clone().with_no_client_auth();
        let config = builder.with_cert_resolver(Arc::clone(&self.svid) as _);
        Arc::new(without_sessions(config, WEB_ALPN))
    }

    fn handshake_for(&self, protocol: &[u8]) -> (Arc<ServerConfig>, Arc<CallerVerifier>) {
        let verifier = Arc::new(CallerVerifier::new(self.trust.current()));
        let builder = self.builder.clone();
        let config = builder
            .with_client_cert_verifier(Arc::clone(&verifier) as _)
            .with_cert_resolver(Arc::clone(&self.svid) as _);
        (Arc::new(without_sessions(config, protocol)), verifier)
    }
}

fn without_sessions(mut config: ServerConfig, protocol: &[u8]) -> ServerConfig {
    config.alpn_protocols = vec![protocol.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config
}

/// A client's side of TLS: presents `credentials` and talks to nobody but `broker`, vouched for by `bundle`.
pub fn client_config(
    credentials: &Credentials,
    broker: SpiffeId,
    bundle: TrustBundle,
    now: Now,
) -> Result<ClientConfig, TlsError> {
    let verifier = BrokerVerifier::new(broker, bundle);
    let identity = SingleCertAndKey::from(credentials.certified_key().clone());
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(Clock(now)))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(identity));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(config)
}

/// A client's side of TLS with servers that authorities vouch for by name. It shows no certificate.
pub(crate) fn plain_client_config(
    roots: RootCertStore,
    now: Now,
) -> Result<ClientConfig, rustls::Error> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Clock(now)));
    let builder = builder.with_protocol_versions(&[&TLS13])?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

/// The name to give to rustls when it asks for one. It is not sent, and nothing is compared with it: a broker is
/// known by its SPIFFE ID.
pub fn no_server_name() -> ServerName<'static> {
    ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Why TLS cannot be configured at all.
#[derive(Debug, Error)]
#[error("TLS cannot be configured: {0}")]
pub struct TlsError(#[from] rustls::Error);

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("svid", &self.svid.status())
            .field("trust", &self.trust.status())
            .finish_non_exhaustive()
    }
}

/// Lets rustls read the caller's clock; verifiers are told the time by rustls.
struct Clock(Now);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = Duration::from_secs((self.0)());
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
