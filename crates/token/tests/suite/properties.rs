//! What holds for every token, and for everything that is none.

use proptest::prelude::*;
use quietus_token::{Actor, AuthorizationDetail, Claims, JwkSet, decode_unverified_ids};

use crate::forge::{b64, claims, header_json, key, sign_input, sound, verify};

proptest! {
    #[test]
    fn a_changed_byte_never_verifies(at in any::<prop::sample::Index>(), mask in 1..=255_u8) {
        let mut bytes = sound().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= mask;
        if let Ok(token) = String::from_utf8(bytes) {
            prop_assert!(verify(&token).is_err());
            let _ = decode_unverified_ids(&token);
        }
    }

    #[test]
    fn a_cut_or_doubled_stretch_never_verifies(
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
        double: bool,
    ) {
        let token = sound();
        let (a, b) = (a.index(token.len()), b.index(token.len()));
        let (from, to) = (a.min(b), a.max(b) + 1);
        let (left, right) = if double { (to, from) } else { (from, to) };
        let changed = format!("{}{}", &token[..left], &token[right..]);
        prop_assert!(verify(&changed).is_err());
    }

    #[test]
    fn any_text_is_refused_without_panic(text in ".*") {
        prop_assert!(verify(&text).is_err());
        prop_assert!(decode_unverified_ids(&text).is_err());
    }

    #[test]
    fn anything_like_a_token_is_refused_without_panic(text in "[A-Za-z0-9_=-]{0,40}(\\.[A-Za-z0-9_=-]{0,90}){0,4}") {
        prop_assert!(verify(&text).is_err());
        prop_assert!(decode_unverified_ids(&text).is_err());
    }

    #[test]
    fn signed_nonsense_is_refused_without_panic(nonsense in prop::collection::vec(any::<u8>(), 0..200)) {
        let header = b64(header_json().to_string());
        let token = sign_input(&format!("{header}.{}", b64(&nonsense)));
        prop_assert!(verify(&token).is_err());
        let _ = decode_unverified_ids(&token);
        let token = sign_input(&format!("{}.{}", b64(&nonsense), b64("{}")));
        prop_assert!(verify(&token).is_err());
    }

    #[test]
    fn a_key_set_is_read_without_panic(text in r#"\{"keys":\[(\{("(kty|crv|x|kid|use|alg|d)":("OKP"|"Ed25519"|"sig"|5|null|""),?){0,6}\},?){0,3}\]\}"#) {
        let _ = JwkSet::from_json(text.as_bytes());
    }

    #[test]
    fn whatever_is_signed_reads_back(
        words in prop::array::uniform4("\\PC{1,30}"),
        scopes in prop::collection::vec(("\\PC{0,20}", "\\PC{0,20}", "\\PC{0,20}"), 0..5),
        actor in prop::option::of("\\PC{0,30}"),
    ) {
        let [client_id, jti, txn, scope] = words;
        let details = scopes.iter().map(|(t, a, r)| AuthorizationDetail::scope(t, a, r));
        let claims = Claims {
            client_id, jti, txn, scope,
            authorization_details: details.collect(),
            act: actor.map(|sub| Actor { sub, act: None }),
            ..claims()
        };
        let token = key().sign(key().prepare(&claims));
        let verified = verify(token.expose());
        prop_assert_eq!(verified.as_ref().map(|token| token.claims()), Ok(&claims));
        for (t, a, r) in &scopes {
            prop_assert!(verified.as_ref().is_ok_and(|token| token.allows(t, a, r)));
        }
    }
}

/// 64 bytes are 86 characters with four bits to spare: fifteen other spellings of the last would decode to the same
/// signature, if they were let.
#[test]
fn a_signature_has_one_spelling() {
    let token = sound();
    let (rest, last) = token.split_at(token.len() - 1);
    for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/.".chars() {
        let verdict = verify(&format!("{rest}{other}"));
        assert_eq!(verdict.is_ok(), last.starts_with(other), "{other}");
    }
}
