//! A second reading of a certificate that was just signed, by another library than the one that wrote it.

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::authority::{Authority, unix};
use super::leaf::Leaf;
use super::names::read_serial;

/// That a certificate says what `leaf` says, of this key, in this authority's name.
pub(super) fn leaf(
    der: &[u8],
    leaf: &Leaf,
    spki: &[u8],
    authority: &Authority,
) -> Result<(), &'static str> {
    let Ok(([], read)) = X509Certificate::from_der(der) else {
        return Err("not a certificate");
    };
    let ca = authority.certificate().map_err(|_| "no authority")?;
    let validity = read.validity();
    let seconds = |at: quietus_core::Timestamp| at.seconds();
    let facts = [
        (
            read.verify_signature(Some(ca.public_key())).is_ok(),
            "signature",
        ),
        (read.issuer().as_raw() == ca.subject().as_raw(), "issuer"),
        (read.public_key().raw == spki, "key"),
        (
            read_serial(read.raw_serial()) == Some(leaf.serial),
            "serial",
        ),
        (subject(&read) == [leaf.subject.as_str()], "subject"),
        (
            unix(validity.not_before.timestamp()).seconds() == seconds(leaf.from),
            "notBefore",
        ),
        (
            unix(validity.not_after.timestamp()).seconds() == seconds(leaf.until),
            "notAfter",
        ),
        (is_leaf(&read), "basic constraints or key usage"),
        (usage(&read) == wanted_usage(leaf), "extended key usage"),
        (names(&read) == wanted_names(leaf), "alternative names"),
    ];
    match facts.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, what)) => Err(what),
    }
}

fn subject<'a>(read: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let attributes = read.subject().iter_attributes();
    attributes
        .map(|it| it.as_str().unwrap_or_default())
        .collect()
}

fn is_leaf(read: &X509Certificate<'_>) -> bool {
    let constraints = read.basic_constraints().ok().flatten();
    let usage = read.key_usage().ok().flatten();
    constraints.is_some_and(|it| !it.value.ca)
        && usage.is_some_and(|it| it.critical && it.value.flags == 1)
}

fn usage(read: &X509Certificate<'_>) -> Option<(bool, bool, bool)> {
    let usage = read.extended_key_usage().ok()??.value;
    let others = usage.any
        || usage.code_signing
        || usage.email_protection
        || usage.time_stamping
        || usage.ocsp_signing
        || !usage.other.is_empty();
    Some((usage.client_auth, usage.server_auth, others))
}

fn wanted_usage(leaf: &Leaf) -> Option<(bool, bool, bool)> {
    let wants = |usage| leaf.params.extended_key_usages.contains(&usage);
    Some((
        wants(ExtendedKeyUsagePurpose::ClientAuth),
        wants(ExtendedKeyUsagePurpose::ServerAuth),
        false,
    ))
}

fn names(read: &X509Certificate<'_>) -> Option<Vec<(u8, Vec<u8>)>> {
    let names = read.subject_alternative_name().ok()??.value;
    let one = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((2, name.as_bytes().to_vec())),
        GeneralName::URI(name) => Some((6, name.as_bytes().to_vec())),
        GeneralName::IPAddress(bytes) => Some((7, bytes.to_vec())),
        _ => None,
    };
    names.general_names.iter().map(one).collect()
}

fn wanted_names(leaf: &Leaf) -> Option<Vec<(u8, Vec<u8>)>> {
    let one = |name: &SanType| match name {
        SanType::DnsName(name) => Some((2, name.as_str().as_bytes().to_vec())),
        SanType::URI(name) => Some((6, name.as_str().as_bytes().to_vec())),
        SanType::IpAddress(std::net::IpAddr::V4(it)) => Some((7, it.octets().to_vec())),
        SanType::IpAddress(std::net::IpAddr::V6(it)) => Some((7, it.octets().to_vec())),
        _ => None,
    };
    leaf.params.subject_alt_names.iter().map(one).collect()
}
