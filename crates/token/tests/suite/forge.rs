//! Tokens of every kind, right and wrong, made by hand.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quietus_token::{
    Actor, AuthorizationDetail, Claims, Confirmation, JwkSet, Presented, SigningKey, TokenError,
    VerifiedToken, Verifier,
};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

pub const NOW: u64 = 1_800_000_000;
pub const ISSUER: &str = "https://quietus.example";
pub const AUDIENCE: &str = "orders-db";
pub const CERTIFICATE: &[u8] = b"client certificate";

/// The private key of RFC 8037 appendix A.1.
pub const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// PKCS#8 version 1, as `openssl genpkey -algorithm ed25519` writes it (RFC 8410 section 7).
pub fn pkcs8(seed: &[u8]) -> Vec<u8> {
    let mut der = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    der.extend_from_slice(seed);
    der
}

pub fn key() -> SigningKey {
    SigningKey::from_pkcs8(&pkcs8(&unb64(SEED))).unwrap()
}

pub fn other_key() -> SigningKey {
    SigningKey::from_pkcs8(&pkcs8(&[7; 32])).unwrap()
}

/// Knows both keys.
pub fn verifier() -> Verifier {
    let keys = JwkSet::new([other_key().public_jwk(), key().public_jwk()]).unwrap();
    Verifier::new(keys, ISSUER, AUDIENCE)
}

pub fn verify(token: &str) -> Result<VerifiedToken, TokenError> {
    verifier().verify(token, Presented::certificate(CERTIFICATE), NOW)
}

pub fn claims() -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        sub: "spiffe://example.org/agents/planner".to_owned(),
        client_id: "spiffe://example.org/agents/reporter".to_owned(),
        aud: AUDIENCE.to_owned(),
        iat: NOW - 10,
        nbf: NOW - 10,
        exp: NOW + 300,
        jti: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        txn: "01890a5d-ac96-774b-bcce-b302099a8001".to_owned(),
        scope: "orders-db:read:public.orders".to_owned(),
        authorization_details: vec![AuthorizationDetail::scope(
            "orders-db",
            "read",
            "public.orders",
        )],
        act: Some(actors(2)),
        cnf: Confirmation::certificate(CERTIFICATE),
    }
}

pub fn actors(count: usize) -> Actor {
    let actor = |act| Actor {
        sub: "spiffe://example.org/agents/reporter".to_owned(),
        act,
    };
    (1..count).fold(actor(None), |inner, _| actor(Some(Box::new(inner))))
}

pub fn header_json() -> Value {
    json!({"alg": "EdDSA", "kid": key().kid(), "typ": "at+jwt"})
}

pub fn claims_json() -> Value {
    serde_json::to_value(claims()).unwrap()
}

pub fn sound() -> String {
    key().sign(key().prepare(&claims())).expose().to_owned()
}

/// A token with this header and these claims as they stand, signed with the right key.
pub fn signed(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    sign_input(&format!("{}.{}", b64(header), b64(claims)))
}

pub fn sign_input(signing_input: &str) -> String {
    signed_by(&unb64(SEED), signing_input)
}

pub fn signed_by(seed: &[u8], signing_input: &str) -> String {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).unwrap();
    format!(
        "{signing_input}.{}",
        b64(pair.sign(signing_input.as_bytes()))
    )
}

/// A signed token with one header parameter set.
pub fn with_header(name: &str, value: impl Into<Value>) -> String {
    let mut header = header_json();
    header[name] = value.into();
    signed(header.to_string(), claims_json().to_string())
}

pub fn without_header(name: &str) -> String {
    let mut header = header_json();
    header.as_object_mut().unwrap().remove(name).unwrap();
    signed(header.to_string(), claims_json().to_string())
}

/// A signed token with one claim set.
pub fn with(name: &str, value: impl Into<Value>) -> String {
    let mut claims = claims_json();
    claims[name] = value.into();
    with_claims(claims.to_string())
}

pub fn without(name: &str) -> String {
    let mut claims = claims_json();
    claims.as_object_mut().unwrap().remove(name).unwrap();
    with_claims(claims.to_string())
}

/// A signed token whose claims begin with `text`, as it stands.
pub fn with_text(text: &str) -> String {
    with_claims(
        claims_json()
            .to_string()
            .replacen('{', &format!("{{{text},"), 1),
    )
}

pub fn with_claims(claims: impl AsRef<[u8]>) -> String {
    signed(header_json().to_string(), claims)
}
