//! A target's certificate authority: its certificate, its key, and the two things it signs.

use std::path::Path;

use quietus_core::Timestamp;
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::super::durable;
use crate::files;

/// The most certificates from the authority to the one that peers trust.
const MAX_CHAIN: usize = 4;
/// Largest file of certificates.
const MAX_FILE: usize = 64 * 1024;

/// Signs certificates and revocation lists.
pub(super) struct Authority {
    certificate: CertificateDer<'static>,
    key: Zeroizing<KeyPair>,
    /// What follows a leaf, in PEM.
    pub(super) chain_pem: String,
    /// What peers trust, in PEM.
    pub(super) trusted_pem: String,
    /// When its own certificate ends.
    pub(super) until: Timestamp,
    /// The identifier of its key, which its certificate has or which is derived.
    pub(super) key_id: Vec<u8>,
}

impl Authority {
    /// Reads both files.
    pub(super) fn open(certificates: &Path, key: &Path) -> Result<Self, String> {
        let named = |error: String| format!("{}: {error}", certificates.display());
        let bytes = files::read(certificates, MAX_FILE).map_err(|e| named(e.to_string()))?;
        let chain = chain(&bytes).map_err(named)?;
        let text = durable::read_key(key)?;
        let pair = KeyPair::from_pem(&text).map_err(|_| {
            format!(
                "the key {}: is not a private key in PEM, PKCS#8: convert it with `openssl pkcs8 -topk8 -nocrypt`",
                key.display()
            )
        })?;
        Self::new(&chain, Zeroizing::new(pair)).map_err(named)
    }

    fn new(chain: &[CertificateDer<'static>], key: Zeroizing<KeyPair>) -> Result<Self, String> {
        let certificate = chain.first().ok_or("holds no certificate in PEM")?.clone();
        let parsed = parse(&certificate)?;
        let until = check(&parsed)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err("is not the certificate of the key in ca_key".to_owned());
        }
        let key_id =
            key_id(&parsed).unwrap_or_else(|| CertificateParams::default().key_identifier(&*key));
        let above = chain.len().saturating_sub(1);
        Ok(Self {
            chain_pem: pem(&chain[..above]),
            trusted_pem: pem(&chain[above..]),
            certificate,
            key,
            until,
            key_id,
        })
    }

    /// Itself, as it signs.
    pub(super) fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, String> {
        Issuer::from_ca_cert_der(&self.certificate, &*self.key).map_err(|e| e.to_string())
    }

    /// Its own certificate.
    pub(super) fn certificate(&self) -> Result<X509Certificate<'_>, String> {
        parse(&self.certificate)
    }

    /// Whether its certificate is valid.
    pub(super) fn valid_at(&self, now: Timestamp) -> Result<(), String> {
        let from = unix(self.certificate()?.validity().not_before.timestamp());
        if now < from {
            return Err("the CA's certificate is not valid yet".to_owned());
        }
        match now < self.until {
            true => Ok(()),
            false => Err("the CA's certificate has expired: renew it".to_owned()),
        }
    }
}

/// A point in time as certificates have it: whole seconds.
pub(super) fn date(at: Timestamp) -> Result<OffsetDateTime, String> {
    let seconds = i64::try_from(at.seconds()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_| "no certificate can say that time".to_owned())
}

/// The seconds since 1970 of a certificate; none before it.
pub(super) fn unix(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(u64::try_from(seconds).unwrap_or(0))
}

/// Certificates in PEM.
pub(super) fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let one = |der: &CertificateDer<'_>| encode("CERTIFICATE", der);
    certificates.iter().map(one).collect()
}

/// RFC 7468.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&b| char::from(b)));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

fn chain(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = read.map_err(|_| "is not PEM".to_owned())?;
    match chain.len() {
        1..=MAX_CHAIN => Ok(chain),
        0 => Err("holds no certificate in PEM".to_owned()),
        _ => Err(format!("holds more than {MAX_CHAIN} certificates")),
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err("is not an X.509 certificate".to_owned()),
    }
}

/// That it may sign both certificates and lists; when it ends.
fn check(certificate: &X509Certificate<'_>) -> Result<Timestamp, String> {
    if !certificate.is_ca() {
        return Err("is not the certificate of a CA (basic constraints)".to_owned());
    }
    let usage = certificate.key_usage().ok().flatten();
    let signs = usage.is_some_and(|it| it.value.key_cert_sign() && it.value.crl_sign());
    if !signs {
        let message = "its key usage must have keyCertSign and cRLSign: issue it anew with both";
        return Err(message.to_owned());
    }
    Ok(unix(certificate.validity().not_after.timestamp()))
}

fn key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
}
