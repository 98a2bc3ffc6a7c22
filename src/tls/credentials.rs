use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quietus_identity::{CertificateDer, Purpose, SvidError, TrustBundles, VerifiedSvid, verify};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::files::{self, FileError, Seen};

/// 8 certificates of 16 KiB, the most that a verifier reads, in base64 and with room for comments.
const MAX_CHAIN_BYTES: usize = 256 * 1024;
const MAX_KEY_BYTES: usize = 32 * 1024;

/// Where an X.509-SVID and its key are. Both may be in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvidFiles {
    /// PEM certificates: the leaf, then its intermediates.
    pub chain: PathBuf,
    /// A PEM private key in PKCS#8 (`PRIVATE KEY`).
    pub key: PathBuf,
}

/// An X.509-SVID and its private key, ready to authenticate with.
#[derive(Clone)]
pub struct Credentials(Arc<CertifiedKey>);

impl Credentials {
    /// Reads both files and checks that the key belongs to the leaf. Whether others will trust it is not asked.
    pub fn load(files: &SvidFiles) -> Result<Self, CredentialError> {
        RawCredentials::read(files)?.parse(files)
    }

    /// The certificates, the leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.cert
    }

    /// Verifies the SVID as the other side of a connection would.
    pub fn verify(
        &self,
        bundles: &TrustBundles,
        purpose: Purpose,
        now: u64,
    ) -> Result<VerifiedSvid, SvidError> {
        verify(self.chain(), bundles, purpose, now)
    }

    pub(crate) fn certified_key(&self) -> &CertifiedKey {
        &self.0
    }

    pub(crate) fn share(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0)
    }
}

/// The key is left out.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("certificates", &self.chain().len())
            .finish_non_exhaustive()
    }
}

/// Why an SVID and its key cannot be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// One of the files cannot be read.
    #[error("{path} {problem}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileError,
    },
    /// Malformed PEM in the certificate file.
    #[error("{path} is not a PEM file of certificates", path = path.display())]
    ChainNotPem {
        /// The file.
        path: PathBuf,
    },
    /// No `CERTIFICATE` in the certificate file.
    #[error("{path} has no CERTIFICATE in it", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// No PKCS#8 key in the key file.
    #[error("{path} has no readable PRIVATE KEY in it: convert it with openssl pkcs8 -topk8 -nocrypt", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key that cannot sign in TLS.
    #[error("the key in {path} is malformed, or not ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits or more", path = path.display())]
    KeyUnsupported {
        /// The file.
        path: PathBuf,
    },
    /// The key is not the leaf's.
    #[error("the key in {key} does not belong to the first certificate in {chain}", key = key.display(), chain = chain.display())]
    Mismatch {
        /// The certificate file.
        chain: PathBuf,
        /// The key file.
        key: PathBuf,
    },
}

/// Both files as they were read.
pub(super) struct RawCredentials {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

impl RawCredentials {
    pub(super) fn read(files: &SvidFiles) -> Result<Self, CredentialError> {
        Ok(Self {
            chain: read(&files.chain, MAX_CHAIN_BYTES)?,
            key: Zeroizing::new(read(&files.key, MAX_KEY_BYTES)?),
        })
    }

    pub(super) fn seen(&self) -> Seen {
        Seen::content([self.chain.as_slice(), self.key.as_slice()])
    }

    pub(super) fn parse(&self, files: &SvidFiles) -> Result<Credentials, CredentialError> {
        let certified = CertifiedKey::new(self.certificates(files)?, self.signing_key(files)?);
        match certified.keys_match() {
            Ok(()) => Ok(Credentials(Arc::new(certified))),
            Err(_) => Err(CredentialError::Mismatch {
                chain: files.chain.clone(),
                key: files.key.clone(),
            }),
        }
    }

    fn certificates(
        &self,
        files: &SvidFiles,
    ) -> Result<Vec<CertificateDer<'static>>, CredentialError> {
        let path = || files.chain.clone();
        let sections = CertificateDer::pem_slice_iter(&self.chain);
        let certificates: Vec<_> = sections
            .collect::<Result<_, _>>()
            .map_err(|_| CredentialError::ChainNotPem { path: path() })?;
        match certificates.is_empty() {
            true => Err(CredentialError::NoCertificate { path: path() }),
            false => Ok(certificates),
        }
    }

    fn signing_key(&self, files: &SvidFiles) -> Result<Arc<dyn SigningKey>, CredentialError> {
        let path = || files.key.clone();
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(&self.key)
            .map_err(|_| CredentialError::NoKey { path: path() })?;
        let key = Zeroizing::new(PrivateKeyDer::Pkcs8(pkcs8));
        any_supported_type(&key).map_err(|_| CredentialError::KeyUnsupported { path: path() })
    }
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, CredentialError> {
    files::read(path, limit).map_err(|problem| CredentialError::File {
        path: path.to_owned(),
        problem,
    })
}
