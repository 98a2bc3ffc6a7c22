//! Credentials as they are handed over: the document, the words for people, the bare value for scripts, and files.
//! The only place of the command line that knows what a kind of credential is made of.

mod files;
mod uri;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::exit::Complaint;
use super::text::short;
use super::view::given;
use crate::api::v1;
use crate::api::v1::credential::Kind;
pub use files::Folder;

/// Room for a list of names.
const NAMES_COLUMNS: usize = 60;

/// `credential` objects: a kind, and its fields.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Credential {
    Jwt {
        token: Secret,
    },
    Postgres(Postgres),
    X509 {
        certificate_pem: String,
        ca_pem: Option<String>,
        key_pem: Option<Secret>,
    },
    Ssh {
        certificate: String,
        private_key: Option<Secret>,
        principals: Vec<String>,
        host: Option<String>,
        port: Option<u32>,
    },
    Redis(Redis),
    Static {
        version: String,
        fields: BTreeMap<String, Secret>,
    },
    External {
        external_kind: String,
        public_fields: BTreeMap<String, String>,
        secret_fields: BTreeMap<String, Secret>,
    },
}

/// A role in a PostgreSQL database.
#[derive(Debug, Serialize)]
pub struct Postgres {
    pub host: String,
    pub port: u32,
    pub database: String,
    pub user: String,
    pub password: Secret,
    pub sslmode: Option<String>,
    pub ca_pem: Option<String>,
}

/// A user of a Redis server.
#[derive(Debug, Serialize)]
pub struct Redis {
    pub host: String,
    pub port: u32,
    pub user: String,
    pub password: Secret,
    pub tls: bool,
    pub ca_pem: Option<String>,
}

/// A text that is wiped when it is dropped and shows nowhere but in the document.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Credential {
    /// From an answer.
    pub fn read(credential: Option<v1::Credential>) -> Result<Self, Complaint> {
        let kind = credential.and_then(|credential| credential.kind);
        kind.map(Self::from)
            .ok_or(Complaint::Incomplete("credential"))
    }

    /// What is to be known about it and is no secret, a line each.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Jwt { .. } => Vec::new(),
            Self::Postgres(role) => role.words(),
            Self::X509 {
                key_pem, ca_pem, ..
            } => {
                let parts = [
                    Some("a certificate"),
                    key_pem.as_ref().map(|_| "its key"),
                    ca_pem.as_ref().map(|_| "the authority of its peers"),
                ];
                let parts: Vec<_> = parts.into_iter().flatten().collect();
                vec![parts.join(", ")]
            }
            Self::Ssh {
                principals,
                host,
                port,
                ..
            } => vec![login(principals, host.as_deref(), *port)],
            Self::Redis(user) => user.words(),
            Self::Static { version, fields } => {
                let names = names(fields.keys());
                vec![format!("version {version} of a static secret: {names}")]
            }
            Self::External {
                external_kind,
                public_fields,
                secret_fields,
            } => {
                let names = names(public_fields.keys().chain(secret_fields.keys()));
                vec![format!("{external_kind}: {names}")]
            }
        }
    }

    /// The credential alone, in the form that a program takes: a token, a URI, PEM, the line of an SSH certificate, or
    /// a secret's only field. Several fields are a JSON object, and a key that the broker made comes with its
    /// certificate.
    pub fn bare(&self) -> Zeroizing<String> {
        match self {
            Self::Jwt { token } => token.0.clone(),
            Self::Postgres(role) => uri::postgres(role, None),
            Self::X509 {
                certificate_pem,
                ca_pem,
                key_pem,
            } => {
                let key = key_pem.as_ref().map(Secret::expose);
                joined([Some(certificate_pem), key, ca_pem.as_deref()])
            }
            Self::Ssh {
                certificate,
                private_key,
                ..
            } => {
                let key = private_key.as_ref().map(Secret::expose);
                joined([key, Some(certificate), None])
            }
            Self::Redis(user) => uri::redis(user),
            Self::Static { fields, .. } => only_or_all(BTreeMap::new(), fields),
            Self::External {
                public_fields,
                secret_fields,
                ..
            } => only_or_all(borrowed(public_fields), secret_fields),
        }
    }
}

impl Postgres {
    fn words(&self) -> Vec<String> {
        let Self {
            user,
            host,
            port,
            database,
            ..
        } = self;
        let mut words = vec![format!("role {user} of {database} at {host}:{port}")];
        words.extend(self.ca_pem.as_ref().map(|_| not_in_uri()));
        words
    }
}

impl Redis {
    fn words(&self) -> Vec<String> {
        let Self {
            user, host, port, ..
        } = self;
        let mut words = vec![format!("user {user} at {host}:{port}")];
        words.extend(self.ca_pem.as_ref().map(|_| not_in_uri()));
        words
    }
}

impl From<Kind> for Credential {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Jwt(token) => Self::Jwt {
                token: token.into(),
            },
            Kind::Postgres(it) => Self::Postgres(it.into()),
            Kind::X509(it) => Self::X509 {
                certificate_pem: it.certificate_pem,
                ca_pem: given(it.ca_pem),
                key_pem: given(it.key_pem).map(Secret::from),
            },
            Kind::Ssh(it) => Self::Ssh {
                certificate: it.certificate.trim_end().to_owned(),
                private_key: given(it.private_key).map(Secret::from),
                principals: it.principals,
                host: given(it.host),
                port: Some(it.port).filter(|port| *port > 0),
            },
            Kind::Redis(it) => Self::Redis(it.into()),
            Kind::StaticSecret(it) => Self::Static {
                version: it.version,
                fields: secrets(it.fields),
            },
            Kind::External(it) => Self::External {
                external_kind: it.kind,
                public_fields: it.public_fields,
                secret_fields: secrets(it.secret_fields),
            },
        }
    }
}

impl From<v1::PostgresCredential> for Postgres {
    fn from(it: v1::PostgresCredential) -> Self {
        Self {
            host: it.host,
            port: it.port,
            database: it.database,
            user: it.user,
            password: it.password.into(),
            sslmode: given(it.sslmode),
            ca_pem: given(it.ca_pem),
        }
    }
}

impl From<v1::RedisCredential> for Redis {
    fn from(it: v1::RedisCredential) -> Self {
        Self {
            host: it.host,
            port: it.port,
            user: it.user,
            password: it.password.into(),
            tls: it.tls,
            ca_pem: given(it.ca_pem),
        }
    }
}

fn secrets(fields: BTreeMap<String, String>) -> BTreeMap<String, Secret> {
    let fields = fields.into_iter();
    fields.map(|(name, text)| (name, text.into())).collect()
}

fn login(principals: &[String], host: Option<&str>, port: Option<u32>) -> String {
    let at = match (host, port) {
        (Some(host), Some(port)) => format!(" at {host}:{port}"),
        (Some(host), None) => format!(" at {host}"),
        (None, _) => String::new(),
    };
    format!("logs in as {}{at}", names(principals.iter()))
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    short(&names.join(", "), NAMES_COLUMNS)
}

fn not_in_uri() -> String {
    "the authority of the server's certificate is not in the URI: --out writes it, -o json shows it"
        .to_owned()
}

/// Texts one after the other, each ending its line.
fn joined(texts: [Option<&str>; 3]) -> Zeroizing<String> {
    let texts = texts.into_iter().flatten();
    // Room for all of it, so that nothing is left behind where the text has moved from.
    let room = texts.clone().map(|text| text.len() + 1).sum();
    let mut all = Zeroizing::new(String::with_capacity(room));
    for text in texts {
        all.push_str(text.trim_end_matches(['\r', '\n']));
        all.push('\n');
    }
    all
}

/// A single field as it is, several as a JSON object.
fn only_or_all<'a>(
    mut fields: BTreeMap<&'a str, &'a str>,
    secret: &'a BTreeMap<String, Secret>,
) -> Zeroizing<String> {
    let secret = secret.iter();
    fields.extend(secret.map(|(name, text)| (name.as_str(), text.expose())));
    let mut texts = fields.values();
    Zeroizing::new(match (texts.next(), texts.next()) {
        (Some(only), None) => (*only).to_owned(),
        _ => serde_json::to_string(&fields).expect("strings are JSON"),
    })
}

fn borrowed(fields: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let fields = fields.iter();
    fields
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect()
}

#[cfg(test)]
mod tests;
