//! A trust domain made for a test.

use std::fs;
use std::path::{Path, PathBuf};

use quietus::tls::SvidFiles;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};

/// Noon of 1 January 2030; SVIDs are valid on that day and the CA for years.
pub const NOON: u64 = 1_893_499_200;
/// A day later, when SVIDs have expired.
pub const NEXT_NOON: u64 = NOON + 24 * 60 * 60;

pub struct Authority {
    domain: &'static str,
    issuer: Issuer<'static, KeyPair>,
    bundle: String,
}

impl Authority {
    pub fn new(domain: &'static str) -> Self {
        Self::named(domain, domain)
    }

    /// An authority that calls itself `name` in its certificate.
    pub fn named(domain: &'static str, name: &str) -> Self {
        let key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.not_before = date_time_ymd(2029, 1, 1);
        params.not_after = date_time_ymd(2039, 1, 1);
        let bundle = params.self_signed(&key).expect("CA").pem();
        Self {
            domain,
            issuer: Issuer::new(params, key),
            bundle,
        }
    }

    pub fn write_bundle(&self, path: &Path) {
        fs::write(path, &self.bundle).expect("bundle file");
    }

    /// Issues an SVID for a path such as `/agent` and writes it where it says.
    pub fn svid(&self, path: &str, folder: &Path) -> SvidFiles {
        self.altered_svid(path, folder, |_| {})
    }

    pub fn altered_svid(
        &self,
        path: &str,
        folder: &Path,
        alter: impl FnOnce(&mut CertificateParams),
    ) -> SvidFiles {
        let key = KeyPair::generate().expect("key");
        let mut params = self.params(path);
        alter(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).expect("SVID");
        let files = files(path, folder);
        fs::write(&files.chain, leaf.pem()).expect("certificate file");
        fs::write(&files.key, key.serialize_pem()).expect("key file");
        files
    }

    fn params(&self, path: &str) -> CertificateParams {
        let id = format!("spiffe://{}{path}", self.domain);
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("ASCII"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 2);
        params
    }
}

fn files(path: &str, folder: &Path) -> SvidFiles {
    let name = path.trim_start_matches('/').replace('/', "-");
    let file = |extension: &str| -> PathBuf { folder.join(format!("{name}.{extension}")) };
    SvidFiles {
        chain: file("pem"),
        key: file("key"),
    }
}
