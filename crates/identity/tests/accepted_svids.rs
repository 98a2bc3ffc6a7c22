//! SVIDs that must be accepted, what is then known of them, and for how long they stay trusted.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::*;
use quietus_identity::{Purpose, TrustBundle, TrustBundles};
use rcgen::{
    BasicConstraints, ExtendedKeyUsagePurpose as Eku, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose as Ku, NameConstraints, SanType, SerialNumber,
};

type Case = (&'static str, fn(&World) -> Attempt);

#[rustfmt::skip]
const ACCEPTED: &[Case] = &[
    ("issued by the root", |w| w.leaf(|_| ())),
    ("issued by an intermediate", |w| w.under(|_| ())),
    ("with the root attached", |w| w.attempt(&[&w.intermediate.issue(leaf_params()), &w.intermediate, &w.prod])),
    ("intermediates in the wrong order, and one too many", intermediates_in_any_order),
    ("as a server", |w| w.leaf(|_| ()).purpose(Purpose::Server)),
    ("client only, as a client", |w| w.leaf(|p| p.extended_key_usages = vec![Eku::ClientAuth])),
    ("server only, as a server", |w| w.leaf(|p| p.extended_key_usages = vec![Eku::ServerAuth]).purpose(Purpose::Server)),
    ("without extended key usage", |w| w.leaf(|p| p.extended_key_usages.clear())),
    ("without basic constraints", |w| w.leaf(|p| p.is_ca = IsCa::NoCa)),
    ("with key agreement and encipherment", |w| w.leaf(|p| p.key_usages.extend([Ku::KeyAgreement, Ku::KeyEncipherment]))),
    ("with other names", |w| w.leaf(|p| p.subject_alt_names.extend([dns("a.example"), SanType::IpAddress([10, 0, 0, 1].into()), SanType::Rfc822Name("a@b.example".try_into().unwrap())]))),
    ("with DNS names first", |w| w.leaf(|p| p.subject_alt_names.insert(0, dns("a.example")))),
    ("without subject, names critical", |w| w.leaf(|p| p.distinguished_name = rcgen::DistinguishedName::new())),
    ("with a private extension", |w| w.leaf(|p| p.custom_extensions = vec![extension(PRIVATE, false, vec![5, 0])])),
    ("in its first second", |w| w.leaf(|_| ()).at(year(2026))),
    ("in its last second", |w| w.leaf(|_| ()).at(year(2028))),
    ("intermediate and root without SPIFFE ID", |w| w.rooted(|p| p.subject_alt_names.clear())),
    ("root without key usage", |w| w.rooted(|p| p.key_usages.clear())),
    ("root that allows one intermediate", |w| w.rooted(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)))),
    ("intermediate that allows none below it", |w| w.under(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))),
    ("intermediate for clients and servers", |w| w.under(|p| p.extended_key_usages = vec![Eku::ClientAuth, Eku::ServerAuth])),
    ("DNS name within constraints", |w| within_constraints(w)),
    ("root renewed under the same name with another key", |w| { let next = Authority::root(root_params()); w.attempt(&[&w.prod.issue(leaf_params())]).bundles([bundle("prod.example", &[next.der, w.prod.der.clone()])]) }),
    ("Ed25519", |w| of_algorithm(w, &rcgen::PKCS_ED25519)),
    ("ECDSA P-256", |w| of_algorithm(w, &rcgen::PKCS_ECDSA_P256_SHA256)),
    ("ECDSA P-384", |w| of_algorithm(w, &rcgen::PKCS_ECDSA_P384_SHA384)),
    ("RSA of 2048 bits", rsa),
];

#[test]
fn good_svids_are_accepted() {
    let world = World::new();
    for (what, present) in ACCEPTED {
        let svid = present(&world)
            .verify()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(svid.id().as_str(), AGENT, "{what}");
    }
}

#[test]
fn trust_domains_are_served_side_by_side() {
    let world = World::new();
    let theirs = with(leaf_params(), |p| {
        p.subject_alt_names = vec![uri("spiffe://other.example/agent/a")]
    });
    let theirs = world
        .attempt(&[&world.other.issue(theirs)])
        .verify()
        .unwrap();
    let ours = world.leaf(|_| ()).verify().unwrap();
    assert_eq!(theirs.id().trust_domain().as_str(), "other.example");
    assert_ne!(ours.anchor(), theirs.anchor());
}

#[test]
fn what_was_verified_can_be_read_off() {
    let world = World::new();
    let attempt =
        world.leaf(|p| p.serial_number = Some(SerialNumber::from(vec![0xca, 0xfe, 0x00])));
    let svid = attempt.verify().unwrap();
    assert_eq!(svid.serial(), "cafe00");
    assert_eq!(
        (svid.not_before(), svid.not_after()),
        (year(2026), year(2028))
    );
    assert_eq!(svid.fingerprint(), sha256(&attempt.chain[0]));
    assert_eq!(svid.anchor(), sha256(&world.prod.der));
}

#[test]
fn debug_output_is_short_and_shows_no_certificate() {
    let attempt = World::new().leaf(|_| ());
    let shown = format!("{:?}", attempt.verify().unwrap());
    assert!(shown.contains(AGENT) && shown.len() < 512, "{shown}");
}

#[test]
fn trust_ends_with_the_first_certificate_of_the_path() {
    let root = Authority::root(with(root_params(), |p| until(p, 2026, 2028)));
    let ca = root.issue(with(intermediate_params(), |p| until(p, 2025, 2029)));
    let leaf = ca.issue(with(leaf_params(), |p| until(p, 2024, 2030)));
    let attempt = World::new()
        .attempt(&[&leaf, &ca])
        .bundles([root.bundle("prod.example")]);
    let svid = attempt.verify().unwrap();
    assert_eq!(
        (svid.not_before(), svid.not_after()),
        (year(2024), year(2030))
    );
    assert_eq!(
        (svid.trusted_from(), svid.trusted_until()),
        (year(2026), year(2028))
    );
    let reason = |now| {
        svid.still_trusted(&attempt.bundles, Purpose::Client, now)
            .unwrap_err()
            .reason()
    };
    assert_eq!(reason(year(2028) + 1), "SVID_ANCHOR_EXPIRED");
    assert_eq!(reason(year(2029) + 1), "SVID_SIGNER_EXPIRED");
    assert_eq!(reason(year(2030) + 1), "SVID_EXPIRED");
    assert_eq!(reason(year(2026) - 1), "SVID_ANCHOR_NOT_YET_VALID");
}

#[test]
fn an_intermediate_that_ends_first_ends_trust() {
    let attempt = World::new().under(|p| {
        p.not_before = rcgen::date_time_ymd(2026, 6, 1);
        p.not_after = rcgen::date_time_ymd(2027, 6, 1);
    });
    let svid = attempt.verify().unwrap();
    assert!(svid.trusted_from() > svid.not_before() && svid.trusted_until() < svid.not_after());
    let reason = |now| {
        svid.still_trusted(&attempt.bundles, Purpose::Client, now)
            .unwrap_err()
            .reason()
    };
    assert_eq!(reason(svid.trusted_until() + 1), "SVID_SIGNER_EXPIRED");
    assert_eq!(reason(svid.trusted_from() - 1), "SVID_SIGNER_NOT_YET_VALID");
}

#[test]
fn trust_holds_while_nothing_changes() {
    let attempt = World::new().under(|_| ());
    let svid = attempt.verify().unwrap();
    for now in [svid.trusted_from(), NOW, svid.trusted_until()] {
        let again = svid
            .still_trusted(&attempt.bundles, Purpose::Client, now)
            .unwrap();
        assert_eq!(again.fingerprint(), svid.fingerprint());
    }
}

#[test]
fn a_bundle_that_loses_the_anchor_ends_trust() {
    let world = World::new();
    let svid = world.under(|_| ()).verify().unwrap();
    let successor = Authority::root(with(root_params(), |p| name(p, "next root")));
    let without = TrustBundles::from_iter([successor.bundle("prod.example")]);
    let reason = |bundles: &TrustBundles| {
        svid.still_trusted(bundles, Purpose::Client, NOW)
            .unwrap_err()
            .reason()
    };
    assert_eq!(reason(&without), "SVID_UNKNOWN_ISSUER");
    assert_eq!(
        reason(&TrustBundles::default()),
        "SVID_TRUST_DOMAIN_UNKNOWN"
    );
}

#[test]
fn a_bundle_that_gains_an_anchor_keeps_trust() {
    let world = World::new();
    let svid = world.under(|_| ()).verify().unwrap();
    let successor = Authority::root(with(root_params(), |p| name(p, "next root")));
    let both = bundle("prod.example", &[successor.der, world.prod.der.clone()]);
    let again = svid
        .still_trusted(&TrustBundles::from_iter([both]), Purpose::Client, NOW)
        .unwrap();
    assert_eq!(again.anchor(), svid.anchor());
}

#[test]
fn the_bundle_of_another_domain_does_not_matter() {
    let world = World::new();
    let svid = world.leaf(|_| ()).verify().unwrap();
    let mut bundles = world.bundles();
    bundles.insert(
        Authority::root(with(root_params(), |p| p.subject_alt_names.clear()))
            .bundle("other.example"),
    );
    assert!(svid.still_trusted(&bundles, Purpose::Client, NOW).is_ok());
}

#[test]
fn another_purpose_is_verified_anew() {
    let world = World::new();
    let attempt = world.leaf(|p| p.extended_key_usages = vec![Eku::ClientAuth]);
    let svid = attempt.verify().unwrap();
    let refusal = svid
        .still_trusted(&attempt.bundles, Purpose::Server, NOW)
        .unwrap_err();
    assert_eq!(refusal.reason(), "SVID_EXTENDED_KEY_USAGE");
}

#[test]
fn a_renewed_anchor_takes_over_from_its_expired_twin() {
    let short = Authority::root(with(root_params(), |p| until(p, 2025, 2028)));
    let params = with(root_params(), |p| until(p, 2026, 2040));
    let long = params.self_signed(&short.key).unwrap();
    let leaf = short.issue(with(leaf_params(), |p| until(p, 2026, 2030)));
    let twins = bundle("prod.example", &[short.der.clone(), long.der().clone()]);
    let attempt = World::new().attempt(&[&leaf]).bundles([twins]);
    let before = attempt.verify().unwrap();
    assert_eq!(before.anchor(), sha256(&short.der));
    let after = before
        .still_trusted(&attempt.bundles, Purpose::Client, year(2029))
        .unwrap();
    assert_eq!(
        (after.anchor(), after.trusted_until()),
        (sha256(long.der()), year(2030))
    );
}

fn intermediates_in_any_order(world: &World) -> Attempt {
    let lower = world.intermediate.issue(with(intermediate_params(), |p| {
        name(p, "lower intermediate")
    }));
    let unneeded = world
        .other
        .issue(with(intermediate_params(), |p| p.subject_alt_names.clear()));
    world.attempt(&[
        &lower.issue(leaf_params()),
        &unneeded,
        &world.intermediate,
        &lower,
    ])
}

fn within_constraints(world: &World) -> Attempt {
    let constraints = NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("prod.example".into())],
        excluded_subtrees: vec![GeneralSubtree::DnsName("secret.prod.example".into())],
    };
    let ca = world.prod.issue(with(intermediate_params(), |p| {
        p.name_constraints = Some(constraints)
    }));
    let leaf = ca.issue(with(leaf_params(), |p| {
        p.subject_alt_names.push(dns("a.prod.example"))
    }));
    world.attempt(&[&leaf, &ca])
}

fn of_algorithm(world: &World, algorithm: &'static rcgen::SignatureAlgorithm) -> Attempt {
    let key = || KeyPair::generate_for(algorithm).unwrap();
    let ca = world.prod.issue_for(intermediate_params(), key());
    world.attempt(&[&ca.issue_for(leaf_params(), key()), &ca])
}

fn rsa(world: &World) -> Attempt {
    let bundle = include_bytes!("data/rsa-2048.bundle.pem");
    let bundle = TrustBundle::from_pem("prod.example".parse().unwrap(), bundle).unwrap();
    let leaf = include_bytes!("data/rsa-2048.svid.der").to_vec();
    world
        .attempt(&[])
        .chain(vec![leaf.into()])
        .bundles([bundle])
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    ring::digest::digest(&ring::digest::SHA256, bytes)
        .as_ref()
        .try_into()
        .unwrap()
}
