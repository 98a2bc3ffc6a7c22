//! A secret at rest: fields by name, sealed with ChaCha20-Poly1305 (RFC 8439).
//!
//! A file is `QSEC`, the format (1), the length of the version's name, that name, a random nonce of 12 bytes, and the
//! ciphertext with its tag. The target's name is not in it, but it opens only for the target it was sealed for.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::files::{self, FileError};
use crate::issuers::Secret;

/// The most fields of one secret.
pub const MAX_FIELDS: usize = 64;
/// The most bytes of names and values together, with four for each field.
pub const MAX_BYTES: usize = 64 * 1024;
/// The longest name of a field or a version.
pub const MAX_NAME: usize = 64;

const MAGIC: &[u8; 5] = b"QSEC\x01";
const MAX_FILE: usize = MAGIC.len() + 1 + MAX_NAME + NONCE_LEN + MAX_BYTES + 16;
const KEY_LEN: usize = 32;
const MAX_KEY_FILE: usize = 256;

/// What seals and opens.
pub struct SealingKey(Zeroizing<[u8; KEY_LEN]>);

/// A secret that was opened, or is to be sealed.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which one it is of all that were ever sealed for the target.
    pub version: String,
    /// The fields.
    pub fields: BTreeMap<String, Secret>,
}

/// Why a secret cannot be sealed or opened. Never a part of it.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The variable is not set.
    #[error("the environment variable {0} is not set, or is not text")]
    NoVariable(String),
    /// Not a key.
    #[error("this is no key of 32 bytes in base64: make one with `quietus secret keygen`")]
    Key,
    /// Not a sealed secret.
    #[error("this is no sealed secret: write one with `quietus secret seal`")]
    Malformed,
    /// It does not open.
    #[error("it does not open: another key, another target, or it was changed")]
    Closed,
    /// No fields, or too many.
    #[error("a secret has 1 to {MAX_FIELDS} fields")]
    Count,
    /// A bad name.
    #[error("the name of a field or a version is 1 to {MAX_NAME} of a-z A-Z 0-9 . _ : -")]
    Name,
    /// A field that says nothing.
    #[error("the field {0} is empty")]
    Empty(String),
    /// Too much.
    #[error("a secret has at most {MAX_BYTES} bytes")]
    TooLarge,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

impl SealingKey {
    /// A new key, as a line of text for a file.
    ///
    /// # Errors
    /// [`SealError::NoRandom`].
    pub fn generate() -> Result<Zeroizing<String>, SealError> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        random(bytes.as_mut())?;
        Ok(Zeroizing::new(format!(
            "{}\n",
            *Zeroizing::new(STANDARD.encode(bytes.as_ref()))
        )))
    }

    /// From a file that nobody else may read.
    ///
    /// # Errors
    /// [`SealError`] if it cannot be read, or is no key.
    pub fn from_file(path: &Path) -> Result<Self, SealError> {
        let bytes = Zeroizing::new(files::read_private(path, MAX_KEY_FILE)?);
        Self::from_text(&bytes)
    }

    /// From a variable of the environment.
    ///
    /// # Errors
    /// [`SealError`] if it is not set, or is no key.
    pub fn from_env(name: &str) -> Result<Self, SealError> {
        let text = env::var(name).map_err(|_| SealError::NoVariable(name.to_owned()))?;
        Self::from_text(Zeroizing::new(text).as_bytes())
    }

    fn from_text(text: &[u8]) -> Result<Self, SealError> {
        // The decoder wants room for what padding may turn out to be.
        let mut bytes = Zeroizing::new([0; KEY_LEN + 4]);
        match STANDARD.decode_slice(text.trim_ascii_end(), bytes.as_mut()) {
            Ok(KEY_LEN) => {
                let mut key = Zeroizing::new([0; KEY_LEN]);
                key.copy_from_slice(&bytes[..KEY_LEN]);
                Ok(Self(key))
            }
            _ => Err(SealError::Key),
        }
    }

    /// Made anew for each use, so that none stays in memory.
    fn cipher(&self) -> Result<LessSafeKey, SealError> {
        UnboundKey::new(&CHACHA20_POLY1305, self.0.as_ref())
            .map(LessSafeKey::new)
            .map_err(|_| SealError::Key)
    }

    /// Seals a secret for one target.
    ///
    /// # Errors
    /// [`SealError`] if it is not one.
    pub fn seal(&self, target: &str, secret: &Opened) -> Result<Vec<u8>, SealError> {
        let mut body = encode(&secret.fields)?;
        let version = secret.version.as_bytes();
        if !is_name(version) {
            return Err(SealError::Name);
        }
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce)?;
        let aad = Aad::from(bound_to(target, version));
        let tag = self
            .cipher()?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .map_err(|_| SealError::TooLarge)?;
        let length = [u8::try_from(version.len()).map_err(|_| SealError::Name)?];
        let parts = [MAGIC, &length[..], version, &nonce, &body, tag.as_ref()];
        Ok(parts.concat())
    }

    /// Opens a secret that was sealed for this target.
    ///
    /// # Errors
    /// [`SealError::Malformed`] or [`SealError::Closed`].
    pub fn open(&self, target: &str, sealed: &[u8]) -> Result<Opened, SealError> {
        let rest = sealed.strip_prefix(MAGIC).ok_or(SealError::Malformed)?;
        let (length, rest) = rest.split_first().ok_or(SealError::Malformed)?;
        let (version, rest) = rest
            .split_at_checked(usize::from(*length))
            .ok_or(SealError::Malformed)?;
        let (nonce, body) = rest.split_first_chunk().ok_or(SealError::Malformed)?;
        let aad = Aad::from(bound_to(target, version));
        let mut body = Zeroizing::new(body.to_vec());
        let cipher = self.cipher()?;
        let plain = cipher
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                aad,
                body.as_mut_slice(),
            )
            .map_err(|_| SealError::Closed)?;
        Ok(Opened {
            version: String::from_utf8(version.to_vec()).map_err(|_| SealError::Malformed)?,
            fields: decode(plain).ok_or(SealError::Malformed)?,
        })
    }

    /// Reads a file and opens it.
    ///
    /// # Errors
    /// [`SealError`] if it cannot be read or does not open.
    pub fn open_file(&self, target: &str, path: &Path) -> Result<Opened, SealError> {
        self.open(target, &files::read(path, MAX_FILE)?)
    }
}

/// Fails if no such secret can be sealed.
///
/// # Errors
/// [`SealError`] with what is wrong.
pub fn check(fields: &BTreeMap<String, Secret>) -> Result<(), SealError> {
    if !(1..=MAX_FIELDS).contains(&fields.len()) {
        return Err(SealError::Count);
    }
    if fields.keys().any(|name| !is_name(name.as_bytes())) {
        return Err(SealError::Name);
    }
    if let Some((name, _)) = fields.iter().find(|(_, value)| value.expose().is_empty()) {
        return Err(SealError::Empty(name.clone()));
    }
    let sizes = fields
        .iter()
        .map(|(name, value)| 4 + name.len() + value.expose().len());
    match sizes.sum::<usize>() <= MAX_BYTES {
        true => Ok(()),
        false => Err(SealError::TooLarge),
    }
}

/// One byte for the name's length, three for the value's, and both.
fn encode(fields: &BTreeMap<String, Secret>) -> Result<Zeroizing<Vec<u8>>, SealError> {
    check(fields)?;
    let mut out = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    for (name, value) in fields {
        let value = value.expose().as_bytes();
        let sizes = (name.len() << 24) | value.len();
        let sizes = u32::try_from(sizes).map_err(|_| SealError::TooLarge)?;
        out.extend_from_slice(&sizes.to_be_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value);
    }
    Ok(out)
}

fn decode(mut plain: &[u8]) -> Option<BTreeMap<String, Secret>> {
    let mut fields = BTreeMap::new();
    while let Some((sizes, rest)) = plain.split_first_chunk() {
        let sizes = u32::from_be_bytes(*sizes);
        let (name, rest) = rest.split_at_checked((sizes >> 24) as usize)?;
        let (value, rest) = rest.split_at_checked((sizes & 0xff_ffff) as usize)?;
        let value = Secret::new(str::from_utf8(value).ok()?);
        fields.insert(str::from_utf8(name).ok()?.to_owned(), value);
        plain = rest;
    }
    plain.is_empty().then_some(fields)
}

/// What the ciphertext is bound to besides its key.
fn bound_to(target: &str, version: &[u8]) -> Vec<u8> {
    let target = target.as_bytes();
    [
        MAGIC,
        &(target.len() as u64).to_be_bytes()[..],
        target,
        version,
    ]
    .concat()
}

fn is_name(name: &[u8]) -> bool {
    let sound = |b: &u8| b.is_ascii_alphanumeric() || b"._:-".contains(b);
    (1..=MAX_NAME).contains(&name.len()) && name.iter().all(sound)
}

pub(crate) fn random(bytes: &mut [u8]) -> Result<(), SealError> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| SealError::NoRandom)
}
