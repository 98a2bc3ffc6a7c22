//! The CA that a target's hosts trust.

use std::path::Path;

use ring::signature::{Ed25519KeyPair, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use ssh_key::PrivateKey;
use ssh_key::private::KeypairData;

use super::super::durable;
use super::wire::Writer;

pub(super) const ED25519: &str = "ssh-ed25519";

/// An Ed25519 key that signs certificates.
pub(super) struct Authority {
    pair: Ed25519KeyPair,
}

impl Authority {
    /// Reads a key in OpenSSH's format or in PEM, PKCS#8.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let text = durable::read_key(path)?;
        let pair = pair(&text).map_err(|why| {
            let path = path.display();
            format!("the key {path}: {why}: make one with `ssh-keygen -t ed25519 -N ''`")
        })?;
        Ok(Self { pair })
    }

    /// Its public half, as certificates and lists name it.
    pub(super) fn public(&self) -> Vec<u8> {
        public(self.pair.public_key().as_ref())
    }

    /// The public half alone, 32 bytes.
    pub(super) fn public_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A signature as certificates hold it.
    pub(super) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let signature = self.pair.sign(bytes);
        Writer::default().string(ED25519).string(signature).finish()
    }
}

/// An Ed25519 key as SSH writes it (RFC 8709, section 4).
pub(super) fn public(bytes: &[u8]) -> Vec<u8> {
    Writer::default().string(ED25519).string(bytes).finish()
}

fn pair(text: &str) -> Result<Ed25519KeyPair, &'static str> {
    if text.contains("BEGIN PRIVATE KEY") {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| "is not PEM")?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        return pair.map_err(|_| "is not an Ed25519 key");
    }
    let key =
        PrivateKey::from_openssh(text).map_err(|_| "is not an Ed25519 key in OpenSSH's format")?;
    if key.is_encrypted() {
        return Err("is encrypted, and the broker knows no passphrase");
    }
    match key.key_data() {
        KeypairData::Ed25519(pair) => {
            let (seed, public) = (pair.private.to_bytes(), pair.public.0);
            let seed = zeroize::Zeroizing::new(seed);
            Ed25519KeyPair::from_seed_and_public_key(&*seed, &public)
                .map_err(|_| "has two halves that do not belong together")
        }
        _ => Err("is not an Ed25519 key"),
    }
}
