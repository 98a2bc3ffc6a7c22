//! `[ledger]`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use humantime::format_duration;
use quietus_ledger::note::Cosigner;

use super::problems::Problems;
use super::{Limits, raw};

/// Longest origin, in bytes.
const MAX_ORIGIN: usize = 256;
/// The most witnesses: their lines and the log's own fit a note.
const MAX_WITNESSES: usize = 8;
/// Longest URL of a witness, in bytes.
const MAX_URL: usize = 512;
/// How often witnesses are asked, unless it is said.
const COSIGN_EVERY: Duration = MINUTE;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// The longest retention that can be written: a hundred years.
const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);

/// The record, as outsiders see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// The log's name in its checkpoints; if none, the broker's SPIFFE ID without its scheme.
    pub origin: Option<String>,
    /// How long entries are kept; if none, for ever.
    pub retention: Option<Duration>,
    /// Where its files are served; if none, nowhere.
    pub https: Option<LedgerHttps>,
    /// Who is asked to cosign its checkpoints.
    pub witnesses: Vec<LedgerWitness>,
    /// How often they are asked.
    pub cosign_every: Duration,
}

/// `[ledger.https]`: the ledger as static files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerHttps {
    /// The address of the HTTPS server.
    pub listen: SocketAddr,
    /// PEM files of its certificate, with the intermediates, and of the key; if none, the broker's SVID.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Who may read.
    pub clients: LedgerClients,
}

/// Who may read the ledger over HTTPS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LedgerClients {
    /// Auditors and operators, known by their SVIDs.
    #[default]
    Svid,
    /// Whoever reaches the listener.
    Any,
}

/// `[[ledger.witness]]`: somebody who attests that the log only grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerWitness {
    /// The prefix of its submission interface.
    pub url: http::Uri,
    /// Its public key.
    pub key: Cosigner,
    /// PEM file of the authorities that vouch for its server; if none, those of the system.
    pub ca: Option<PathBuf>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            origin: None,
            retention: None,
            https: None,
            witnesses: Vec::new(),
            cosign_every: COSIGN_EVERY,
        }
    }
}

/// Checks the section.
pub(super) fn ledger(problems: &mut Problems<'_>, raw: &raw::Ledger, limits: &Limits) -> Ledger {
    let origin = raw.origin.as_ref().and_then(|origin| {
        let read = checked_origin(origin.get_ref());
        problems.accepted("ledger.origin", origin, read)
    });
    let https = raw.https.as_ref().and_then(|raw| https(problems, raw));
    Ledger {
        origin,
        retention: retention(problems, raw, limits),
        https,
        witnesses: witnesses(problems, &raw.witness),
        cosign_every: problems.span_or(
            "ledger.cosign_every",
            &raw.cosign_every,
            COSIGN_EVERY,
            SECOND..=HOUR,
        ),
    }
}

/// What can be the name of a key on a signed note (c2sp.org/signed-note).
fn checked_origin(text: &str) -> Result<String, &'static str> {
    let named = (1..=MAX_ORIGIN).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
    match named && plain {
        true => Ok(text.to_owned()),
        false => Err(
            "write a URL without its scheme, such as log.example.com/quietus: 1 to 256 ASCII characters without spaces or +",
        ),
    }
}

/// Entries outlive every task that they are about, as long as it is listed.
fn retention(problems: &mut Problems<'_>, raw: &raw::Ledger, limits: &Limits) -> Option<Duration> {
    const KEY: &str = "ledger.retention";
    let span = raw.retention.as_ref()?;
    let least = DAY.max(limits.max_task + limits.retention);
    let raw::Span(value) = *span.get_ref();
    if (least..=LONGEST).contains(&value) {
        return Some(value);
    }
    let [value, least, most] = [value, least, LONGEST].map(format_duration);
    let message = format!(
        "{value}: write a duration from {least} (1 day, and limits.max_task with limits.retention) to {most}"
    );
    problems.at(KEY, span, message);
    None
}

fn https(problems: &mut Problems<'_>, raw: &raw::LedgerHttps) -> Option<LedgerHttps> {
    let listen = raw.listen.get_ref().parse();
    let expected = "write an IP address and a port, such as 0.0.0.0:8444";
    let listen = problems.accepted(
        "ledger.https.listen",
        &raw.listen,
        listen.map_err(|_| expected),
    );
    let certificate = match (&raw.certificate, &raw.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            let certificate = problems.path("ledger.https.certificate", certificate);
            let key = problems.path("ledger.https.key", key);
            Some((certificate?, key?))
        }
        (Some(alone), None) | (None, Some(alone)) => {
            let message = "write both certificate and key, or neither for the broker's SVID";
            problems.at("ledger.https.certificate", alone, message);
            None
        }
    };
    let clients = raw
        .clients
        .as_ref()
        .map_or(Some(LedgerClients::Svid), |text| {
            problems.accepted("ledger.https.clients", text, clients(text.get_ref()))
        });
    Some(LedgerHttps {
        listen: listen?,
        certificate,
        clients: clients?,
    })
}

fn clients(text: &str) -> Result<LedgerClients, &'static str> {
    match text {
        "svid" => Ok(LedgerClients::Svid),
        "any" => Ok(LedgerClients::Any),
        _ => Err(
            "write \"svid\" for auditors and operators, or \"any\" for whoever reaches the listener",
        ),
    }
}

fn witnesses(problems: &mut Problems<'_>, raw: &[raw::LedgerWitness]) -> Vec<LedgerWitness> {
    const KEY: &str = "ledger.witness";
    problems.unique("ledger.witness.key", raw.iter().map(|entry| &entry.key));
    if raw.len() > MAX_WITNESSES {
        let message = format!(
            "{} witnesses: at most {MAX_WITNESSES} are allowed",
            raw.len()
        );
        problems.missing(KEY, message);
    }
    raw.iter()
        .filter_map(|entry| witness(problems, entry))
        .collect()
}

fn witness(problems: &mut Problems<'_>, raw: &raw::LedgerWitness) -> Option<LedgerWitness> {
    let url = problems.accepted(
        "ledger.witness.url",
        &raw.url,
        witness_url(raw.url.get_ref()),
    );
    let key = problems.parsed("ledger.witness.key", &raw.key);
    let ca = raw
        .ca
        .as_ref()
        .map(|ca| problems.path("ledger.witness.ca", ca));
    Some(LedgerWitness {
        url: url?,
        key: key?,
        ca: ca.flatten(),
    })
}

/// A URL prefix. Plain HTTP goes to this machine only.
fn witness_url(text: &str) -> Result<http::Uri, &'static str> {
    const EXPECTED: &str =
        "write the https:// URL of its submission prefix, without user, query or fragment";
    let plain = text.len() <= MAX_URL && !text.contains(['@', '#', '?']);
    let url: http::Uri = text.parse().map_err(|_| EXPECTED)?;
    let host = url.host().unwrap_or_default();
    match url.scheme_str() {
        Some("https") if plain && !host.is_empty() => Ok(url),
        Some("http") if plain && is_loopback(host) => Ok(url),
        Some("http") => Err("http:// is for witnesses on this machine: write https://"),
        _ => Err(EXPECTED),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
