//! Base64url without padding (RFC 7515 section 2) and SHA-256.

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use ring::digest;

/// Refuses padding, white space and trailing bits that are not zero, so that bytes have one spelling only.
pub(crate) const BASE64URL: GeneralPurpose = URL_SAFE_NO_PAD;

/// The one spelling of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

/// The bytes that `text` spells, or nothing if it is not their one spelling.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL.decode(text).ok()
}

/// As [`decode`], for exactly `N` bytes.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let written = BASE64URL.decode_slice(text, &mut bytes).ok()?;
    (written == N).then_some(bytes)
}

/// The SHA-256 digest of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_spelling() {
        assert_eq!(decode("AA"), Some(vec![0]));
        for other in ["AB", "AA==", "AA=", "A", "A A", "AA\n", "+A", "/A"] {
            assert_eq!(decode(other), None, "{other:?}");
        }
    }

    #[test]
    fn an_array_is_exactly_as_long_as_asked() {
        assert_eq!(decode_array("AAA"), Some([0, 0]));
        assert_eq!(decode_array::<2>("AA"), None);
        assert_eq!(decode_array::<2>("AAAA"), None);
    }
}
