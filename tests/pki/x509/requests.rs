//! Of a certification request nothing counts but its key, and not every key.

use quietus::issuers::KeyRequest;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::issuer;
use crate::world::{AGENT, World, issue, run, said, secs, unfit, x509};

const READ: &[&str] = &["box:read:invoices"];

#[tokio::test]
async fn what_a_request_asks_for_is_not_in_the_certificate() {
    let world = World::new();
    let issuer = issuer(&world);
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    greedy.distinguished_name.push(DnType::CommonName, "evil");
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    greedy.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::CodeSigning,
    ];
    let csr = greedy.serialize_request(&key).unwrap().der().to_vec();
    let order = world.order(READ, secs(600));
    let made = issue(&*issuer, &order, Some(&KeyRequest::Csr(csr)))
        .await
        .unwrap();
    let (pem, _, secret) = x509(&made);
    assert_eq!(secret, None);
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
    let (_, read) = X509Certificate::from_der(&pem.contents).unwrap();
    let subject = format!("CN={}", order.lease().id);
    assert_eq!(read.subject().to_string(), subject);
    assert!(!read.is_ca());
    let usage = read.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.code_signing);
    let names = read.subject_alternative_name().unwrap().unwrap().value;
    let names: Vec<String> = names
        .general_names
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [AGENT, "urn:quietus:scope:box:read:invoices"];
    assert_eq!(names, expected.map(|name| format!("URI({name})")));
    assert_eq!(
        read.public_key().subject_public_key.data,
        rcgen::PublicKeyData::der_bytes(&key)
    );
}

#[tokio::test]
async fn keys_of_the_allowed_kinds_are_certified() {
    let world = World::new();
    let issuer = issuer(&world);
    for key in ["ec:P-256", "ec:P-384", "ed25519", "rsa:2048", "rsa:3072"] {
        let csr = KeyRequest::Csr(openssl_csr(&world, key, "-sha256").unwrap());
        let order = world.order(READ, secs(600));
        let made = issue(&*issuer, &order, Some(&csr)).await;
        assert!(made.is_ok(), "{key}: {made:?}");
    }
}

#[tokio::test]
async fn unfit_requests_are_refused() {
    let world = World::new();
    let issuer = issuer(&world);
    let good = openssl_csr(&world, "ec:P-256", "-sha256").unwrap();
    let mut bad = vec![
        ("empty", vec![]),
        ("garbage", b"garbage".to_vec()),
        ("PEM", b"-----BEGIN CERTIFICATE REQUEST-----".to_vec()),
        ("trailing byte", [good.as_slice(), &[0]].concat()),
        ("twice", [good.as_slice(), &good].concat()),
        ("oversized", [good.as_slice(), &[0; 9000]].concat()),
        ("unused bits in the signature", unused_bits(&good, 0)),
        ("unused bits in the key", unused_bits(&good, 1)),
    ];
    for end in 0..good.len() {
        bad.push(("cut short", good[..end].to_vec()));
    }
    for key in ["rsa:1024", "ec:P-521", "ec:secp256k1", "ed448", "dsa"] {
        // What this openssl does not make need not be tried.
        bad.extend(openssl_csr(&world, key, "-sha256").map(|csr| (key, csr)));
    }
    bad.extend(openssl_csr(&world, "rsa:2048", "-sha1").map(|csr| ("SHA-1", csr)));
    let order = world.order(READ, secs(600));
    for (what, csr) in bad {
        let refused = issuer.issue(&order, Some(&KeyRequest::Csr(csr))).err();
        let refused = refused.unwrap_or_else(|| panic!("taken: {what}"));
        assert_eq!(refused.field, "csr", "{what}");
    }
}

#[tokio::test]
async fn no_byte_of_a_request_can_be_changed() {
    let world = World::new();
    let issuer = issuer(&world);
    let good = openssl_csr(&world, "ec:P-256", "-sha256").unwrap();
    let order = world.order(READ, secs(600));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let taken = issuer.issue(&order, Some(&KeyRequest::Csr(bad))).is_ok();
        assert!(!taken, "byte {at}");
    }
}

#[tokio::test]
async fn a_key_for_another_kind_is_refused() {
    let world = World::new();
    let order = world.order(READ, secs(600));
    let key = KeyRequest::SshPublicKey("ssh-ed25519 AAAA".to_owned());
    let refused = unfit(issue(&*issuer(&world), &order, Some(&key)).await);
    assert_eq!(refused.field, "key");
}

/// A request with a new key of that kind, if openssl makes it.
fn openssl_csr(world: &World, key: &str, digest: &str) -> Option<Vec<u8>> {
    let path = |name: &str| world.path(name).display().to_string();
    let (pem, csr) = (path("csr.key"), path("csr.der"));
    let kind = match key.split_once(':') {
        Some(("ec", curve)) => vec![
            "EC".to_owned(),
            "-pkeyopt".to_owned(),
            format!("ec_paramgen_curve:{curve}"),
        ],
        Some((_, bits)) => vec![
            "RSA".to_owned(),
            "-pkeyopt".to_owned(),
            format!("rsa_keygen_bits:{bits}"),
        ],
        None => vec![key.to_owned()],
    };
    let mut arguments = vec!["genpkey", "-out", &pem, "-algorithm"];
    arguments.extend(kind.iter().map(String::as_str));
    if !run("openssl", &arguments).status.success() {
        return None;
    }
    let request = [
        "req", "-new", digest, "-key", &pem, "-subj", "/CN=x", "-outform", "DER", "-out", &csr,
    ];
    let made = run("openssl", &request);
    made.status
        .success()
        .then(|| std::fs::read(&csr).unwrap())
        .or_else(|| {
            eprintln!("{key}: {}", said(&made));
            None
        })
}

/// The same request with a BIT STRING that says that 1 bit of its last byte is not used: the last one, or the one
/// before.
fn unused_bits(csr: &[u8], before: usize) -> Vec<u8> {
    let mut csr = csr.to_vec();
    // P-256: the key is 03 42 00 04, the signature 03 LL 00 30.
    let marks = |window: &[u8]| window[0] == 3 && window[2] == 0 && [4, 0x30].contains(&window[3]);
    let found: Vec<usize> = csr
        .windows(4)
        .enumerate()
        .filter(|(_, it)| marks(it))
        .map(|(at, _)| at)
        .collect();
    let at = found[found.len() - 1 - before];
    csr[at + 2] = 1;
    csr
}
