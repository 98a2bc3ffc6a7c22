//! The demo's agent: does as it is told on stdin, with its own SVID, and holds its task for as long as it lives.

use std::path::Path;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_types::StatusExt;

use super::cast::{Order, Report, connect, connect_broker, load, say};
use crate::api::demo::ReadOrdersRequest;
use crate::api::demo::orders_client::OrdersClient;
use crate::api::v1::broker_client::BrokerClient;
use crate::api::{v1, wire};
use crate::config::ClientConfig;

struct Agent {
    config: ClientConfig,
    broker: BrokerClient<Channel>,
    task: String,
    /// Up as long as this process is.
    _hold: Option<Streaming<v1::HoldTaskResponse>>,
}

pub(super) async fn play(identity: &Path) -> anyhow::Result<()> {
    let config = load(identity)?;
    let broker = BrokerClient::new(connect_broker(&config).await?);
    let mut agent = Agent {
        config,
        broker,
        task: String::new(),
        _hold: None,
    };
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = next(&mut orders).await? {
        let report = match agent.carry_out(order).await {
            Ok(report) => report,
            Err(error) => refused(error)?,
        };
        say(&report)?;
    }
    Ok(())
}

impl Agent {
    async fn carry_out(&mut self, order: Order) -> anyhow::Result<Report> {
        match order {
            Order::Open { purpose } => self.open(purpose).await,
            Order::Request { scope, ttl_seconds } => self.request(scope, ttl_seconds).await,
            Order::Present { address, token } => self.present(&address, &token).await,
            Order::Close => self.close().await,
        }
    }

    async fn open(&mut self, purpose: String) -> anyhow::Result<Report> {
        let request = v1::OpenTaskRequest {
            purpose,
            ..Default::default()
        };
        let opened = self.broker.open_task(request).await?.into_inner();
        self.task = opened.task.context("no task in the answer")?.id;
        let hold = v1::HoldTaskRequest {
            task_id: self.task.clone(),
        };
        let mut stream = self.broker.hold_task(hold).await?.into_inner();
        stream.message().await?;
        self._hold = Some(stream);
        Ok(Report::Opened {
            task: self.task.clone(),
        })
    }

    async fn request(&mut self, scope: String, seconds: i64) -> anyhow::Result<Report> {
        let request = v1::RequestCredentialRequest {
            task_id: self.task.clone(),
            scopes: vec![scope],
            ttl: Some(wire::Duration { seconds, nanos: 0 }),
            ..Default::default()
        };
        let issued = self.broker.request_credential(request).await?.into_inner();
        let lease = issued.lease.context("no lease in the answer")?;
        let kind = issued.credential.and_then(|credential| credential.kind);
        let Some(v1::credential::Kind::Jwt(token)) = kind else {
            anyhow::bail!("no token in the answer");
        };
        let lives = |lease: &v1::Lease| Some(lease.expires_at?.seconds - lease.issued_at?.seconds);
        Ok(Report::Issued {
            seconds: lives(&lease).unwrap_or_default(),
            bound: lease.bound,
            lease: lease.id,
            token,
        })
    }

    async fn present(&self, address: &str, token: &str) -> anyhow::Result<Report> {
        let server = super::stage::resource_server_id(&self.config)?;
        let channel = connect(&self.config, address, &server).await?;
        let mut request = Request::new(ReadOrdersRequest {});
        let bearer: MetadataValue<_> = format!("Bearer {token}").parse()?;
        request.metadata_mut().insert("authorization", bearer);
        let read = OrdersClient::new(channel)
            .read_orders(request)
            .await?
            .into_inner();
        Ok(Report::Accepted { agent: read.agent })
    }

    async fn close(&mut self) -> anyhow::Result<Report> {
        let request = v1::CloseTaskRequest {
            task_id: self.task.clone(),
            ..Default::default()
        };
        let closed = self.broker.close_task(request).await?.into_inner();
        Ok(Report::Closed {
            ended: closed.leases.len(),
        })
    }
}

/// A refusal is an answer; anything else is a failure.
fn refused(error: anyhow::Error) -> anyhow::Result<Report> {
    let status = error.downcast::<Status>()?;
    let reason = status.get_details_error_info().map(|info| info.reason);
    Ok(Report::Refused {
        reason: reason.unwrap_or_else(|| status.code().to_string()),
        message: status.message().to_owned(),
    })
}

async fn next(lines: &mut Lines<BufReader<Stdin>>) -> anyhow::Result<Option<Order>> {
    match lines.next_line().await? {
        Some(line) => Ok(Some(serde_json::from_str(&line)?)),
        None => Ok(None),
    }
}
