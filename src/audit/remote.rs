//! The evidence, as a broker hands it out.

mod calls;

use std::future::Future;

use quietus_core::Digest;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use crate::api::v1;
use crate::api::v1::audit_client::AuditClient;

pub use calls::{Included, Text};

/// A broker's `Audit` service. Clones share the connection, but not how far they have read.
#[derive(Debug)]
pub struct Remote {
    client: AuditClient<Channel>,
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    next: u64,
    stream: Streaming<v1::ReadEntriesResponse>,
}

impl Clone for Remote {
    fn clone(&self) -> Self {
        Self::new(self.client.clone())
    }
}

impl Remote {
    /// Over this connection.
    pub fn new(client: AuditClient<Channel>) -> Self {
        Self {
            client,
            reading: None,
        }
    }

    /// The next entries from this one on; none at the end of the log.
    pub async fn entries(&mut self, from: u64) -> anyhow::Result<Vec<Vec<u8>>> {
        let going_on = self.reading.take().filter(|reading| reading.next == from);
        let mut reading = match going_on {
            Some(reading) => reading,
            None => self.read_from(from).await?,
        };
        let Some(answer) = reading.stream.message().await? else {
            return Ok(Vec::new());
        };
        reading.next += answer.entries.len() as u64;
        self.reading = Some(reading);
        Ok(answer.entries)
    }

    async fn read_from(&mut self, from: u64) -> anyhow::Result<Reading> {
        let request = v1::ReadEntriesRequest {
            from,
            ..Default::default()
        };
        let stream = self.client.read_entries(request).await?.into_inner();
        Ok(Reading { next: from, stream })
    }

    /// An archived policy set.
    pub async fn policy_set(&self, digest: Digest) -> anyhow::Result<Option<Vec<u8>>> {
        self.object(digest, v1::ObjectKind::PolicySet).await
    }

    /// A list that was too large for its entry.
    pub async fn attachment(&self, digest: Digest) -> anyhow::Result<Option<Vec<u8>>> {
        self.object(digest, v1::ObjectKind::Attachment).await
    }

    /// The newest signed checkpoint.
    pub async fn checkpoint(&self) -> anyhow::Result<Vec<u8>> {
        let request = v1::GetCheckpointRequest::default();
        let answer = self.client.clone().get_checkpoint(request).await?;
        Ok(answer.into_inner().note.into_bytes())
    }

    async fn object(
        &self,
        digest: Digest,
        kind: v1::ObjectKind,
    ) -> anyhow::Result<Option<Vec<u8>>> {
        let request = v1::GetObjectRequest {
            digest: digest.to_string(),
            kind: kind.into(),
        };
        let mut client = self.client.clone();
        let answer = client.get_object(request);
        Ok(found(answer).await?.map(|answer| answer.content))
    }
}

/// What is not there is not an error.
async fn found<T>(
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Option<T>, Status> {
    match answer.await {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}
