//! `[target.redis]`

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use quietus_core::Action;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Problems;
use crate::config::raw::{Number, Text};

const PORT: u16 = 6379;
const MAX_RULES: usize = 64;
const MAX_RULE: usize = 256;
const MAX_TEMPLATES: usize = 32;
const MAX_PREFIX: usize = 32;

/// `[target.redis]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisSettings {
    /// How the broker reaches the server.
    pub server: RedisServer,
    /// The user that the broker is there, which makes and unmakes the others.
    pub user: String,
    /// A file that holds its password and that nobody else may read.
    pub password_file: PathBuf,
    /// Host name or address, as agents reach the server.
    pub agent_host: String,
    /// Port, as agents reach it.
    pub agent_port: u16,
    /// What makes users outlive a restart of the server.
    pub persist: RedisPersist,
    /// What names of our users start with. No other broker at this server may use the same.
    pub user_prefix: String,
    /// Rules (`+get`, `+@read`, `-sort`) in place of the ones that an action otherwise stands for.
    pub commands: BTreeMap<Action, Vec<String>>,
    /// What `admin` may ask for by name: the rules of a selector.
    pub templates: BTreeMap<String, Vec<String>>,
}

/// How the broker reaches a Redis server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedisServer {
    /// A socket on this machine.
    Unix(PathBuf),
    /// TCP without TLS, to this machine only.
    Plain {
        /// `localhost`, or an address of the loopback interface.
        host: String,
        /// Port.
        port: u16,
    },
    /// TCP with TLS.
    Tls {
        /// Host name or address; the server's certificate must be for it.
        host: String,
        /// Port.
        port: u16,
        /// Who vouches for the server, in PEM.
        ca_file: PathBuf,
        /// The certificate chain and key to show to the server, in PEM.
        identity: Option<(PathBuf, PathBuf)>,
    },
}

impl RedisServer {
    /// The server, whichever way it is reached.
    pub fn place(&self) -> String {
        match self {
            Self::Unix(path) => path.display().to_string(),
            Self::Plain { host, port } | Self::Tls { host, port, .. } => format!("{host}:{port}"),
        }
    }

    /// Whether agents are to use TLS, as the broker does.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls { .. })
    }
}

/// What makes users outlive a restart of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisPersist {
    /// Nothing does: they are gone after it.
    #[default]
    None,
    /// `ACL SAVE` after every change, into the server's `aclfile`.
    Aclfile,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    host: Option<Text>,
    port: Option<Number>,
    socket: Option<Text>,
    user: Text,
    password_file: Text,
    #[serde(default = "yes")]
    tls: bool,
    ca_file: Option<Text>,
    cert_file: Option<Text>,
    key_file: Option<Text>,
    agent_host: Option<Text>,
    agent_port: Option<Number>,
    #[serde(default)]
    persist: RedisPersist,
    user_prefix: Option<Text>,
    #[serde(default)]
    commands: BTreeMap<Spanned<String>, Vec<Text>>,
    #[serde(default)]
    templates: BTreeMap<Spanned<String>, Vec<Text>>,
}

fn yes() -> bool {
    true
}

pub(super) fn check(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<RedisSettings> {
    let table = raw.get_ref();
    let port = problems.number_or("target.redis.port", &table.port, PORT, 1..=65535);
    let server = server(problems, raw, port);
    let user = checked(problems, "target.redis.user", &table.user, user_name);
    let password_file = problems.path("target.redis.password_file", &table.password_file);
    let agent_host = agent_host(problems, raw);
    let agent_port = problems.number_or(
        "target.redis.agent_port",
        &table.agent_port,
        port,
        1..=65535,
    );
    let user_prefix = match &table.user_prefix {
        Some(prefix) => checked(problems, "target.redis.user_prefix", prefix, prefix_name),
        None => Some("quietus-".to_owned()),
    };
    let commands = commands(problems, &table.commands);
    let templates = templates(problems, &table.templates);
    Some(RedisSettings {
        server: server?,
        user: user?,
        password_file: password_file?,
        agent_host: agent_host?,
        agent_port,
        persist: table.persist,
        user_prefix: user_prefix?,
        commands,
        templates,
    })
}

fn server(problems: &mut Problems<'_>, raw: &Spanned<Raw>, port: u16) -> Option<RedisServer> {
    let table = raw.get_ref();
    match (&table.host, &table.socket) {
        (None, Some(socket)) => problems
            .path("target.redis.socket", socket)
            .map(RedisServer::Unix),
        (Some(host), None) if table.tls => tls(problems, raw, host, port),
        (Some(host), None) => plain(problems, host, port),
        _ => {
            let message = "write either host (and port), or socket, the path of a unix socket";
            problems.at("target.redis.host", raw, message);
            None
        }
    }
}

fn tls(
    problems: &mut Problems<'_>,
    raw: &Spanned<Raw>,
    host: &Text,
    port: u16,
) -> Option<RedisServer> {
    let table = raw.get_ref();
    let name = checked(problems, "target.redis.host", host, host_name);
    let Some(ca_file) = &table.ca_file else {
        let message =
            "missing: name the PEM file of the authority that the server's certificate is from";
        problems.at("target.redis.ca_file", raw, message);
        return None;
    };
    let ca_file = problems.path("target.redis.ca_file", ca_file);
    let identity = match (&table.cert_file, &table.key_file) {
        (None, None) => None,
        (Some(cert), Some(key)) => {
            let cert = problems.path("target.redis.cert_file", cert);
            let key = problems.path("target.redis.key_file", key);
            Some((cert?, key?))
        }
        _ => {
            let message = "write both cert_file and key_file, or neither";
            problems.at("target.redis.cert_file", raw, message);
            return None;
        }
    };
    Some(RedisServer::Tls {
        host: name?,
        port,
        ca_file: ca_file?,
        identity,
    })
}

fn plain(problems: &mut Problems<'_>, host: &Text, port: u16) -> Option<RedisServer> {
    let name = checked(problems, "target.redis.host", host, host_name)?;
    let is_here = name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if !is_here {
        let message = "tls = false is for this machine alone (localhost, 127.0.0.1, ::1): \
                       use TLS, or a unix socket";
        problems.at("target.redis.tls", host, message);
        return None;
    }
    Some(RedisServer::Plain { host: name, port })
}

fn agent_host(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<String> {
    let table = raw.get_ref();
    match table.agent_host.as_ref().or(table.host.as_ref()) {
        Some(host) => checked(problems, "target.redis.agent_host", host, host_name),
        None => {
            let message = "missing: agents cannot use the broker's socket; name the host they use";
            problems.at("target.redis.agent_host", raw, message);
            None
        }
    }
}

fn commands(
    problems: &mut Problems<'_>,
    raw: &BTreeMap<Text, Vec<Text>>,
) -> BTreeMap<Action, Vec<String>> {
    let settable = [Action::Read, Action::Write, Action::Delete, Action::Export];
    let mut commands = BTreeMap::new();
    for (name, rules) in raw {
        let action = settable
            .into_iter()
            .find(|it| it.as_str() == name.get_ref());
        let Some(action) = action else {
            let message = "write read, write, delete or export; execute names a function, \
                           and admin a template";
            problems.at("target.redis.commands", name, message);
            continue;
        };
        let key = "target.redis.commands";
        commands.insert(action, checked_rules(problems, key, name, rules, command));
    }
    commands
}

fn templates(
    problems: &mut Problems<'_>,
    raw: &BTreeMap<Text, Vec<Text>>,
) -> BTreeMap<String, Vec<String>> {
    const KEY: &str = "target.redis.templates";
    let mut templates = BTreeMap::new();
    for (name, rules) in raw {
        if templates.len() == MAX_TEMPLATES {
            problems.at(
                KEY,
                name,
                format_args!("at most {MAX_TEMPLATES} are allowed"),
            );
            break;
        }
        let Some(word) = checked(problems, KEY, name, user_name) else {
            continue;
        };
        templates.insert(word, checked_rules(problems, KEY, name, rules, template));
    }
    templates
}

fn checked_rules(
    problems: &mut Problems<'_>,
    key: &'static str,
    name: &Text,
    rules: &[Text],
    check: fn(&str) -> Result<(), &'static str>,
) -> Vec<String> {
    if !(1..=MAX_RULES).contains(&rules.len()) {
        problems.at(key, name, format_args!("write 1 to {MAX_RULES} rules"));
    }
    rules
        .iter()
        .filter_map(|rule| checked(problems, key, rule, check))
        .collect()
}

fn checked(
    problems: &mut Problems<'_>,
    key: &'static str,
    text: &Text,
    check: fn(&str) -> Result<(), &'static str>,
) -> Option<String> {
    let read = check(text.get_ref()).map(|()| text.get_ref().clone());
    problems.accepted(key, text, read)
}

fn host_name(text: &str) -> Result<(), &'static str> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b".-_:".contains(&b);
    match (1..=253).contains(&text.len()) && text.bytes().all(sound) {
        true => Ok(()),
        false => Err("write a host name or an address"),
    }
}

fn user_name(text: &str) -> Result<(), &'static str> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"._-:@".contains(&b);
    match (1..=64).contains(&text.len()) && text.bytes().all(sound) {
        true => Ok(()),
        false => Err("write 1 to 64 of a-z A-Z 0-9 . _ - : @"),
    }
}

fn prefix_name(text: &str) -> Result<(), &'static str> {
    match text.len() <= MAX_PREFIX && user_name(text).is_ok() {
        true => Ok(()),
        false => Err("write 1 to 32 of a-z A-Z 0-9 . _ - : @"),
    }
}

/// `+get`, `-sort`, `+client|id`, `+@read`.
fn command(rule: &str) -> Result<(), &'static str> {
    let name = rule.strip_prefix(['+', '-']).unwrap_or_default();
    let plain = name.strip_prefix('@').unwrap_or(name);
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"-_.|".contains(&b);
    match (1..=64).contains(&plain.len()) && plain.bytes().all(sound) {
        true => Ok(()),
        false => Err("write a rule such as +get, -sort, +client|id or +@read"),
    }
}

/// The same, and patterns of keys and channels.
fn template(rule: &str) -> Result<(), &'static str> {
    let starts = ["~", "%R~", "%W~", "%RW~", "&"];
    let pattern = starts.iter().find_map(|start| rule.strip_prefix(start));
    let sound = |b: u8| b.is_ascii_graphic() && !b"()\"'\\".contains(&b);
    match pattern {
        Some(text) if rule.len() <= MAX_RULE && !text.is_empty() && text.bytes().all(sound) => {
            Ok(())
        }
        Some(_) => Err("a pattern is printable ASCII without parentheses, quotes or backslash"),
        None => command(rule),
    }
}
