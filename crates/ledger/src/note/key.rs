//! Who signs, and who is believed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{MAX_NAME, NoteError};

/// The signature type of Ed25519.
pub(super) const TYPE: u8 = 0x01;

/// A public key under a name: who is believed. Its text form is the verifier key of C2SP signed notes,
/// `<name>+<key id>+<key>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

/// A private key under a name. The key itself stays with the caller.
pub struct Signer<'a> {
    verifier: Verifier,
    pair: &'a Ed25519KeyPair,
}

impl Verifier {
    /// An Ed25519 public key (RFC 8032 section 5.1.5) under a name.
    pub fn new(name: &str, key: [u8; 32]) -> Result<Self, NoteError> {
        if !is_name(name) {
            return Err(NoteError::Name);
        }
        Ok(Self {
            name: name.to_owned(),
            id: id(name, TYPE, &key),
            key,
        })
    }

    /// The name on its signature lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The start of the SHA-256 over name, signature type and key.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The key itself.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Whether this key made the signature over the text.
    pub(super) fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.key);
        key.verify(text.as_bytes(), signature).is_ok()
    }
}

impl<'a> Signer<'a> {
    /// Signs with this key under this name.
    pub fn new(name: &str, pair: &'a Ed25519KeyPair) -> Result<Self, NoteError> {
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        let verifier = Verifier::new(name, key)?;
        Ok(Self { verifier, pair })
    }

    /// Who must be believed for this key's signatures to count.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The name on its signature lines.
    pub fn name(&self) -> &str {
        self.verifier.name()
    }

    pub(super) fn id(&self) -> [u8; 4] {
        self.verifier.id()
    }

    pub(super) fn sign(&self, text: &str) -> Vec<u8> {
        self.pair.sign(text.as_bytes()).as_ref().to_vec()
    }
}

impl FromStr for Verifier {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, key) = parse(text, TYPE)?;
        Self::new(name, key)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&spell(&self.name, TYPE, &self.key))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({self})")
    }
}

impl fmt::Debug for Signer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// Whether a key may have this name.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && c >= ' ' && c != '+';
    (1..=MAX_NAME).contains(&name.len()) && name.chars().all(fits)
}

/// The name and the key of a verifier key of this signature type, if its key id is that of both.
pub(super) fn parse(text: &str, algorithm: u8) -> Result<(&str, [u8; 32]), NoteError> {
    // The third part is base64, which may hold a `+` itself.
    let parts: Vec<_> = text.splitn(3, '+').collect();
    let &[name, hex, key] = parts.as_slice() else {
        return Err(NoteError::VerifierKey);
    };
    if hex.len() != 8 || !hex.bytes().all(is_hex) {
        return Err(NoteError::VerifierKey);
    }
    let key = decode(key, algorithm)?;
    match () {
        () if !is_name(name) => Err(NoteError::Name),
        () if hex != spell_id(name, algorithm, &key) => Err(NoteError::KeyId),
        () => Ok((name, key)),
    }
}

/// The text form of a verifier key.
pub(super) fn spell(name: &str, algorithm: u8, key: &[u8; 32]) -> String {
    let encoded = STANDARD.encode([&[algorithm][..], key].concat());
    format!("{name}+{}+{encoded}", spell_id(name, algorithm, key))
}

fn spell_id(name: &str, algorithm: u8, key: &[u8; 32]) -> String {
    format!("{:08x}", u32::from_be_bytes(id(name, algorithm, key)))
}

fn decode(key: &str, algorithm: u8) -> Result<[u8; 32], NoteError> {
    let longest = 4096;
    let short = Some(key).filter(|key| key.len() <= longest);
    let bytes = short.and_then(|key| STANDARD.decode(key).ok());
    let bytes = bytes.ok_or(NoteError::VerifierKey)?;
    match bytes.split_first() {
        Some((found, key)) if *found == algorithm => {
            key.try_into().map_err(|_| NoteError::VerifierKey)
        }
        Some((&found, _)) => Err(NoteError::Algorithm {
            found,
            wanted: algorithm,
        }),
        None => Err(NoteError::VerifierKey),
    }
}

/// The start of the SHA-256 over name, signature type and key.
pub(super) fn id(name: &str, algorithm: u8, key: &[u8; 32]) -> [u8; 4] {
    let named = [name.as_bytes(), b"\n", &[algorithm], key].concat();
    let mut id = [0; 4];
    id.copy_from_slice(&digest(&SHA256, &named).as_ref()[..4]);
    id
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
