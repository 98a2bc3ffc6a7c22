use rustls_pki_types::CertificateDer;
use thiserror::Error;
use webpki::EndEntityCert;
use x509_parser::asn1_rs::{Any, Class, FromDer, Oid, Sequence, Tag};
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::extensions::{BasicConstraints, ExtendedKeyUsage, KeyUsage, X509Extension};
use x509_parser::nom::{IResult, Parser};
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_CRL_DISTRIBUTION_POINTS,
    OID_X509_EXT_EXTENDED_KEY_USAGE, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_NAME_CONSTRAINTS,
    OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::x509::X509Version;

use crate::digest;

const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
const URI_NAME: Tag = Tag(6);

/// What one certificate says of itself, read strictly. Nothing here has been verified.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) validity: Validity,
    pub(crate) serial: String,
    pub(crate) is_ca: bool,
    pub(crate) path_length: Option<u32>,
    pub(crate) key_usage: Option<CriticalKeyUsage>,
    pub(crate) extended_key_usage: Option<PeerUsage>,
    pub(crate) uris: Vec<String>,
}

/// The first and the last second in which a certificate is valid (RFC 5280, section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

/// The bits of key usage that bear on SVIDs (RFC 5280, section 4.2.1.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct CriticalKeyUsage {
    pub(crate) critical: bool,
    pub(crate) digital_signature: bool,
    pub(crate) key_cert_sign: bool,
    pub(crate) crl_sign: bool,
}

/// The two extended key usages that bear on SVIDs (RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerUsage {
    pub(crate) client: bool,
    pub(crate) server: bool,
}

/// Why a certificate is refused before anything is asked about who signed it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// More than 16 KiB.
    #[error("it has {bytes} bytes; at most 16384 are read")]
    TooLarge {
        /// Size of the refused certificate.
        bytes: usize,
    },
    /// Not a DER certificate, or an extension that decides something is not well-formed.
    #[error("it is not a well-formed DER certificate: have it issued again")]
    Malformed,
    /// Bytes after the end of the certificate or of an extension's value.
    #[error("it has data after its end: send each certificate as exactly one DER value")]
    TrailingData,
    /// X.509 version 1 or 2.
    #[error("it is not an X.509 version 3 certificate")]
    NotVersion3,
    /// One extension twice (RFC 5280, section 4.2).
    #[error("it carries extension {oid} twice")]
    DuplicateExtension {
        /// The extension, in dotted notation.
        oid: String,
    },
    /// A critical extension that is not understood here (RFC 5280, section 4.2).
    #[error(
        "it carries critical extension {oid}, which is not understood: issue it without, or not critical"
    )]
    UnknownCriticalExtension {
        /// The extension, in dotted notation.
        oid: String,
    },
    /// Issuer or subject unique identifier (RFC 5280, section 4.1.2.8: CAs must not generate them).
    #[error("it carries a unique identifier, which no CA should issue: issue it without")]
    UniqueIdentifier,
    /// `notAfter` before `notBefore`.
    #[error("it ends before it begins")]
    ValidityInverted,
    /// The algorithm that is signed differs from the one beside the signature (RFC 5280, section 4.1.1.2).
    #[error("it names two different signature algorithms")]
    SignatureAlgorithmMismatch,
}

impl CertificateError {
    /// A stable name for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "SVID_CERTIFICATE_TOO_LARGE",
            Self::Malformed => "SVID_MALFORMED",
            Self::TrailingData => "SVID_TRAILING_DATA",
            Self::NotVersion3 => "SVID_NOT_V3",
            Self::UniqueIdentifier => "SVID_UNIQUE_IDENTIFIER",
            Self::DuplicateExtension { .. } => "SVID_DUPLICATE_EXTENSION",
            Self::UnknownCriticalExtension { .. } => "SVID_UNKNOWN_CRITICAL_EXTENSION",
            Self::ValidityInverted => "SVID_VALIDITY_INVERTED",
            Self::SignatureAlgorithmMismatch => "SVID_SIGNATURE_ALGORITHM_MISMATCH",
        }
    }
}

impl Certificate {
    /// Reads one DER certificate. Two parsers have to agree that it is one, so that none of their leniencies counts.
    pub(crate) fn read(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let parsed = parse(der)?;
        check_extensions(parsed.extensions())?;
        let certificate = Self::of(&parsed)?;
        EndEntityCert::try_from(der).map_err(CertificateError::from)?;
        Ok(certificate)
    }

    fn of(parsed: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let constraints: Option<BasicConstraints> = value(parsed, &OID_X509_EXT_BASIC_CONSTRAINTS)?;
        let purposes: Option<ExtendedKeyUsage<'_>> =
            value(parsed, &OID_X509_EXT_EXTENDED_KEY_USAGE)?;
        Ok(Self {
            validity: Validity::of(parsed)?,
            serial: serial(parsed),
            is_ca: constraints.as_ref().is_some_and(|it| it.ca),
            path_length: constraints.and_then(|it| it.path_len_constraint),
            key_usage: CriticalKeyUsage::of(parsed)?,
            extended_key_usage: purposes.as_ref().map(PeerUsage::of),
            uris: uris(parsed)?,
        })
    }
}

impl Validity {
    fn of(parsed: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let validity = parsed.validity();
        let validity = Self {
            not_before: unix_seconds(validity.not_before.timestamp()),
            not_after: unix_seconds(validity.not_after.timestamp()),
        };
        match validity.not_before <= validity.not_after {
            true => Ok(validity),
            false => Err(CertificateError::ValidityInverted),
        }
    }

    pub(crate) fn contains(&self, now: u64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The time in which both are valid.
    pub(crate) fn intersect(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }
}

impl CriticalKeyUsage {
    fn of(parsed: &X509Certificate<'_>) -> Result<Option<Self>, CertificateError> {
        let critical = extension(parsed, &OID_X509_EXT_KEY_USAGE).is_some_and(|it| it.critical);
        let usage: Option<KeyUsage> = value(parsed, &OID_X509_EXT_KEY_USAGE)?;
        Ok(usage.map(|usage| Self {
            critical,
            digital_signature: usage.digital_signature(),
            key_cert_sign: usage.key_cert_sign(),
            crl_sign: usage.crl_sign(),
        }))
    }
}

impl PeerUsage {
    fn of(purposes: &ExtendedKeyUsage<'_>) -> Self {
        Self {
            client: purposes.client_auth,
            server: purposes.server_auth,
        }
    }
}

impl From<webpki::Error> for CertificateError {
    fn from(error: webpki::Error) -> Self {
        match error {
            webpki::Error::TrailingData(_) => Self::TrailingData,
            webpki::Error::UnsupportedCertVersion => Self::NotVersion3,
            webpki::Error::SignatureAlgorithmMismatch => Self::SignatureAlgorithmMismatch,
            _ => Self::Malformed,
        }
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(CertificateError::TooLarge { bytes: der.len() });
    }
    // The parser drops what follows an extension's value, so values are read one by one, in `whole`.
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let parsed = whole(parser.parse(der))?;
    if parsed.version() != X509Version::V3 {
        return Err(CertificateError::NotVersion3);
    }
    match (&parsed.issuer_uid, &parsed.subject_uid) {
        (None, None) => Ok(parsed),
        _ => Err(CertificateError::UniqueIdentifier),
    }
}

fn check_extensions(extensions: &[X509Extension<'_>]) -> Result<(), CertificateError> {
    for (index, extension) in extensions.iter().enumerate() {
        let oid = &extension.oid;
        if extensions[..index]
            .iter()
            .any(|earlier| earlier.oid == *oid)
        {
            return Err(CertificateError::DuplicateExtension {
                oid: oid.to_id_string(),
            });
        }
        if extension.critical && !is_understood(oid) {
            return Err(CertificateError::UnknownCriticalExtension {
                oid: oid.to_id_string(),
            });
        }
    }
    Ok(())
}

/// Distribution points of revocation lists ask nothing of a verifier that has no lists; webpki reads them too.
fn is_understood(oid: &Oid<'_>) -> bool {
    [
        OID_X509_EXT_BASIC_CONSTRAINTS,
        OID_X509_EXT_CRL_DISTRIBUTION_POINTS,
        OID_X509_EXT_EXTENDED_KEY_USAGE,
        OID_X509_EXT_KEY_USAGE,
        OID_X509_EXT_NAME_CONSTRAINTS,
        OID_X509_EXT_SUBJECT_ALT_NAME,
    ]
    .contains(oid)
}

fn uris(parsed: &X509Certificate<'_>) -> Result<Vec<String>, CertificateError> {
    let names: Option<Sequence<'_>> = value(parsed, &OID_X509_EXT_SUBJECT_ALT_NAME)?;
    let mut rest = names
        .as_ref()
        .map_or(&[][..], |names| names.content.as_ref());
    let mut uris = Vec::new();
    while !rest.is_empty() {
        let (after, name) = Any::from_der(rest).map_err(|_| CertificateError::Malformed)?;
        uris.extend(uri(&name)?);
        rest = after;
    }
    Ok(uris)
}

fn uri(name: &Any<'_>) -> Result<Option<String>, CertificateError> {
    if name.class() != Class::ContextSpecific {
        return Err(CertificateError::Malformed);
    }
    if name.tag() != URI_NAME {
        return Ok(None);
    }
    if name.header.is_constructed() {
        return Err(CertificateError::Malformed);
    }
    let text = str::from_utf8(name.data).map_err(|_| CertificateError::Malformed)?;
    Ok(Some(text.to_owned()))
}

fn value<'a, T, E>(
    parsed: &X509Certificate<'a>,
    oid: &Oid<'_>,
) -> Result<Option<T>, CertificateError>
where
    T: FromDer<'a, E>,
{
    extension(parsed, oid)
        .map(|extension| whole(T::from_der(extension.value)))
        .transpose()
}

fn extension<'c, 'a>(
    parsed: &'c X509Certificate<'a>,
    oid: &Oid<'_>,
) -> Option<&'c X509Extension<'a>> {
    parsed
        .extensions()
        .iter()
        .find(|extension| extension.oid == *oid)
}

fn whole<T, E>(result: IResult<&[u8], T, E>) -> Result<T, CertificateError> {
    match result {
        Ok(([], value)) => Ok(value),
        Ok(_) => Err(CertificateError::TrailingData),
        Err(_) => Err(CertificateError::Malformed),
    }
}

fn serial(parsed: &X509Certificate<'_>) -> String {
    match parsed.raw_serial() {
        // A leading zero byte only says that the number is positive.
        [0, number @ ..] if !number.is_empty() => digest::hex(number),
        number => digest::hex(number),
    }
}

/// Times before 1970 become 1970: nothing is verified as of then.
fn unix_seconds(timestamp: i64) -> u64 {
    u64::try_from(timestamp).unwrap_or(0)
}
