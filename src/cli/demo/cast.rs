//! What the demo's processes say to each other: one JSON object a line.

use std::path::Path;
use std::sync::Arc;

use quietus_identity::SpiffeId;
use serde::{Deserialize, Serialize};
use tonic::transport::Channel;

use crate::client::Client;
use crate::clock::{SystemTime, TimeSource};
use crate::config::ClientConfig;
use crate::tls::SvidFiles;
use crate::trust::Now;

/// What the demo tells an agent to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(super) enum Order {
    /// Open a task and hold it.
    Open { purpose: String },
    /// Ask for a credential.
    Request { scope: String, ttl_seconds: i64 },
    /// Use a token at the resource server.
    Present { address: String, token: String },
    /// The work is done.
    Close,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum Report {
    Opened {
        task: String,
    },
    Issued {
        lease: String,
        token: String,
        bound: String,
        seconds: i64,
    },
    Accepted {
        agent: String,
    },
    Refused {
        reason: String,
        message: String,
    },
    Closed {
        ended: usize,
    },
    Listening {
        address: String,
    },
}

/// A connection under one of the demo's identities, to the broker or to another server of the trust domain.
pub(super) async fn connect(
    config: &ClientConfig,
    address: &str,
    server: &SpiffeId,
) -> anyhow::Result<Channel> {
    let client = Client {
        address: address.to_owned(),
        broker: server.clone(),
        svid: svid_files(config),
        bundle: config.bundle.clone(),
        now: now(),
    };
    Ok(client.connect().await?)
}

pub(super) async fn connect_broker(config: &ClientConfig) -> anyhow::Result<Channel> {
    connect(config, &config.address, &config.broker).await
}

pub(super) fn svid_files(config: &ClientConfig) -> SvidFiles {
    SvidFiles {
        chain: config.svid.clone(),
        key: config.key.clone(),
    }
}

pub(super) fn now() -> Now {
    Arc::new(|| SystemTime.wall().seconds())
}

pub(super) fn load(identity: &Path) -> anyhow::Result<ClientConfig> {
    Ok(ClientConfig::load(identity)?)
}

/// One line on stdout, at once.
pub(super) fn say(report: &Report) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, report)?;
    writeln!(out)?;
    Ok(out.flush()?)
}
