//! `[target.ssh]`

use std::net::IpAddr;
use std::path::PathBuf;

use quietus_core::Action;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::super::raw::{Number, Text};
use super::Problems;

/// The port, if nothing else is said.
const PORT: u16 = 22;
/// The most principals, and the most addresses.
const MAX_ENTRIES: usize = 64;
/// The longest principal, in bytes.
const MAX_PRINCIPAL: usize = 64;
/// The longest command, in bytes.
const MAX_COMMAND: usize = 1024;

/// `[target.ssh]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshSettings {
    /// The key of the CA that the hosts trust (`TrustedUserCAKeys`): Ed25519, readable by nobody but the broker.
    pub ca_key: PathBuf,
    /// Where the key revocation list is written, for the hosts to read (`RevokedKeys`).
    pub krl: PathBuf,
    /// Where agents connect to; may be empty.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Where certificates may be used from, as address or network in CIDR form; empty for everywhere.
    pub source_address: Vec<String>,
    /// Whom a certificate may be for.
    pub principals: Vec<Principal>,
}

/// `[[target.ssh.principal]]`: a name that a certificate may log in as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The resource in scopes.
    pub name: String,
    /// The actions in scopes.
    pub actions: Vec<Action>,
    /// The only command that is run, whatever is asked for.
    pub force_command: Option<String>,
    /// What else the session may do.
    pub permit: Vec<Permit>,
}

/// What a session may do besides running a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permit {
    /// Have a terminal.
    Pty,
    /// Forward ports.
    PortForwarding,
    /// Forward an agent.
    AgentForwarding,
    /// Forward X11.
    X11Forwarding,
    /// Run `~/.ssh/rc`.
    UserRc,
}

impl Permit {
    /// The certificate's extension (OpenSSH, PROTOCOL.certkeys).
    pub fn extension(self) -> &'static str {
        match self {
            Self::Pty => "permit-pty",
            Self::PortForwarding => "permit-port-forwarding",
            Self::AgentForwarding => "permit-agent-forwarding",
            Self::X11Forwarding => "permit-X11-forwarding",
            Self::UserRc => "permit-user-rc",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    ca_key: Text,
    krl: Text,
    host: Option<Text>,
    port: Option<Number>,
    #[serde(default)]
    source_address: Vec<Text>,
    #[serde(default)]
    principal: Vec<RawPrincipal>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrincipal {
    name: Text,
    actions: Option<Spanned<Vec<Action>>>,
    force_command: Option<Text>,
    #[serde(default)]
    permit: Vec<Permit>,
}

pub(super) fn check(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<SshSettings> {
    let at = raw;
    let raw = raw.get_ref();
    let ca_key = problems.path("target.ssh.ca_key", &raw.ca_key);
    let krl = problems.path("target.ssh.krl", &raw.krl);
    let host = raw.host.as_ref().map(|text| {
        let read = checked_host(text.get_ref());
        problems.accepted("target.ssh.host", text, read)
    });
    let port = problems.number_or("target.ssh.port", &raw.port, PORT, 1..=65535);
    let names = raw.principal.iter().map(|it| &it.name);
    problems.unique("target.ssh.principal.name", names);
    if raw.principal.is_empty() || raw.principal.len().max(raw.source_address.len()) > MAX_ENTRIES {
        let message = format!(
            "write 1 to {MAX_ENTRIES} tables [[target.ssh.principal]], and as many addresses at most"
        );
        problems.at("target.ssh.principal", at, message);
    }
    let addresses = raw.source_address.iter().filter_map(|text| {
        let read = checked_network(text.get_ref());
        problems.accepted("target.ssh.source_address", text, read)
    });
    let source_address = addresses.collect();
    let principals = raw.principal.iter();
    let principals = principals
        .filter_map(|it| principal(problems, it))
        .collect();
    Some(SshSettings {
        ca_key: ca_key?,
        krl: krl?,
        host: host.flatten().unwrap_or_default(),
        port,
        source_address,
        principals,
    })
}

fn principal(problems: &mut Problems<'_>, raw: &RawPrincipal) -> Option<Principal> {
    let read = checked_principal(raw.name.get_ref());
    let name = problems.accepted("target.ssh.principal.name", &raw.name, read);
    let actions = match &raw.actions {
        None => vec![Action::Execute],
        Some(actions) => {
            let known = |action: &Action| matches!(action, Action::Execute | Action::Admin);
            if actions.get_ref().is_empty() || !actions.get_ref().iter().all(known) {
                let message =
                    "write \"execute\", \"admin\" or both: a login does not keep the others apart";
                problems.at("target.ssh.principal.actions", actions, message);
            }
            actions.get_ref().clone()
        }
    };
    let force_command = raw.force_command.as_ref().map(|text| {
        let read = checked_command(text.get_ref());
        problems.accepted("target.ssh.principal.force_command", text, read)
    });
    let mut permit = raw.permit.clone();
    permit.sort_unstable();
    permit.dedup();
    Some(Principal {
        name: name?,
        actions,
        force_command: force_command.flatten(),
        permit,
    })
}

fn checked_host(text: &str) -> Result<String, &'static str> {
    let sound = (1..=253).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.:_".contains(&b));
    sound
        .then(|| text.to_owned())
        .ok_or("write a host name or an address, without a port")
}

fn checked_principal(text: &str) -> Result<String, &'static str> {
    let sound = (1..=MAX_PRINCIPAL).contains(&text.len())
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._@".contains(&b));
    sound
        .then(|| text.to_owned())
        .ok_or("write 1 to 64 letters, digits, dots, dashes, underscores or @")
}

fn checked_command(text: &str) -> Result<String, &'static str> {
    let sound = (1..=MAX_COMMAND).contains(&text.len()) && !text.chars().any(char::is_control);
    sound
        .then(|| text.to_owned())
        .ok_or("write 1 to 1024 bytes without control characters")
}

/// An address, or a network whose host bits are zero: hosts refuse a certificate with any other.
fn checked_network(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str =
        "write an address or a network, such as 10.0.0.7 or 10.0.0.0/8, whose host bits are zero";
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().map_err(|_| EXPECTED)?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| EXPECTED)?;
    let (bits, width) = match address {
        IpAddr::V4(it) => (u128::from(it.to_bits()), 32),
        IpAddr::V6(it) => (it.to_bits(), 128),
    };
    let free = width - length.filter(|&it| it <= width).unwrap_or(width);
    let fits = length.is_none_or(|it| it <= width);
    let zero = free == 128 && bits == 0 || free < 128 && bits & ((1 << free) - 1) == 0;
    match fits && zero {
        true => Ok(text.to_owned()),
        false => Err(EXPECTED),
    }
}
