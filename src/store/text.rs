//! Texts that are kept apart from the ledger, so that they can be erased.

use std::fmt;

use quietus_core::Digest;
use ring::hmac;
use zeroize::Zeroizing;

use super::StoreError;

/// The length of a salt.
pub const SALT: usize = 32;

/// A text and the salt of its commitment. Without the salt a commitment tells nothing of the text, not even to
/// somebody who can guess it.
#[derive(Clone, PartialEq, Eq)]
pub struct SaltedText(Zeroizing<Vec<u8>>);

impl SaltedText {
    /// A text under a salt that is good for it alone.
    pub fn new(salt: [u8; SALT], text: &str) -> Self {
        let mut row = Zeroizing::new(Vec::with_capacity(SALT + text.len()));
        row.extend_from_slice(&salt);
        row.extend_from_slice(text.as_bytes());
        Self(row)
    }

    /// As it is kept: the salt, then the text.
    pub(super) fn from_row(row: &[u8]) -> Result<Self, StoreError> {
        let text = row.get(SALT..).ok_or(StoreError::Row { table: "texts" })?;
        match std::str::from_utf8(text) {
            Ok(_) => Ok(Self(Zeroizing::new(row.to_vec()))),
            Err(_) => Err(StoreError::Row { table: "texts" }),
        }
    }

    pub(super) fn row(&self) -> &[u8] {
        &self.0
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.0[..SALT]
    }

    /// The text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0[SALT..]).unwrap_or_default()
    }

    /// HMAC-SHA256 of the text, with the salt as its key.
    pub fn commitment(&self) -> Digest {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.salt());
        let tag = hmac::sign(&key, &self.0[SALT..]);
        let mut commitment = [0; 32];
        commitment.copy_from_slice(tag.as_ref());
        Digest(commitment)
    }
}

impl fmt::Debug for SaltedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.0.len().saturating_sub(SALT);
        write!(f, "SaltedText({length} bytes)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commitment_is_that_of_rfc_4231() {
        // Test case 1, whose key is shorter: HMAC fills it up with zeros.
        let mut key = [0; SALT];
        key[..20].fill(0x0b);
        let commitment = SaltedText::new(key, "Hi There").commitment();
        let expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(commitment.to_string(), expected);
    }

    #[test]
    fn neither_salt_nor_text_is_shown() {
        let kept = SaltedText::new([0x5a; SALT], "the patient's name");
        assert_eq!(format!("{kept:?}"), "SaltedText(18 bytes)");
    }

    #[test]
    fn a_row_is_read_as_it_was_written_and_others_are_refused() {
        for text in ["", "plain", "\u{0}\u{1f600}"] {
            let kept = SaltedText::new([7; SALT], text);
            let read = SaltedText::from_row(kept.row()).unwrap();
            assert_eq!((read.text(), read.salt()), (text, &[7; SALT][..]));
        }
        assert!(SaltedText::from_row(&[0; SALT - 1]).is_err());
        assert!(SaltedText::from_row(&[0xff; SALT + 1]).is_err());
    }
}
