//! `[target.postgres]`

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Problems;
use crate::config::raw::{Number, Text};

/// The longest name that PostgreSQL does not cut off, in bytes.
const MAX_NAME: usize = 63;
/// How many sessions a role may have at once, if nothing else is said.
const CONNECTIONS: u32 = 5;
const MAX_TEMPLATES: usize = 64;
const MAX_STATEMENTS: usize = 32;
const MAX_STATEMENT: usize = 4096;
/// Where a template's statements name the role, quoted.
const ROLE: &str = "{{role}}";

/// `[target.postgres]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresSettings {
    /// Host name, address, or the folder of a Unix socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The database that credentials are for.
    pub database: String,
    /// The role that makes the others: it needs `CREATEROLE`, and the right to grant what scopes name.
    pub user: String,
    /// Its password, if the server asks for one.
    pub password_file: Option<PathBuf>,
    /// Whether the connection is encrypted, and whom to believe that it is the server.
    pub tls: PostgresTls,
    /// How agents reach the server.
    pub agents: PostgresForAgents,
    /// How many sessions one role may have at once.
    pub connection_limit: u32,
    /// What becomes of what a role owns when it is dropped.
    pub on_owned: OnOwned,
    /// The operator's own grants, by name, for `admin` scopes.
    pub templates: BTreeMap<String, PostgresTemplate>,
}

/// How the broker's own connection is protected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PostgresTls {
    /// Not at all: only to this machine.
    Disable,
    /// TLS; the server's certificate has to name the host and to come from the authority in this PEM file.
    VerifyFull {
        /// The authority.
        ca_file: PathBuf,
    },
}

/// What agents are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresForAgents {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// `sslmode` of libpq.
    pub sslmode: SslMode,
}

/// `sslmode` of libpq, as far as it makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS with whoever answers.
    Require,
    /// TLS with a server whose certificate comes from the right authority.
    VerifyCa,
    /// The same, and the certificate names the host.
    VerifyFull,
}

/// What becomes of the tables and other things that a role owns when it is dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnOwned {
    /// They are dropped, unless something of another's depends on them.
    Drop,
    /// They get this owner.
    Reassign(String),
}

/// Statements of the operator's own; in each, `{{role}}` stands for the role, quoted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostgresTemplate {
    /// Run when the role is made, in the same transaction.
    pub grant: Vec<String>,
    /// Run when it is dropped, in the same transaction and before its rights are taken away.
    pub revoke: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    host: Text,
    port: Option<Number>,
    database: Text,
    user: Text,
    password_file: Option<Text>,
    tls: Option<Spanned<RawTls>>,
    ca_file: Option<Text>,
    agent_host: Option<Text>,
    agent_port: Option<Number>,
    agent_sslmode: Option<SslMode>,
    connection_limit: Option<Number>,
    on_owned: Option<Spanned<RawOnOwned>>,
    owner: Option<Text>,
    #[serde(default)]
    template: Vec<RawTemplate>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawTls {
    Disable,
    VerifyFull,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawOnOwned {
    Drop,
    Reassign,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTemplate {
    name: Text,
    grant: Spanned<Vec<Text>>,
    #[serde(default)]
    revoke: Vec<Text>,
}

impl SslMode {
    /// As libpq writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

pub(super) fn check(problems: &mut Problems<'_>, raw: &Spanned<Raw>) -> Option<PostgresSettings> {
    let raw = raw.get_ref();
    let host = host(problems, "target.postgres.host", &raw.host);
    let database = name(problems, "target.postgres.database", &raw.database);
    let user = name(problems, "target.postgres.user", &raw.user);
    let port = problems.number_or("target.postgres.port", &raw.port, 5432, 1..=65535);
    let password_file = raw.password_file.as_ref();
    let password_file = password_file.map(|it| problems.path("target.postgres.password_file", it));
    let key = "target.postgres.connection_limit";
    let connection_limit = problems.number_or(key, &raw.connection_limit, CONNECTIONS, 1..=1000);
    let tls = tls(problems, raw);
    let on_owned = on_owned(problems, raw);
    let templates = templates(problems, &raw.template);
    let agents = agents(problems, raw, port);
    Some(PostgresSettings {
        host: host?,
        port,
        database: database?,
        user: user?,
        password_file: match password_file {
            Some(path) => Some(path?),
            None => None,
        },
        tls: tls?,
        agents: agents?,
        connection_limit,
        on_owned: on_owned?,
        templates: templates?,
    })
}

fn host(problems: &mut Problems<'_>, key: &'static str, text: &Text) -> Option<String> {
    let host = problems.words(key, text)?;
    if host.contains([' ', ',', '@']) {
        problems.at(key, text, "write one host name, address or socket folder");
        return None;
    }
    Some(host)
}

/// What PostgreSQL takes for a name without cutting it off.
fn name(problems: &mut Problems<'_>, key: &'static str, text: &Text) -> Option<String> {
    let name = problems.words(key, text)?;
    if name.len() > MAX_NAME {
        problems.at(
            key,
            text,
            "PostgreSQL cuts names off after 63 bytes: write fewer",
        );
        return None;
    }
    Some(name)
}

fn tls(problems: &mut Problems<'_>, raw: &Raw) -> Option<PostgresTls> {
    let asked = raw.tls.as_ref().map(|tls| *tls.get_ref());
    match (asked.unwrap_or(RawTls::VerifyFull), &raw.ca_file) {
        (RawTls::VerifyFull, Some(file)) => {
            let ca_file = problems.path("target.postgres.ca_file", file)?;
            Some(PostgresTls::VerifyFull { ca_file })
        }
        (RawTls::VerifyFull, None) => {
            let message = "missing: name the PEM file of the authority that signed the server's certificate, or \
                           write tls = \"disable\" for a server on this machine";
            problems.at("target.postgres.ca_file", &raw.host, message);
            None
        }
        (RawTls::Disable, _) if !is_here(raw.host.get_ref()) => {
            let message = "without TLS only to this machine (a loopback address, localhost, or the folder of a \
                           socket): write tls = \"verify-full\" and a ca_file";
            problems.at("target.postgres.tls", &raw.host, message);
            None
        }
        (RawTls::Disable, Some(file)) => {
            let message = "no TLS, so no authority: remove it, or write tls = \"verify-full\"";
            problems.at("target.postgres.ca_file", file, message);
            None
        }
        (RawTls::Disable, None) => Some(PostgresTls::Disable),
    }
}

fn is_here(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || host.starts_with('/') || address.is_ok_and(|it| it.is_loopback())
}

fn agents(problems: &mut Problems<'_>, raw: &Raw, port: u16) -> Option<PostgresForAgents> {
    let text = raw.agent_host.as_ref().unwrap_or(&raw.host);
    let sslmode = match raw.ca_file {
        Some(_) => SslMode::VerifyFull,
        None => SslMode::Disable,
    };
    Some(PostgresForAgents {
        host: host(problems, "target.postgres.agent_host", text)?,
        port: problems.number_or(
            "target.postgres.agent_port",
            &raw.agent_port,
            port,
            1..=65535,
        ),
        sslmode: raw.agent_sslmode.unwrap_or(sslmode),
    })
}

fn on_owned(problems: &mut Problems<'_>, raw: &Raw) -> Option<OnOwned> {
    const KEY: &str = "target.postgres.owner";
    let asked = raw.on_owned.as_ref().map(|it| *it.get_ref());
    match (asked.unwrap_or(RawOnOwned::Drop), &raw.owner) {
        (RawOnOwned::Drop, None) => Some(OnOwned::Drop),
        (RawOnOwned::Reassign, Some(owner)) => name(problems, KEY, owner).map(OnOwned::Reassign),
        (RawOnOwned::Drop, Some(owner)) => {
            let message =
                "what is dropped gets no owner: remove it, or write on_owned = \"reassign\"";
            problems.at(KEY, owner, message);
            None
        }
        (RawOnOwned::Reassign, None) => {
            let message = "missing: name the role that gets what dropped roles own";
            problems.at(KEY, &raw.host, message);
            None
        }
    }
}

fn templates(
    problems: &mut Problems<'_>,
    raw: &[RawTemplate],
) -> Option<BTreeMap<String, PostgresTemplate>> {
    const KEY: &str = "target.postgres.template";
    if raw.len() > MAX_TEMPLATES {
        problems.missing(KEY, format_args!("at most {MAX_TEMPLATES} are allowed"));
        return None;
    }
    problems.unique(
        "target.postgres.template.name",
        raw.iter().map(|it| &it.name),
    );
    let read: Vec<_> = raw.iter().map(|it| template(problems, it)).collect();
    read.into_iter().collect()
}

fn template(problems: &mut Problems<'_>, raw: &RawTemplate) -> Option<(String, PostgresTemplate)> {
    const KEY: &str = "target.postgres.template.name";
    let name = raw.name.get_ref();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(plain) {
        problems.at(KEY, &raw.name, "write 1 to 63 of a-z 0-9 - _");
        return None;
    }
    if raw.grant.get_ref().is_empty() {
        let message = "empty: write what the role is to be granted";
        problems.at("target.postgres.template.grant", &raw.grant, message);
        return None;
    }
    let grant = statements(
        problems,
        "target.postgres.template.grant",
        raw.grant.get_ref(),
    );
    let revoke = statements(problems, "target.postgres.template.revoke", &raw.revoke);
    let (grant, revoke) = (grant?, revoke?);
    Some((name.clone(), PostgresTemplate { grant, revoke }))
}

fn statements(
    problems: &mut Problems<'_>,
    key: &'static str,
    texts: &[Text],
) -> Option<Vec<String>> {
    if texts.len() > MAX_STATEMENTS {
        problems.missing(key, format_args!("at most {MAX_STATEMENTS} are allowed"));
        return None;
    }
    let read: Vec<_> = texts
        .iter()
        .map(|it| statement(problems, key, it))
        .collect();
    read.into_iter().collect()
}

fn statement(problems: &mut Problems<'_>, key: &'static str, text: &Text) -> Option<String> {
    let sql = text.get_ref();
    let rest = sql.replace(ROLE, "");
    let wrong = if sql.trim().is_empty() || sql.len() > MAX_STATEMENT || sql.contains('\0') {
        "write one SQL statement of at most 4096 bytes"
    } else if rest.len() == sql.len() {
        "names no role: write {{role}} where the role's name belongs; it is quoted already"
    } else if rest.contains("{{") {
        "only {{role}} can be filled in"
    } else if ends_the_transaction(sql) {
        "runs in the transaction that makes or drops the role, and may not end it"
    } else {
        return Some(sql.trim().trim_end_matches(';').to_owned());
    };
    problems.at(key, text, wrong);
    None
}

fn ends_the_transaction(sql: &str) -> bool {
    const ENDS: [&str; 6] = ["BEGIN", "START", "COMMIT", "ROLLBACK", "ABORT", "END"];
    let first = sql.split_whitespace().next().unwrap_or_default();
    let first = first.trim_end_matches(';').to_ascii_uppercase();
    ENDS.contains(&first.as_str())
}
