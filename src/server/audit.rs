//! What auditors call.

use std::pin::Pin;
use std::sync::Arc;

use quietus_ledger::merkle::Hash;
use quietus_ledger::tiles::Tile;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Front;
use super::caller::{Caller, Role};
use crate::api::v1::audit_server::Audit;
use crate::api::{self, v1};
use crate::engine::{Entries, Error, Portion};
use crate::store::SignedHead;

type Entered = Pin<Box<dyn Stream<Item = Result<v1::ReadEntriesResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Audit for Front {
    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        self.auditor(&request, "GetCheckpoint").await?;
        let at_most = given(request.get_ref().at_most);
        let head = self.engine.checkpoint(at_most).map_err(api::status)?;
        Ok(Response::new(shown(head)?))
    }

    async fn list_checkpoints(
        &self,
        request: Request<v1::ListCheckpointsRequest>,
    ) -> Result<Response<v1::ListCheckpointsResponse>, Status> {
        self.auditor(&request, "ListCheckpoints").await?;
        let request = request.into_inner();
        let page = api::pages(request.page_size);
        let heads = self.engine.checkpoints(request.after, page);
        let heads = heads.map_err(api::status)?.into_iter().map(shown);
        Ok(Response::new(v1::ListCheckpointsResponse {
            checkpoints: heads.collect::<Result<_, _>>()?,
        }))
    }

    type ReadEntriesStream = Entered;

    async fn read_entries(
        &self,
        request: Request<v1::ReadEntriesRequest>,
    ) -> Result<Response<Entered>, Status> {
        let caller = self.auditor(&request, "ReadEntries").await?;
        let request = request.into_inner();
        let task = match request.task_id.as_str() {
            "" => None,
            id => Some(api::task_id(id).map_err(api::status)?),
        };
        let asked = Entries {
            from: request.from.max(1),
            to: given(request.to),
            task,
        };
        let first = self.portion(asked).await?;
        let (send, receive) = mpsc::channel(2);
        let front = self.clone();
        let follow = request.follow;
        tokio::spawn(async move {
            if let Err(status) = front.tell(&caller, asked, first, follow, &send).await {
                let _ = send.send(Err(status)).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }

    async fn prove_inclusion(
        &self,
        request: Request<v1::ProveInclusionRequest>,
    ) -> Result<Response<v1::ProveInclusionResponse>, Status> {
        self.auditor(&request, "ProveInclusion").await?;
        let request = request.into_inner();
        let proof = self
            .engine
            .prove_inclusion(request.entry, given(request.size))
            .map_err(api::status)?;
        Ok(Response::new(v1::ProveInclusionResponse {
            size: proof.size,
            hashes: bytes(&proof.hashes),
            root: proof.root.to_vec(),
        }))
    }

    async fn prove_consistency(
        &self,
        request: Request<v1::ProveConsistencyRequest>,
    ) -> Result<Response<v1::ProveConsistencyResponse>, Status> {
        self.auditor(&request, "ProveConsistency").await?;
        let request = request.into_inner();
        let (proof, old_root) = self
            .engine
            .prove_consistency(request.old, given(request.new))
            .map_err(api::status)?;
        Ok(Response::new(v1::ProveConsistencyResponse {
            new: proof.size,
            hashes: bytes(&proof.hashes),
            old_root: old_root.to_vec(),
            new_root: proof.root.to_vec(),
        }))
    }

    async fn get_tile(
        &self,
        request: Request<v1::GetTileRequest>,
    ) -> Result<Response<v1::GetTileResponse>, Status> {
        self.auditor(&request, "GetTile").await?;
        let tile: Tile = request.get_ref().path.parse().map_err(|error| {
            api::status(Error::Invalid {
                field: "path",
                message: format!("{error}"),
            })
        })?;
        let content = self.engine.tile(tile).map_err(api::status)?;
        Ok(Response::new(v1::GetTileResponse { content }))
    }

    async fn get_object(
        &self,
        request: Request<v1::GetObjectRequest>,
    ) -> Result<Response<v1::GetObjectResponse>, Status> {
        self.auditor(&request, "GetObject").await?;
        let request = request.into_inner();
        let digest = api::digest("digest", &request.digest).map_err(api::status)?;
        let kind = api::known("kind", request.kind).map_err(api::status)?;
        let content = match kind {
            v1::ObjectKind::PolicySet => self.engine.archived_policy(digest),
            v1::ObjectKind::Attachment => self.engine.attachment(digest),
            v1::ObjectKind::Unspecified => Err(Error::Invalid {
                field: "kind",
                message: "must say what it is that the digest names".to_owned(),
            }),
        };
        Ok(Response::new(v1::GetObjectResponse {
            content: content.map_err(api::status)?,
        }))
    }

    async fn get_text(
        &self,
        request: Request<v1::GetTextRequest>,
    ) -> Result<Response<v1::GetTextResponse>, Status> {
        self.auditor(&request, "GetText").await?;
        let commitment = api::digest("commitment", &request.get_ref().commitment);
        let kept = commitment.and_then(|commitment| self.engine.text(commitment));
        let kept = kept.map_err(api::status)?;
        Ok(Response::new(v1::GetTextResponse {
            salt: kept.salt().to_vec(),
            text: kept.text().to_owned(),
        }))
    }
}

impl Front {
    /// The caller, if it is an auditor or an operator. Anybody else is refused, and that is recorded.
    async fn auditor<T>(&self, request: &Request<T>, call: &str) -> Result<Caller, Status> {
        self.known_as(Role::Auditor, request, call).await
    }

    /// The next portion. However long a search takes, nobody else waits for it.
    async fn portion(&self, asked: Entries) -> Result<Portion, Status> {
        let engine = Arc::clone(&self.engine);
        let read = tokio::task::spawn_blocking(move || engine.entries(&asked)).await;
        read.map_err(|_| stopping())?.map_err(api::status)
    }

    /// Sends what was asked for, portion by portion; a reader that goes away or that is no longer trusted ends it.
    async fn tell(
        &self,
        caller: &Caller,
        mut asked: Entries,
        mut portion: Portion,
        follow: bool,
        to: &mpsc::Sender<Result<v1::ReadEntriesResponse, Status>>,
    ) -> Result<(), Status> {
        let mut grown = self.engine.grown();
        loop {
            let Portion {
                entries,
                next,
                done,
            } = portion;
            let is_last = asked.to.is_some_and(|to| next > to);
            asked.from = next;
            let sent = match entries.is_empty() {
                true => !to.is_closed(),
                false => to
                    .send(Ok(v1::ReadEntriesResponse { entries }))
                    .await
                    .is_ok(),
            };
            if !sent || is_last || (done && !follow) {
                return Ok(());
            }
            if done {
                tokio::select! {
                    more = grown.wait_for(|size| *size >= next) => more.map(drop).map_err(|_| stopping())?,
                    () = to.closed() => return Ok(()),
                    () = self.stopping() => return Err(stopping()),
                }
            }
            self.verify_again(caller)?;
            portion = self.portion(asked).await?;
        }
    }
}

fn stopping() -> Status {
    api::status(Error::Stopped)
}

/// Zero is for what was left out.
fn given(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

fn bytes(hashes: &[Hash]) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.to_vec()).collect()
}

fn shown(head: SignedHead) -> Result<v1::GetCheckpointResponse, Status> {
    let note = String::from_utf8(head.note);
    Ok(v1::GetCheckpointResponse {
        size: head.size,
        note: note.map_err(|_| Status::internal("the checkpoint is not text"))?,
    })
}
