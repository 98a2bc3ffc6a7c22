//! A leaf certificate: what will be signed, the signing, and a second look at what was signed.

use std::time::Duration;

use quietus_core::{Digest, IssueOrder, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use ring::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::super::{Credential, Made, Secret, Unfit};
use super::authority::{Authority, date, encode};
use super::{check, names};
use crate::config::{CertificateUsage, X509Settings};

/// How far back a certificate begins, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(60);
/// Largest certificate that is made, in bytes.
const MAX_CERTIFICATE: usize = 16 * 1024;
/// How many bytes its names may have together.
const MAX_NAMES: usize = 12 * 1024;
/// The longest life of a certificate: no lease is longer.
pub(super) const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// A certificate that has not been signed.
pub(super) struct Leaf {
    pub(super) params: CertificateParams,
    pub(super) serial: names::Serial,
    pub(super) subject: String,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    key: Option<SubjectPublicKeyInfo>,
}

impl Leaf {
    /// All that an order and the configuration say; `key` is the agent's, if it made one.
    pub(super) fn new(
        settings: &X509Settings,
        order: &IssueOrder,
        key: Option<SubjectPublicKeyInfo>,
    ) -> Result<Self, Unfit> {
        let lease = order.lease();
        let unfit = |message| Unfit::new("lease_id", message);
        let serial = names::serial(lease.id).map_err(unfit)?;
        let from = Timestamp(order.issued_at().0.saturating_sub(millis(BACKDATED)));
        let until = lease.expires_at;
        if until.since(order.issued_at()) > LONGEST {
            return Err(Unfit::new("ttl", "a certificate lives for 7 days at most"));
        }
        let mut params = shape(settings.usage);
        params.subject_alt_names = names::alternative(settings, order)?;
        check_size(&params.subject_alt_names)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.not_before = date(from).map_err(unfit)?;
        params.not_after = date(until).map_err(unfit)?;
        let subject = lease.id.to_string();
        params
            .distinguished_name
            .push(DnType::CommonName, subject.clone());
        Ok(Self {
            params,
            serial,
            subject,
            from,
            until,
            key,
        })
    }

    /// Signs it, and hands out nothing that does not say what it should.
    pub(super) fn make(self, authority: &Authority) -> Result<Made, String> {
        let (der, key_pem) = match &self.key {
            Some(key) => (self.sign(authority, key)?, None),
            None => {
                let pair = KeyPair::generate().map_err(|e| e.to_string())?;
                let pair = Zeroizing::new(pair);
                let pem = Zeroizing::new(pair.serialize_pem());
                (self.sign(authority, &*pair)?, Some(Secret::new(&**pem)))
            }
        };
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &der).as_ref());
        Ok(Made {
            credential: Credential::X509 {
                certificate_pem: encode("CERTIFICATE", &der) + &authority.chain_pem,
                ca_pem: authority.trusted_pem.clone(),
                key_pem,
            },
            fingerprint: Some(Digest(fingerprint)),
        })
    }

    fn sign(&self, authority: &Authority, key: &impl PublicKeyData) -> Result<Vec<u8>, String> {
        let issuer = authority.issuer()?;
        let signed = self.params.signed_by(key, &issuer);
        let der = signed.map_err(|e| e.to_string())?.der().to_vec();
        if der.len() > MAX_CERTIFICATE {
            return Err("the certificate is too large".to_owned());
        }
        let spki = key.subject_public_key_info();
        check::leaf(&der, self, &spki, authority)
            .map_err(|what| format!("what was signed is not what was to be signed: {what}"))?;
        Ok(der)
    }
}

fn shape(usage: CertificateUsage) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match usage {
        CertificateUsage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        CertificateUsage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        CertificateUsage::Both => vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ],
    };
    params.use_authority_key_identifier_extension = true;
    params
}

/// Only the names vary in size.
fn check_size(names: &[SanType]) -> Result<(), Unfit> {
    let size = |name: &SanType| match name {
        SanType::URI(text) | SanType::DnsName(text) => text.as_str().len(),
        _ => 0,
    };
    match names.iter().map(size).sum::<usize>() <= MAX_NAMES {
        true => Ok(()),
        false => Err(Unfit::new(
            "scopes",
            "the certificate would be too large: ask for fewer scopes at a time",
        )),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
