//! A user certificate (OpenSSH, PROTOCOL.certkeys): what will be signed, the signing, and a second reading.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quietus_core::{IssueOrder, LeaseId, Timestamp};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
use ssh_key::Certificate;
use ssh_key::certificate::CertType;

use super::authority::Authority;
use super::key::Subject;
use super::wire::Writer;

/// How far back a certificate begins, for clocks that are behind.
const BACKDATED: u64 = 60;
const USER: u32 = 1;

/// A certificate that has not been signed.
pub(super) struct Draft {
    pub(super) lease: LeaseId,
    pub(super) principals: Vec<String>,
    /// Seconds since 1970.
    pub(super) from: u64,
    /// Seconds since 1970; the first second at which it is no longer good.
    pub(super) until: u64,
    /// By name, in order.
    pub(super) critical: Vec<(&'static str, String)>,
    /// In order.
    pub(super) extensions: Vec<&'static str>,
}

impl Draft {
    /// For as long as the order says, and nothing else yet.
    pub(super) fn new(order: &IssueOrder) -> Self {
        let lease = order.lease();
        Self {
            lease: lease.id,
            principals: Vec::new(),
            from: order.issued_at().seconds().saturating_sub(BACKDATED),
            until: lease.expires_at.seconds(),
            critical: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// How long it lives.
    pub(super) fn life(&self, now: Timestamp) -> Duration {
        Timestamp::from_seconds(self.until).since(now)
    }

    /// The certificate as bytes. Nothing is handed out that does not read back as it was meant.
    pub(super) fn sign(&self, subject: &Subject, ca: &Authority) -> Result<Vec<u8>, String> {
        let mut nonce = [0; 32];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| "the system has no randomness to give")?;
        let unsigned = self.unsigned(subject, ca, &nonce);
        let signature = ca.sign(&unsigned);
        let bytes = Writer::default().raw(&unsigned).string(signature).finish();
        self.check(&bytes, unsigned.len(), subject, ca)
            .map_err(|what| format!("what was signed is not what was to be signed: {what}"))?;
        Ok(bytes)
    }

    fn unsigned(&self, subject: &Subject, ca: &Authority, nonce: &[u8]) -> Vec<u8> {
        let mut principals = Writer::default();
        for name in &self.principals {
            principals.string(name);
        }
        let mut critical = Writer::default();
        for (name, value) in &self.critical {
            critical
                .string(name)
                .string(Writer::default().string(value).finish());
        }
        let mut extensions = Writer::default();
        for name in &self.extensions {
            extensions.string(name).string("");
        }
        let mut whole = Writer::default();
        whole
            .string(kind(subject))
            .string(nonce)
            .raw(&subject.fields);
        whole
            .u64(serial(self.lease))
            .u32(USER)
            .string(self.lease.to_string());
        whole
            .string(principals.finish())
            .u64(self.from)
            .u64(self.until);
        whole
            .string(critical.finish())
            .string(extensions.finish())
            .string("");
        whole.string(ca.public()).finish()
    }

    fn check(
        &self,
        bytes: &[u8],
        signed: usize,
        subject: &Subject,
        ca: &Authority,
    ) -> Result<(), &'static str> {
        let read = Certificate::from_bytes(bytes).map_err(|_| "not a certificate")?;
        let key = UnparsedPublicKey::new(&ED25519, ca.public_bytes());
        let blob = Writer::default()
            .string(subject.algorithm)
            .raw(&subject.fields)
            .finish();
        let encode =
            |key: &ssh_key::public::KeyData| ssh_key::PublicKey::from(key.clone()).to_bytes().ok();
        let critical = self
            .critical
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let extensions = self.extensions.iter().map(|name| (*name, ""));
        let facts = [
            (
                key.verify(&bytes[..signed], read.signature().as_bytes())
                    .is_ok(),
                "signature",
            ),
            (encode(read.signature_key()) == Some(ca.public()), "CA"),
            (encode(read.public_key()) == Some(blob), "key"),
            (read.cert_type() == CertType::User, "type"),
            (read.serial() == serial(self.lease), "serial"),
            (read.key_id() == self.lease.to_string(), "key id"),
            (
                !self.principals.is_empty() && read.valid_principals() == self.principals,
                "principals",
            ),
            (
                (read.valid_after(), read.valid_before()) == (self.from, self.until),
                "validity",
            ),
            (
                critical.eq(pairs(read.critical_options())),
                "critical options",
            ),
            (extensions.eq(pairs(read.extensions())), "extensions"),
        ];
        match facts.iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, what)) => Err(what),
        }
    }
}

/// As OpenSSH writes it, on one line.
pub(super) fn line(bytes: &[u8], subject: &Subject, lease: LeaseId) -> String {
    format!("{} {} {lease}\n", kind(subject), STANDARD.encode(bytes))
}

fn kind(subject: &Subject) -> String {
    format!("{}-cert-v01@openssh.com", subject.algorithm)
}

fn pairs(map: &ssh_key::certificate::OptionsMap) -> impl Iterator<Item = (&str, &str)> {
    map.iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

/// A number that follows from the lease; what revokes is the key id, which is the lease.
fn serial(lease: LeaseId) -> u64 {
    let hash = digest(&SHA256, lease.to_string().as_bytes());
    let bytes = hash.as_ref().iter().take(8);
    let serial = bytes.fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
    serial.max(1)
}
