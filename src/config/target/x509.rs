//! `[target.x509]`

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::super::raw::{Span, Text};
use super::Problems;

/// How long a revocation list is good for, if nothing else is said.
const CRL_LIFETIME: Duration = Duration::from_secs(86_400);
/// The most names in a certificate besides its scopes.
const MAX_NAMES: usize = 16;
/// The longest name, in bytes, before anything is put into it.
const MAX_NAME: usize = 512;
/// The most words of a command.
const MAX_COMMAND: usize = 32;
/// What may stand in the template of a URI.
const PLACEHOLDERS: [&str; 3] = ["{agent}", "{task}", "{lease}"];

/// `[target.x509]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct X509Settings {
    /// The certificate of the target's CA in PEM; further ones lead from it to the one that peers trust.
    pub ca_cert: PathBuf,
    /// Its key in PEM, PKCS#8; readable by nobody but the broker.
    pub ca_key: PathBuf,
    /// Where the revocation list is written in PEM, for the target to read.
    pub crl: PathBuf,
    /// What its certificates are for.
    pub usage: CertificateUsage,
    /// The names in every certificate.
    pub san: Vec<SanTemplate>,
    /// Whether a certificate also names its scopes.
    pub scope_names: bool,
    /// How long a revocation list is good for.
    pub crl_lifetime: Duration,
    /// Program and arguments to run when the list has changed; may be empty.
    pub reload_command: Vec<String>,
}

/// Extended key usage (RFC 5280, section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CertificateUsage {
    /// `clientAuth`
    Client,
    /// `serverAuth`
    Server,
    /// `clientAuth` and `serverAuth`
    Both,
}

/// A subject alternative name, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SanTemplate {
    /// `dns:`: a host name, taken as it is.
    Dns(String),
    /// `ip:`: an address.
    Ip(IpAddr),
    /// `uri:`: may hold `{agent}` (the SPIFFE ID), `{task}` and `{lease}`.
    Uri(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    ca_cert: Text,
    ca_key: Text,
    crl: Text,
    usage: CertificateUsage,
    san: Vec<Text>,
    scope_names: Option<bool>,
    crl_lifetime: Option<Spanned<Span>>,
    reload_command: Option<Spanned<Vec<String>>>,
}

pub(super) fn check(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<X509Settings> {
    let at = raw;
    let raw = raw.get_ref();
    let ca_cert = problems.path("target.x509.ca_cert", &raw.ca_cert);
    let ca_key = problems.path("target.x509.ca_key", &raw.ca_key);
    let crl = problems.path("target.x509.crl", &raw.crl);
    if raw.san.is_empty() || raw.san.len() > MAX_NAMES {
        let message = format!("write 1 to {MAX_NAMES} names, such as \"uri:{{agent}}\"");
        problems.at("target.x509.san", at, message);
    }
    let names = raw.san.iter();
    let san = names.filter_map(|text| problems.parsed("target.x509.san", text));
    let san = san.collect();
    let range = Duration::from_secs(600)..=Duration::from_secs(31 * 86_400);
    let key = "target.x509.crl_lifetime";
    let crl_lifetime = problems.span_or(key, &raw.crl_lifetime, CRL_LIFETIME, range);
    Some(X509Settings {
        ca_cert: ca_cert?,
        ca_key: ca_key?,
        crl: crl?,
        usage: raw.usage,
        san,
        scope_names: raw.scope_names.unwrap_or(true),
        crl_lifetime,
        reload_command: command(problems, &raw.reload_command),
    })
}

fn command(problems: &mut Problems<'_>, raw: &Option<Spanned<Vec<String>>>) -> Vec<String> {
    let Some(command) = raw else {
        return Vec::new();
    };
    let words = command.get_ref();
    let sound = (1..=MAX_COMMAND).contains(&words.len())
        && !words[0].is_empty()
        && !words.iter().any(|word| word.contains('\0'));
    if !sound {
        let message = "write a program and its arguments, such as [\"nginx\", \"-s\", \"reload\"]; no shell reads it";
        problems.at("target.x509.reload_command", command, message);
    }
    words.clone()
}

impl std::str::FromStr for SanTemplate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_NAME || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("write at most 512 printable ASCII characters without space");
        }
        match text.split_once(':') {
            Some(("dns", name)) if is_host(name) => Ok(Self::Dns(name.to_owned())),
            Some(("dns", _)) => Err("write a host name after dns:, such as dns:orders.internal"),
            Some(("ip", address)) => address
                .parse()
                .map(Self::Ip)
                .map_err(|_| "write an address after ip:, such as ip:10.0.0.7"),
            Some(("uri", template)) if is_uri(template) => Ok(Self::Uri(template.to_owned())),
            Some(("uri", _)) => Err(
                "write a URI after uri:, in which {agent}, {task} and {lease} may stand, such as uri:{agent}",
            ),
            _ => Err("write dns:, ip: or uri: and a name"),
        }
    }
}

/// RFC 1123, section 2.1, with a wildcard as the first label (RFC 6125, section 6.4.3).
fn is_host(name: &str) -> bool {
    let labels = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    labels.len() <= 253 && labels.split('.').all(label)
}

fn is_uri(template: &str) -> bool {
    let rest = PLACEHOLDERS
        .iter()
        .fold(template.to_owned(), |rest, known| {
            rest.replace(known, "a:a")
        });
    let scheme = rest.split_once(':').map(|(scheme, _)| scheme);
    let scheme = scheme.is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    });
    scheme && !rest.contains(['{', '}', '<', '>', '"', '\\', '^', '`', '|'])
}
