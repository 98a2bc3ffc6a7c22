//! The files as TOML has them, before anything is checked.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::log::Log;
use super::target;
use super::telemetry;

pub(super) type Text = Spanned<String>;
pub(super) type Number = Spanned<i64>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) broker: Broker,
    pub(super) store: Store,
    pub(super) keys: Folder,
    pub(super) policy: Folder,
    #[serde(default)]
    pub(super) trust_domain: Vec<TrustDomain>,
    #[serde(default)]
    pub(super) agent: Vec<Agent>,
    #[serde(default)]
    pub(super) operator: Vec<Operator>,
    #[serde(default)]
    pub(super) auditor: Vec<Operator>,
    #[serde(default)]
    pub(super) target: Vec<target::Raw>,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) ledger: Ledger,
    #[serde(default)]
    pub(super) log: Log,
    #[serde(default)]
    pub(super) telemetry: telemetry::Raw,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Broker {
    pub(super) listen: Text,
    pub(super) svid: Text,
    pub(super) key: Text,
    pub(super) issuer: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) path: Text,
    pub(super) cache_bytes: Option<Number>,
    pub(super) min_free_bytes: Option<Number>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Ledger {
    pub(super) origin: Option<Text>,
    pub(super) retention: Option<Spanned<Span>>,
    pub(super) cosign_every: Option<Spanned<Span>>,
    pub(super) https: Option<LedgerHttps>,
    pub(super) witness: Vec<LedgerWitness>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerHttps {
    pub(super) listen: Text,
    pub(super) certificate: Option<Text>,
    pub(super) key: Option<Text>,
    pub(super) clients: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerWitness {
    pub(super) url: Text,
    pub(super) key: Text,
    pub(super) ca: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folder {
    pub(super) dir: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustDomain {
    pub(super) name: Text,
    pub(super) bundle: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub(super) id: Text,
    pub(super) owner: Text,
    pub(super) team: Text,
    pub(super) environment: Text,
    pub(super) tier: Number,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operator {
    pub(super) id: Text,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) message_bytes: Option<Number>,
    pub(super) scopes_per_request: Option<Number>,
    pub(super) live_leases_per_task: Option<Number>,
    pub(super) leases_per_task: Option<Number>,
    pub(super) open_tasks_per_agent: Option<Number>,
    pub(super) requests_per_second: Option<Number>,
    pub(super) request_burst: Option<Number>,
    pub(super) default_ttl: Option<Spanned<Span>>,
    pub(super) max_ttl: Option<Spanned<Span>>,
    pub(super) default_task: Option<Spanned<Span>>,
    pub(super) max_task: Option<Spanned<Span>>,
    pub(super) grace: Option<Spanned<Span>>,
    pub(super) retention: Option<Spanned<Span>>,
    pub(super) min_heartbeat: Option<Spanned<Span>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) address: Text,
    pub(super) broker: Text,
    pub(super) svid: Text,
    pub(super) key: Text,
    pub(super) bundle: Text,
}

/// A length of time, written `"15m"`.
#[derive(Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"90s\", \"15m\" or \"7d\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let expected = || E::invalid_value(serde::de::Unexpected::Str(text), &self);
        humantime::parse_duration(text)
            .map(Span)
            .map_err(|_| expected())
    }
}
