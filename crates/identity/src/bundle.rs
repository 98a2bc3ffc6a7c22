mod json;
mod pem;

use std::collections::BTreeMap;

use rustls_pki_types::{CertificateDer, TrustAnchor};
use thiserror::Error;

use crate::certificate::{Certificate, CertificateError};
use crate::digest;
use crate::path::{SignerNameError, check_signer_name};
use crate::spiffe_id::TrustDomain;

const MAX_ANCHORS: usize = 64;
const MAX_BUNDLE_BYTES: usize = 1024 * 1024;

/// The trust anchors of one trust domain, for X.509-SVIDs.
///
/// A bundle is read whole or refused whole: an anchor that cannot be used is a mistake to be told to whoever
/// maintains the bundle, not one to be skipped. Expiry is not judged here but at verification, so that a bundle
/// in the middle of a rotation can be loaded.
#[derive(Clone, Debug)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    anchors: Vec<Anchor>,
    roots: Vec<TrustAnchor<'static>>,
    digest: [u8; 32],
}

/// One trust anchor: a CA certificate that a bundle vouches for.
#[derive(Clone, Debug)]
pub struct Anchor {
    fingerprint: [u8; 32],
    certificate: Certificate,
}

/// The bundles of every trust domain that is accepted, each by itself: an SVID chains to the bundle of its own
/// trust domain or to none (SPIFFE Trust Domain and Bundle specification, section 3).
#[derive(Clone, Debug, Default)]
pub struct TrustBundles(BTreeMap<TrustDomain, TrustBundle>);

impl TrustBundle {
    /// Reads a bundle in either format: SPIFFE bundle JSON when it begins with a brace, PEM otherwise.
    pub fn parse(domain: TrustDomain, bytes: &[u8]) -> Result<Self, BundleError> {
        match bytes.trim_ascii_start().first() {
            Some(b'{') => Self::from_spiffe_json(domain, bytes),
            _ => Self::from_pem(domain, bytes),
        }
    }

    /// Reads `CERTIFICATE` blocks (RFC 7468, section 5), with nothing but white space around them.
    pub fn from_pem(domain: TrustDomain, bytes: &[u8]) -> Result<Self, BundleError> {
        Self::new(domain, pem::certificates(within_limit(bytes)?)?)
    }

    /// Reads a SPIFFE bundle (SPIFFE Trust Domain and Bundle specification, section 4).
    ///
    /// Keys for other uses or of unknown types are ignored. A key with `use: x509-svid` has to carry exactly one
    /// certificate in `x5c`: where the X509-SVID specification (section 6.2) lets a consumer drop the rest, an
    /// operator is better served by hearing of it.
    pub fn from_spiffe_json(domain: TrustDomain, bytes: &[u8]) -> Result<Self, BundleError> {
        Self::new(domain, json::certificates(within_limit(bytes)?)?)
    }

    /// The trust domain whose SVIDs these anchors vouch for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The anchors, each once, in the order of the file.
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// A digest of the trust domain and the set of anchors, whatever their order or file format.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// The anchors as webpki wants them, in the order of [`Self::anchors`].
    pub(crate) fn roots(&self) -> &[TrustAnchor<'static>] {
        &self.roots
    }

    fn new(
        trust_domain: TrustDomain,
        certificates: Vec<CertificateDer<'_>>,
    ) -> Result<Self, BundleError> {
        let mut bundle = Self {
            digest: [0; 32],
            trust_domain,
            anchors: Vec::new(),
            roots: Vec::new(),
        };
        for (index, der) in certificates.iter().enumerate() {
            let added = bundle.add(der);
            added.map_err(|problem| BundleError::Anchor { index, problem })?;
        }
        bundle.sealed()
    }

    fn add(&mut self, der: &CertificateDer<'_>) -> Result<(), AnchorError> {
        let anchor = Anchor::read(der, &self.trust_domain)?;
        if self
            .anchors
            .iter()
            .any(|known| known.fingerprint == anchor.fingerprint)
        {
            return Ok(());
        }
        let root = webpki::anchor_from_trusted_cert(der).map_err(CertificateError::from)?;
        self.roots.push(root.to_owned());
        self.anchors.push(anchor);
        Ok(())
    }

    fn sealed(mut self) -> Result<Self, BundleError> {
        match self.anchors.len() {
            0 => return Err(BundleError::NoAnchors),
            1..=MAX_ANCHORS => {}
            count => return Err(BundleError::TooManyAnchors { count }),
        }
        let mut fingerprints: Vec<_> = self.anchors.iter().map(Anchor::fingerprint).collect();
        fingerprints.sort_unstable();
        let parts = fingerprints.iter().map(|it| it.as_slice());
        let domain = std::iter::once(self.trust_domain.as_str().as_bytes());
        self.digest = digest::of_parts("quietus trust bundle", domain.chain(parts));
        Ok(self)
    }
}

impl Anchor {
    /// SHA-256 of the certificate's DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The first second in which the anchor is valid, in unix seconds.
    pub fn not_before(&self) -> u64 {
        self.certificate.validity.not_before
    }

    /// The last second in which the anchor is valid, in unix seconds.
    pub fn not_after(&self) -> u64 {
        self.certificate.validity.not_after
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn read(der: &CertificateDer<'_>, trust_domain: &TrustDomain) -> Result<Self, AnchorError> {
        let certificate = Certificate::read(der)?;
        if !certificate.is_ca {
            return Err(AnchorError::NotCa);
        }
        if certificate
            .key_usage
            .is_some_and(|usage| !usage.key_cert_sign)
        {
            return Err(AnchorError::NoKeyCertSign);
        }
        check_signer_name(&certificate, trust_domain)?;
        Ok(Self {
            fingerprint: digest::sha256(der),
            certificate,
        })
    }
}

impl TrustBundles {
    /// The bundle of one trust domain.
    pub fn get(&self, domain: &TrustDomain) -> Option<&TrustBundle> {
        self.0.get(domain)
    }

    /// Adds a bundle. One that the same trust domain had before is replaced, never added to, and returned.
    pub fn insert(&mut self, bundle: TrustBundle) -> Option<TrustBundle> {
        self.0.insert(bundle.trust_domain.clone(), bundle)
    }

    /// The bundles in the order of their trust domains.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &TrustBundle> {
        self.0.values()
    }

    /// A digest of all trust domains and anchors.
    pub fn digest(&self) -> [u8; 32] {
        digest::of_parts(
            "quietus trust bundles",
            self.iter().map(|it| it.digest.as_slice()),
        )
    }
}

impl FromIterator<TrustBundle> for TrustBundles {
    fn from_iter<T: IntoIterator<Item = TrustBundle>>(bundles: T) -> Self {
        let mut collected = Self::default();
        bundles.into_iter().for_each(|bundle| {
            collected.insert(bundle);
        });
        collected
    }
}

/// Why a trust bundle is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// More than 1 MiB.
    #[error("the trust bundle has {bytes} bytes; at most 1048576 are read")]
    TooLarge {
        /// Size of the refused bundle.
        bytes: usize,
    },
    /// No certificate for X.509-SVIDs in it.
    #[error(
        "the trust bundle has no CA certificate for X.509-SVIDs: check that it is the right file"
    )]
    NoAnchors,
    /// More than 64 different anchors.
    #[error(
        "the trust bundle has {count} anchors; at most 64 are allowed: remove those that are retired"
    )]
    TooManyAnchors {
        /// How many there are.
        count: usize,
    },
    /// Something other than PEM `CERTIFICATE` blocks.
    #[error(
        "line {line} of the trust bundle is not part of a PEM CERTIFICATE block: keep nothing else in it"
    )]
    NotPem {
        /// The first such line, from 1; the line after the last when a block is not ended.
        line: usize,
    },
    /// A PEM block or an `x5c` entry that is not base64.
    #[error("certificate {index} of the trust bundle is not base64")]
    NotBase64 {
        /// Position of the certificate (or JWK), from 0.
        index: usize,
    },
    /// Not a JWK set.
    #[error("the trust bundle is not a SPIFFE bundle (a JWK set): {0}")]
    NotJwkSet(#[from] serde_json::Error),
    /// An `x509-svid` key with no or several certificates.
    #[error(
        "key {index} of the trust bundle has {count} x5c entries: an x509-svid key carries exactly one"
    )]
    CertificateCount {
        /// Position of the JWK, from 0.
        index: usize,
        /// How many entries it has.
        count: usize,
    },
    /// A certificate that cannot be an anchor.
    #[error("certificate {index} of the trust bundle cannot be an anchor: {problem}")]
    Anchor {
        /// Position among the certificates of the bundle, from 0.
        index: usize,
        /// What is wrong with it.
        problem: AnchorError,
    },
}

impl BundleError {
    /// A stable name for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "BUNDLE_TOO_LARGE",
            Self::NoAnchors => "BUNDLE_NO_ANCHORS",
            Self::TooManyAnchors { .. } => "BUNDLE_TOO_MANY_ANCHORS",
            Self::NotPem { .. } => "BUNDLE_NOT_PEM",
            Self::NotBase64 { .. } => "BUNDLE_NOT_BASE64",
            Self::NotJwkSet(_) => "BUNDLE_NOT_JWK_SET",
            Self::CertificateCount { .. } => "BUNDLE_CERTIFICATE_COUNT",
            Self::Anchor { problem, .. } => problem.reason(),
        }
    }
}

/// Why a certificate cannot be a trust anchor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// It does not read as a certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Basic constraints do not say `cA` (X509-SVID specification, section 4.1).
    #[error("it is not a CA certificate")]
    NotCa,
    /// Key usage without `keyCertSign` (X509-SVID specification, section 4.3).
    #[error("its key usage does not allow it to sign certificates")]
    NoKeyCertSign,
    /// Several URI names, or one that is not a SPIFFE ID.
    #[error("its URI names are not exactly one SPIFFE ID")]
    NotSpiffeId,
    /// SPIFFE ID of another trust domain.
    #[error(
        "its SPIFFE ID belongs to another trust domain: has the bundle been put under the wrong name?"
    )]
    OtherTrustDomain,
    /// SPIFFE ID with a path (X509-SVID specification, section 3.2).
    #[error("its SPIFFE ID has a path, which a signing certificate must not have")]
    HasPath,
}

impl AnchorError {
    /// A stable name for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "BUNDLE_ANCHOR_UNREADABLE",
            Self::NotCa => "BUNDLE_ANCHOR_NOT_CA",
            Self::NoKeyCertSign => "BUNDLE_ANCHOR_NO_KEY_CERT_SIGN",
            Self::NotSpiffeId => "BUNDLE_ANCHOR_NOT_SPIFFE_ID",
            Self::OtherTrustDomain => "BUNDLE_ANCHOR_OTHER_TRUST_DOMAIN",
            Self::HasPath => "BUNDLE_ANCHOR_HAS_PATH",
        }
    }
}

impl From<SignerNameError> for AnchorError {
    fn from(error: SignerNameError) -> Self {
        match error {
            SignerNameError::NotSpiffeId => Self::NotSpiffeId,
            SignerNameError::OtherTrustDomain => Self::OtherTrustDomain,
            SignerNameError::HasPath => Self::HasPath,
        }
    }
}

fn within_limit(bytes: &[u8]) -> Result<&[u8], BundleError> {
    match bytes.len() {
        0..=MAX_BUNDLE_BYTES => Ok(bytes),
        bytes => Err(BundleError::TooLarge { bytes }),
    }
}
