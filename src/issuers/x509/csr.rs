//! Certification requests (PKCS#10, RFC 2986). Only the key counts, and the proof that the agent has its other half.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ED25519, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509;

use super::super::Unfit;

/// Largest request.
const MAX_CSR: usize = 8 * 1024;
/// The RSA keys that are certified, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The sizes of uncompressed points on P-256 and P-384.
const POINTS: [usize; 2] = [65, 97];
/// How a request may be signed: nothing with SHA-1.
const SIGNATURES: [Oid<'static>; 6] = [
    OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ED25519,
];

/// The public key of a request whose signature holds.
pub(super) fn key(der: &[u8]) -> Result<SubjectPublicKeyInfo, Unfit> {
    read(der).map_err(|message| Unfit::new("csr", message))
}

fn read(der: &[u8]) -> Result<SubjectPublicKeyInfo, &'static str> {
    if der.len() > MAX_CSR {
        return Err(
            "it has more than 8192 bytes: send a request with a smaller key or without extras",
        );
    }
    let Ok((rest, request)) = X509CertificationRequest::from_der(der) else {
        return Err("it is not a PKCS#10 request in DER");
    };
    if !rest.is_empty() {
        return Err("it has data after its end");
    }
    let key = &request.certification_request_info.subject_pki;
    if request.signature_value.unused_bits != 0 || key.subject_public_key.unused_bits != 0 {
        return Err("its key or its signature is not made of whole bytes");
    }
    check_key(key)?;
    if !SIGNATURES.contains(&request.signature_algorithm.algorithm) {
        return Err("sign it with ECDSA, Ed25519 or RSA PKCS#1, and SHA-256 or better");
    }
    request
        .verify_signature()
        .map_err(|_| "its signature is not by its own key")?;
    // Encoded anew, so that nothing but the key gets through.
    SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| KINDS)
}

const KINDS: &str = "its key is not P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits";

fn check_key(key: &x509::SubjectPublicKeyInfo<'_>) -> Result<(), &'static str> {
    let bytes = &key.subject_public_key.data;
    let fits = match key.parsed() {
        Ok(PublicKey::RSA(rsa)) => RSA_BITS.contains(&rsa.key_size()),
        Ok(PublicKey::EC(_)) => bytes.first() == Some(&4) && POINTS.contains(&bytes.len()),
        Ok(PublicKey::Unknown(_)) => {
            key.algorithm.algorithm == OID_SIG_ED25519 && bytes.len() == 32
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err(KINDS) }
}
