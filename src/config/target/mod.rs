//! `[[target]]`: a system that credentials are for. Each kind's own settings have a file of their own.

mod external;
mod postgres;
mod redis;
mod ssh;
mod static_secret;
mod x509;

use std::num::NonZeroU32;
use std::time::Duration;

use quietus_core::TargetName;
use quietus_identity::SpiffeId;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::problems::Problems;
use super::raw::{Number, Span, Text};

pub use external::{ExternalEndpoint, ExternalSettings, checked_kind, checked_url, checked_word};
pub use postgres::{
    OnOwned, PostgresForAgents, PostgresSettings, PostgresTemplate, PostgresTls, SslMode,
};
pub use redis::{RedisPersist, RedisServer, RedisSettings};
pub use ssh::{Permit, Principal, SshSettings};
pub use static_secret::{StaticKey, StaticSettings};
pub use x509::{CertificateUsage, SanTemplate, X509Settings};

/// How many calls to one target are made at once, if nothing else is said.
const CONCURRENCY: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);
/// How long a target may take for one call, if nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `[[target]]`: a system that credentials are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name in scopes.
    pub name: TargetName,
    /// What makes its credentials, and how.
    pub settings: Settings,
    /// The environment it belongs to.
    pub environment: String,
    /// How much harm a leak would do: 0 to [`MAX_GRADE`](super::MAX_GRADE).
    pub sensitivity: u8,
    /// Who may ask about its credentials.
    pub resource_servers: Vec<SpiffeId>,
    /// How many calls to it are made at once.
    pub concurrency: NonZeroU32,
    /// How long it may take for one call.
    pub timeout: Duration,
}

/// The kind of credential that a target takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// A signed JWT, bound to the agent's certificate (RFC 9068, RFC 8705).
    Jwt,
    /// A role in a PostgreSQL database.
    Postgres,
    /// An X.509 certificate (RFC 5280).
    X509,
    /// An OpenSSH user certificate.
    Ssh,
    /// A user of a Redis server.
    Redis,
    /// A secret that cannot be made short-lived.
    Static,
    /// Whatever a process of the operator's own makes.
    External,
}

/// What a kind needs to know besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settings {
    /// Nothing.
    Jwt,
    /// `[target.postgres]`
    Postgres(Box<PostgresSettings>),
    /// `[target.x509]`
    X509(Box<X509Settings>),
    /// `[target.ssh]`
    Ssh(Box<SshSettings>),
    /// `[target.redis]`
    Redis(Box<RedisSettings>),
    /// `[target.static]`
    Static(Box<StaticSettings>),
    /// `[target.external]`
    External(Box<ExternalSettings>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) name: Text,
    pub(super) kind: Spanned<TargetKind>,
    pub(super) environment: Text,
    pub(super) sensitivity: Number,
    pub(super) resource_servers: Spanned<Vec<Text>>,
    concurrency: Option<Number>,
    timeout: Option<Spanned<Span>>,
    postgres: Option<Spanned<postgres::Raw>>,
    x509: Option<Spanned<x509::Raw>>,
    ssh: Option<Spanned<ssh::Raw>>,
    redis: Option<Spanned<redis::Raw>>,
    #[serde(rename = "static")]
    static_secret: Option<Spanned<static_secret::Raw>>,
    external: Option<Spanned<external::Raw>>,
}

impl Target {
    /// The kind of its credentials.
    pub fn kind(&self) -> TargetKind {
        match self.settings {
            Settings::Jwt => TargetKind::Jwt,
            Settings::Postgres(_) => TargetKind::Postgres,
            Settings::X509(_) => TargetKind::X509,
            Settings::Ssh(_) => TargetKind::Ssh,
            Settings::Redis(_) => TargetKind::Redis,
            Settings::Static(_) => TargetKind::Static,
            Settings::External(_) => TargetKind::External,
        }
    }

    /// Whether this SPIFFE ID is one of its resource servers.
    pub fn is_served_by(&self, id: &str) -> bool {
        self.resource_servers.iter().any(|own| own.as_str() == id)
    }
}

impl Settings {
    /// Where the credentials are: as long as any is alive there, they can be revoked nowhere else.
    pub fn place(&self) -> String {
        match self {
            Self::Jwt => "jwt".to_owned(),
            Self::Postgres(it) => format!("postgres {}:{}/{}", it.host, it.port, it.database),
            Self::X509(it) => format!("x509 {}", it.crl.display()),
            Self::Ssh(it) => format!("ssh {}", it.krl.display()),
            Self::Redis(it) => format!("redis {}", it.server.place()),
            Self::Static(_) => "static".to_owned(),
            Self::External(it) => format!("external {}", it.kind),
        }
    }
}

impl TargetKind {
    /// The name used in configuration and policies.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Postgres => "postgres",
            Self::X509 => "x509",
            Self::Ssh => "ssh",
            Self::Redis => "redis",
            Self::Static => "static",
            Self::External => "external",
        }
    }
}

/// How many calls at once, and how long each may take.
pub(super) fn calls(problems: &mut Problems<'_>, raw: &Raw) -> (NonZeroU32, Duration) {
    let most = problems.number_or(
        "target.concurrency",
        &raw.concurrency,
        CONCURRENCY.get(),
        1..=256,
    );
    let range = Duration::from_millis(100)..=Duration::from_secs(300);
    let timeout = problems.span_or("target.timeout", &raw.timeout, TIMEOUT, range);
    (NonZeroU32::new(most).unwrap_or(CONCURRENCY), timeout)
}

/// The settings of the target's kind; those of another kind have no place.
pub(super) fn settings(problems: &mut Problems<'_>, raw: &Raw) -> Option<Settings> {
    let kind = *raw.kind.get_ref();
    strangers(problems, raw, kind);
    match kind {
        TargetKind::Jwt => Some(Settings::Jwt),
        TargetKind::Postgres => own(
            problems,
            raw,
            "target.postgres",
            &raw.postgres,
            postgres::check,
        )
        .map(|it| Settings::Postgres(Box::new(it))),
        TargetKind::X509 => own(problems, raw, "target.x509", &raw.x509, x509::check)
            .map(|it| Settings::X509(Box::new(it))),
        TargetKind::Ssh => own(problems, raw, "target.ssh", &raw.ssh, ssh::check)
            .map(|it| Settings::Ssh(Box::new(it))),
        TargetKind::Redis => own(problems, raw, "target.redis", &raw.redis, redis::check)
            .map(|it| Settings::Redis(Box::new(it))),
        TargetKind::Static => own(
            problems,
            raw,
            "target.static",
            &raw.static_secret,
            static_secret::check,
        )
        .map(|it| Settings::Static(Box::new(it))),
        TargetKind::External => own(
            problems,
            raw,
            "target.external",
            &raw.external,
            external::check,
        )
        .map(|it| Settings::External(Box::new(it))),
    }
}

fn own<R, S>(
    problems: &mut Problems<'_>,
    raw: &Raw,
    key: &'static str,
    table: &Option<Spanned<R>>,
    check: fn(&mut Problems<'_>, &Spanned<R>) -> Option<S>,
) -> Option<S> {
    match table {
        Some(table) => check(problems, table),
        None => {
            problems.at(
                key,
                &raw.kind,
                format_args!("missing: add the table [{key}] to this target"),
            );
            None
        }
    }
}

fn strangers(problems: &mut Problems<'_>, raw: &Raw, kind: TargetKind) {
    let tables = [
        (
            TargetKind::Postgres,
            "target.postgres",
            raw.postgres.as_ref().map(Spanned::span),
        ),
        (
            TargetKind::X509,
            "target.x509",
            raw.x509.as_ref().map(Spanned::span),
        ),
        (
            TargetKind::Ssh,
            "target.ssh",
            raw.ssh.as_ref().map(Spanned::span),
        ),
        (
            TargetKind::Redis,
            "target.redis",
            raw.redis.as_ref().map(Spanned::span),
        ),
        (
            TargetKind::Static,
            "target.static",
            raw.static_secret.as_ref().map(Spanned::span),
        ),
        (
            TargetKind::External,
            "target.external",
            raw.external.as_ref().map(Spanned::span),
        ),
    ];
    for (other, key, span) in tables {
        if let Some(span) = span.filter(|_| other != kind) {
            let at = Spanned::new(span, ());
            let message = format!(
                "the settings of another kind than {:?}: remove the table, or change the kind",
                kind.as_str()
            );
            problems.at(key, &at, message);
        }
    }
}
