//! Key sets and keys that are not what they should be.

use quietus_token::{Jwk, JwkError, JwkSet, KeyError, MAX_KEYS, MAX_SET, SigningKey};
use serde_json::{Value, json};

use crate::forge::{SEED, key, other_key, pkcs8, unb64};

fn jwk() -> Value {
    serde_json::to_value(key().public_jwk()).unwrap()
}

fn jwk_with(name: &str, value: impl Into<Value>) -> Value {
    let mut jwk = jwk();
    jwk[name] = value.into();
    jwk
}

fn read(keys: &[Value]) -> Result<JwkSet, JwkError> {
    JwkSet::from_json(json!({ "keys": keys }).to_string().as_bytes())
}

#[test]
fn a_set_reads_back_as_written() {
    let set = JwkSet::new([key().public_jwk(), other_key().public_jwk()]).unwrap();
    let text = serde_json::to_string(&set).unwrap();
    assert_eq!(JwkSet::from_json(text.as_bytes()), Ok(set.clone()));
    assert_eq!(serde_json::from_str::<JwkSet>(&text).unwrap(), set);
    assert_eq!(set.get(key().kid()), Some(&key().public_jwk()));
    assert_eq!(set.get(""), None);
}

#[test]
fn a_public_key_is_written_with_these_members() {
    assert_eq!(
        jwk(),
        json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "use": "sig",
            "alg": "EdDSA",
        })
    );
}

#[test]
fn keys_for_something_else_are_skipped() {
    let others = [
        json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "oct", "k": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": 7}),
        json!("key"),
        jwk_with("use", "enc"),
        jwk_with("alg", "ES256"),
        jwk_with("alg", Value::Null),
    ];
    assert_eq!(read(&others), Ok(JwkSet::default()));
    for other in others {
        let alone: Result<Jwk, _> = serde_json::from_value(other.clone());
        assert!(alone.is_err(), "{other}");
        let set = read(&[other, jwk()]).unwrap();
        assert_eq!(set.keys(), [key().public_jwk()]);
    }
}

#[test]
fn keys_that_claim_to_be_ours_must_be_sound() {
    for (jwk, error) in [
        (jwk_with("x", ""), JwkError::Malformed),
        (jwk_with("x", "AAAA"), JwkError::Malformed),
        (jwk_with("x", 5), JwkError::Malformed),
        (
            jwk_with("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"),
            JwkError::Malformed,
        ),
        (
            jwk_with("x", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="),
            JwkError::Malformed,
        ),
        (jwk_with("kid", ""), JwkError::Malformed),
        (jwk_with("kid", 1), JwkError::Malformed),
        (jwk_with("kid", "k".repeat(257)), JwkError::Malformed),
        (jwk_with("d", SEED), JwkError::Private),
    ] {
        assert_eq!(read(std::slice::from_ref(&jwk)), Err(error), "{jwk}");
    }
}

#[test]
fn sets_are_bounded() {
    let numbered = |n: usize| jwk_with("kid", n.to_string());
    let keys: Vec<_> = (0..=MAX_KEYS).map(numbered).collect();
    assert_eq!(read(&keys[1..]).unwrap().keys().len(), MAX_KEYS);
    assert_eq!(read(&keys), Err(JwkError::TooMany));
    let skipped = vec![json!({"kty": "RSA"}); MAX_KEYS + 1];
    assert_eq!(read(&skipped), Err(JwkError::TooMany));

    let padded = |len: usize| r#"{"keys":[]}"#.to_owned() + &" ".repeat(len - 11);
    assert!(JwkSet::from_json(padded(MAX_SET).as_bytes()).is_ok());
    let over = JwkSet::from_json(padded(MAX_SET + 1).as_bytes());
    assert_eq!(over, Err(JwkError::TooLong));
}

#[test]
fn one_id_means_one_key() {
    let impostor = serde_json::to_value(other_key().public_jwk()).unwrap()["x"].take();
    assert_eq!(
        read(&[jwk(), jwk_with("x", impostor)]),
        Err(JwkError::SameId)
    );
    let twice = JwkSet::new([key().public_jwk(), key().public_jwk()]);
    assert_eq!(twice, Err(JwkError::SameId));
}

#[test]
fn what_is_no_set_is_malformed() {
    for text in [
        "",
        "{}",
        "[]",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":[]}}"#,
    ] {
        let read = JwkSet::from_json(text.as_bytes());
        assert_eq!(read, Err(JwkError::Malformed), "{text:?}");
    }
}

#[test]
fn what_is_no_key_does_not_sign() {
    let seed = unb64(SEED);
    let mut ed448 = pkcs8(&seed);
    ed448[11] = 0x71;
    let mut halves = SigningKey::generate(&ring::rand::SystemRandom::new()).unwrap();
    if let Some(last) = halves.last_mut() {
        *last ^= 1;
    }
    for der in [&[][..], &seed, &pkcs8(&seed)[..47], &ed448, &halves] {
        let refused = SigningKey::from_pkcs8(der).err();
        assert_eq!(refused, Some(KeyError::Pkcs8));
    }
}
