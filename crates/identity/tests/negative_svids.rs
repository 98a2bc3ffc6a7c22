//! SVIDs that must be refused, each for its own reason: what is done to a good one, and what the verifier says.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use common::*;
use quietus_identity::{Purpose, TrustBundle, TrustBundles};
use rcgen::{
    BasicConstraints, DistinguishedName, ExtendedKeyUsagePurpose as Eku, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose as Ku, NameConstraints, SanType,
};

type Case = (&'static str, fn(&World) -> Attempt, &'static str);

#[rustfmt::skip]
const CHAIN: &[Case] = &[
    ("no certificates", |w| w.attempt(&[]), "SVID_CHAIN_EMPTY"),
    ("nine certificates", |w| { let leaf = w.prod.issue(leaf_params()); w.attempt(&[&leaf; 9]) }, "SVID_CHAIN_TOO_LONG"),
    ("leaf over 16 KiB", |w| w.leaf(|p| p.custom_extensions = vec![extension(PRIVATE, false, tlv(4, &[0; 17_000]))]), "SVID_CERTIFICATE_TOO_LARGE"),
    ("intermediate over 16 KiB", |w| w.under(|p| p.custom_extensions = vec![extension(PRIVATE, false, tlv(4, &[0; 17_000]))]), "SVID_CERTIFICATE_TOO_LARGE"),
    ("leaf is text", |w| w.leaf(|_| ()).patch(0, |der| *der = b"hello".to_vec()), "SVID_MALFORMED"),
    ("leaf is PEM", |w| w.leaf(|_| ()).patch(0, |der| *der = pem(der).into_bytes()), "SVID_MALFORMED"),
    ("leaf has no bytes", |w| w.leaf(|_| ()).patch(0, |der| der.clear()), "SVID_MALFORMED"),
    ("leaf cut short", |w| w.leaf(|_| ()).patch(0, |der| { der.pop(); }), "SVID_MALFORMED"),
    ("byte after the leaf", |w| w.leaf(|_| ()).patch(0, |der| der.push(0)), "SVID_TRAILING_DATA"),
    ("leaf twice in one", |w| w.leaf(|_| ()).patch(0, |der| der.extend(der.clone())), "SVID_TRAILING_DATA"),
    ("byte after an intermediate", |w| w.under(|_| ()).patch(1, |der| der.push(0)), "SVID_TRAILING_DATA"),
    ("an unneeded intermediate is text", |w| w.attempt(&[&w.prod.issue(leaf_params()), &w.prod]).patch(1, |der| *der = b"hello".to_vec()), "SVID_MALFORMED"),
    ("length in indefinite form", |w| w.leaf(|_| ()).patch(0, |der| { der.splice(1..4, [0x80]); der.extend([0, 0]); }), "SVID_MALFORMED"),
];

#[rustfmt::skip]
const STRUCTURE: &[Case] = &[
    ("version 1", |w| w.resigned(|fields| { fields.remove(0); fields.pop(); }), "SVID_NOT_V3"),
    ("version 1 with extensions", |w| w.resigned(|fields| { fields.remove(0); }), "SVID_NOT_V3"),
    ("version 2", |w| w.resigned(|fields| fields[0] = tlv(0xa0, &[2, 1, 1])), "SVID_NOT_V3"),
    ("version 4", |w| w.resigned(|fields| fields[0] = tlv(0xa0, &[2, 1, 3])), "SVID_NOT_V3"),
    ("two signature algorithms", |w| w.resigned(|fields| fields[2] = tlv(0x30, &[6, 3, 0x2b, 0x65, 0x70])), "SVID_SIGNATURE_ALGORITHM_MISMATCH"),
    ("two signature algorithms in an unneeded intermediate", unneeded_with_two_algorithms, "SVID_SIGNATURE_ALGORITHM_MISMATCH"),
    ("key usage with bits set in its padding", |w| key_usage_of(w, true, &[3, 2, 7, 0xa0]), "SVID_MALFORMED"),
    ("intermediate's right to sign only in the padding", |w| w.under(|p| { p.key_usages.clear(); p.custom_extensions = vec![extension(KEY_USAGE, true, vec![3, 2, 7, 0x84])]; }), "SVID_MALFORMED"),
    ("key usage of more bits than a byte holds", |w| key_usage_of(w, true, &[3, 2, 8, 0x80]), "SVID_MALFORMED"),
    ("issuer unique identifier", |w| w.resigned(|fields| fields.insert(7, tlv(0x81, &[0, 1]))), "SVID_UNIQUE_IDENTIFIER"),
    ("subject unique identifier", |w| w.resigned(|fields| fields.insert(7, tlv(0x82, &[0, 1]))), "SVID_UNIQUE_IDENTIFIER"),
    ("field after the extensions", |w| w.resigned(|fields| fields.push(vec![5, 0])), "SVID_MALFORMED"),
    ("ends before it begins", |w| w.leaf(|p| until(p, 2028, 2026)), "SVID_VALIDITY_INVERTED"),
    ("subject names twice", |w| w.leaf(|p| p.custom_extensions = vec![extension(SUBJECT_ALT_NAME, false, names(&[uri_name(AGENT.as_bytes())]))]), "SVID_DUPLICATE_EXTENSION"),
    ("key usage twice", |w| w.leaf(|p| p.custom_extensions = vec![extension(KEY_USAGE, true, vec![3, 2, 7, 0x80])]), "SVID_DUPLICATE_EXTENSION"),
    ("basic constraints twice", |w| w.leaf(|p| p.custom_extensions = vec![extension(BASIC_CONSTRAINTS, true, vec![0x30, 0])]), "SVID_DUPLICATE_EXTENSION"),
    ("private extension twice", |w| w.leaf(|p| p.custom_extensions = vec![extension(PRIVATE, false, vec![5, 0]); 2]), "SVID_DUPLICATE_EXTENSION"),
    ("key usage twice in an intermediate", |w| w.under(|p| p.custom_extensions = vec![extension(KEY_USAGE, true, vec![3, 2, 2, 4])]), "SVID_DUPLICATE_EXTENSION"),
    ("unknown critical extension", |w| w.leaf(|p| p.custom_extensions = vec![extension(PRIVATE, true, vec![5, 0])]), "SVID_UNKNOWN_CRITICAL_EXTENSION"),
    ("critical certificate policies", |w| w.leaf(|p| p.custom_extensions = vec![extension(CERTIFICATE_POLICIES, true, vec![0x30, 4, 0x30, 2, 6, 0])]), "SVID_UNKNOWN_CRITICAL_EXTENSION"),
    ("unknown critical extension in an intermediate", |w| w.under(|p| p.custom_extensions = vec![extension(PRIVATE, true, vec![5, 0])]), "SVID_UNKNOWN_CRITICAL_EXTENSION"),
    ("data after the subject names", |w| names_of(w, [names(&[uri_name(AGENT.as_bytes())]), vec![5, 0]].concat()), "SVID_TRAILING_DATA"),
    ("data after key usage", |w| key_usage_of(w, true, &[3, 2, 7, 0x80, 5, 0]), "SVID_TRAILING_DATA"),
    ("data after basic constraints", |w| w.leaf(|p| { p.is_ca = IsCa::NoCa; p.custom_extensions = vec![extension(BASIC_CONSTRAINTS, true, vec![0x30, 0, 5, 0])]; }), "SVID_TRAILING_DATA"),
    ("key usage is no bit string", |w| key_usage_of(w, true, &[4, 1, 0x80]), "SVID_MALFORMED"),
    ("extended key usage is no sequence", |w| purposes_of(w, &[4, 1, 0x80]), "SVID_MALFORMED"),
    ("subject names are no sequence", |w| names_of(w, uri_name(AGENT.as_bytes())), "SVID_MALFORMED"),
    ("subject name of universal class", |w| names_of(w, names(&[tlv(0x06, AGENT.as_bytes())])), "SVID_MALFORMED"),
    ("constructed URI", |w| names_of(w, names(&[tlv(0xa6, AGENT.as_bytes())])), "SVID_MALFORMED"),
    ("URI cut short", |w| names_of(w, tlv(0x30, &[0x86, 40, b's'])), "SVID_MALFORMED"),
    ("URI is not UTF-8", |w| names_of(w, names(&[uri_name(b"spiffe://prod.example/\xff")])), "SVID_MALFORMED"),
];

#[rustfmt::skip]
const NAME: &[Case] = &[
    ("no subject names", |w| w.leaf(|p| p.subject_alt_names.clear()), "SVID_NO_URI_SAN"),
    ("subject names are empty", |w| names_of(w, names(&[])), "SVID_NO_URI_SAN"),
    ("only a DNS name", |w| w.leaf(|p| p.subject_alt_names = vec![dns("prod.example")]), "SVID_NO_URI_SAN"),
    ("SPIFFE ID as a DNS name", |w| names_of(w, names(&[tlv(0x82, AGENT.as_bytes())])), "SVID_NO_URI_SAN"),
    ("SPIFFE ID as an e-mail address", |w| w.leaf(|p| p.subject_alt_names = vec![SanType::Rfc822Name(AGENT.try_into().unwrap())]), "SVID_NO_URI_SAN"),
    ("SPIFFE ID only as common name", |w| w.leaf(|p| { p.subject_alt_names.clear(); name(p, AGENT); }), "SVID_NO_URI_SAN"),
    ("two SPIFFE IDs", |w| w.leaf(|p| p.subject_alt_names.push(uri("spiffe://prod.example/agent/b"))), "SVID_SEVERAL_URI_SANS"),
    ("the same SPIFFE ID twice", |w| w.leaf(|p| p.subject_alt_names.push(uri(AGENT))), "SVID_SEVERAL_URI_SANS"),
    ("SPIFFE IDs of two trust domains", |w| w.leaf(|p| p.subject_alt_names.push(uri("spiffe://other.example/agent/a"))), "SVID_SEVERAL_URI_SANS"),
    ("SPIFFE ID, then a web address", |w| w.leaf(|p| p.subject_alt_names.push(uri("https://prod.example/"))), "SVID_SEVERAL_URI_SANS"),
    ("web address, then a SPIFFE ID", |w| w.leaf(|p| p.subject_alt_names.insert(0, uri("https://prod.example/"))), "SVID_SEVERAL_URI_SANS"),
    ("two URIs with a DNS name between", |w| w.leaf(|p| p.subject_alt_names.extend([dns("a.example"), uri(AGENT)])), "SVID_SEVERAL_URI_SANS"),
    ("web address", |w| called(w, "https://prod.example/agent/a"), "SVID_NOT_SPIFFE_ID"),
    ("scheme in upper case", |w| called(w, "SPIFFE://prod.example/agent/a"), "SVID_NOT_SPIFFE_ID"),
    ("trust domain in upper case", |w| called(w, "spiffe://PROD.example/agent/a"), "SVID_NOT_SPIFFE_ID"),
    ("empty URI", |w| called(w, ""), "SVID_NOT_SPIFFE_ID"),
    ("port", |w| called(w, "spiffe://prod.example:443/agent/a"), "SVID_NOT_SPIFFE_ID"),
    ("user information", |w| called(w, "spiffe://root@prod.example/agent/a"), "SVID_NOT_SPIFFE_ID"),
    ("query", |w| called(w, "spiffe://prod.example/agent/a?admin"), "SVID_NOT_SPIFFE_ID"),
    ("fragment", |w| called(w, "spiffe://prod.example/agent/a#b"), "SVID_NOT_SPIFFE_ID"),
    ("percent-encoding", |w| called(w, "spiffe://prod.example/agent%2fa"), "SVID_NOT_SPIFFE_ID"),
    ("dot segments", |w| called(w, "spiffe://prod.example/agent/../admin"), "SVID_NOT_SPIFFE_ID"),
    ("trailing slash", |w| called(w, "spiffe://prod.example/agent/a/"), "SVID_NOT_SPIFFE_ID"),
    ("NUL inside", |w| called(w, "spiffe://prod.example/agent/a\0.evil"), "SVID_NOT_SPIFFE_ID"),
    ("more than 2048 bytes", |w| called(w, &format!("{AGENT}{}", "a".repeat(2048))), "SVID_NOT_SPIFFE_ID"),
    ("no path", |w| called(w, ROOT), "SVID_NO_PATH"),
];

#[rustfmt::skip]
const USAGE: &[Case] = &[
    ("leaf that is a CA", |w| w.leaf(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), "SVID_LEAF_IS_CA"),
    ("the root itself", |w| w.attempt(&[&w.prod]), "SVID_LEAF_IS_CA"),
    ("the root, issued by itself", |w| w.attempt(&[&w.prod, &w.prod]), "SVID_LEAF_IS_CA"),
    ("an intermediate as leaf", |w| w.attempt(&[&w.intermediate]), "SVID_LEAF_IS_CA"),
    ("no key usage", |w| w.leaf(|p| p.key_usages.clear()), "SVID_KEY_USAGE_MISSING"),
    ("key usage is not critical", |w| key_usage_of(w, false, &[3, 2, 7, 0x80]), "SVID_KEY_USAGE_NOT_CRITICAL"),
    ("key usage without a bit", |w| key_usage_of(w, true, &[3, 1, 0]), "SVID_KEY_USAGE_NO_DIGITAL_SIGNATURE"),
    ("key encipherment only", |w| w.leaf(|p| p.key_usages = vec![Ku::KeyEncipherment]), "SVID_KEY_USAGE_NO_DIGITAL_SIGNATURE"),
    ("key agreement only", |w| w.leaf(|p| p.key_usages = vec![Ku::KeyAgreement]), "SVID_KEY_USAGE_NO_DIGITAL_SIGNATURE"),
    ("may sign certificates", |w| w.leaf(|p| p.key_usages.push(Ku::KeyCertSign)), "SVID_KEY_USAGE_KEY_CERT_SIGN"),
    ("may sign revocation lists", |w| w.leaf(|p| p.key_usages.push(Ku::CrlSign)), "SVID_KEY_USAGE_CRL_SIGN"),
    ("server only, as client", |w| w.leaf(|p| p.extended_key_usages = vec![Eku::ServerAuth]), "SVID_EXTENDED_KEY_USAGE"),
    ("client only, as server", |w| w.leaf(|p| p.extended_key_usages = vec![Eku::ClientAuth]).purpose(Purpose::Server), "SVID_EXTENDED_KEY_USAGE"),
    ("code signing only", |w| w.leaf(|p| p.extended_key_usages = vec![Eku::CodeSigning]), "SVID_EXTENDED_KEY_USAGE"),
    ("any extended key usage", |w| w.leaf(|p| p.extended_key_usages = vec![Eku::Any]), "SVID_EXTENDED_KEY_USAGE"),
    ("no extended key usage in the list", |w| purposes_of(w, &[0x30, 0]), "SVID_EXTENDED_KEY_USAGE"),
];

#[rustfmt::skip]
const TIME: &[Case] = &[
    ("expired", |w| w.leaf(|p| until(p, 2025, 2026)), "SVID_EXPIRED"),
    ("one second after its end", |w| w.leaf(|_| ()).at(year(2028) + 1), "SVID_EXPIRED"),
    ("not yet valid", |w| w.leaf(|p| until(p, 2028, 2029)), "SVID_NOT_YET_VALID"),
    ("one second before its beginning", |w| w.leaf(|_| ()).at(year(2026) - 1), "SVID_NOT_YET_VALID"),
    ("at the beginning of unix time", |w| w.leaf(|_| ()).at(0), "SVID_NOT_YET_VALID"),
    ("at the end of unix time", |w| w.leaf(|_| ()).at(u64::MAX), "SVID_EXPIRED"),
    ("intermediate expired", |w| w.under(|p| until(p, 2025, 2026)), "SVID_SIGNER_EXPIRED"),
    ("intermediate not yet valid", |w| w.under(|p| until(p, 2028, 2029)), "SVID_SIGNER_NOT_YET_VALID"),
    ("anchor expired", |w| w.rooted(|p| until(p, 2025, 2026)), "SVID_ANCHOR_EXPIRED"),
    ("anchor expired, no intermediate", anchor_expired, "SVID_ANCHOR_EXPIRED"),
    ("anchor not yet valid", |w| w.rooted(|p| until(p, 2028, 2029)), "SVID_ANCHOR_NOT_YET_VALID"),
];

#[rustfmt::skip]
const TRUST: &[Case] = &[
    ("no bundles", |w| w.leaf(|_| ()).bundles([]), "SVID_TRUST_DOMAIN_UNKNOWN"),
    ("trust domain without bundle", |w| called(w, "spiffe://third.example/agent/a"), "SVID_TRUST_DOMAIN_UNKNOWN"),
    ("subdomain of a trust domain", |w| called(w, "spiffe://a.prod.example/agent/a"), "SVID_TRUST_DOMAIN_UNKNOWN"),
    ("our ID from the root of another domain", |w| w.attempt(&[&w.other.issue(leaf_params())]), "SVID_UNKNOWN_ISSUER"),
    ("the same, with that root attached", |w| w.attempt(&[&w.other.issue(leaf_params()), &w.other]), "SVID_UNKNOWN_ISSUER"),
    ("another domain's ID from our root", |w| called(w, "spiffe://other.example/agent/a"), "SVID_UNKNOWN_ISSUER"),
    ("another domain's ID from our intermediate", foreign_leaf_under_our_intermediate, "SVID_UNKNOWN_ISSUER"),
    ("intermediate from the root of another domain", |w| { let ca = w.other.issue(intermediate_params()); w.attempt(&[&ca.issue(leaf_params()), &ca]) }, "SVID_UNKNOWN_ISSUER"),
    ("bundles exchanged", |w| w.leaf(|_| ()).bundles([bundle_for("prod.example", "other"), bundle_for("other.example", "prod")]), "SVID_UNKNOWN_ISSUER"),
    ("self-signed", |w| w.attempt(&[&Authority::root(leaf_params())]), "SVID_UNKNOWN_ISSUER"),
    ("self-signed, attached as its own issuer", |w| { let leaf = Authority::root(leaf_params()); w.attempt(&[&leaf, &leaf]) }, "SVID_UNKNOWN_ISSUER"),
    ("self-signed under the root's name", |w| w.attempt(&[&Authority::root(with(leaf_params(), |p| name(p, "prod root")))]), "SVID_SIGNATURE_INVALID"),
    ("impostor with the root's name", |w| w.attempt(&[&Authority::root(root_params()).issue(leaf_params())]), "SVID_SIGNATURE_INVALID"),
    ("the same, with the impostor attached", |w| { let ca = Authority::root(root_params()); w.attempt(&[&ca.issue(leaf_params()), &ca]) }, "SVID_SIGNATURE_INVALID"),
    ("intermediate missing", |w| w.attempt(&[&w.intermediate.issue(leaf_params())]), "SVID_UNKNOWN_ISSUER"),
    ("intermediate with the right name and the wrong key", |w| w.attempt(&[&w.intermediate.issue(leaf_params()), &w.prod.issue(intermediate_params())]), "SVID_SIGNATURE_INVALID"),
    ("last byte of the signature changed", |w| w.leaf(|_| ()).patch(0, |der| *der.last_mut().unwrap() ^= 1), "SVID_SIGNATURE_INVALID"),
    ("agent's letter changed", |w| w.leaf(|_| ()).patch(0, |der| replace(der, b"/agent/a", b"/agent/b")), "SVID_SIGNATURE_INVALID"),
    ("root withdrawn from the bundle", |w| w.leaf(|_| ()).bundles([Authority::root(with(root_params(), |p| name(p, "next root"))).bundle("prod.example")]), "SVID_UNKNOWN_ISSUER"),
    ("more paths than are worth trying", labyrinth, "SVID_PATH_TOO_COMPLEX"),
    ("SHA-1 signature", |w| fixture(w, include_bytes!("data/rsa-2048-sha1.bundle.pem"), include_bytes!("data/rsa-2048-sha1.svid.der")), "SVID_SIGNATURE_ALGORITHM_UNSUPPORTED"),
    ("P-521 signature", |w| fixture(w, include_bytes!("data/p-521.bundle.pem"), include_bytes!("data/p-521.svid.der")), "SVID_SIGNATURE_ALGORITHM_UNSUPPORTED"),
    ("RSA of 1024 bits", |w| fixture(w, include_bytes!("data/rsa-1024.bundle.pem"), include_bytes!("data/rsa-1024.svid.der")), "SVID_SIGNATURE_INVALID"),
];

#[rustfmt::skip]
const SIGNERS: &[Case] = &[
    ("an SVID as issuer", |w| { let svid = w.prod.issue(leaf_params()); w.attempt(&[&svid.issue(leaf_params()), &svid]) }, "SVID_SIGNER_NOT_CA"),
    ("intermediate without cA", |w| w.under(|p| p.is_ca = IsCa::ExplicitNoCa), "SVID_SIGNER_NOT_CA"),
    ("intermediate without basic constraints", |w| w.under(|p| p.is_ca = IsCa::NoCa), "SVID_SIGNER_NOT_CA"),
    ("intermediate without key usage", |w| w.under(|p| p.key_usages.clear()), "SVID_SIGNER_KEY_USAGE_MISSING"),
    ("intermediate for digital signatures", |w| w.under(|p| p.key_usages = vec![Ku::DigitalSignature]), "SVID_SIGNER_NO_KEY_CERT_SIGN"),
    ("intermediate for revocation lists", |w| w.under(|p| p.key_usages = vec![Ku::CrlSign]), "SVID_SIGNER_NO_KEY_CERT_SIGN"),
    ("the second of two intermediates may not sign", second_intermediate_may_not_sign, "SVID_SIGNER_NO_KEY_CERT_SIGN"),
    ("intermediate for servers only", |w| w.under(|p| p.extended_key_usages = vec![Eku::ServerAuth]), "SVID_SIGNER_EXTENDED_KEY_USAGE"),
    ("intermediate of another trust domain", |w| w.under(|p| p.subject_alt_names = vec![uri("spiffe://other.example")]), "SVID_SIGNER_OTHER_TRUST_DOMAIN"),
    ("intermediate with a path", |w| w.under(|p| p.subject_alt_names = vec![uri("spiffe://prod.example/ca")]), "SVID_SIGNER_HAS_PATH"),
    ("intermediate with two SPIFFE IDs", |w| w.under(|p| p.subject_alt_names.push(uri("spiffe://other.example"))), "SVID_SIGNER_NOT_SPIFFE_ID"),
    ("intermediate with a web address", |w| w.under(|p| p.subject_alt_names = vec![uri("https://prod.example/")]), "SVID_SIGNER_NOT_SPIFFE_ID"),
    ("intermediate allows no intermediate, has one", |w| under_two(w, |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), "SVID_PATH_LENGTH"),
    ("anchor allows no intermediate, has one", |w| w.rooted(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), "SVID_PATH_LENGTH"),
    ("anchor for servers only", |w| w.rooted(|p| p.extended_key_usages = vec![Eku::ServerAuth]), "SVID_SIGNER_EXTENDED_KEY_USAGE"),
    ("DNS name outside the intermediate's constraints", |w| under_constraints(w, permitted(GeneralSubtree::DnsName("prod.example".into()))), "SVID_NAME_CONSTRAINTS"),
    ("DNS name that the intermediate excludes", |w| under_constraints(w, excluded(GeneralSubtree::DnsName("evil.example".into()))), "SVID_NAME_CONSTRAINTS"),
    ("constraints on directory names", |w| under_constraints(w, permitted(GeneralSubtree::DirectoryName(DistinguishedName::new()))), "SVID_NAME_CONSTRAINTS"),
    ("anchor with constraints on directory names", |w| w.rooted(|p| p.name_constraints = Some(permitted(GeneralSubtree::DirectoryName(DistinguishedName::new())))), "SVID_NAME_CONSTRAINTS"),
    ("constraints that permit URIs", |w| w.under(|p| p.custom_extensions = vec![uri_constraint(0xa0)]), "SVID_NAME_CONSTRAINTS"),
    ("constraints that exclude URIs", |w| w.under(|p| p.custom_extensions = vec![uri_constraint(0xa1)]), "SVID_NAME_CONSTRAINTS"),
    ("anchor with constraints that permit URIs", |w| w.rooted(|p| p.custom_extensions = vec![uri_constraint(0xa0)]), "SVID_NAME_CONSTRAINTS"),
];

static WORLD: LazyLock<World> = LazyLock::new(World::new);

#[test]
fn chains_that_are_none() {
    refuse(CHAIN);
}

#[test]
fn certificates_that_are_not_strict_v3() {
    refuse(STRUCTURE);
}

#[test]
fn leaves_without_one_workload_id() {
    refuse(NAME);
}

#[test]
fn leaves_that_may_not_authenticate() {
    refuse(USAGE);
}

#[test]
fn certificates_outside_their_time() {
    refuse(TIME);
}

#[test]
fn leaves_that_nobody_vouches_for() {
    refuse(TRUST);
}

#[test]
fn signers_that_may_not_sign() {
    refuse(SIGNERS);
}

/// `SVID_PATH_INVALID` is what is left for failures that webpki may learn to tell in later versions.
#[test]
fn every_reason_has_a_case() {
    let tables = [CHAIN, STRUCTURE, NAME, USAGE, TIME, TRUST, SIGNERS].concat();
    let reasons: BTreeSet<_> = tables.iter().map(|(_, _, reason)| reason).collect();
    assert!(tables.len() >= 60, "{}", tables.len());
    assert_eq!(reasons.len(), 42, "{reasons:#?}");
}

fn refuse(cases: &[Case]) {
    for (what, present, reason) in cases {
        match present(&WORLD).verify() {
            Ok(svid) => panic!("{what}: accepted as {svid:?}"),
            Err(error) => assert_eq!(error.reason(), *reason, "{what}: {error}"),
        }
    }
}

fn unneeded_with_two_algorithms(world: &World) -> Attempt {
    let mut attempt = world.leaf(|_| ());
    let odd = world.resigned(|fields| fields[2] = tlv(0x30, &[6, 3, 0x2b, 0x65, 0x70]));
    attempt.chain.extend(odd.chain);
    attempt
}

fn called(world: &World, id: &str) -> Attempt {
    world.leaf(|p| p.subject_alt_names = vec![uri(id)])
}

fn names_of(world: &World, value: Vec<u8>) -> Attempt {
    world.leaf(|p| {
        p.subject_alt_names.clear();
        p.custom_extensions = vec![extension(SUBJECT_ALT_NAME, false, value)];
    })
}

fn key_usage_of(world: &World, critical: bool, value: &[u8]) -> Attempt {
    world.leaf(|p| {
        p.key_usages.clear();
        p.custom_extensions = vec![extension(KEY_USAGE, critical, value.to_vec())];
    })
}

fn purposes_of(world: &World, value: &[u8]) -> Attempt {
    world.leaf(|p| {
        p.extended_key_usages.clear();
        p.custom_extensions = vec![extension(EXTENDED_KEY_USAGE, false, value.to_vec())];
    })
}

fn anchor_expired(world: &World) -> Attempt {
    let root = Authority::root(with(root_params(), |p| until(p, 2025, 2026)));
    world
        .attempt(&[&root.issue(leaf_params())])
        .bundles([root.bundle("prod.example")])
}

fn foreign_leaf_under_our_intermediate(world: &World) -> Attempt {
    let foreign = with(leaf_params(), |p| {
        p.subject_alt_names = vec![uri("spiffe://other.example/agent/a")]
    });
    world.attempt(&[&world.intermediate.issue(foreign), &world.intermediate])
}

fn bundle_for(domain: &str, root: &str) -> TrustBundle {
    let params = with(root_params(), |p| {
        name(p, &format!("{root} root of other times"));
        p.subject_alt_names.clear();
    });
    Authority::root(params).bundle(domain)
}

/// Sixty anchors and two intermediates of one name, none of which has signed anything that was presented.
fn labyrinth(world: &World) -> Attempt {
    let twins: Vec<_> = (0..60).map(|_| Authority::root(root_params())).collect();
    let anchors: Vec<_> = twins.iter().map(|it| it.der.clone()).collect();
    let wall = [
        world.prod.issue(root_params()),
        world.prod.issue(root_params()),
    ];
    world
        .attempt(&[&world.prod.issue(leaf_params()), &wall[0], &wall[1]])
        .bundles([bundle("prod.example", &anchors)])
}

fn second_intermediate_may_not_sign(world: &World) -> Attempt {
    let upper = world.prod.issue(with(intermediate_params(), |p| {
        p.key_usages = vec![Ku::DigitalSignature]
    }));
    let lower = upper.issue(with(intermediate_params(), |p| {
        name(p, "lower intermediate")
    }));
    world.attempt(&[&lower.issue(leaf_params()), &lower, &upper])
}

fn under_two(world: &World, edit: fn(&mut rcgen::CertificateParams)) -> Attempt {
    let upper = world.prod.issue(with(intermediate_params(), edit));
    let lower = upper.issue(with(intermediate_params(), |p| {
        name(p, "lower intermediate")
    }));
    world.attempt(&[&lower.issue(leaf_params()), &lower, &upper])
}

fn under_constraints(world: &World, constraints: NameConstraints) -> Attempt {
    let ca = world.prod.issue(with(intermediate_params(), |p| {
        p.name_constraints = Some(constraints)
    }));
    let leaf = ca.issue_for(
        with(leaf_params(), |p| {
            p.subject_alt_names.push(dns("a.evil.example"))
        }),
        KeyPair::generate().unwrap(),
    );
    world.attempt(&[&leaf, &ca])
}

fn permitted(subtree: GeneralSubtree) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: vec![subtree],
        excluded_subtrees: vec![],
    }
}

fn excluded(subtree: GeneralSubtree) -> NameConstraints {
    NameConstraints {
        permitted_subtrees: vec![],
        excluded_subtrees: vec![subtree],
    }
}

/// URI constraints are not supported, so both kinds refuse whatever has a URI.
fn uri_constraint(subtrees: u8) -> rcgen::CustomExtension {
    let base = tlv(0x30, &uri_name(b"prod.example"));
    extension(NAME_CONSTRAINTS, true, tlv(0x30, &tlv(subtrees, &base)))
}

fn fixture(world: &World, bundle: &[u8], svid: &[u8]) -> Attempt {
    let bundle = TrustBundle::parse("prod.example".parse().unwrap(), bundle).unwrap();
    world
        .attempt(&[])
        .chain(vec![svid.to_vec().into()])
        .bundles(TrustBundles::from_iter([bundle]).iter().cloned())
}

fn replace(der: &mut [u8], from: &[u8], to: &[u8]) {
    let at = der
        .windows(from.len())
        .position(|window| window == from)
        .unwrap();
    der[at..at + to.len()].copy_from_slice(to);
}
