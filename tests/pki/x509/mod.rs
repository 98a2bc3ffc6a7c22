//! X.509 certificates.

mod certificates;
mod files;
mod requests;
mod revocation;
mod servers;

use std::sync::Arc;

use quietus::issuers::Issuer;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};

use crate::world::World;

/// The settings that most cases use.
pub const TABLE: &str = r#"
ca_cert = "ca.pem"
ca_key = "ca.key"
crl = "ca.crl"
usage = "client"
san = ["uri:{agent}"]
"#;

/// A CA in the world's folder, and an issuer in its name.
pub fn issuer(world: &World) -> Arc<dyn Issuer> {
    make_ca(world);
    open(world).unwrap()
}

pub fn open(world: &World) -> Result<Arc<dyn Issuer>, String> {
    world.build(&world.target("x509", TABLE))
}

pub fn make_ca(world: &World) {
    let (certificate, key) = ca(&ca_params());
    world.write("ca.pem", certificate, 0o644);
    world.write("ca.key", key, 0o600);
}

pub fn ca(params: &CertificateParams) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

pub fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Orders CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
