use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde::Deserialize;

use super::BundleError;

/// A JWK set (RFC 7517, section 5). Its sequence number and refresh hint concern whoever fetches bundles.
#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// The members of a JWK that say whether it is an anchor for X.509-SVIDs, and which.
#[derive(Deserialize)]
struct Jwk {
    #[serde(rename = "kty")]
    key_type: Option<String>,
    #[serde(rename = "use")]
    key_use: Option<String>,
    #[serde(default)]
    x5c: Vec<String>,
}

pub(super) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, BundleError> {
    let set: JwkSet = serde_json::from_slice(text)?;
    let keys = set.keys.iter().enumerate();
    keys.filter(|(_, key)| key.is_anchor())
        .map(certificate)
        .collect()
}

impl Jwk {
    /// SPIFFE Trust Domain and Bundle specification, section 4.2: unknown types and uses are ignored.
    fn is_anchor(&self) -> bool {
        let known_type = matches!(self.key_type.as_deref(), Some("EC" | "OKP" | "RSA"));
        known_type && self.key_use.as_deref() == Some("x509-svid")
    }
}

fn certificate((index, key): (usize, &Jwk)) -> Result<CertificateDer<'static>, BundleError> {
    let [encoded] = key.x5c.as_slice() else {
        return Err(BundleError::CertificateCount {
            index,
            count: key.x5c.len(),
        });
    };
    let der = STANDARD
        .decode(encoded)
        .map_err(|_| BundleError::NotBase64 { index })?;
    Ok(der.into())
}
