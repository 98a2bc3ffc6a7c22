//! Certification requests (PKCS#10, RFC 2986). Only the key counts, and the proof that the agent has its other half.

use rcgen::SubjectPublicKeyInfo;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::OID_SIG_ED25519;
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
/// How a request may be signed, in DER: RSA PKCS#1, ECDSA and Ed25519, and nothing with SHA-1. The parser overlooks
/// some oddities in this field, which is not signed itself.
const SIGNATURES: [&[u8]; 6] = [
    b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00\x03",
    b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00\x03",
    b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00\x03",
    b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02\x03",
    b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03\x03",
    b"\x30\x05\x06\x03\x2b\x65\x70\x03",
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
    if !is_known(after(der, request.certification_request_info.raw)) {
        return Err("sign it with ECDSA, Ed25519 or RSA PKCS#1, and SHA-256 or better");
    }
    request
        .verify_signature()
        .map_err(|_| "its signature is not by its own key")?;
    // Encoded anew, so that nothing but the key gets through.
    SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| KINDS)
}

/// What follows the part of a request that is signed.
fn after<'a>(der: &'a [u8], signed: &[u8]) -> &'a [u8] {
    let header = match der.get(1) {
        Some(long) if long & 0x80 != 0 => 2 + usize::from(long & 0x7f),
        _ => 2,
    };
    der.get(header + signed.len()..).unwrap_or_default()
}

fn is_known(signature: &[u8]) -> bool {
    SIGNATURES.iter().any(|known| signature.starts_with(known))
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
