use std::sync::{Arc, LazyLock, OnceLock};

use quietus_identity::{
    CertificateDer, Purpose, SpiffeId, SvidError, TrustBundle, TrustBundles, VerifiedSvid, verify,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use thiserror::Error;

static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
    LazyLock::new(|| ring::default_provider().signature_verification_algorithms);

/// Verifies the caller of one handshake and remembers what it decided.
#[derive(Debug)]
pub struct CallerVerifier {
    bundles: Arc<TrustBundles>,
    verdict: OnceLock<Result<VerifiedSvid, SvidError>>,
}

impl CallerVerifier {
    pub(super) fn new(bundles: Arc<TrustBundles>) -> Self {
        Self {
            bundles,
            verdict: OnceLock::new(),
        }
    }

    /// What was decided about the caller's certificates; nothing if none were looked at.
    ///
    /// That the caller also has the key is known only once the handshake has succeeded.
    pub fn verdict(&self) -> Option<&Result<VerifiedSvid, SvidError>> {
        self.verdict.get()
    }

    /// The bundles that it decides by: those that were in force when the handshake began.
    pub fn bundles(&self) -> &Arc<TrustBundles> {
        &self.bundles
    }
}

impl ClientCertVerifier for CallerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// None: which authorities are trusted is nobody's business before the caller is known.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain = chain(leaf, intermediates);
        let decide = || verify(&chain, &self.bundles, Purpose::Client, now.as_secs());
        match self.verdict.get_or_init(decide) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => Err(Error::InvalidCertificate(alert(refusal))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(not_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// Verifies that a server is one particular broker.
#[derive(Debug)]
pub struct BrokerVerifier {
    expected: SpiffeId,
    bundles: TrustBundles,
}

impl BrokerVerifier {
    /// Expects the broker `expected`, vouched for by `bundle`.
    pub fn new(expected: SpiffeId, bundle: TrustBundle) -> Self {
        Self {
            expected,
            bundles: TrustBundles::from_iter([bundle]),
        }
    }

    fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), BrokerRefusal> {
        let svid = verify(chain, &self.bundles, Purpose::Server, now.as_secs())?;
        match *svid.id() == self.expected {
            true => Ok(()),
            false => Err(BrokerRefusal::OtherIdentity {
                expected: self.expected.clone(),
                found: svid.id().clone(),
            }),
        }
    }
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verify(&chain(leaf, intermediates), now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(refusal) => {
                let refusal = CertificateError::Other(OtherError(Arc::new(refusal)));
                Err(Error::InvalidCertificate(refusal))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(not_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// Why a server is not taken for the broker.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BrokerRefusal {
    /// Its SVID does not verify.
    #[error("the server's SVID is refused: {0}")]
    Svid(#[from] SvidError),
    /// Its SVID is good, but another's.
    #[error("the server is {found}, not {expected}: is the address right?")]
    OtherIdentity {
        /// Who was expected.
        expected: SpiffeId,
        /// Who answered.
        found: SpiffeId,
    },
}

impl BrokerRefusal {
    /// A stable name for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Svid(refusal) => refusal.reason(),
            Self::OtherIdentity { .. } => "BROKER_OTHER_IDENTITY",
        }
    }

    /// The refusal in an error of rustls, if that is what it is about.
    pub(crate) fn within(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }
}

/// Chooses the alert that tells the caller most (RFC 8446, section 6.2). The full reason stays here.
fn alert(refusal: &SvidError) -> CertificateError {
    match refusal {
        SvidError::Expired { .. } | SvidError::SignerExpired { .. } => CertificateError::Expired,
        SvidError::NotYetValid { .. } | SvidError::SignerNotYetValid { .. } => {
            CertificateError::NotValidYet
        }
        SvidError::UnknownIssuer
        | SvidError::SignatureInvalid
        | SvidError::TrustDomainUnknown { .. }
        | SvidError::AnchorExpired { .. }
        | SvidError::AnchorNotYetValid { .. } => CertificateError::UnknownIssuer,
        SvidError::Certificate { .. } => CertificateError::BadEncoding,
        SvidError::LeafIsCa
        | SvidError::KeyUsageMissing
        | SvidError::KeyUsageNotCritical
        | SvidError::KeyUsageNoDigitalSignature
        | SvidError::KeyUsageKeyCertSign
        | SvidError::KeyUsageCrlSign
        | SvidError::ExtendedKeyUsage => CertificateError::InvalidPurpose,
        _ => CertificateError::Other(OtherError(Arc::new(refusal.clone()))),
    }
}

fn chain<'a>(
    leaf: &'a CertificateDer<'_>,
    intermediates: &'a [CertificateDer<'_>],
) -> Vec<CertificateDer<'a>> {
    let presented = std::iter::once(leaf).chain(intermediates);
    presented
        .map(|der| CertificateDer::from(der.as_ref()))
        .collect()
}

fn not_tls13() -> Error {
    Error::General("only TLS 1.3 is spoken".to_owned())
}
