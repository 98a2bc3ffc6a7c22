//! Tokens that must be refused, each for its own reason. One that is refused for another reason might be accepted when
//! that other rule changes.

use std::collections::BTreeSet;

use quietus_token::{MAX_TOKEN, TokenError};
use ring::hmac;
use serde_json::{Value, json};

use crate::forge::{
    NOW, actors, b64, claims_json, header_json, key, other_key, sign_input, signed, signed_by,
    sound, unb64, verify, with, with_claims, with_header, with_text, without, without_header,
};

struct Refusal {
    name: String,
    token: String,
    error: TokenError,
}

fn case(name: &str, token: impl Into<String>, error: TokenError) -> Refusal {
    Refusal {
        name: name.to_owned(),
        token: token.into(),
        error,
    }
}

#[test]
fn each_is_refused_for_its_own_reason() {
    assert!(verify(&sound()).is_ok());
    for refusal in all() {
        let verdict = verify(&refusal.token).err();
        assert_eq!(verdict, Some(refusal.error), "{}", refusal.name);
    }
}

#[test]
fn every_rule_has_a_token_that_breaks_it() {
    let broken: BTreeSet<_> = all().iter().map(|r| r.error.reason()).collect();
    assert_eq!(broken.into_iter().collect::<Vec<_>>(), REASONS);
}

/// These names are an interface: a change here breaks those who count or match them.
const REASONS: [&str; 29] = [
    "ALGORITHM",
    "AUDIENCE",
    "CLAIMS_ENCODING",
    "CLAIMS_MALFORMED",
    "CLAIM_EMPTY",
    "CLAIM_MISSING",
    "CLAIM_TYPE",
    "CRITICAL",
    "DATE_RANGE",
    "DUPLICATE_MEMBER",
    "EXPIRED",
    "HEADER_ENCODING",
    "HEADER_MALFORMED",
    "ISSUED_IN_FUTURE",
    "ISSUER",
    "KEY_IN_HEADER",
    "LIFETIME",
    "NOT_BOUND",
    "NOT_YET_VALID",
    "PARTS",
    "SIGNATURE",
    "SIGNATURE_ENCODING",
    "SIGNATURE_LENGTH",
    "SUBJECT",
    "TOO_LONG",
    "TOO_MANY_ACTORS",
    "TYPE",
    "UNKNOWN_KEY",
    "WRONG_CERTIFICATE",
];

#[test]
fn no_two_cases_are_the_same() {
    let all = all();
    let names: BTreeSet<_> = all.iter().map(|r| &r.name).collect();
    let tokens: BTreeSet<_> = all.iter().map(|r| &r.token).collect();
    assert!(all.len() >= 50);
    assert_eq!((names.len(), tokens.len()), (all.len(), all.len()));
}

fn all() -> Vec<Refusal> {
    [
        forms(),
        signatures(),
        algorithms(),
        headers(),
        encodings(),
        duplicates(),
        absences(),
        types(),
        details(),
        actors_and_bindings(),
        values(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn forms() -> Vec<Refusal> {
    use TokenError::*;
    let sound = sound();
    let (signing_input, signature) = split(&sound);
    let (header, claims) = signing_input.split_once('.').unwrap();
    let general =
        json!({"payload": claims, "signatures": [{"protected": header, "signature": signature}]});
    vec![
        case("nothing", "", Parts),
        case("one part", header, Parts),
        case("two parts", signing_input, Parts),
        case("four parts", format!("{sound}.{signature}"), Parts),
        case(
            "five parts, as encrypted tokens have",
            format!("{header}.{sound}.{claims}"),
            Parts,
        ),
        case("dot at the front", format!(".{sound}"), Parts),
        case("dot at the end", format!("{sound}."), Parts),
        case("JSON form", general.to_string(), Parts),
        case("only dots", "..", HeaderMalformed),
        case(
            "one byte too long",
            sound.clone() + &"A".repeat(MAX_TOKEN + 1 - sound.len()),
            TooLong,
        ),
        case("far too long", ".".repeat(1 << 20), TooLong),
        case(
            "scheme before it",
            format!("Bearer {sound}"),
            HeaderEncoding,
        ),
        case("space before it", format!(" {sound}"), HeaderEncoding),
        case("newline after it", format!("{sound}\n"), SignatureLength),
    ]
}

fn split(token: &str) -> (&str, &str) {
    token.rsplit_once('.').unwrap()
}

fn signatures() -> Vec<Refusal> {
    use TokenError::*;
    let sound = sound();
    let (input, signature) = split(&sound);
    let signed = |signature: &str| format!("{input}.{signature}");
    let (header, _) = input.split_once('.').unwrap();
    let claims = claims_json().to_string().replace("read", "write");
    let last = signature.replace(&signature[85..], "B");
    vec![
        case("empty signature", signed(""), SignatureLength),
        case(
            "truncated signature",
            signed(&signature[..85]),
            SignatureLength,
        ),
        case(
            "half a signature",
            signed(&signature[..43]),
            SignatureLength,
        ),
        case(
            "signature twice",
            signed(&signature.repeat(2)),
            SignatureLength,
        ),
        case(
            "padded signature",
            signed(&format!("{signature}==")),
            SignatureLength,
        ),
        case(
            "another spelling of the signature",
            signed(&last),
            SignatureEncoding,
        ),
        case(
            "signature in the other alphabet",
            signed(&format!("+/{}", &signature[2..])),
            SignatureEncoding,
        ),
        case(
            "signature with a space",
            signed(&format!(" {}", &signature[1..])),
            SignatureEncoding,
        ),
        case(
            "signature that is not ASCII",
            signed(&format!("é{}", &signature[2..])),
            SignatureEncoding,
        ),
        case("signature of zeros", signed(&b64([0; 64])), Signature),
        case(
            "signature with S past the group order",
            signed(&past_order(signature)),
            Signature,
        ),
        case(
            "signature of another token",
            signed(split(&with("exp", NOW + 301)).1),
            Signature,
        ),
        case(
            "claims changed",
            format!("{header}.{}.{signature}", b64(claims)),
            Signature,
        ),
        case(
            "other key under our id",
            signed_by(&[9; 32], input),
            Signature,
        ),
        case(
            "known key under another's id",
            with_header("kid", other_key().kid()),
            Signature,
        ),
    ]
}

/// The same signature with the group order added to S: an equation that does not reduce S would hold as well (RFC 8032
/// section 8.4).
fn past_order(signature: &str) -> String {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut bytes = unb64(signature);
    let mut carry = 0;
    for (byte, add) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    b64(bytes)
}

fn algorithms() -> Vec<Refusal> {
    let key = key().public_jwk();
    let jwk = serde_json::to_vec(&key).unwrap();
    let mut cases: Vec<_> = [
        "none", "None", "NONE", "RS256", "ES256", "PS256", "eddsa", "EDDSA", "Ed25519", "Ed448", "",
    ]
    .iter()
    .map(|alg| {
        case(
            &format!("algorithm {alg:?}"),
            with_header("alg", *alg),
            TokenError::Algorithm,
        )
    })
    .collect();
    let unsigned = with_header("alg", "none");
    cases.extend([
        case(
            "algorithm none, no signature",
            format!("{}.", split(&unsigned).0),
            TokenError::Algorithm,
        ),
        case(
            "HS256 with the public key as secret",
            hs256(key.public_key()),
            TokenError::Algorithm,
        ),
        case(
            "HS256 with the JWK as secret",
            hs256(&jwk),
            TokenError::Algorithm,
        ),
        case("no algorithm", without_header("alg"), TokenError::Algorithm),
        case(
            "algorithm null",
            with_header("alg", Value::Null),
            TokenError::Algorithm,
        ),
        case(
            "algorithm a number",
            with_header("alg", 1),
            TokenError::Algorithm,
        ),
        case(
            "algorithm a list",
            with_header("alg", json!(["EdDSA"])),
            TokenError::Algorithm,
        ),
    ]);
    cases
}

fn hs256(secret: &[u8]) -> String {
    let changed = with_header("alg", "HS256");
    let input = split(&changed).0;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", b64(tag))
}

fn headers() -> Vec<Refusal> {
    use TokenError::*;
    let attacker = serde_json::to_value(other_key().public_jwk()).unwrap();
    let own_key = with_header("jwk", attacker.clone());
    vec![
        case("header not JSON", signed("header", "{}"), HeaderMalformed),
        case("header a list", signed("[]", "{}"), HeaderMalformed),
        case(
            "header a string",
            signed("\"EdDSA\"", "{}"),
            HeaderMalformed,
        ),
        case(
            "header not UTF-8",
            signed(b"{\"alg\":\"\xff\"}", "{}"),
            HeaderMalformed,
        ),
        case(
            "more after the header",
            signed(header_json().to_string() + "{}", "{}"),
            HeaderMalformed,
        ),
        case(
            "header too deep",
            signed("[".repeat(3_000), "{}"),
            HeaderMalformed,
        ),
        case("no type", without_header("typ"), Type),
        case("type JWT", with_header("typ", "JWT"), Type),
        case(
            "type of another token",
            with_header("typ", "secevent+jwt"),
            Type,
        ),
        case("type with a space", with_header("typ", "at+jwt "), Type),
        case(
            "type with the prefix twice",
            with_header("typ", "application/application/at+jwt"),
            Type,
        ),
        case(
            "type with parameters",
            with_header("typ", "at+jwt;v=1"),
            Type,
        ),
        case("type a number", with_header("typ", 1), Type),
        case("no key id", without_header("kid"), UnknownKey),
        case("empty key id", with_header("kid", ""), UnknownKey),
        case(
            "unknown key id",
            with_header("kid", "../../dev/null"),
            UnknownKey,
        ),
        case(
            "key id with a byte more",
            with_header("kid", format!("{}A", key().kid())),
            UnknownKey,
        ),
        case(
            "key id in other letters",
            with_header("kid", key().kid().to_uppercase()),
            UnknownKey,
        ),
        case("key id a number", with_header("kid", 0), UnknownKey),
        case(
            "critical extension",
            with_header("crit", json!(["b64"])),
            Critical,
        ),
        case(
            "critical, but nothing",
            with_header("crit", json!([])),
            Critical,
        ),
        case("critical null", with_header("crit", Value::Null), Critical),
        case("its own key, our signature", own_key.clone(), KeyInHeader),
        case(
            "its own key, its own signature",
            signed_by(&[7; 32], split(&own_key).0),
            KeyInHeader,
        ),
        case(
            "key address",
            with_header("jku", "https://evil.example/keys"),
            KeyInHeader,
        ),
        case(
            "certificate address",
            with_header("x5u", "https://evil.example/cert"),
            KeyInHeader,
        ),
        case(
            "certificate chain",
            with_header("x5c", json!(["MIIB"])),
            KeyInHeader,
        ),
        case("certificate SHA-1", with_header("x5t", "AAAA"), KeyInHeader),
        case(
            "certificate SHA-256",
            with_header("x5t#S256", "AAAA"),
            KeyInHeader,
        ),
    ]
}

/// Signed as they are spelled, so that the signature is right and only the spelling is wrong.
fn encodings() -> Vec<Refusal> {
    use TokenError::*;
    let header = b64(header_json().to_string());
    let claims = claims_json().to_string();
    // A multiple of three and two more: then the last character has spare bits.
    let claims = format!("{claims}{}", " ".repeat((5 - claims.len() % 3) % 3));
    let claims = b64(claims);
    let (rest, last) = claims.split_at(claims.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    let spelled = |header: &str, claims: &str| sign_input(&format!("{header}.{claims}"));
    vec![
        case(
            "padded header",
            spelled(&format!("{}==", b64("{\"a\":1}")), &claims),
            HeaderEncoding,
        ),
        case(
            "header with a newline",
            spelled(&format!("{header}\n"), &claims),
            HeaderEncoding,
        ),
        case(
            "header that is not ASCII",
            spelled(&format!("é{header}"), &claims),
            HeaderEncoding,
        ),
        case(
            "header with a NUL",
            spelled(&format!("{header}\0"), &claims),
            HeaderEncoding,
        ),
        case(
            "header with one character more",
            spelled(&format!("{}A", b64("{} ")), &claims),
            HeaderEncoding,
        ),
        case(
            "padded claims",
            spelled(&header, &format!("{claims}=")),
            ClaimsEncoding,
        ),
        case(
            "another spelling of the claims",
            spelled(&header, &format!("{rest}{next}")),
            ClaimsEncoding,
        ),
        case(
            "claims with a space",
            spelled(&header, &format!("{rest} {last}")),
            ClaimsEncoding,
        ),
        case(
            "claims that are not ASCII",
            spelled(&header, &format!("{claims}ü")),
            ClaimsEncoding,
        ),
        case(
            "claims in the other alphabet",
            spelled(&header, &format!("+/+/{claims}")),
            ClaimsEncoding,
        ),
        case("no claims", spelled(&header, ""), ClaimsMalformed),
        case("claims not JSON", with_claims("claims"), ClaimsMalformed),
        case("claims a list", with_claims("[]"), ClaimsMalformed),
        case("claims null", with_claims("null"), ClaimsMalformed),
        case(
            "claims cut short",
            with_claims(&claims_json().to_string()[..100]),
            ClaimsMalformed,
        ),
        case(
            "more after the claims",
            with_claims(claims_json().to_string() + "{}"),
            ClaimsMalformed,
        ),
        case(
            "byte order mark",
            with_claims(format!("\u{feff}{}", claims_json())),
            ClaimsMalformed,
        ),
        case(
            "claims not UTF-8",
            with_claims(b"{\"iss\":\"\xff\"}"),
            ClaimsMalformed,
        ),
        case(
            "half a surrogate pair",
            with_text(r#""a":"\ud800""#),
            ClaimsMalformed,
        ),
        case(
            "number past all range",
            with_text(r#""a":1e999"#),
            ClaimsMalformed,
        ),
        case(
            "comment in the claims",
            with_text("/**/\"a\":1"),
            ClaimsMalformed,
        ),
    ]
}

fn duplicates() -> Vec<Refusal> {
    let header = header_json().to_string();
    let header = |text: &str| {
        let header = header.replacen('{', &format!("{{{text},"), 1);
        signed(header, claims_json().to_string())
    };
    [
        ("algorithm twice", header(r#""alg":"none""#)),
        ("algorithm twice, the same", header(r#""alg":"EdDSA""#)),
        (
            "algorithm twice, once escaped",
            header(r#""\u0061lg":"none""#),
        ),
        ("unknown parameter twice", header(r#""x":1,"x":1"#)),
        ("end twice", with_text(r#""exp":9999999999"#)),
        ("audience twice", with_text(r#""aud":"billing""#)),
        (
            "audience twice, once escaped",
            with_text(r#""\u0061ud":"billing""#),
        ),
        ("unknown claim twice", with_text(r#""x":1,"x":2"#)),
        (
            "twice within an unknown claim",
            with_text(r#""x":[{"y":{"z":1,"z":1}}]"#),
        ),
    ]
    .map(|(name, token)| case(name, token, TokenError::DuplicateMember))
    .into()
}

const REQUIRED: [&str; 11] = [
    "iss",
    "sub",
    "client_id",
    "aud",
    "iat",
    "nbf",
    "exp",
    "jti",
    "txn",
    "scope",
    "authorization_details",
];

fn absences() -> Vec<Refusal> {
    let missing = REQUIRED.map(|name| {
        let error = TokenError::ClaimMissing(name);
        case(&format!("no {name}"), without(name), error)
    });
    let empty = ["iss", "sub", "client_id", "aud", "jti", "txn"].map(|name| {
        let error = TokenError::ClaimEmpty(name);
        case(&format!("empty {name}"), with(name, ""), error)
    });
    missing.into_iter().chain(empty).collect()
}

fn types() -> Vec<Refusal> {
    let mut cases = Vec::new();
    let mut wrong = |name: &'static str, value: Value| {
        let error = TokenError::ClaimType(name);
        cases.push(case(&format!("{name} {value}"), with(name, value), error));
    };
    for name in REQUIRED {
        wrong(name, Value::Null);
        wrong(name, json!(true));
        wrong(name, json!({}));
    }
    for name in ["iss", "sub", "client_id", "aud", "jti", "txn", "scope"] {
        wrong(name, json!(["orders-db"]));
        wrong(name, json!(7));
    }
    for name in ["iat", "nbf", "exp"] {
        wrong(name, json!((NOW + 300).to_string()));
        wrong(name, json!(1_800_000_000.5));
        wrong(name, json!(1_900_000_000.0));
        wrong(name, json!(-1));
        wrong(name, json!(1e30));
        wrong(name, json!([NOW]));
    }
    let huge = claims_json()
        .to_string()
        .replace(&(NOW + 300).to_string(), "18446744073709551616");
    cases.push(case(
        "exp past 64 bits",
        with_claims(huge),
        TokenError::ClaimType("exp"),
    ));
    let exponent = claims_json()
        .to_string()
        .replace(&(NOW + 300).to_string(), "19e8");
    cases.push(case(
        "exp with an exponent",
        with_claims(exponent),
        TokenError::ClaimType("exp"),
    ));
    cases
}

fn details() -> Vec<Refusal> {
    let detail = || claims_json()["authorization_details"][0].clone();
    let with_member = |name: &str, value: Value| {
        let mut detail = detail();
        detail[name] = value;
        json!([detail])
    };
    let mut short = detail();
    short.as_object_mut().unwrap().remove("identifier").unwrap();
    [
        ("details not in a list", detail()),
        ("detail a string", json!(["orders-db:read:public.orders"])),
        (
            "detail a list",
            json!([["quietus_scope", ["orders-db"], ["read"], "public.orders"]]),
        ),
        ("detail without a resource", json!([short])),
        (
            "detail with actions in a string",
            with_member("actions", json!("read")),
        ),
        (
            "detail with an action that is none",
            with_member("actions", json!([1])),
        ),
        (
            "detail with a resource that is none",
            with_member("identifier", Value::Null),
        ),
        (
            "detail with a member that may narrow it",
            with_member("datatypes", json!(["public"])),
        ),
    ]
    .map(|(name, value)| {
        let error = TokenError::ClaimType("authorization_details");
        case(name, with("authorization_details", value), error)
    })
    .into()
}

fn actors_and_bindings() -> Vec<Refusal> {
    use TokenError::*;
    let chain = |count| serde_json::to_value(actors(count)).unwrap();
    let bound = |value: &str| with("cnf", json!({ "x5t#S256": value }));
    let own = claims_json()["cnf"]["x5t#S256"]
        .as_str()
        .unwrap()
        .to_owned();
    let deep = format!("\"x\":{}1{}", "[".repeat(500), "]".repeat(500));
    vec![
        case("nine actors", with("act", chain(9)), TooManyActors),
        case("sixty actors", with("act", chain(60)), TooManyActors),
        case("claims too deep", with_text(&deep), ClaimsMalformed),
        case("actor null", with("act", Value::Null), ClaimType("act")),
        case(
            "actor a string",
            with("act", "spiffe://example.org/x"),
            ClaimType("act"),
        ),
        case(
            "actor a list",
            with("act", json!(["spiffe://example.org/x"])),
            ClaimType("act"),
        ),
        case(
            "actor without a name",
            with("act", json!({})),
            ClaimType("act"),
        ),
        case(
            "actor before it null",
            with("act", json!({"sub": "x", "act": null})),
            ClaimType("act"),
        ),
        case(
            "actor before it a number",
            with("act", json!({"sub": "x", "act": {"sub": 1}})),
            ClaimType("act"),
        ),
        case("no binding", without("cnf"), NotBound),
        case("empty binding", with("cnf", json!({})), NotBound),
        case(
            "bound to a key instead",
            with("cnf", json!({"jkt": own})),
            NotBound,
        ),
        case("binding null", with("cnf", Value::Null), ClaimType("cnf")),
        case(
            "binding a string",
            with("cnf", own.as_str()),
            ClaimType("cnf"),
        ),
        case(
            "binding a list",
            with("cnf", json!([own])),
            ClaimType("cnf"),
        ),
        case(
            "thumbprint null",
            with("cnf", json!({"x5t#S256": null})),
            ClaimType("cnf"),
        ),
        case(
            "thumbprint a list",
            with("cnf", json!({"x5t#S256": [own]})),
            ClaimType("cnf"),
        ),
        case("empty thumbprint", bound(""), ClaimType("cnf")),
        case("short thumbprint", bound(&own[..42]), ClaimType("cnf")),
        case(
            "padded thumbprint",
            bound(&format!("{own}=")),
            ClaimType("cnf"),
        ),
        case(
            "thumbprint in hexadecimal",
            bound(&"ab".repeat(32)),
            ClaimType("cnf"),
        ),
        case(
            "bound to another certificate",
            bound(&b64([0; 32])),
            WrongCertificate,
        ),
    ]
}

fn values() -> Vec<Refusal> {
    use TokenError::*;
    let dates = |iat: u64, nbf: u64, exp: u64| {
        let mut claims = claims_json();
        claims["iat"] = iat.into();
        claims["nbf"] = nbf.into();
        claims["exp"] = exp.into();
        with_claims(claims.to_string())
    };
    vec![
        case(
            "subject not a SPIFFE ID",
            with("sub", "https://example.org/agents/x"),
            Subject,
        ),
        case(
            "subject in other letters",
            with("sub", "SPIFFE://example.org/x"),
            Subject,
        ),
        case(
            "end in the year 10000",
            with("exp", 253_402_300_800_u64),
            DateRange("exp"),
        ),
        case("end never", with("exp", u64::MAX), DateRange("exp")),
        case("start never", with("nbf", u64::MAX), DateRange("nbf")),
        case("issued never", with("iat", u64::MAX), DateRange("iat")),
        case("ends as it is issued", dates(NOW, NOW - 1, NOW), Lifetime),
        case(
            "ends before it is issued",
            dates(NOW + 9, NOW - 1, NOW + 8),
            Lifetime,
        ),
        case(
            "ends as it starts",
            dates(NOW - 1, NOW + 8, NOW + 8),
            Lifetime,
        ),
        case(
            "another issuer",
            with("iss", "https://evil.example"),
            Issuer,
        ),
        case(
            "issuer with a slash",
            with("iss", "https://quietus.example/"),
            Issuer,
        ),
        case(
            "issuer in other letters",
            with("iss", "https://Quietus.example"),
            Issuer,
        ),
        case("another audience", with("aud", "billing"), Audience),
        case(
            "audience with a byte more",
            with("aud", "orders-db2"),
            Audience,
        ),
        case(
            "audience with a byte less",
            with("aud", "orders-d"),
            Audience,
        ),
        case(
            "audience in other letters",
            with("aud", "Orders-DB"),
            Audience,
        ),
        case("audience any", with("aud", "*"), Audience),
        case("expires now", with("exp", NOW), Expired),
        case("expired long ago", dates(1, 1, 2), Expired),
        case("starts in a second", with("nbf", NOW + 1), NotYetValid),
        case("issued in a second", with("iat", NOW + 1), IssuedInFuture),
    ]
}
