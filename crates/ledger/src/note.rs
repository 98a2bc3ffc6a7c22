//! C2SP signed notes (c2sp.org/signed-note): text, a blank line, and a line for each signature.
//!
//! ```text
//! This is an example message.
//!
//! — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
//! ```
//!
//! The one algorithm is Ed25519: signature type 0x01, and 0x04 for the cosignatures of witnesses
//! (c2sp.org/tlog-cosignature), who sign a time with the text. A signature by a key that nobody asked about is ignored; one
//! that claims a known key and does not verify condemns the note.

mod cosignature;
mod key;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub use cosignature::{Cosigner, Witness, add_cosignatures};
pub use key::{Signer, Verifier};

/// Longest note, in bytes, signatures included.
pub const MAX_NOTE: usize = 16 * 1024 * 1024;
/// Most signatures on a note.
pub const MAX_SIGNATURES: usize = 16;
/// Longest name of a key, in bytes.
pub const MAX_NAME: usize = 2048;

/// What a signature line starts with.
const DASH: &str = "— ";

/// A note as it came in: nothing in it is to be believed before [`Note::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<Signature<'a>>,
}

/// One signature line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature<'a> {
    name: &'a str,
    id: [u8; 4],
    signature: Vec<u8>,
}

/// Why a note cannot be made, read or believed, or a verifier key cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Larger than [`MAX_NOTE`].
    #[error("a note of {0} bytes is over the limit of {MAX_NOTE}")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("a note is UTF-8 text; this is not")]
    NotUtf8,
    /// A control character other than newline.
    #[error("a note has no control characters but newlines; this has U+{0:04X}")]
    ControlCharacter(u32),
    /// The text does not end in a newline.
    #[error("the text of a note ends in a newline")]
    Unfinished,
    /// No blank line with signatures after it.
    #[error("the note is cut short or unsigned: there is no blank line with signatures after it")]
    Unsigned,
    /// More than [`MAX_SIGNATURES`].
    #[error("a note has at most {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// This line, counted from 1 after the blank line, is no signature.
    #[error("line {0} after the blank line is not `— <key name> <base64 of key id and signature>`")]
    MalformedSignature(usize),
    /// The name cannot be a key's name.
    #[error("a key's name is 1 to {MAX_NAME} bytes without white space, control characters or `+`")]
    Name,
    /// Not a verifier key.
    #[error(
        "a verifier key is `<name>+<8 lower-case hex digits>+<base64 of a type byte and the public key>`"
    )]
    VerifierKey,
    /// A signature type that is not understood here.
    #[error(
        "the verifier key is of signature type {found:#04x}, where {wanted:#04x} is wanted: Ed25519 is 0x01 for who \
         signs a log, and 0x04 for a witness"
    )]
    Algorithm {
        /// The type it is of.
        found: u8,
        /// The type that is wanted.
        wanted: u8,
    },
    /// The id in a verifier key is not that of its name and key.
    #[error(
        "the verifier key names an id that does not belong to its name and key: was it altered?"
    )]
    KeyId,
    /// No signature by a key that was asked about.
    #[error("the note is not signed by any of the keys given")]
    Unverified,
    /// A signature that claims this known key is false.
    #[error("the signature by {0} does not match the text: the note was altered or forged")]
    BadSignature(String),
}

/// Signs a text, which ends in a newline. The result is the whole note.
pub fn sign(text: &str, signers: &[Signer<'_>]) -> Result<String, NoteError> {
    check(text.as_bytes())?;
    match signers.len() {
        _ if !text.ends_with('\n') => return Err(NoteError::Unfinished),
        0 => return Err(NoteError::Unsigned),
        1..=MAX_SIGNATURES => {}
        _ => return Err(NoteError::TooManySignatures),
    }
    let mut note = format!("{text}\n");
    for signer in signers {
        note.push_str(&line(signer.name(), signer.id(), &signer.sign(text)));
    }
    check(note.as_bytes())?;
    Ok(note)
}

impl<'a> Note<'a> {
    /// Reads a note without believing it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NoteError> {
        let note = check(bytes)?;
        let (end, _) = note
            .rmatch_indices("\n\n")
            .next()
            .ok_or(NoteError::Unsigned)?;
        let (text, signatures) = (&note[..=end], &note[end + 2..]);
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Unsigned)?;
        if signatures.split('\n').nth(MAX_SIGNATURES).is_some() {
            return Err(NoteError::TooManySignatures);
        }
        let lines = signatures.split('\n').zip(1..);
        let read = |(line, n)| Signature::parse(line).ok_or(NoteError::MalformedSignature(n));
        let signatures = lines.map(read).collect::<Result<_, _>>()?;
        Ok(Self { text, signatures })
    }

    /// The text, if at least one of these keys signed it and no signature that claims one of them is false.
    pub fn verify(&self, verifiers: &[Verifier]) -> Result<&'a str, NoteError> {
        let mut verified = Err(NoteError::Unverified);
        for signature in &self.signatures {
            let known = |key: &&Verifier| key.name() == signature.name && key.id() == signature.id;
            let mut keys = verifiers.iter().filter(known).peekable();
            if keys.peek().is_none() {
                continue;
            }
            if !keys.any(|key| key.verifies(self.text, &signature.signature)) {
                return Err(NoteError::BadSignature(signature.name.to_owned()));
            }
            verified = Ok(self.text);
        }
        verified
    }

    /// The names of the keys that are said to have signed, in the order of their lines.
    pub fn unverified_names(&self) -> impl Iterator<Item = &'a str> {
        self.signatures.iter().map(|signature| signature.name)
    }
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
        let name = Some(name).filter(|name| key::is_name(name))?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (id, signature) = bytes.split_first_chunk()?;
        (!signature.is_empty()).then(|| Self {
            name,
            id: *id,
            signature: signature.to_vec(),
        })
    }
}

/// A signature line.
fn line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    let signature = [&id[..], signature].concat();
    format!("{DASH}{name} {}\n", STANDARD.encode(signature))
}

fn check(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > MAX_NOTE {
        return Err(NoteError::TooLarge(bytes.len()));
    }
    let control = bytes.iter().find(|byte| **byte < b' ' && **byte != b'\n');
    match control {
        Some(byte) => Err(NoteError::ControlCharacter(u32::from(*byte))),
        None => std::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8),
    }
}

#[cfg(test)]
mod tests;
