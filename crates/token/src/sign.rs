//! Making tokens.

use std::fmt;

use base64::Engine;
use ring::rand::SecureRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use zeroize::Zeroizing;

use crate::claims::Claims;
use crate::encoding::{BASE64URL, encode, sha256};
use crate::jwk::Jwk;
use crate::jws::{MAX_TOKEN, SIGNATURE_TEXT, fingerprint};

/// An Ed25519 key that signs tokens (RFC 8037 section 3.1). Nothing of it is ever printed but its id.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    jwk: Jwk,
    /// The encoded header and the dot after it, the same for every token.
    header: String,
}

impl SigningKey {
    /// Draws a new key, in PKCS#8 version 2 (RFC 5958) for [`from_pkcs8`](Self::from_pkcs8).
    ///
    /// # Errors
    /// [`Random`](KeyError::Random) if `rng` has none to give.
    pub fn generate(rng: &dyn SecureRandom) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(rng).map_err(|_| KeyError::Random)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads a key from PKCS#8 in DER, with its public half (RFC 5958) or without it (RFC 5208), and makes sure that it
    /// signs what its public half verifies.
    ///
    /// # Errors
    /// [`Pkcs8`](KeyError::Pkcs8) if it is not an Ed25519 key in that form or its halves differ,
    /// [`SelfCheck`](KeyError::SelfCheck) if its signature does not verify.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::Pkcs8)?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        let jwk = Jwk::new(public);
        check(&pair, &jwk)?;
        let header = header(jwk.kid());
        Ok(Self { pair, jwk, header })
    }

    /// The id of the key: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        self.jwk.kid()
    }

    /// The public half, for verifiers.
    pub fn public_jwk(&self) -> Jwk {
        self.jwk.clone()
    }

    /// Spells out what [`sign`](Self::sign) will sign, so that it can be recorded before there is anything to steal.
    ///
    /// This takes any claims. [`Claims::check`] and [`Unsigned::fits`] tell whether a verifier will take them as well.
    pub fn prepare(&self, claims: &Claims) -> Unsigned {
        let mut json = Vec::with_capacity(1024);
        serde_json::to_writer(&mut json, claims)
            .expect("claims are strings, numbers and lists, and memory takes them all");
        let encoded = json.len().div_ceil(3) * 4;
        let room = self.header.len() + encoded + 1 + SIGNATURE_TEXT;
        let mut signing_input = String::with_capacity(room);
        signing_input.push_str(&self.header);
        BASE64URL.encode_string(json, &mut signing_input);
        Unsigned { signing_input }
    }

    /// Signs what this key has prepared. A token that another key has prepared names that key, and verifies nowhere.
    pub fn sign(&self, unsigned: Unsigned) -> Token {
        let mut text = unsigned.signing_input;
        debug_assert!(text.starts_with(&self.header), "prepared by another key");
        let signature = self.pair.sign(text.as_bytes());
        // There is room already: growing now would leave a copy behind in freed memory.
        text.push('.');
        BASE64URL.encode_string(signature, &mut text);
        Token(Zeroizing::new(text))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .finish_non_exhaustive()
    }
}

/// A token that lacks its signature yet. It is no secret, and cannot be changed any more.
#[derive(Debug)]
pub struct Unsigned {
    signing_input: String,
}

impl Unsigned {
    /// What will be signed (RFC 7515 section 2, "JWS Signing Input").
    pub fn signing_input(&self) -> &str {
        &self.signing_input
    }

    /// Its SHA-256 digest.
    pub fn digest(&self) -> [u8; 32] {
        sha256(self.signing_input.as_bytes())
    }

    /// Whether the token will be within [`MAX_TOKEN`].
    pub fn fits(&self) -> bool {
        self.signing_input.len() + 1 + SIGNATURE_TEXT <= MAX_TOKEN
    }
}

/// A signed token: a secret, wiped from memory when dropped, and not printed.
pub struct Token(Zeroizing<String>);

impl Token {
    /// The token itself, to hand to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The SHA-256 digest of the whole token, to recognise it by. It is no secret.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// Why a signing key was refused or not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There was no randomness.
    #[error("no randomness for a new key")]
    Random,
    /// Not a key.
    #[error("not an Ed25519 key in PKCS#8")]
    Pkcs8,
    /// The key does not work.
    #[error("the key does not verify its own signature")]
    SelfCheck,
}

fn header(kid: &str) -> String {
    let json = format!(r#"{{"alg":"EdDSA","kid":"{kid}","typ":"at+jwt"}}"#);
    encode(json.as_bytes()) + "."
}

fn check(pair: &Ed25519KeyPair, jwk: &Jwk) -> Result<(), KeyError> {
    let message = b"quietus signing key self check";
    jwk.check(message, pair.sign(message).as_ref())
        .map_err(|_| KeyError::SelfCheck)
}
