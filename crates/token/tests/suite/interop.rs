//! Both ways with an independent implementation.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quietus_token::JwkSet;
use serde_json::Value;

use crate::forge::{
    AUDIENCE, ISSUER, SEED, b64, claims, claims_json, key, pkcs8, sound, unb64, verify,
};

#[test]
fn they_verify_our_token_with_our_published_key() {
    let set = JwkSet::new([key().public_jwk()]).unwrap();
    let published = serde_json::to_string(&set).unwrap();
    let theirs: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&published).unwrap();

    let token = sound();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let jwk = theirs.find(&header.kid.unwrap()).unwrap();

    let key = DecodingKey::from_jwk(jwk).unwrap();
    let read = jsonwebtoken::decode::<Value>(&token, &key, &validation()).unwrap();
    assert_eq!(read.claims, claims_json());
}

#[test]
fn they_refuse_our_token_when_it_was_changed() {
    let sound = sound();
    let (signing_input, signature) = sound.rsplit_once('.').unwrap();
    let (header, _) = signing_input.split_once('.').unwrap();
    let changed = format!("{header}.{}.{signature}", b64("{}"));
    let key = DecodingKey::from_ed_der(key().public_jwk().public_key());
    assert!(jsonwebtoken::decode::<Value>(&sound, &key, &validation()).is_ok());
    assert!(jsonwebtoken::decode::<Value>(&changed, &key, &validation()).is_err());
}

#[test]
fn we_verify_a_token_that_they_signed() {
    let header = Header {
        typ: Some("at+jwt".to_owned()),
        kid: Some(key().kid().to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    let signer = EncodingKey::from_ed_der(&pkcs8(&unb64(SEED)));
    let token = jsonwebtoken::encode(&header, &claims_json(), &signer).unwrap();
    assert_eq!(verify(&token).unwrap().claims(), &claims());
}

/// The dates of our examples are not theirs to judge: they read the clock.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.validate_exp = false;
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation
}
