//! A role's password, and what the server is given in its place.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::issuers::Secret;

/// As RFC 7677 has it at least, and PostgreSQL by itself. A password of 256 random bits needs no more.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4095);

/// A verifier of a password that means nothing, for measurements.
pub(super) const SAMPLE: &str = "SCRAM-SHA-256$4096:cXVpZXR1cy1ieS1oYW5kIQ==$r+J9s3VlJSSZ5fNg6vV07vgQoHFeFr4nWwkXOZA/Lds=:TU5pJ31Ny2hWYaKS6wdgX3wERcwKRjRAE/yPVdDB60E=";

/// 256 random bits as text.
pub(super) fn random() -> Result<Secret, String> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(&mut *bytes)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

/// The SCRAM-SHA-256 verifier (RFC 5802, RFC 7677) as PostgreSQL stores it: the server never sees the password.
pub(super) fn verifier(password: &Secret) -> Result<String, String> {
    let mut salt = [0; 16];
    fill(&mut salt)?;
    Ok(salted_verifier(password.expose().as_bytes(), &salt))
}

fn salted_verifier(password: &[u8], salt: &[u8; 16]) -> String {
    let mut salted = Zeroizing::new([0; 32]);
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, ITERATIONS, salt, password, &mut *salted);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*salted);
    let client_key = hmac::sign(&key, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = hmac::sign(&key, b"Server Key");
    format!(
        "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
        STANDARD.encode(salt),
        STANDARD.encode(stored_key),
        STANDARD.encode(server_key),
    )
}

fn fill(bytes: &mut [u8]) -> Result<(), String> {
    let filled = SystemRandom::new().fill(bytes);
    filled.map_err(|_| "the system has no random numbers".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_long_and_different() {
        let both = [random(), random()].map(|it| it.map(|it| it.expose().to_owned()));
        assert_ne!(both[0], both[1]);
        assert!(both.iter().flatten().all(|it| it.len() == 43));
    }

    #[test]
    fn the_password_is_not_in_its_verifier() -> Result<(), String> {
        let password = random()?;
        assert!(!verifier(&password)?.contains(password.expose()));
        assert_ne!(verifier(&password)?, verifier(&password)?, "salted");
        Ok(())
    }
}
