//! A small public key infrastructure to verify against, and the means to break it.
#![allow(dead_code)]

use quietus_identity::{
    CertificateDer, Purpose, SvidError, TrustBundle, TrustBundles, VerifiedSvid, verify,
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SigningKey, date_time_ymd,
};

/// 15 January 2027.
pub const NOW: u64 = 1_800_000_000;
pub const AGENT: &str = "spiffe://prod.example/agent/a";
pub const ROOT: &str = "spiffe://prod.example";

pub const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
pub const CERTIFICATE_POLICIES: &[u64] = &[2, 5, 29, 32];
pub const EXTENDED_KEY_USAGE: &[u64] = &[2, 5, 29, 37];
pub const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
pub const NAME_CONSTRAINTS: &[u64] = &[2, 5, 29, 30];
pub const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
pub const PRIVATE: &[u64] = &[1, 3, 6, 1, 4, 1, 99999, 1];

/// A certificate with the key that it is for.
pub struct Authority {
    pub params: CertificateParams,
    pub key: KeyPair,
    pub der: CertificateDer<'static>,
}

impl Authority {
    pub fn root(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().into();
        Self { params, key, der }
    }

    /// Issues a certificate that can issue further ones, whether it may or not.
    pub fn issue(&self, params: CertificateParams) -> Self {
        self.issue_for(params, KeyPair::generate().unwrap())
    }

    pub fn issue_for(&self, params: CertificateParams, key: KeyPair) -> Self {
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params.signed_by(&key, &issuer).unwrap().into();
        Self { params, key, der }
    }

    pub fn bundle(&self, domain: &str) -> TrustBundle {
        bundle(domain, std::slice::from_ref(&self.der))
    }
}

/// What is presented to the verifier, and when.
pub struct Attempt {
    pub chain: Vec<CertificateDer<'static>>,
    pub bundles: TrustBundles,
    pub purpose: Purpose,
    pub now: u64,
}

impl Attempt {
    pub fn verify(&self) -> Result<VerifiedSvid, SvidError> {
        verify(&self.chain, &self.bundles, self.purpose, self.now)
    }

    pub fn chain(mut self, chain: Vec<CertificateDer<'static>>) -> Self {
        self.chain = chain;
        self
    }

    pub fn bundles(mut self, bundles: impl IntoIterator<Item = TrustBundle>) -> Self {
        self.bundles = bundles.into_iter().collect();
        self
    }

    pub fn purpose(mut self, purpose: Purpose) -> Self {
        self.purpose = purpose;
        self
    }

    pub fn at(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    /// Changes the DER of one certificate after it was signed.
    pub fn patch(mut self, position: usize, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut der = self.chain[position].to_vec();
        change(&mut der);
        self.chain[position] = der.into();
        self
    }
}

/// Two trust domains with one root each, and an intermediate in the first.
pub struct World {
    pub prod: Authority,
    pub other: Authority,
    pub intermediate: Authority,
}

impl World {
    pub fn new() -> Self {
        let prod = Authority::root(root_params());
        let intermediate = prod.issue(intermediate_params());
        let other = with(root_params(), |it| {
            name(it, "other root");
            it.subject_alt_names = vec![uri("spiffe://other.example")];
        });
        Self {
            prod,
            other: Authority::root(other),
            intermediate,
        }
    }

    /// A chain as an agent of `prod.example` presents it, as a client, at [`NOW`].
    pub fn attempt(&self, chain: &[&Authority]) -> Attempt {
        Attempt {
            chain: chain.iter().map(|it| it.der.clone()).collect(),
            bundles: self.bundles(),
            purpose: Purpose::Client,
            now: NOW,
        }
    }

    pub fn bundles(&self) -> TrustBundles {
        [
            self.prod.bundle("prod.example"),
            self.other.bundle("other.example"),
        ]
        .into_iter()
        .collect()
    }

    /// A leaf issued by the root.
    pub fn leaf(&self, edit: impl FnOnce(&mut CertificateParams)) -> Attempt {
        self.attempt(&[&self.prod.issue(with(leaf_params(), edit))])
    }

    /// A leaf issued by an intermediate.
    pub fn under(&self, edit: impl FnOnce(&mut CertificateParams)) -> Attempt {
        let intermediate = self.prod.issue(with(intermediate_params(), edit));
        let leaf = intermediate.issue(leaf_params());
        self.attempt(&[&leaf, &intermediate])
    }

    /// A leaf and an intermediate under a root of their own, which is the only anchor.
    pub fn rooted(&self, edit: impl FnOnce(&mut CertificateParams)) -> Attempt {
        let root = Authority::root(with(root_params(), edit));
        let intermediate = root.issue(intermediate_params());
        let leaf = intermediate.issue(leaf_params());
        self.attempt(&[&leaf, &intermediate])
            .bundles([root.bundle("prod.example")])
    }

    /// A leaf whose signed part is put together from its DER elements after an edit, then signed by the root.
    pub fn resigned(&self, edit: impl FnOnce(&mut Vec<Vec<u8>>)) -> Attempt {
        let leaf = self.prod.issue(leaf_params());
        let [tbs, algorithm, _] = <[_; 3]>::try_from(children(&leaf.der)).unwrap();
        let mut fields = children(&tbs);
        edit(&mut fields);
        let tbs = tlv(0x30, &fields.concat());
        let signature = [&[0][..], &self.prod.key.sign(&tbs).unwrap()].concat();
        let der = tlv(0x30, &[tbs, algorithm, tlv(0x03, &signature)].concat());
        self.attempt(&[]).chain(vec![der.into()])
    }
}

pub fn with(
    mut params: CertificateParams,
    edit: impl FnOnce(&mut CertificateParams),
) -> CertificateParams {
    edit(&mut params);
    params
}

pub fn leaf_params() -> CertificateParams {
    with(dated("workload", 2026, 2028), |it| {
        it.subject_alt_names = vec![uri(AGENT)];
        it.is_ca = IsCa::ExplicitNoCa;
        it.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        it.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
    })
}

pub fn intermediate_params() -> CertificateParams {
    with(root_params(), |it| {
        name(it, "prod intermediate");
        until(it, 2026, 2029);
    })
}

pub fn root_params() -> CertificateParams {
    with(dated("prod root", 2025, 2035), |it| {
        it.subject_alt_names = vec![uri(ROOT)];
        it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        it.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    })
}

pub fn name(params: &mut CertificateParams, common_name: &str) {
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
}

/// Valid from 1 January of one year to 1 January of another.
pub fn until(params: &mut CertificateParams, from: i32, to: i32) {
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
}

pub fn year(year: i32) -> u64 {
    date_time_ymd(year, 1, 1)
        .unix_timestamp()
        .try_into()
        .unwrap()
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

pub fn extension(oid: &[u64], critical: bool, value: Vec<u8>) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, value);
    extension.set_criticality(critical);
    extension
}

/// The value of a subject alternative name extension with the given DER names.
pub fn names(names: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &names.concat())
}

pub fn uri_name(bytes: &[u8]) -> Vec<u8> {
    tlv(0x86, bytes)
}

pub fn bundle(domain: &str, anchors: &[CertificateDer<'_>]) -> TrustBundle {
    let pem: String = anchors.iter().map(|der| pem(der)).collect();
    TrustBundle::from_pem(domain.parse().unwrap(), pem.as_bytes()).unwrap()
}

pub fn pem(der: &[u8]) -> String {
    let body = base64(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// One DER value.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [&header, content].concat()
}

/// The DER values inside a constructed one.
pub fn children(der: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &der[header(der)..];
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (child, after) = rest.split_at(header(rest) + content(rest));
        found.push(child.to_vec());
        rest = after;
    }
    found
}

fn header(der: &[u8]) -> usize {
    match der[1] {
        long @ 0x80.. => 2 + usize::from(long & 0x7f),
        _ => 2,
    }
}

fn content(der: &[u8]) -> usize {
    match header(der) {
        2 => usize::from(der[1]),
        header => der[2..header]
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)),
    }
}

fn dated(common_name: &str, from: i32, to: i32) -> CertificateParams {
    with(CertificateParams::default(), |it| {
        name(it, common_name);
        until(it, from, to);
        it.use_authority_key_identifier_extension = true;
    })
}
