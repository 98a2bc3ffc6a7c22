//! A connection to the broker, as whoever `--identity` says.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::exit::Complaint;
use super::output::{Format, Output};
use super::style::When;
use crate::api::v1::audit_client::AuditClient;
use crate::api::v1::broker_client::BrokerClient;
use crate::api::v1::operator_client::OperatorClient;
use crate::api::v1::verification_client::VerificationClient;
use crate::client::Client;
use crate::config::ClientConfig;
use crate::tls::SvidFiles;
use crate::trust::Now;

/// Room for a page of leases with long scopes.
const MAX_ANSWER: usize = 64 << 20;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Who to call the broker as: a client file such as agent.toml or operator.toml, made by `quietus init`
    #[arg(
        long,
        global = true,
        env = "QUIETUS_IDENTITY",
        hide_env_values = true,
        value_name = "FILE"
    )]
    identity: Option<PathBuf>,
    /// How to print results: for people, or as a stable JSON document
    #[arg(
        short,
        long,
        global = true,
        env = "QUIETUS_OUTPUT",
        hide_env_values = true,
        value_name = "FORMAT"
    )]
    #[arg(value_enum, default_value_t = Format::Table)]
    output: Format,
    /// When to colour what is printed; by default on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub color: When,
    /// How long to wait for an answer
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[arg(default_value = "30s")]
    timeout: Duration,
}

/// The broker's services, each call with a time limit.
#[derive(Clone, Debug)]
pub struct Session {
    channel: Channel,
    timeout: Duration,
}

impl Globals {
    pub fn out(&self) -> Output {
        Output::new(self.output, self.color, SystemTime::now())
    }

    /// The client file, if one was named.
    pub fn identity(&self) -> Option<&Path> {
        self.identity.as_deref()
    }

    /// How long to wait for an answer.
    #[cfg(feature = "external")]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub async fn connect(&self) -> anyhow::Result<Session> {
        let path = self.identity.as_deref().ok_or(Complaint::NoIdentity)?;
        let client = client(path)?;
        let connected = tokio::time::timeout(self.timeout, client.connect()).await;
        Ok(Session {
            channel: connected.map_err(|_| Complaint::TimedOut(self.timeout))??,
            timeout: self.timeout,
        })
    }
}

impl Session {
    pub fn broker(&self) -> BrokerClient<Channel> {
        BrokerClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn audit(&self) -> AuditClient<Channel> {
        AuditClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    pub fn verification(&self) -> VerificationClient<Channel> {
        VerificationClient::new(self.channel.clone())
    }

    /// How long to wait for an answer.
    pub fn patience(&self) -> Duration {
        self.timeout
    }

    /// With calls that the broker itself takes so much longer to answer.
    pub fn patient(self, more: Duration) -> Self {
        Self {
            timeout: self.timeout.saturating_add(more),
            ..self
        }
    }

    /// Waits for an answer, but not for ever.
    pub async fn answer<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> anyhow::Result<T> {
        let answer = tokio::time::timeout(self.timeout, answer).await;
        let answer = answer.map_err(|_| Complaint::TimedOut(self.timeout))?;
        Ok(answer?.into_inner())
    }
}

fn client(path: &Path) -> anyhow::Result<Client> {
    let config = ClientConfig::load(path)?;
    Ok(Client {
        address: config.address,
        broker: config.broker,
        svid: SvidFiles {
            chain: config.svid,
            key: config.key,
        },
        bundle: config.bundle,
        now: system_clock(),
    })
}

fn system_clock() -> Now {
    Arc::new(|| {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_epoch.map_or(0, |time| time.as_secs())
    })
}
