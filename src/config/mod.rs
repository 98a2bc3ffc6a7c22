//! Configuration files: the broker's, and the one of its clients.
//!
//! A file is read once, bounded, and checked whole: every problem is reported with its line, its key and what to
//! write instead. Unknown keys are refused. Paths are relative to the folder that the file lies in. The files that a
//! configuration names are not opened here.

mod check;
mod client;
mod error;
mod ledger;
mod limits;
mod log;
mod pattern;
mod problems;
mod raw;
mod source;
mod target;
mod telemetry;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use quietus_core::TargetName;
use quietus_identity::TrustDomain;

pub use client::ClientConfig;
pub use error::{ConfigError, Problem};
pub use ledger::{Ledger, LedgerClients, LedgerHttps, LedgerWitness};
pub use limits::Limits;
pub use log::{Log, LogFormat, LogLevel};
pub use pattern::IdPattern;
pub use target::{
    CertificateUsage, ExternalSettings, OnOwned, Permit, PostgresForAgents, PostgresSettings,
    PostgresTemplate, PostgresTls, Principal, RedisPersist, RedisServer, RedisSettings,
    SanTemplate, Settings, SshSettings, SslMode, StaticKey, StaticSettings, Target, TargetKind,
    X509Settings,
};
pub use target::{ExternalEndpoint, checked_kind, checked_url, checked_word};
pub use telemetry::Telemetry;

use client::checked_address;
use pattern::PatternIndex;
use source::Source;

/// The largest configuration file that is read, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// The most trust domains, agents, operators and targets in a file, of each.
pub const MAX_ENTRIES: usize = 10_000;
/// The most resource servers of a target.
pub const MAX_RESOURCE_SERVERS: usize = 256;
/// The highest risk tier of an agent and the highest sensitivity of a target.
pub const MAX_GRADE: u8 = 9;

/// The broker's configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the broker listens and who it is.
    pub broker: Broker,
    /// Where state is kept.
    pub store: Store,
    /// Where signing keys are kept.
    pub keys: Keys,
    /// Where policies are.
    pub policy: Policy,
    /// How much of everything.
    pub limits: Limits,
    /// The record, as outsiders see it.
    pub ledger: Ledger,
    /// What is logged.
    pub log: Log,
    /// What is measured, and who is told.
    pub telemetry: Telemetry,
    trust_domains: Vec<TrustDomainEntry>,
    agents: Vec<AgentEntry>,
    operators: Vec<OperatorEntry>,
    auditors: Vec<OperatorEntry>,
    targets: BTreeMap<TargetName, Target>,
    agent_index: PatternIndex,
    operator_index: PatternIndex,
    auditor_index: PatternIndex,
}

/// `[broker]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// The address of the gRPC server.
    pub listen: SocketAddr,
    /// PEM file of the broker's X.509-SVID: the leaf, then intermediates.
    pub svid: PathBuf,
    /// PEM file of the SVID's key, PKCS#8.
    pub key: PathBuf,
    /// `iss` of tokens; if none, the broker's SPIFFE ID.
    pub issuer: Option<String>,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The database file.
    pub path: PathBuf,
    /// Memory for cached pages.
    pub cache_bytes: usize,
    /// With less room than this on the disk, nothing is issued any more; revoking goes on.
    pub min_free_bytes: u64,
}

/// `[keys]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Folder of signing keys.
    pub dir: PathBuf,
}

/// `[policy]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Folder of `.cedar` files.
    pub dir: PathBuf,
}

/// `[[trust_domain]]`: whose SVIDs are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomainEntry {
    /// Its name.
    pub name: TrustDomain,
    /// File of its trust bundle, PEM or SPIFFE bundle JSON.
    pub bundle: PathBuf,
}

/// `[[agent]]`: what the register says about one agent, or about all below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentEntry {
    /// Whom it is about.
    pub id: IdPattern,
    /// Who answers for it.
    pub owner: String,
    /// The team it belongs to.
    pub team: String,
    /// The environment it runs in.
    pub environment: String,
    /// Its risk tier: 0 (least risk) to [`MAX_GRADE`].
    pub tier: u8,
}

/// `[[operator]]`: who may call the operators' API; `[[auditor]]`: who may only read the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorEntry {
    /// One operator, or all below a path.
    pub id: IdPattern,
}

impl Config {
    /// Reads and checks the broker's configuration file.
    ///
    /// # Errors
    /// What keeps the file from being read or parsed, or all that is wrong with what it says.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let source = Source::read(path.as_ref())?;
        check::config(&source, &source.parse()?)
    }

    /// The entry for an agent: the exact one, otherwise the longest prefix of whole path segments.
    pub fn agent(&self, id: &str) -> Option<&AgentEntry> {
        self.agents.get(self.agent_index.find(id)?)
    }

    /// The target of this name.
    pub fn target(&self, name: &TargetName) -> Option<&Target> {
        self.targets.get(name)
    }

    /// Whether this SPIFFE ID may act as an operator.
    pub fn is_operator(&self, id: &str) -> bool {
        self.operator_index.find(id).is_some()
    }

    /// Whether this SPIFFE ID may read the evidence: auditors and operators.
    pub fn is_auditor(&self, id: &str) -> bool {
        self.auditor_index.find(id).is_some() || self.is_operator(id)
    }

    /// The trust domains, in the order of the file.
    pub fn trust_domains(&self) -> &[TrustDomainEntry] {
        &self.trust_domains
    }

    /// The agents, in the order of the file.
    pub fn agents(&self) -> &[AgentEntry] {
        &self.agents
    }

    /// The operators, in the order of the file.
    pub fn operators(&self) -> &[OperatorEntry] {
        &self.operators
    }

    /// The auditors, in the order of the file.
    pub fn auditors(&self) -> &[OperatorEntry] {
        &self.auditors
    }

    /// The targets, by name.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &Target> {
        self.targets.values()
    }
}
