//! What is accepted, what it then allows, and the vectors for other implementations.

use quietus_token::{
    AuthorizationDetail, Claims, Confirmation, JwkSet, Presented, TokenError, VerifiedToken,
    Verifier, danger, decode_unverified_ids, fingerprint,
};
use serde::Deserialize;

use crate::forge::{
    AUDIENCE, CERTIFICATE, ISSUER, NOW, actors, claims, key, other_key, sound, verifier, verify,
    with, with_header, without,
};

#[derive(Deserialize)]
struct Vectors {
    issuer: String,
    audience: String,
    now: u64,
    certificate: String,
    keys: JwkSet,
    claims: Claims,
    tokens: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    verdict: String,
    token: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../data/vectors.json")).unwrap()
}

#[test]
fn each_vector_gets_its_verdict() {
    let vectors = vectors();
    let verifier = Verifier::new(vectors.keys, vectors.issuer, vectors.audience);
    let presented = Presented::certificate(vectors.certificate.as_bytes());
    for vector in vectors.tokens {
        let verdict = verifier.verify(&vector.token, presented, vectors.now);
        let verdict = verdict.map_or_else(|error| error.reason(), |_| "VALID");
        assert_eq!(verdict, vector.verdict, "{}", vector.name);
    }
}

/// Ed25519 draws nothing, so a token is a function of key and claims, byte for byte.
#[test]
fn the_first_vector_is_the_token_that_we_make() {
    let vectors = vectors();
    let token = key().sign(key().prepare(&vectors.claims));
    assert_eq!(token.expose(), vectors.tokens[0].token);
}

#[test]
fn a_sound_token_says_what_was_signed() {
    let token = verify(&sound()).unwrap();
    assert_eq!(token.claims(), &claims());
    assert_eq!(token.kid(), key().kid());
    assert_eq!(token.subject(), claims().sub);
    assert_eq!(token.actor(), claims().client_id);
    assert_eq!(token.lease_id(), claims().jti);
    assert_eq!(token.task_id(), claims().txn);
    assert_eq!(token.expires_at(), claims().exp);
    assert_eq!(verify(&without("act")).unwrap().actor(), claims().sub);
}

#[test]
fn only_the_very_scope_is_allowed() {
    let token = verify(&sound()).unwrap();
    assert!(token.allows("orders-db", "read", "public.orders"));
    for (target, action, resource) in [
        ("orders-db2", "read", "public.orders"),
        ("orders", "read", "public.orders"),
        ("*", "read", "public.orders"),
        ("orders-db", "write", "public.orders"),
        ("orders-db", "admin", "public.orders"),
        ("orders-db", "Read", "public.orders"),
        ("orders-db", "", "public.orders"),
        ("orders-db", "*", "public.orders"),
        ("orders-db", "read", "public.orders2"),
        ("orders-db", "read", "public"),
        ("orders-db", "read", "PUBLIC.ORDERS"),
        ("orders-db", "read", ""),
        ("orders-db", "read", "*"),
    ] {
        assert!(
            !token.allows(target, action, resource),
            "{target}:{action}:{resource}"
        );
    }
}

#[test]
fn no_scope_implies_another() {
    let allows = |token: &VerifiedToken, action| token.allows("db", action, "x");
    let token = scoped(&[
        ("db", "admin", "x"),
        ("db", "read", "*"),
        ("*", "read", "x"),
    ]);
    assert!(allows(&token, "admin"));
    assert!(!allows(&token, "read"));
    assert!(!allows(&token, "write"));
}

#[test]
fn scopes_do_not_combine() {
    let token = scoped(&[("db", "read", "a"), ("db", "write", "b")]);
    assert!(token.allows("db", "read", "a") && token.allows("db", "write", "b"));
    assert!(!token.allows("db", "read", "b") && !token.allows("db", "write", "a"));
    assert!(!scoped(&[]).allows("db", "read", "a"));
}

#[test]
fn details_of_another_type_grant_nothing() {
    let mut detail = AuthorizationDetail::scope("db", "read", "x");
    assert!(detail.allows("db", "read", "x"));
    detail.type_ = "payment".to_owned();
    assert!(!detail.allows("db", "read", "x"));
}

fn scoped(scopes: &[(&str, &str, &str)]) -> VerifiedToken {
    let detail = |(t, a, r): &(&str, &str, &str)| AuthorizationDetail::scope(t, a, r);
    let claims = Claims {
        authorization_details: scopes.iter().map(detail).collect(),
        ..claims()
    };
    verify(key().sign(key().prepare(&claims)).expose()).unwrap()
}

#[test]
fn the_type_may_be_written_as_a_media_type() {
    for typ in [
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/At+Jwt",
    ] {
        assert!(verify(&with_header("typ", typ)).is_ok(), "{typ}");
    }
}

#[test]
fn what_nobody_asked_about_is_ignored() {
    assert!(verify(&with_header("cty", "json")).is_ok());
    assert!(verify(&with("zoneinfo", "Europe/Zurich")).is_ok());
}

#[test]
fn either_key_of_a_rotation_signs() {
    let token = other_key().sign(other_key().prepare(&claims()));
    assert_eq!(verify(token.expose()).unwrap().kid(), other_key().kid());
}

#[test]
fn eight_actors_are_a_chain_and_nine_are_too_many() {
    let chain = |count| Claims {
        act: Some(actors(count)),
        ..claims()
    };
    assert_eq!(chain(8).check(), Ok(()));
    assert_eq!(chain(9).check(), Err(TokenError::TooManyActors));
}

#[test]
fn a_token_lives_from_its_first_second_to_the_one_before_its_last() {
    let at = |now| verdict(&verifier(), now);
    assert_eq!(at(NOW - 11), Some(TokenError::NotYetValid));
    assert_eq!(at(NOW - 10), None);
    assert_eq!(at(NOW + 299), None);
    assert_eq!(at(NOW + 300), Some(TokenError::Expired));
    assert_eq!(at(0), Some(TokenError::NotYetValid));
    assert_eq!(at(u64::MAX), Some(TokenError::Expired));
}

#[test]
fn leeway_stretches_both_ends_and_is_capped() {
    for (asked, given) in [(0, 0), (5, 5), (60, 60), (61, 60), (u64::MAX, 60)] {
        let at = |now| verdict(&verifier().leeway(asked), now);
        assert_eq!(at(NOW - 11 - given), Some(TokenError::NotYetValid));
        assert_eq!(at(NOW - 10 - given), None);
        assert_eq!(at(NOW + 299 + given), None);
        assert_eq!(at(NOW + 300 + given), Some(TokenError::Expired));
    }
}

fn verdict(verifier: &Verifier, now: u64) -> Option<TokenError> {
    let presented = Presented::certificate(CERTIFICATE);
    verifier.verify(&sound(), presented, now).err()
}

#[test]
fn a_stolen_token_is_worth_nothing() {
    let thief = |presented| verifier().verify(&sound(), presented, NOW).err();
    let wrong = Some(TokenError::WrongCertificate);
    assert_eq!(thief(Presented::certificate(b"another certificate")), wrong);
    assert_eq!(thief(Presented::certificate(b"")), wrong);
    let own = claims().cnf.x5t_s256;
    assert_eq!(thief(Presented::from_thumbprint(own)), None);
    for byte in 0..32 {
        let mut near = own;
        near[byte] ^= 1;
        assert_eq!(
            thief(Presented::from_thumbprint(near)),
            wrong,
            "byte {byte}"
        );
    }
}

#[test]
fn danger_skips_the_binding_and_nothing_else() {
    let stolen = Claims {
        cnf: Confirmation::from_thumbprint([0; 32]),
        ..claims()
    };
    let stolen = key().sign(key().prepare(&stolen));
    assert_eq!(
        verify(stolen.expose()).err(),
        Some(TokenError::WrongCertificate)
    );
    assert!(danger::verify_unbound(&verifier(), stolen.expose(), NOW).is_ok());
    for (token, error) in [
        (without("cnf"), TokenError::NotBound),
        (with("aud", "billing"), TokenError::Audience),
        (with("iss", "https://evil.example"), TokenError::Issuer),
        (with("exp", NOW), TokenError::Expired),
    ] {
        let verdict = danger::verify_unbound(&verifier(), &token, NOW).err();
        assert_eq!(verdict, Some(error));
    }
}

#[test]
fn introspection_reads_tokens_for_anyone_at_any_time() {
    let keys = JwkSet::new([key().public_jwk()]).unwrap();
    for token in [sound(), with("aud", "billing"), with("exp", NOW - 1)] {
        let signed = keys.check_signature(&token).unwrap();
        assert_eq!(signed.kid(), key().kid());
        assert_eq!(signed.claims().jti, claims().jti);
    }
    let none = JwkSet::default().check_signature(&sound()).err();
    assert_eq!(none, Some(TokenError::UnknownKey));
}

#[test]
fn unverified_ids_need_no_key() {
    let ids = (claims().jti, claims().txn, key().kid().to_owned());
    let sound = sound();
    let (signing_input, _) = sound.rsplit_once('.').unwrap();
    assert_eq!(decode_unverified_ids(&sound), Ok(ids.clone()));
    assert_eq!(decode_unverified_ids(&format!("{signing_input}.")), Ok(ids));
    for (token, error) in [
        (without("jti"), TokenError::ClaimMissing("jti")),
        (with("txn", 5), TokenError::ClaimType("txn")),
        (with("jti", ""), TokenError::ClaimEmpty("jti")),
        (with_header("alg", "none"), TokenError::Algorithm),
        ("x".repeat(8_193), TokenError::TooLong),
        (String::new(), TokenError::Parts),
    ] {
        assert_eq!(decode_unverified_ids(&token), Err(error));
    }
}

#[test]
fn what_is_recorded_before_signing_is_what_is_signed() {
    let unsigned = key().prepare(&claims());
    let input = unsigned.signing_input().to_owned();
    let digest = ring::digest::digest(&ring::digest::SHA256, input.as_bytes());
    assert_eq!(unsigned.digest(), digest.as_ref());
    assert!(unsigned.fits());

    let token = key().sign(unsigned);
    assert_eq!(token.expose().rsplit_once('.').unwrap().0, input);
    assert_eq!(token.fingerprint(), fingerprint(token.expose()));
    assert_ne!(token.fingerprint(), digest.as_ref());
}

#[test]
fn the_header_is_exactly_this() {
    let header = format!(
        r#"{{"alg":"EdDSA","kid":"{}","typ":"at+jwt"}}"#,
        key().kid()
    );
    let unsigned = key().prepare(&claims());
    let encoded = unsigned.signing_input().split_once('.').unwrap().0;
    assert_eq!(crate::forge::unb64(encoded), header.as_bytes());
}

#[test]
fn the_longest_token_is_8_kib() {
    let sized = |scope: usize| {
        let claims = Claims {
            scope: "x".repeat(scope),
            ..claims()
        };
        key().prepare(&claims)
    };
    let longest = (0..8_192).rev().find(|n| sized(*n).fits()).unwrap();
    let at = key().sign(sized(longest));
    let over = key().sign(sized(longest + 1));
    assert!((8_190..=8_192).contains(&at.expose().len()));
    assert!(verify(at.expose()).is_ok());
    assert_eq!(verify(over.expose()).err(), Some(TokenError::TooLong));
}

#[test]
fn nothing_that_is_printed_is_secret() {
    let token = key().sign(key().prepare(&claims()));
    assert_eq!(format!("{token:?}"), "Token(redacted)");
    let printed = format!("{:?}", key());
    assert_eq!(
        printed,
        format!("SigningKey {{ kid: {:?}, .. }}", key().kid())
    );
    let verifier = Verifier::new(JwkSet::default(), ISSUER, AUDIENCE);
    let refusal = verifier
        .verify(token.expose(), Presented::certificate(b""), NOW)
        .unwrap_err();
    let printed = format!("{refusal:?} {refusal}");
    assert!(
        token
            .expose()
            .split('.')
            .all(|part| !printed.contains(part))
    );
}
