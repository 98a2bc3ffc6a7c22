use std::cell::RefCell;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, VerifiedPath};

use crate::bundle::{Anchor, TrustBundle};
use crate::certificate::{Certificate, CertificateError, Validity};
use crate::spiffe_id::{SpiffeId, TrustDomain};
use crate::svid::{Purpose, SvidError};

/// A chain as it was presented, read but not yet believed: the leaf, then intermediates in any order.
pub(crate) struct Presented<'a> {
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) intermediates: &'a [CertificateDer<'a>],
    /// What each of the intermediates says, in the same order.
    pub(crate) signers: Vec<Certificate>,
}

/// A path that was found: who vouches for it, and when all of its signers are valid.
pub(crate) struct Path {
    pub(crate) anchor: [u8; 32],
    pub(crate) validity: Validity,
}

/// Why the URI names of a signing certificate do not fit.
pub(crate) enum SignerNameError {
    NotSpiffeId,
    OtherTrustDomain,
    HasPath,
}

/// Finds a path from the leaf to an anchor of the bundle on which every signer may sign (RFC 5280, section 6).
///
/// The search goes on when a candidate is refused, so that a renewed anchor with the same name and key takes over
/// from its expired twin. When all are refused, the refusal of the last candidate with good signatures is returned.
pub(crate) fn build(
    presented: &Presented<'_>,
    bundle: &TrustBundle,
    purpose: Purpose,
    now: u64,
) -> Result<Path, SvidError> {
    let leaf = EndEntityCert::try_from(presented.leaf).map_err(leaf_error)?;
    let judge = Judge {
        presented,
        bundle,
        purpose,
        now,
    };
    let verdict = RefCell::new(None);
    let found = leaf.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        bundle.roots(),
        presented.intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(now)),
        usage(purpose),
        None,
        Some(&|path| record(&verdict, judge.path(path))),
    );
    match (found, verdict.into_inner()) {
        (Ok(_), Some(verdict)) => verdict,
        (Err(_), Some(Err(refusal))) => Err(refusal),
        (Err(error), _) => Err(error.into()),
        (Ok(_), None) => Err(SvidError::PathInvalid),
    }
}

/// A signing certificate need not be an SVID, but one that names URIs has to name its own trust domain and nothing
/// more (X509-SVID specification, sections 2 and 3.2).
pub(crate) fn check_signer_name(
    signer: &Certificate,
    domain: &TrustDomain,
) -> Result<(), SignerNameError> {
    let uri = match signer.uris.as_slice() {
        [] => return Ok(()),
        [uri] => uri,
        _ => return Err(SignerNameError::NotSpiffeId),
    };
    let id: SpiffeId = uri.parse().map_err(|_| SignerNameError::NotSpiffeId)?;
    match (id.trust_domain() == domain, id.path()) {
        (true, "") => Ok(()),
        (true, _) => Err(SignerNameError::HasPath),
        (false, _) => Err(SignerNameError::OtherTrustDomain),
    }
}

/// Decides on candidate paths whose signatures, names, validity and constraints webpki has found good.
struct Judge<'a> {
    presented: &'a Presented<'a>,
    bundle: &'a TrustBundle,
    purpose: Purpose,
    now: u64,
}

impl Judge<'_> {
    fn path(&self, path: &VerifiedPath<'_>) -> Result<Path, SvidError> {
        let anchor = self.anchor(path).ok_or(SvidError::PathInvalid)?;
        let mut validity = anchor.certificate().validity;
        let mut signers = 0;
        for intermediate in path.intermediate_certificates() {
            let signer = self
                .signer(&intermediate.der())
                .ok_or(SvidError::PathInvalid)?;
            self.check_signer(signer)?;
            validity = validity.intersect(signer.validity);
            signers += 1;
        }
        self.check_anchor(anchor.certificate(), signers)?;
        Ok(Path {
            anchor: anchor.fingerprint(),
            validity,
        })
    }

    fn anchor(&self, path: &VerifiedPath<'_>) -> Option<&Anchor> {
        // Two anchors can have the same name and key: only the address tells which one webpki has used.
        let mut roots = self.bundle.roots().iter();
        let index = roots.position(|root| std::ptr::eq(root, path.anchor()))?;
        self.bundle.anchors().get(index)
    }

    fn signer(&self, der: &CertificateDer<'_>) -> Option<&Certificate> {
        let mut presented = self.presented.intermediates.iter();
        let index = presented.position(|candidate| candidate.as_ref() == der.as_ref())?;
        self.presented.signers.get(index)
    }

    fn check_signer(&self, signer: &Certificate) -> Result<(), SvidError> {
        if !signer.is_ca {
            return Err(SvidError::SignerNotCa);
        }
        match signer.key_usage {
            None => return Err(SvidError::SignerKeyUsageMissing),
            Some(usage) if !usage.key_cert_sign => return Err(SvidError::SignerNoKeyCertSign),
            Some(_) => {}
        }
        Ok(check_signer_name(signer, self.bundle.trust_domain())?)
    }

    /// What was checked when the bundle was loaded is not repeated: cA, key usage and names.
    fn check_anchor(&self, anchor: &Certificate, intermediates: u32) -> Result<(), SvidError> {
        let Validity {
            not_before,
            not_after,
        } = anchor.validity;
        if self.now < not_before {
            return Err(SvidError::AnchorNotYetValid { not_before });
        }
        if self.now > not_after {
            return Err(SvidError::AnchorExpired { not_after });
        }
        if anchor
            .path_length
            .is_some_and(|limit| intermediates > limit)
        {
            return Err(SvidError::PathLength);
        }
        match self.purpose.is_allowed_by(anchor.extended_key_usage) {
            true => Ok(()),
            false => Err(SvidError::SignerExtendedKeyUsage),
        }
    }
}

impl From<SignerNameError> for SvidError {
    fn from(error: SignerNameError) -> Self {
        match error {
            SignerNameError::NotSpiffeId => Self::SignerNotSpiffeId,
            SignerNameError::OtherTrustDomain => Self::SignerOtherTrustDomain,
            SignerNameError::HasPath => Self::SignerHasPath,
        }
    }
}

/// The leaf has passed its own checks before a path is sought, so what webpki finds amiss is a signer's doing.
impl From<webpki::Error> for SvidError {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::UnknownIssuer => Self::UnknownIssuer,
            E::InvalidSignatureForPublicKey => Self::SignatureInvalid,
            E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Self::SignatureAlgorithm,
            E::CertExpired { not_after, .. } => Self::SignerExpired {
                not_after: not_after.as_secs(),
            },
            E::CertNotValidYet { not_before, .. } => Self::SignerNotYetValid {
                not_before: not_before.as_secs(),
            },
            E::EndEntityUsedAsCa => Self::SignerNotCa,
            E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => Self::SignerExtendedKeyUsage,
            E::PathLenConstraintViolated => Self::PathLength,
            E::NameConstraintViolation | E::MalformedNameConstraint => Self::NameConstraints,
            E::MaximumSignatureChecksExceeded
            | E::MaximumPathBuildCallsExceeded
            | E::MaximumPathDepthExceeded
            | E::MaximumNameConstraintComparisonsExceeded => Self::PathTooComplex,
            _ => Self::PathInvalid,
        }
    }
}

/// Keeps what was decided on a candidate; webpki only has to know whether to look further.
fn record(
    verdict: &RefCell<Option<Result<Path, SvidError>>>,
    judged: Result<Path, SvidError>,
) -> Result<(), webpki::Error> {
    let answer = match judged {
        Ok(_) => Ok(()),
        Err(_) => Err(webpki::Error::UnknownIssuer),
    };
    verdict.replace(Some(judged));
    answer
}

fn usage(purpose: Purpose) -> KeyUsage {
    match purpose {
        Purpose::Client => KeyUsage::client_auth(),
        Purpose::Server => KeyUsage::server_auth(),
    }
}

fn leaf_error(error: webpki::Error) -> SvidError {
    SvidError::Certificate {
        position: 0,
        problem: CertificateError::from(error),
    }
}
