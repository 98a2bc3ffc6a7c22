//! The examples of RFC 8037 appendix A.

use quietus_token::{Jwk, JwkSet, SigningKey, TokenError};
use ring::signature::Ed25519KeyPair;

use crate::forge::{SEED, b64, key, pkcs8, unb64};

const PUBLIC_KEY: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc\
    .hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

#[test]
fn a1_the_private_key_has_the_public_key() {
    let public: Jwk = serde_json::from_str(PUBLIC_KEY).unwrap();
    assert_eq!(key().public_jwk(), public);
}

#[test]
fn a3_the_thumbprint_is_the_key_id() {
    let public: Jwk = serde_json::from_str(PUBLIC_KEY).unwrap();
    assert_eq!(b64(public.thumbprint()), THUMBPRINT);
    assert_eq!(public.kid(), THUMBPRINT);
    assert_eq!(key().kid(), THUMBPRINT);
}

/// A.4 is signed by the key, but is not an access token: the verifier says so before it looks at the signature.
#[test]
fn a4_the_signature_is_right_and_the_token_is_not_ours() {
    let (signing_input, signature) = TOKEN.rsplit_once('.').unwrap();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8(&unb64(SEED))).unwrap();
    assert_eq!(b64(pair.sign(signing_input.as_bytes())), signature);

    let keys = JwkSet::new([key().public_jwk()]).unwrap();
    let verdict = keys.check_signature(TOKEN).err();
    assert_eq!(verdict, Some(TokenError::Type));
}

#[test]
fn a_key_reads_back_with_and_without_its_public_half() {
    let rng = ring::rand::SystemRandom::new();
    let with = SigningKey::generate(&rng).unwrap();
    let without = pkcs8(&with[16..48]);
    let kid = |der: &[u8]| SigningKey::from_pkcs8(der).unwrap().kid().to_owned();
    assert_eq!(kid(&with), kid(&without));
}
