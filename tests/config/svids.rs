use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quietus::dev::{DevCa, DevError, Svid};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::X509Certificate;

const NOW: u64 = 1_767_225_600;
const HOUR: Duration = Duration::from_secs(3_600);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn ca() -> DevCa {
    DevCa::generate("dev.example".parse().unwrap(), now(), 24 * HOUR).unwrap()
}

#[test]
fn a_workload_has_what_an_svid_has_to_have_and_no_more() {
    let svid = ca().svid("/agent/builder", now(), HOUR).unwrap();
    assert_eq!(svid.id.as_str(), "spiffe://dev.example/agent/builder");
    reading(&svid.chain_pem, |certificate| {
        check_leaf(certificate);
        assert_eq!(
            names(certificate),
            ["URI(spiffe://dev.example/agent/builder)"]
        );
    });
}

#[test]
fn the_broker_has_local_names_besides_its_one_uri() {
    let svid = ca().local_server_svid("/broker", now(), HOUR).unwrap();
    reading(&svid.chain_pem, |certificate| {
        check_leaf(certificate);
        let names = names(certificate);
        assert_eq!(
            names[..2],
            ["URI(spiffe://dev.example/broker)", "DNSName(localhost)"]
        );
        let uris = names.iter().filter(|name| name.starts_with("URI")).count();
        assert_eq!((names.len(), uris), (4, 1));
    });
}

fn check_leaf(certificate: &X509Certificate<'_>) {
    let constraints = certificate.basic_constraints().unwrap().unwrap();
    assert!(!constraints.value.ca);
    let usage = certificate.key_usage().unwrap().unwrap();
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1, "digitalSignature alone");
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.client_auth && extended.server_auth && !extended.any);
    assert_eq!(validity(certificate), (NOW as i64 - 60, NOW as i64 + 3_600));
}

#[test]
fn the_ca_signs_certificates_for_its_trust_domain_and_nothing_else() {
    reading(ca().bundle_pem(), |certificate| {
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign());
        assert_eq!(usage.value.flags.count_ones(), 1);
        assert_eq!(names(certificate), ["URI(spiffe://dev.example)"]);
    });
}

#[test]
fn a_ca_read_back_goes_on_issuing_under_the_same_anchor() {
    let first = ca();
    let domain = first.trust_domain().clone();
    let again = DevCa::from_pem(domain, first.bundle_pem(), &first.key_pem()).unwrap();
    assert_eq!(again.bundle_pem(), first.bundle_pem());
    again.svid("/agent/builder", now(), HOUR).unwrap();
}

#[test]
fn the_key_of_another_ca_is_found_out() {
    let (one, other) = (ca(), ca());
    let domain = one.trust_domain().clone();
    let mixed = DevCa::from_pem(domain, one.bundle_pem(), &other.key_pem()).unwrap();
    let refused = mixed.svid("/agent/builder", now(), HOUR);
    assert!(matches!(refused.err(), Some(DevError::Refused(_))));
}

#[test]
fn paths_that_are_no_workload_are_refused() {
    for path in [
        "",
        "/",
        "agent",
        "/agent/",
        "/a//b",
        "/../x",
        "/a b",
        "x.test/agent",
        ".test/agent",
    ] {
        let refused: Option<Svid> = ca().svid(path, now(), HOUR).ok();
        assert!(refused.is_none(), "{path:?}");
    }
}

#[test]
fn an_svid_that_would_be_dead_at_once_is_refused() {
    let late = now() + 25 * HOUR;
    assert!(matches!(
        ca().svid("/agent", late, HOUR).err(),
        Some(DevError::Refused(_))
    ));
    let endless = Duration::from_secs(u64::MAX);
    assert!(matches!(
        ca().svid("/agent", now(), endless).err(),
        Some(DevError::Lifetime)
    ));
}

#[test]
fn keys_and_serials_are_new_every_time() {
    let ca = ca();
    let [one, other] = [0, 1].map(|_| ca.svid("/agent", now(), HOUR).unwrap());
    assert_ne!(*one.key_pem, *other.key_pem);
    let serial = |svid: &Svid| {
        let mut serial = String::new();
        reading(&svid.chain_pem, |certificate| {
            serial = certificate.raw_serial_as_string()
        });
        serial
    };
    assert_ne!(serial(&one), serial(&other));
}

fn reading(pem: &str, check: impl FnOnce(&X509Certificate<'_>)) {
    let blocks: Vec<Pem> = Pem::iter_from_buffer(pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    assert_eq!(blocks.len(), 1);
    check(&blocks[0].parse_x509().unwrap());
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().unwrap().unwrap();
    extension
        .value
        .general_names
        .iter()
        .map(GeneralName::to_string)
        .collect()
}

fn validity(certificate: &X509Certificate<'_>) -> (i64, i64) {
    let validity = certificate.validity();
    (
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    )
}
