//! The compact form of a signed token (RFC 7515 section 7.1).

use crate::claims::Claims;
use crate::encoding::{decode, decode_array, sha256};
use crate::error::TokenError;
use crate::jwk::{Jwk, JwkSet};
use crate::members::Members;

/// Longest token, in bytes.
pub const MAX_TOKEN: usize = 8 * 1024;

/// Length of an Ed25519 signature in base64url.
pub(crate) const SIGNATURE_TEXT: usize = 86;

/// Header parameters that say which key to trust (RFC 7515 sections 4.1.2, 4.1.3 and 4.1.5 to 4.1.8).
const KEY_PARAMETERS: [&str; 6] = ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256"];

impl JwkSet {
    /// Checks that one of these keys signed `token`, and that it has the shape of a token: header, claims, their types
    /// and their order. It asks neither who issued it, nor for whom, nor when, nor who presents it: this is for the
    /// broker's introspection. A resource server wants [`Verifier`](crate::Verifier).
    ///
    /// # Errors
    /// The first rule that `token` breaks, up to and including [`TooManyActors`](TokenError::TooManyActors) in the
    /// order of [`TokenError`].
    pub fn check_signature(&self, token: &str) -> Result<SignedClaims, TokenError> {
        let parts = Parts::split(token)?;
        let kid = read_header(parts.header)?;
        let key = self.get(&kid).ok_or(TokenError::UnknownKey)?;
        parts.check_signature(key)?;
        let claims = Claims::try_from(parts.claims()?)?;
        claims.check()?;
        Ok(SignedClaims { kid, claims })
    }
}

/// Claims that a known key has signed. Only [`JwkSet::check_signature`] makes them.
#[derive(Clone, Debug)]
pub struct SignedClaims {
    kid: String,
    claims: Claims,
}

impl SignedClaims {
    /// The key that signed.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signed.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

/// Reads `jti`, `txn` and `kid` out of a token **without checking its signature**: anyone can write anything there. They
/// are for logs and for finding the lease that a token claims to be, and for nothing else.
///
/// # Errors
/// The first rule of form that `token` breaks, or [`ClaimMissing`](TokenError::ClaimMissing),
/// [`ClaimType`](TokenError::ClaimType) or [`ClaimEmpty`](TokenError::ClaimEmpty) for the two claims.
pub fn decode_unverified_ids(token: &str) -> Result<(String, String, String), TokenError> {
    let parts = Parts::split(token)?;
    let kid = read_header(parts.header)?;
    let mut claims = parts.claims()?;
    Ok((id(&mut claims, "jti")?, id(&mut claims, "txn")?, kid))
}

/// The SHA-256 digest of a whole token, by which it can be recognised and not be made.
pub fn fingerprint(token: &str) -> [u8; 32] {
    sha256(token.as_bytes())
}

fn id(claims: &mut Members, name: &'static str) -> Result<String, TokenError> {
    let id: String = claims.required(name)?;
    if id.is_empty() {
        return Err(TokenError::ClaimEmpty(name));
    }
    Ok(id)
}

struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signing_input: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenError::Parts)?;
        let (header, claims) = signing_input.split_once('.').ok_or(TokenError::Parts)?;
        if claims.contains('.') {
            return Err(TokenError::Parts);
        }
        Ok(Self {
            header,
            claims,
            signing_input,
            signature,
        })
    }

    fn check_signature(&self, key: &Jwk) -> Result<(), TokenError> {
        if self.signature.len() != SIGNATURE_TEXT {
            return Err(TokenError::SignatureLength);
        }
        let signature: [u8; 64] =
            decode_array(self.signature).ok_or(TokenError::SignatureEncoding)?;
        key.check(self.signing_input.as_bytes(), &signature)
    }

    fn claims(&self) -> Result<Members, TokenError> {
        let json = decode(self.claims).ok_or(TokenError::ClaimsEncoding)?;
        Members::parse(&json, TokenError::ClaimsMalformed)
    }
}

/// Checks the header and returns its `kid`. Parameters that ask for nothing are ignored (RFC 7515 section 4).
fn read_header(header: &str) -> Result<String, TokenError> {
    let json = decode(header).ok_or(TokenError::HeaderEncoding)?;
    let header = Members::parse(&json, TokenError::HeaderMalformed)?;
    if header.has_any(&["crit"]) {
        return Err(TokenError::Critical);
    }
    if header.has_any(&KEY_PARAMETERS) {
        return Err(TokenError::KeyInHeader);
    }
    if header.text("alg") != Some("EdDSA") {
        return Err(TokenError::Algorithm);
    }
    if !header.text("typ").is_some_and(is_access_token) {
        return Err(TokenError::Type);
    }
    let kid = header.text("kid").ok_or(TokenError::UnknownKey)?;
    Ok(kid.to_owned())
}

/// RFC 7515 section 4.1.9: a media type, so its case is free and `application/` may be left out. RFC 9068 section 4
/// has a verifier accept both.
fn is_access_token(typ: &str) -> bool {
    ["at+jwt", "application/at+jwt"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(typ))
}
