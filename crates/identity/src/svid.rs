use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use thiserror::Error;

use crate::bundle::{TrustBundle, TrustBundles};
use crate::certificate::{Certificate, CertificateError, PeerUsage, Validity};
use crate::digest;
use crate::path::{self, Presented};
use crate::spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};

const MAX_CHAIN: usize = 8;

/// Verifies an X.509-SVID as of `now` (X509-SVID specification, section 5).
///
/// `chain` is the leaf followed by intermediates in any order, at most 8 certificates of 16 KiB; it may hold more
/// than a path needs, but each has to be a well-formed certificate. `now` is in unix seconds. The leaf has to chain
/// to the bundle of its own trust domain and to fit the side of TLS that its holder is on.
pub fn verify(
    chain: &[CertificateDer<'_>],
    bundles: &TrustBundles,
    purpose: Purpose,
    now: u64,
) -> Result<VerifiedSvid, SvidError> {
    let (leaf, intermediates) = split(chain)?;
    let certificate = read(0, leaf)?;
    let id = check_leaf(&certificate, purpose, now)?;
    let bundle = bundle_of(&id, bundles)?;
    let signers = read_all(intermediates)?;
    let presented = Presented {
        leaf,
        intermediates,
        signers,
    };
    let path = path::build(&presented, bundle, purpose, now)?;
    Ok(VerifiedSvid(Arc::new(Facts {
        fingerprint: digest::sha256(leaf),
        id,
        own: certificate.validity,
        serial: certificate.serial,
        trusted: certificate.validity.intersect(path.validity),
        anchor: path.anchor,
        purpose,
        bundle: bundle.digest(),
        chain: chain.iter().map(|der| der.clone().into_owned()).collect(),
    })))
}

/// Which side of a TLS connection the holder of an SVID is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The holder opened the connection: extended key usage, if present, has to include `clientAuth`.
    Client,
    /// The holder accepted the connection: extended key usage, if present, has to include `serverAuth`.
    Server,
}

impl Purpose {
    pub(crate) fn is_allowed_by(self, usage: Option<PeerUsage>) -> bool {
        usage.is_none_or(|usage| match self {
            Self::Client => usage.client,
            Self::Server => usage.server,
        })
    }
}

/// An identity that [`verify`] has found good. Cheap to clone.
///
/// It says what was true when it was verified; a connection outlives that, so ask [`Self::still_trusted`] on every
/// request.
#[derive(Clone)]
pub struct VerifiedSvid(Arc<Facts>);

struct Facts {
    id: SpiffeId,
    fingerprint: [u8; 32],
    serial: String,
    own: Validity,
    trusted: Validity,
    anchor: [u8; 32],
    purpose: Purpose,
    bundle: [u8; 32],
    chain: Vec<CertificateDer<'static>>,
}

impl VerifiedSvid {
    /// Who the holder is.
    pub fn id(&self) -> &SpiffeId {
        &self.0.id
    }

    /// SHA-256 of the leaf's DER: the value of `x5t#S256` (RFC 8705, section 3.1) before base64url.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// The first second in which the leaf is valid, in unix seconds.
    pub fn not_before(&self) -> u64 {
        self.0.own.not_before
    }

    /// The last second in which the leaf is valid, in unix seconds.
    pub fn not_after(&self) -> u64 {
        self.0.own.not_after
    }

    /// The first second in which leaf, intermediates and anchor are all valid, in unix seconds.
    pub fn trusted_from(&self) -> u64 {
        self.0.trusted.not_before
    }

    /// The last second in which leaf, intermediates and anchor are all valid, in unix seconds.
    pub fn trusted_until(&self) -> u64 {
        self.0.trusted.not_after
    }

    /// The leaf's serial number in lower-case hexadecimal, without separators.
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// SHA-256 of the DER of the trust anchor that the leaf chains to.
    pub fn anchor(&self) -> [u8; 32] {
        self.0.anchor
    }

    /// Verifies again, as of `now` and with the bundles of now.
    ///
    /// While the bundle of the trust domain is the one it was verified against this compares three numbers.
    /// Otherwise, or once a certificate of its path has run out, the whole chain is verified as by [`verify`].
    pub fn still_trusted(
        &self,
        bundles: &TrustBundles,
        purpose: Purpose,
        now: u64,
    ) -> Result<VerifiedSvid, SvidError> {
        let facts = &*self.0;
        let bundle = bundle_of(&facts.id, bundles)?;
        let unchanged = bundle.digest() == facts.bundle && purpose == facts.purpose;
        match unchanged && facts.trusted.contains(now) {
            true => Ok(self.clone()),
            false => verify(&facts.chain, bundles, purpose, now),
        }
    }
}

impl fmt::Debug for VerifiedSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedSvid")
            .field("id", self.id())
            .field("fingerprint", &digest::hex(&self.0.fingerprint))
            .field("serial", &self.serial())
            .field("trusted_from", &self.trusted_from())
            .field("trusted_until", &self.trusted_until())
            .field("anchor", &digest::hex(&self.0.anchor))
            .finish_non_exhaustive()
    }
}

/// Why an X.509-SVID is refused. "Signer" is an intermediate or, where no other variant says so, the anchor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SvidError {
    /// No certificate at all.
    #[error("no certificate was presented: connect with an X.509-SVID")]
    ChainEmpty,
    /// More than 8 certificates.
    #[error(
        "{count} certificates were presented; at most 8 are read: send only the leaf and its intermediates"
    )]
    ChainTooLong {
        /// How many were presented.
        count: usize,
    },
    /// One of the certificates cannot be read.
    #[error("certificate {position} of the chain is refused: {problem}")]
    Certificate {
        /// Position in the chain; the leaf is 0.
        position: usize,
        /// What is wrong with it.
        problem: CertificateError,
    },
    /// No URI name (X509-SVID specification, section 2).
    #[error("the certificate has no URI SAN: an X.509-SVID carries its SPIFFE ID there")]
    NoUriSan,
    /// Several URI names (X509-SVID specification, section 5.2).
    #[error("the certificate has {count} URI SANs: an X.509-SVID has exactly one")]
    SeveralUriSans {
        /// How many there are.
        count: usize,
    },
    /// The URI name is not a SPIFFE ID.
    #[error("the URI SAN is not a SPIFFE ID: {0}")]
    NotSpiffeId(#[from] SpiffeIdError),
    /// The SPIFFE ID names a trust domain (X509-SVID specification, section 5.2).
    #[error("the SPIFFE ID has no path, so it names a trust domain and no workload")]
    NoPath,
    /// `cA` is true (X509-SVID specification, section 5.2).
    #[error("the certificate is a CA: signing certificates must not be used to authenticate")]
    LeafIsCa,
    /// No key usage (X509-SVID specification, section 4.3).
    #[error("the certificate has no key usage extension: issue it with a critical one")]
    KeyUsageMissing,
    /// Key usage that is not critical (X509-SVID specification, section 4.3).
    #[error("the key usage extension is not critical: issue it as critical")]
    KeyUsageNotCritical,
    /// Key usage without `digitalSignature` (X509-SVID specification, section 4.3).
    #[error("key usage lacks digitalSignature: issue the certificate with it")]
    KeyUsageNoDigitalSignature,
    /// Key usage with `keyCertSign` (X509-SVID specification, section 5.2).
    #[error("key usage has keyCertSign: a certificate that can sign others must not authenticate")]
    KeyUsageKeyCertSign,
    /// Key usage with `cRLSign` (X509-SVID specification, section 5.2).
    #[error(
        "key usage has cRLSign: a certificate that can sign revocation lists must not authenticate"
    )]
    KeyUsageCrlSign,
    /// Extended key usage without what the purpose needs (X509-SVID specification, section 4.4).
    #[error(
        "extended key usage does not allow this use: issue the certificate with clientAuth and serverAuth"
    )]
    ExtendedKeyUsage,
    /// Before `notBefore`.
    #[error("the certificate is valid only from {not_before} (unix seconds): check the clocks")]
    NotYetValid {
        /// Its first valid second.
        not_before: u64,
    },
    /// After `notAfter`.
    #[error("the certificate expired at {not_after} (unix seconds): fetch a new SVID")]
    Expired {
        /// Its last valid second.
        not_after: u64,
    },
    /// No bundle for the trust domain.
    #[error("trust domain {domain} is not known: configure its bundle if it is to be trusted")]
    TrustDomainUnknown {
        /// The trust domain of the SVID.
        domain: TrustDomain,
    },
    /// No path to an anchor of the trust domain.
    #[error(
        "no anchor of the SVID's own trust domain has issued it: is the bundle current, is an intermediate missing?"
    )]
    UnknownIssuer,
    /// A signature on the path is wrong.
    #[error(
        "a signature does not verify: the certificate was altered, or signed by another key of the same name"
    )]
    SignatureInvalid,
    /// A signature algorithm or key type that is not supported.
    #[error(
        "a signature algorithm is not supported: use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more"
    )]
    SignatureAlgorithm,
    /// An intermediate whose `cA` is not true (X509-SVID specification, section 4.1).
    #[error("an intermediate is not a CA certificate")]
    SignerNotCa,
    /// An intermediate without key usage (X509-SVID specification, section 4.3).
    #[error("an intermediate has no key usage extension: issue it with keyCertSign")]
    SignerKeyUsageMissing,
    /// An intermediate whose key usage lacks `keyCertSign` (X509-SVID specification, section 4.3).
    #[error("an intermediate's key usage lacks keyCertSign, so it may not sign certificates")]
    SignerNoKeyCertSign,
    /// A signer whose extended key usage excludes the purpose.
    #[error(
        "a signer's extended key usage excludes this use: issue it without, or with clientAuth and serverAuth"
    )]
    SignerExtendedKeyUsage,
    /// An intermediate before its `notBefore`.
    #[error("an intermediate is valid only from {not_before} (unix seconds): check the clocks")]
    SignerNotYetValid {
        /// Its first valid second.
        not_before: u64,
    },
    /// An intermediate after its `notAfter`.
    #[error("an intermediate expired at {not_after} (unix seconds): fetch a new SVID")]
    SignerExpired {
        /// Its last valid second.
        not_after: u64,
    },
    /// An intermediate whose URI names are not exactly one SPIFFE ID (X509-SVID specification, section 2).
    #[error("an intermediate's URI SANs are not exactly one SPIFFE ID")]
    SignerNotSpiffeId,
    /// An intermediate of another trust domain (X509-SVID specification, section 3.2).
    #[error("an intermediate belongs to another trust domain than the SVID")]
    SignerOtherTrustDomain,
    /// An intermediate whose SPIFFE ID has a path (X509-SVID specification, section 3.2).
    #[error("an intermediate's SPIFFE ID has a path, which a signing certificate must not have")]
    SignerHasPath,
    /// Only anchors before their `notBefore` lead to the leaf.
    #[error(
        "the trust anchor is valid only from {not_before} (unix seconds): check the clocks and the bundle"
    )]
    AnchorNotYetValid {
        /// Its first valid second.
        not_before: u64,
    },
    /// Only anchors after their `notAfter` lead to the leaf.
    #[error("the trust anchor expired at {not_after} (unix seconds): load a current bundle")]
    AnchorExpired {
        /// Its last valid second.
        not_after: u64,
    },
    /// More intermediates than a signer's `pathLenConstraint` allows (RFC 5280, section 4.2.1.9).
    #[error("the path is longer than a signer allows")]
    PathLength,
    /// A name outside a signer's name constraints, or a form of constraint that is not supported
    /// (RFC 5280, section 4.2.1.10). URI constraints are of that kind.
    #[error(
        "a signer's name constraints exclude this certificate, or are of a form (URI, directory) that is not supported"
    )]
    NameConstraints,
    /// The search for a path took too many steps.
    #[error("the chain offers too many possible paths: send only the leaf and its intermediates")]
    PathTooComplex,
    /// No path for a reason that has no variant of its own.
    #[error("the certificate path is not valid")]
    PathInvalid,
}

impl SvidError {
    /// A stable name for machines, such as `SVID_KEY_USAGE_NOT_CRITICAL`.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::ChainEmpty => "SVID_CHAIN_EMPTY",
            Self::ChainTooLong { .. } => "SVID_CHAIN_TOO_LONG",
            Self::Certificate { problem, .. } => problem.reason(),
            Self::NoUriSan => "SVID_NO_URI_SAN",
            Self::SeveralUriSans { .. } => "SVID_SEVERAL_URI_SANS",
            Self::NotSpiffeId(_) => "SVID_NOT_SPIFFE_ID",
            Self::NoPath => "SVID_NO_PATH",
            Self::LeafIsCa => "SVID_LEAF_IS_CA",
            Self::KeyUsageMissing => "SVID_KEY_USAGE_MISSING",
            Self::KeyUsageNotCritical => "SVID_KEY_USAGE_NOT_CRITICAL",
            Self::KeyUsageNoDigitalSignature => "SVID_KEY_USAGE_NO_DIGITAL_SIGNATURE",
            Self::KeyUsageKeyCertSign => "SVID_KEY_USAGE_KEY_CERT_SIGN",
            Self::KeyUsageCrlSign => "SVID_KEY_USAGE_CRL_SIGN",
            Self::ExtendedKeyUsage => "SVID_EXTENDED_KEY_USAGE",
            Self::NotYetValid { .. } => "SVID_NOT_YET_VALID",
            Self::Expired { .. } => "SVID_EXPIRED",
            Self::TrustDomainUnknown { .. } => "SVID_TRUST_DOMAIN_UNKNOWN",
            Self::UnknownIssuer => "SVID_UNKNOWN_ISSUER",
            Self::SignatureInvalid => "SVID_SIGNATURE_INVALID",
            Self::SignatureAlgorithm => "SVID_SIGNATURE_ALGORITHM_UNSUPPORTED",
            Self::SignerNotCa => "SVID_SIGNER_NOT_CA",
            Self::SignerKeyUsageMissing => "SVID_SIGNER_KEY_USAGE_MISSING",
            Self::SignerNoKeyCertSign => "SVID_SIGNER_NO_KEY_CERT_SIGN",
            Self::SignerExtendedKeyUsage => "SVID_SIGNER_EXTENDED_KEY_USAGE",
            Self::SignerNotYetValid { .. } => "SVID_SIGNER_NOT_YET_VALID",
            Self::SignerExpired { .. } => "SVID_SIGNER_EXPIRED",
            Self::SignerNotSpiffeId => "SVID_SIGNER_NOT_SPIFFE_ID",
            Self::SignerOtherTrustDomain => "SVID_SIGNER_OTHER_TRUST_DOMAIN",
            Self::SignerHasPath => "SVID_SIGNER_HAS_PATH",
            Self::AnchorNotYetValid { .. } => "SVID_ANCHOR_NOT_YET_VALID",
            Self::AnchorExpired { .. } => "SVID_ANCHOR_EXPIRED",
            Self::PathLength => "SVID_PATH_LENGTH",
            Self::NameConstraints => "SVID_NAME_CONSTRAINTS",
            Self::PathTooComplex => "SVID_PATH_TOO_COMPLEX",
            Self::PathInvalid => "SVID_PATH_INVALID",
        }
    }
}

fn split<'a>(
    chain: &'a [CertificateDer<'a>],
) -> Result<(&'a CertificateDer<'a>, &'a [CertificateDer<'a>]), SvidError> {
    match chain {
        [] => Err(SvidError::ChainEmpty),
        [..] if chain.len() > MAX_CHAIN => Err(SvidError::ChainTooLong { count: chain.len() }),
        [leaf, intermediates @ ..] => Ok((leaf, intermediates)),
    }
}

fn read(position: usize, der: &CertificateDer<'_>) -> Result<Certificate, SvidError> {
    Certificate::read(der).map_err(|problem| SvidError::Certificate { position, problem })
}

fn read_all(intermediates: &[CertificateDer<'_>]) -> Result<Vec<Certificate>, SvidError> {
    let numbered = intermediates.iter().enumerate();
    numbered.map(|(index, der)| read(index + 1, der)).collect()
}

fn check_leaf(leaf: &Certificate, purpose: Purpose, now: u64) -> Result<SpiffeId, SvidError> {
    if leaf.is_ca {
        return Err(SvidError::LeafIsCa);
    }
    let id = workload_id(leaf)?;
    check_key_usage(leaf)?;
    if !purpose.is_allowed_by(leaf.extended_key_usage) {
        return Err(SvidError::ExtendedKeyUsage);
    }
    check_validity(leaf.validity, now)?;
    Ok(id)
}

fn workload_id(leaf: &Certificate) -> Result<SpiffeId, SvidError> {
    let id: SpiffeId = match leaf.uris.as_slice() {
        [] => return Err(SvidError::NoUriSan),
        [uri] => uri.parse()?,
        uris => return Err(SvidError::SeveralUriSans { count: uris.len() }),
    };
    match id.path() {
        "" => Err(SvidError::NoPath),
        _ => Ok(id),
    }
}

fn check_key_usage(leaf: &Certificate) -> Result<(), SvidError> {
    match leaf.key_usage {
        None => Err(SvidError::KeyUsageMissing),
        Some(usage) if !usage.critical => Err(SvidError::KeyUsageNotCritical),
        Some(usage) if usage.key_cert_sign => Err(SvidError::KeyUsageKeyCertSign),
        Some(usage) if usage.crl_sign => Err(SvidError::KeyUsageCrlSign),
        Some(usage) if !usage.digital_signature => Err(SvidError::KeyUsageNoDigitalSignature),
        Some(_) => Ok(()),
    }
}

fn check_validity(validity: Validity, now: u64) -> Result<(), SvidError> {
    let Validity {
        not_before,
        not_after,
    } = validity;
    if now < not_before {
        return Err(SvidError::NotYetValid { not_before });
    }
    if now > not_after {
        return Err(SvidError::Expired { not_after });
    }
    Ok(())
}

fn bundle_of<'a>(id: &SpiffeId, bundles: &'a TrustBundles) -> Result<&'a TrustBundle, SvidError> {
    let domain = id.trust_domain();
    bundles
        .get(domain)
        .ok_or_else(|| SvidError::TrustDomainUnknown {
            domain: domain.clone(),
        })
}
