//! Cosignatures (c2sp.org/tlog-cosignature, version 1): a witness says that at this time it knew no larger tree of the
//! log than the one in the checkpoint, and that this one is consistent with all before it.

use std::fmt;
use std::str::FromStr;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use super::{MAX_SIGNATURES, Note, NoteError, Signature, key, line};

/// The signature type of timestamped Ed25519 cosignatures.
const TYPE: u8 = 0x04;
/// The latest time that a cosignature may name.
const LATEST: u64 = i64::MAX as u64;

/// A witness's public key under its name. Its text form is a verifier key of signature type 0x04.
#[derive(Clone, PartialEq, Eq)]
pub struct Cosigner {
    name: String,
    key: [u8; 32],
}

/// A witness's private key under its name. The key itself stays with the caller.
pub struct Witness<'a> {
    cosigner: Cosigner,
    pair: &'a Ed25519KeyPair,
}

impl Cosigner {
    /// An Ed25519 public key under a name.
    pub fn new(name: &str, key: [u8; 32]) -> Result<Self, NoteError> {
        match key::is_name(name) {
            true => Ok(Self {
                name: name.to_owned(),
                key,
            }),
            false => Err(NoteError::Name),
        }
    }

    /// The name on its signature lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The start of the SHA-256 over name, signature type and key.
    pub fn id(&self) -> [u8; 4] {
        key::id(&self.name, TYPE, &self.key)
    }

    /// The latest time, in seconds since the Unix epoch, at which this witness cosigned the note; none if it did not.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] if any signature that claims this key is false.
    pub fn verify(&self, note: &Note<'_>) -> Result<Option<u64>, NoteError> {
        let mut latest = None;
        for signature in self.claimed(note) {
            let time = self.verified(note.text, &signature.signature);
            let time = time.ok_or_else(|| NoteError::BadSignature(self.name.clone()))?;
            latest = latest.max(Some(time));
        }
        Ok(latest)
    }

    fn claimed<'n, 'a>(&self, note: &'n Note<'a>) -> impl Iterator<Item = &'n Signature<'a>> {
        let id = self.id();
        let signatures = note.signatures.iter();
        signatures.filter(move |signature| signature.name == self.name && signature.id == id)
    }

    /// The time in a signature that holds.
    fn verified(&self, text: &str, signature: &[u8]) -> Option<u64> {
        let (time, signature) = signature.split_first_chunk()?;
        let time = u64::from_be_bytes(*time);
        let key = UnparsedPublicKey::new(&ED25519, self.key);
        let holds = key
            .verify(message(text, time).as_bytes(), signature)
            .is_ok();
        (holds && time <= LATEST).then_some(time)
    }
}

impl<'a> Witness<'a> {
    /// Cosigns with this key under this name.
    pub fn new(name: &str, pair: &'a Ed25519KeyPair) -> Result<Self, NoteError> {
        let mut key = [0; 32];
        key.copy_from_slice(pair.public_key().as_ref());
        let cosigner = Cosigner::new(name, key)?;
        Ok(Self { cosigner, pair })
    }

    /// Who must be known for this key's cosignatures to count.
    pub fn cosigner(&self) -> &Cosigner {
        &self.cosigner
    }

    /// The line that says that the witness saw this checkpoint's text at this time, in seconds since the Unix epoch.
    pub fn cosign(&self, text: &str, time: u64) -> String {
        let signature = self.pair.sign(message(text, time).as_bytes());
        let stamped = [&time.to_be_bytes()[..], signature.as_ref()].concat();
        line(&self.cosigner.name, self.cosigner.id(), &stamped)
    }
}

/// Adds to a note what these witnesses say of it in `lines`, as a witness answers. The note keeps the latest
/// cosignature of each key; lines of others are ignored.
///
/// # Errors
/// [`NoteError`] if the note or a line is not one, if the lines bring more text, if a known witness's cosignature is false, or if there are more
/// than [`MAX_SIGNATURES`].
pub fn add_cosignatures(
    note: &[u8],
    lines: &[u8],
    witnesses: &[Cosigner],
) -> Result<String, NoteError> {
    let noted = Note::parse(note)?;
    let joined = [noted.text.as_bytes(), b"\n", lines].concat();
    let answer = Note::parse(&joined)?;
    if answer.text != noted.text {
        // The lines bring a text of their own: what is signed in them is not this note.
        return Err(NoteError::MalformedSignature(1));
    }
    let mut signatures: Vec<_> = noted.signatures.clone();
    for witness in witnesses {
        let (old, new) = (witness.verify(&noted)?, witness.verify(&answer)?);
        if new <= old {
            continue;
        }
        let id = witness.id();
        signatures.retain(|signature| signature.name != witness.name || signature.id != id);
        let latest = witness.claimed(&answer).max_by_key(|signature| {
            let time = signature.signature.first_chunk();
            time.map(|time| u64::from_be_bytes(*time))
        });
        signatures.extend(latest.cloned());
    }
    if signatures.len() > MAX_SIGNATURES {
        return Err(NoteError::TooManySignatures);
    }
    let lines = signatures
        .iter()
        .map(|one| line(one.name, one.id, &one.signature));
    let whole = format!("{}\n{}", noted.text, lines.collect::<String>());
    super::check(whole.as_bytes())?;
    Ok(whole)
}

/// What is signed.
fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl FromStr for Cosigner {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, key) = key::parse(text, TYPE)?;
        Self::new(name, key)
    }
}

impl fmt::Display for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&key::spell(&self.name, TYPE, &self.key))
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({self})")
    }
}

impl fmt::Debug for Witness<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Witness({})", self.cosigner)
    }
}

#[cfg(test)]
mod tests;
