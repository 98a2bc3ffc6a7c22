use std::path::{Path, PathBuf};

use quietus_identity::SpiffeId;

use super::ConfigError;
use super::problems::Problems;
use super::raw;
use super::source::Source;

/// What a client needs to reach its broker and to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Host and port, such as `127.0.0.1:8443` or `broker.example:8443`.
    pub address: String,
    /// Who has to answer there.
    pub broker: SpiffeId,
    /// PEM file of the client's own X.509-SVID: the leaf, then intermediates.
    pub svid: PathBuf,
    /// PEM file of the SVID's key, PKCS#8.
    pub key: PathBuf,
    /// File of the trust bundle that the broker's SVID chains to, PEM or SPIFFE bundle JSON.
    pub bundle: PathBuf,
}

impl ClientConfig {
    /// Reads and checks a client's configuration file.
    ///
    /// # Errors
    /// What keeps the file from being read or parsed, or all that is wrong with what it says.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let source = Source::read(path.as_ref())?;
        let raw = source.parse()?;
        let mut problems = Problems::new(&source);
        let config = client(&mut problems, &raw);
        problems.finish(config)
    }
}

fn client(problems: &mut Problems<'_>, raw: &raw::Client) -> Option<ClientConfig> {
    let read = checked_address(raw.address.get_ref());
    let address = problems.accepted("address", &raw.address, read);
    let broker = problems.workload("broker", &raw.broker);
    let svid = problems.path("svid", &raw.svid);
    let key = problems.path("key", &raw.key);
    let bundle = problems.path("bundle", &raw.bundle);
    Some(ClientConfig {
        address: address?,
        broker: broker?,
        svid: svid?,
        key: key?,
        bundle: bundle?,
    })
}

pub(super) fn checked_address(text: &str) -> Result<String, &'static str> {
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    match is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0) {
        true => Ok(text.to_owned()),
        false => Err("write a host and a port, such as 127.0.0.1:8443 or [::1]:8443"),
    }
}

fn is_host(host: &str) -> bool {
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match in_brackets {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_name(host),
    }
}

/// A DNS name or an IPv4 address.
fn is_name(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=253).contains(&host.len()) && host.bytes().all(plain)
}
