//! A certificate revocation list (RFC 5280, section 5): written, read back, and never believed unsigned.
//!
//! A list does not say when the certificates on it expire, and what has expired need not stay on it. So the file
//! begins with lines of text, which readers of PEM skip (RFC 7468, section 2): `until <serial> <seconds since 1970>`.
//! An entry without such a line stays for as long as any certificate can live.

use std::collections::BTreeMap;
use std::time::Duration;

use quietus_core::Timestamp;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::authority::{Authority, date, encode, unix};
use super::leaf::LONGEST;
use super::names::{Serial, read_serial};

/// Largest file that is read.
pub(super) const MAX_FILE: usize = 64 * 1024 * 1024;
/// How long an entry stays after its certificate has expired, for clocks that are behind.
const KEPT: Duration = Duration::from_secs(3600);
/// How far back a list begins, for clocks that are behind.
const BACKDATED: Duration = Duration::from_secs(60);
const PREFIX: &str = "until ";

/// What a list says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) number: u64,
    pub(super) next_update: Timestamp,
    pub(super) entries: BTreeMap<Serial, Entry>,
}

/// One revoked certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) revoked_at: Timestamp,
    /// When the certificate expires, if that is known.
    pub(super) until: Option<Timestamp>,
}

impl List {
    /// Drops what no longer needs to be listed.
    pub(super) fn drop_expired(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| {
            let end = entry.until.unwrap_or(entry.revoked_at.after(LONGEST));
            now <= end.after(KEPT)
        });
    }

    /// The next list: a higher number, good from now on for `lifetime`; and its file.
    pub(super) fn sign(
        &mut self,
        authority: &Authority,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Vec<u8>, String> {
        // Higher than any before, even if the file was lost.
        self.number = now.0.max(self.number.saturating_add(1));
        self.next_update = Timestamp::from_seconds(now.after(lifetime).seconds());
        let params = self.params(authority, now)?;
        let signed = params.signed_by(&authority.issuer()?);
        let signed = signed.map_err(|error| error.to_string())?;
        let mut file = self.preamble();
        file.push_str(&encode("X509 CRL", signed.der()));
        if file.len() > MAX_FILE {
            return Err("the revocation list is too large to be read back".to_owned());
        }
        Ok(file.into_bytes())
    }

    /// Reads a file, and verifies that it is this authority's.
    pub(super) fn read(file: &[u8], authority: &Authority) -> Result<Self, String> {
        let der = CertificateRevocationListDer::from_pem_slice(file)
            .map_err(|_| "is not a revocation list in PEM".to_owned())?;
        let Ok(([], read)) = CertificateRevocationList::from_der(&der) else {
            return Err("is not a revocation list".to_owned());
        };
        let ca = authority.certificate()?;
        let ours = read.issuer().as_raw() == ca.subject().as_raw()
            && read.verify_signature(ca.public_key()).is_ok();
        if !ours {
            return Err("is not signed by the CA in ca_cert".to_owned());
        }
        Self::from_parsed(&read, &untils(file))
    }

    fn from_parsed(
        read: &CertificateRevocationList<'_>,
        untils: &BTreeMap<Serial, Timestamp>,
    ) -> Result<Self, String> {
        let number = read
            .crl_number()
            .and_then(|number| u64::try_from(number).ok());
        let next = read
            .next_update()
            .ok_or("says no time of its next update")?;
        let mut entries = BTreeMap::new();
        for revoked in read.iter_revoked_certificates() {
            let serial =
                read_serial(revoked.raw_serial()).ok_or("holds a strange serial number")?;
            let entry = Entry {
                revoked_at: unix(revoked.revocation_date.timestamp()),
                until: untils.get(&serial).copied(),
            };
            entries.insert(serial, entry);
        }
        Ok(Self {
            number: number.ok_or("has no number, or one that is too large")?,
            next_update: unix(next.timestamp()),
            entries,
        })
    }

    fn params(
        &self,
        authority: &Authority,
        now: Timestamp,
    ) -> Result<CertificateRevocationListParams, String> {
        let entries = self.entries.iter();
        let revoked: Result<Vec<_>, String> =
            entries.map(|(serial, it)| revoked(serial, it)).collect();
        let begins = Timestamp::from_seconds(now.seconds().saturating_sub(BACKDATED.as_secs()));
        Ok(CertificateRevocationListParams {
            this_update: date(begins)?,
            next_update: date(self.next_update)?,
            crl_number: SerialNumber::from(self.number),
            issuing_distribution_point: None,
            revoked_certs: revoked?,
            key_identifier_method: KeyIdMethod::PreSpecified(authority.key_id.clone()),
        })
    }

    fn preamble(&self) -> String {
        let known = |(serial, entry): (&Serial, &Entry)| {
            let until = entry.until?.seconds();
            let hex: String = serial.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("{PREFIX}{hex} {until}\n"))
        };
        self.entries.iter().filter_map(known).collect()
    }
}

fn revoked(serial: &Serial, entry: &Entry) -> Result<RevokedCertParams, String> {
    Ok(RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date(entry.revoked_at)?,
        reason_code: Some(RevocationReason::CessationOfOperation),
        invalidity_date: None,
    })
}

/// The lines before the list; what is not understood is left out, and the entry then stays the longer.
fn untils(file: &[u8]) -> BTreeMap<Serial, Timestamp> {
    let text = String::from_utf8_lossy(file);
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("-----BEGIN"));
    lines.filter_map(until).collect()
}

fn until(line: &str) -> Option<(Serial, Timestamp)> {
    let (hex, seconds) = line.strip_prefix(PREFIX)?.split_once(' ')?;
    let mut serial = [0; 20];
    if hex.len() != 40 || !hex.is_ascii() {
        return None;
    }
    for (byte, at) in serial.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hex[at..at + 2], 16).ok()?;
    }
    let seconds = seconds.parse().ok()?;
    Some((serial, Timestamp::from_seconds(seconds)))
}
