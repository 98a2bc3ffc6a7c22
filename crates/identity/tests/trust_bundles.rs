//! Trust bundles: what is read from PEM and SPIFFE JSON, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use quietus_identity::{BundleError, TrustBundle, TrustBundles};
use rcgen::{CertificateParams, IsCa, KeyUsagePurpose as Ku};
use serde_json::{Value, json};

#[test]
fn pem_and_json_of_the_same_anchors_are_the_same_bundle() {
    let [one, two] = [root(), root()];
    let from_pem = parse(&[pem(&one), pem(&two)].concat()).unwrap();
    let from_json = parse(&set([key(&two), key(&one)])).unwrap();
    assert_eq!(from_pem.digest(), from_json.digest());
    assert_eq!(from_pem.anchors().len(), 2);
    assert_eq!(from_pem.trust_domain().as_str(), "prod.example");
}

#[test]
fn an_anchor_tells_its_fingerprint_and_its_time() {
    let der = root();
    let bundle = parse(&pem(&der)).unwrap();
    let [anchor] = bundle.anchors() else {
        panic!("one anchor")
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    assert_eq!(anchor.fingerprint(), digest.as_ref());
    assert_eq!(
        (anchor.not_before(), anchor.not_after()),
        (year(2025), year(2035))
    );
}

#[test]
fn the_digest_tells_anchors_and_domains_apart() {
    let [one, two] = [pem(&root()), pem(&root())];
    let here = parse(&one).unwrap();
    let there =
        TrustBundle::parse("other.example".parse().unwrap(), anonymous().as_bytes()).unwrap();
    assert_ne!(here.digest(), parse(&two).unwrap().digest());
    assert_ne!(here.digest(), parse(&[one, two].concat()).unwrap().digest());
    assert_ne!(here.digest(), there.digest());
}

#[test]
fn duplicates_count_once() {
    let der = root();
    assert_eq!(parse(&pem(&der).repeat(100)).unwrap().anchors().len(), 1);
    assert_eq!(
        parse(&set([key(&der), key(&der)])).unwrap().anchors().len(),
        1
    );
}

#[test]
fn white_space_around_pem_is_fine() {
    let der = root();
    let text = format!(
        "\r\n  \n{}\n\n{}\t",
        pem(&der).replace('\n', "\r\n"),
        pem(&der).trim_end()
    );
    assert_eq!(parse(&text).unwrap().anchors().len(), 1);
}

#[test]
fn keys_for_other_uses_and_of_unknown_types_are_ignored() {
    let der = root();
    let text = set([
        json!({"kty": "EC", "use": "jwt-svid", "kid": "1", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "EC", "use": "wit-svid", "x5c": ["not base64"]}),
        json!({"kty": "LATTICE", "use": "x509-svid", "x5c": ["not base64"]}),
        json!({"kty": "EC", "use": "X509-SVID", "x5c": ["not base64"]}),
        json!({"kty": "EC"}),
        key(&der),
    ]);
    assert_eq!(parse(&text).unwrap().anchors().len(), 1);
}

#[test]
fn unusable_texts_are_refused() {
    let good = pem(&root());
    let body = base64(&root());
    for (what, text, reason) in [
        ("nothing", String::new(), "BUNDLE_NO_ANCHORS"),
        ("white space", " \n\n".into(), "BUNDLE_NO_ANCHORS"),
        ("no keys", set([]), "BUNDLE_NO_ANCHORS"),
        (
            "only JWT keys",
            set([json!({"kty": "EC", "use": "jwt-svid"})]),
            "BUNDLE_NO_ANCHORS",
        ),
        ("a comment", format!("# our root\n{good}"), "BUNDLE_NOT_PEM"),
        ("text after it", format!("{good}end"), "BUNDLE_NOT_PEM"),
        (
            "a private key beside it",
            format!("{good}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "BUNDLE_NOT_PEM",
        ),
        (
            "a trusted certificate",
            good.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            "BUNDLE_NOT_PEM",
        ),
        (
            "a damaged first line",
            good.replacen("-----BEGIN", "----BEGIN", 1),
            "BUNDLE_NOT_PEM",
        ),
        (
            "a damaged first line of the second",
            format!("{good}{}", good.replacen("-----BEGIN", "----BEGIN", 1)),
            "BUNDLE_NOT_PEM",
        ),
        (
            "no last line",
            good.replace("-----END CERTIFICATE-----\n", ""),
            "BUNDLE_NOT_PEM",
        ),
        (
            "another last line",
            good.replace("END CERTIFICATE", "END PRIVATE KEY"),
            "BUNDLE_NOT_PEM",
        ),
        (
            "a block in a block",
            good.replace("-----END", "-----BEGIN CERTIFICATE-----\n-----END"),
            "BUNDLE_NOT_PEM",
        ),
        (
            "not base64",
            good.replacen(&body[..4], "!!!!", 1),
            "BUNDLE_NOT_BASE64",
        ),
        (
            "x5c is not base64",
            set([json!({"kty": "EC", "use": "x509-svid", "x5c": ["!"]})]),
            "BUNDLE_NOT_BASE64",
        ),
        (
            "x5c is base64url",
            set([json!({"kty": "EC", "use": "x509-svid", "x5c": ["-_-_"]})]),
            "BUNDLE_NOT_BASE64",
        ),
        (
            "x5c missing",
            set([json!({"kty": "EC", "use": "x509-svid"})]),
            "BUNDLE_CERTIFICATE_COUNT",
        ),
        (
            "x5c empty",
            set([json!({"kty": "EC", "use": "x509-svid", "x5c": []})]),
            "BUNDLE_CERTIFICATE_COUNT",
        ),
        (
            "two in x5c",
            set([json!({"kty": "EC", "use": "x509-svid", "x5c": [body, body]})]),
            "BUNDLE_CERTIFICATE_COUNT",
        ),
        (
            "JSON cut short",
            set([key(&root())]).replace("]}", "]"),
            "BUNDLE_NOT_JWK_SET",
        ),
        ("JSON without keys", "{}".into(), "BUNDLE_NOT_JWK_SET"),
        (
            "a use stated twice",
            r#"{"keys": [{"kty": "EC", "use": "jwt-svid", "use": "x509-svid"}]}"#.into(),
            "BUNDLE_NOT_JWK_SET",
        ),
        (
            "JSON and more",
            format!("{} {{}}", set([key(&root())])),
            "BUNDLE_NOT_JWK_SET",
        ),
        (
            "more than 1 MiB",
            " ".repeat(1024 * 1024 + 1),
            "BUNDLE_TOO_LARGE",
        ),
    ] {
        assert_eq!(parse(&text).unwrap_err().reason(), reason, "{what}");
    }
}

#[test]
fn certificates_that_cannot_be_anchors_are_refused() {
    type Edit = fn(&mut CertificateParams);
    let cases: [(&str, Edit, &str); 8] = [
        (
            "a leaf",
            |p| p.is_ca = IsCa::ExplicitNoCa,
            "BUNDLE_ANCHOR_NOT_CA",
        ),
        (
            "no basic constraints",
            |p| p.is_ca = IsCa::NoCa,
            "BUNDLE_ANCHOR_NOT_CA",
        ),
        (
            "may not sign",
            |p| p.key_usages = vec![Ku::CrlSign],
            "BUNDLE_ANCHOR_NO_KEY_CERT_SIGN",
        ),
        (
            "another trust domain",
            |p| p.subject_alt_names = vec![uri("spiffe://other.example")],
            "BUNDLE_ANCHOR_OTHER_TRUST_DOMAIN",
        ),
        (
            "a path",
            |p| p.subject_alt_names = vec![uri("spiffe://prod.example/ca")],
            "BUNDLE_ANCHOR_HAS_PATH",
        ),
        (
            "two SPIFFE IDs",
            |p| p.subject_alt_names = vec![uri(ROOT); 2],
            "BUNDLE_ANCHOR_NOT_SPIFFE_ID",
        ),
        (
            "a web address",
            |p| p.subject_alt_names = vec![uri("https://prod.example")],
            "BUNDLE_ANCHOR_NOT_SPIFFE_ID",
        ),
        (
            "unknown critical extension",
            |p| p.custom_extensions = vec![extension(PRIVATE, true, vec![5, 0])],
            "BUNDLE_ANCHOR_UNREADABLE",
        ),
    ];
    for (what, edit, reason) in cases {
        let anchor = Authority::root(with(root_params(), edit));
        assert_eq!(
            parse(&pem(&anchor.der)).unwrap_err().reason(),
            reason,
            "{what}"
        );
    }
    assert_eq!(
        parse(&pem(b"hello")).unwrap_err().reason(),
        "BUNDLE_ANCHOR_UNREADABLE"
    );
}

#[test]
fn one_bad_anchor_spoils_the_bundle_and_is_named() {
    let leaf = Authority::root(leaf_params());
    let error = parse(&[pem(&root()), pem(&leaf.der)].concat()).unwrap_err();
    assert!(
        matches!(error, BundleError::Anchor { index: 1, .. }),
        "{error}"
    );
}

#[test]
fn sixty_four_anchors_and_not_one_more() {
    let roots: Vec<_> = (0..65).map(|_| pem(&root())).collect();
    assert_eq!(parse(&roots[1..].concat()).unwrap().anchors().len(), 64);
    assert_eq!(
        parse(&roots.concat()).unwrap_err().reason(),
        "BUNDLE_TOO_MANY_ANCHORS"
    );
}

#[test]
fn a_second_bundle_replaces_the_first() {
    let [old, new] = [parse(&pem(&root())).unwrap(), parse(&pem(&root())).unwrap()];
    let mut bundles = TrustBundles::default();
    assert!(bundles.insert(old.clone()).is_none());
    let before = bundles.digest();
    assert_eq!(bundles.insert(new.clone()).unwrap().digest(), old.digest());
    assert_eq!(
        bundles.get(new.trust_domain()).unwrap().digest(),
        new.digest()
    );
    assert_eq!(bundles.iter().len(), 1);
    assert_ne!(bundles.digest(), before);
}

fn parse(text: &str) -> Result<TrustBundle, BundleError> {
    TrustBundle::parse("prod.example".parse().unwrap(), text.as_bytes())
}

fn root() -> Vec<u8> {
    Authority::root(root_params()).der.to_vec()
}

fn anonymous() -> String {
    pem(&Authority::root(with(root_params(), |p| p.subject_alt_names.clear())).der)
}

fn set(keys: impl IntoIterator<Item = Value>) -> String {
    json!({"keys": keys.into_iter().collect::<Vec<_>>(), "spiffe_sequence": 1, "spiffe_refresh_hint": 300}).to_string()
}

fn key(der: &[u8]) -> Value {
    json!({"kty": "EC", "use": "x509-svid", "crv": "P-256", "x5c": [base64(der)]})
}
