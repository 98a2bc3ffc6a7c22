use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quietus_identity::{
    CertificateDer, Purpose, SpiffeId, TrustBundle, TrustBundles, TrustDomain, verify,
};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use zeroize::Zeroizing;

use super::DevError;

/// How long before its making a certificate is already valid, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(60);

/// A certificate authority for one development trust domain (P-256, no intermediates).
pub struct DevCa {
    trust_domain: TrustDomain,
    certificate: String,
    key: Zeroizing<KeyPair>,
    bundles: TrustBundles,
}

/// An X.509-SVID with its key.
pub struct Svid {
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// The certificates in PEM, leaf first.
    pub chain_pem: String,
    /// The key in PEM, PKCS#8.
    pub key_pem: Zeroizing<String>,
}

impl DevCa {
    /// Makes a new CA, valid from a minute before `now` until `lifetime` after it.
    pub fn generate(
        trust_domain: TrustDomain,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Self, DevError> {
        let key = Zeroizing::new(KeyPair::generate()?);
        let mut params = named("Quietus development CA", &id(&trust_domain, "")?)?;
        set_validity(&mut params, now, lifetime)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&*key)?.pem();
        Self::new(trust_domain, certificate, key)
    }

    /// The CA that was written as [`Self::bundle_pem`] and [`Self::key_pem`].
    pub fn from_pem(
        trust_domain: TrustDomain,
        bundle_pem: &str,
        key_pem: &str,
    ) -> Result<Self, DevError> {
        let key = Zeroizing::new(KeyPair::from_pem(key_pem)?);
        Self::new(trust_domain, bundle_pem.to_owned(), key)
    }

    /// An X.509-SVID for `spiffe://<trust domain><path>`, valid from a minute before `now` until `lifetime` after
    /// it, for either side of a connection.
    pub fn svid(&self, path: &str, now: SystemTime, lifetime: Duration) -> Result<Svid, DevError> {
        self.issue(path, &[], now, lifetime)
    }

    /// The same, for clients that also want the DNS name `localhost` or a loopback address in it.
    pub fn local_server_svid(
        &self,
        path: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Svid, DevError> {
        let names = [
            SanType::DnsName(Ia5String::try_from("localhost")?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        self.issue(path, &names, now, lifetime)
    }

    /// The trust domain that it vouches for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The SPIFFE ID with this path, which begins with a slash.
    pub fn id(&self, path: &str) -> Result<SpiffeId, DevError> {
        id(&self.trust_domain, path)
    }

    /// The trust bundle in PEM: the CA's certificate.
    pub fn bundle_pem(&self) -> &str {
        &self.certificate
    }

    /// The CA's key in PEM, PKCS#8.
    pub fn key_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.key.serialize_pem())
    }

    /// The trust bundle as SVIDs are verified with it.
    pub fn bundles(&self) -> &TrustBundles {
        &self.bundles
    }

    fn new(
        trust_domain: TrustDomain,
        certificate: String,
        key: Zeroizing<KeyPair>,
    ) -> Result<Self, DevError> {
        let bundle = TrustBundle::from_pem(trust_domain.clone(), certificate.as_bytes())?;
        Ok(Self {
            trust_domain,
            certificate,
            key,
            bundles: [bundle].into_iter().collect(),
        })
    }

    fn issue(
        &self,
        path: &str,
        more_names: &[SanType],
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Svid, DevError> {
        let id = self.id(path)?;
        let mut params = workload(&id)?;
        params.subject_alt_names.extend_from_slice(more_names);
        set_validity(&mut params, now, lifetime)?;
        let key = Zeroizing::new(KeyPair::generate()?);
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, &*self.key)?;
        let certificate = params.signed_by(&*key, &issuer)?;
        self.check(&certificate, now)?;
        Ok(Svid {
            id,
            chain_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
        })
    }

    /// What was just signed has to pass for both sides of a connection.
    fn check(&self, certificate: &Certificate, now: SystemTime) -> Result<(), DevError> {
        let chain: [CertificateDer<'_>; 1] = [certificate.der().clone()];
        let now = unix(now).as_secs();
        verify(&chain, &self.bundles, Purpose::Client, now)?;
        verify(&chain, &self.bundles, Purpose::Server, now)?;
        Ok(())
    }
}

fn id(trust_domain: &TrustDomain, path: &str) -> Result<SpiffeId, DevError> {
    let text = format!("spiffe://{trust_domain}{path}");
    let read = text.parse::<SpiffeId>().map_err(|source| DevError::Path {
        path: path.to_owned(),
        source,
    })?;
    // A path without its slash would have been read as a part of the trust domain.
    match read.trust_domain() == trust_domain {
        true => Ok(read),
        false => Err(DevError::PathSlash {
            path: path.to_owned(),
        }),
    }
}

fn workload(id: &SpiffeId) -> Result<CertificateParams, DevError> {
    let mut params = named("Quietus development", id)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(subject: &str, id: &SpiffeId) -> Result<CertificateParams, DevError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id.as_str())?)];
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, subject);
    Ok(params)
}

fn set_validity(
    params: &mut CertificateParams,
    now: SystemTime,
    lifetime: Duration,
) -> Result<(), DevError> {
    let now = unix(now);
    let epoch = date_time_ymd(1970, 1, 1);
    let after = |since: Duration| {
        let seconds = Duration::from_secs(since.as_secs());
        epoch.checked_add(seconds.try_into().ok()?)
    };
    params.not_before = after(now.saturating_sub(BACKDATED)).ok_or(DevError::Lifetime)?;
    params.not_after = after(now.saturating_add(lifetime)).ok_or(DevError::Lifetime)?;
    Ok(())
}

fn unix(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
