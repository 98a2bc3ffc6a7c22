//! What agents call.

use std::pin::Pin;
use std::time::Duration;

use quietus_core::TaskId;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Front;
use super::caller::{Caller, caller};
use crate::api::v1::broker_server::Broker;
use crate::api::{self, v1};
use crate::engine::{Engine, Hold, Issued, Once, OpenRequest, RequestOrder};

type Held = Pin<Box<dyn Stream<Item = Result<v1::HoldTaskResponse, Status>> + Send>>;

/// How long a close waits for its confirmations at most.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// A request without its idempotency key, and what makes it be answered once.
macro_rules! once {
    ($call:literal, $caller:expr, $request:expr) => {{
        let key = std::mem::take(&mut $request.idempotency_key);
        Once::new(
            $caller.svid.id().as_str(),
            $call,
            &key,
            &api::body(&$request),
        )
        .map_err(api::status)?
    }};
}
pub(super) use once;

#[tonic::async_trait]
impl Broker for Front {
    async fn open_task(
        &self,
        request: Request<v1::OpenTaskRequest>,
    ) -> Result<Response<v1::OpenTaskResponse>, Status> {
        let caller = caller(&request)?;
        let mut request = request.into_inner();
        let once = once!("OpenTask", caller, request);
        let open = OpenRequest {
            duration: api::duration("duration", request.duration).map_err(api::status)?,
            heartbeat: api::duration("heartbeat_interval", request.heartbeat_interval)
                .map_err(api::status)?,
            prompt: api::sha256("prompt_sha256", &request.prompt_sha256).map_err(api::status)?,
            purpose: request.purpose,
            ticket: request.ticket,
        };
        let opened = self
            .engine
            .open_task(&caller.svid, open, once)
            .await
            .map_err(api::status)?;
        Ok(Response::new(v1::OpenTaskResponse {
            task: Some(api::task(&opened.task)),
            bound: opened.bound.to_owned(),
        }))
    }

    type HoldTaskStream = Held;

    async fn hold_task(
        &self,
        request: Request<v1::HoldTaskRequest>,
    ) -> Result<Response<Held>, Status> {
        let caller = caller(&request)?;
        let id = api::task_id(&request.get_ref().task_id).map_err(api::status)?;
        let (hold, task) = self
            .engine
            .hold(&caller.svid, id)
            .await
            .map_err(api::status)?;
        let (send, receive) = mpsc::channel(2);
        let first = v1::HoldTaskResponse {
            task: Some(api::task(&task)),
        };
        // The channel is empty: this cannot fail.
        let _ = send.try_send(Ok(first));
        let front = self.clone();
        tokio::spawn(async move { front.keep_holding(caller, hold, send).await });
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let caller = caller(&request)?;
        let id = api::task_id(&request.get_ref().task_id).map_err(api::status)?;
        let due = self
            .engine
            .heartbeat(&caller.svid, id)
            .await
            .map_err(api::status)?;
        Ok(Response::new(v1::HeartbeatResponse {
            alive_until: api::maybe_timestamp(due),
        }))
    }

    async fn request_credential(
        &self,
        request: Request<v1::RequestCredentialRequest>,
    ) -> Result<Response<v1::RequestCredentialResponse>, Status> {
        let caller = caller(&request)?;
        let mut request = request.into_inner();
        let once = once!("RequestCredential", caller, request);
        let order = RequestOrder {
            task: api::task_id(&request.task_id).map_err(api::status)?,
            scopes: api::scopes(&request.scopes).map_err(api::status)?,
            ttl: api::duration("ttl", request.ttl).map_err(api::status)?,
            key: api::key_request(request.key).map_err(api::status)?,
        };
        let issued = self
            .engine
            .request_credential(&caller.svid, order, once)
            .await;
        let (lease, credential) = handed_over(&self.engine, &caller, issued.map_err(api::status)?);
        Ok(Response::new(v1::RequestCredentialResponse {
            lease,
            credential,
        }))
    }

    async fn renew_lease(
        &self,
        request: Request<v1::RenewLeaseRequest>,
    ) -> Result<Response<v1::RenewLeaseResponse>, Status> {
        let caller = caller(&request)?;
        let mut request = request.into_inner();
        let once = once!("RenewLease", caller, request);
        let id = api::lease_id(&request.lease_id).map_err(api::status)?;
        let ttl = api::duration("ttl", request.ttl).map_err(api::status)?;
        let issued = self.engine.renew_lease(&caller.svid, id, ttl, once).await;
        let (lease, credential) = handed_over(&self.engine, &caller, issued.map_err(api::status)?);
        Ok(Response::new(v1::RenewLeaseResponse { lease, credential }))
    }

    async fn revoke_lease(
        &self,
        request: Request<v1::RevokeLeaseRequest>,
    ) -> Result<Response<v1::RevokeLeaseResponse>, Status> {
        let caller = caller(&request)?;
        let mut request = request.into_inner();
        let once = once!("RevokeLease", caller, request);
        let id = api::lease_id(&request.lease_id).map_err(api::status)?;
        let (task, lease) = self
            .engine
            .return_lease(&caller.svid, id, once)
            .await
            .map_err(api::status)?;
        Ok(Response::new(v1::RevokeLeaseResponse {
            lease: Some(shown(&self.engine, &lease, &task.agent.0)),
        }))
    }

    async fn record_action(
        &self,
        request: Request<v1::RecordActionRequest>,
    ) -> Result<Response<v1::RecordActionResponse>, Status> {
        let caller = caller(&request)?;
        let mut request = request.into_inner();
        // Not part of the digest that is kept of the request: it would tell of the text when that is erased.
        let text = std::mem::take(&mut request.text);
        let once = once!("RecordAction", caller, request);
        let report = api::action(request, text).map_err(api::status)?;
        let recorded = self.engine.record_action(&caller.svid, report, once).await;
        let commitment = recorded.map_err(api::status)?;
        Ok(Response::new(v1::RecordActionResponse {
            commitment: commitment.map(|it| it.to_string()).unwrap_or_default(),
        }))
    }

    async fn close_task(
        &self,
        request: Request<v1::CloseTaskRequest>,
    ) -> Result<Response<v1::CloseTaskResponse>, Status> {
        let caller = caller(&request)?;
        let mut request = request.into_inner();
        // Who asks again may wait for another time; it is the same request.
        let wait = api::length("wait", request.wait.take()).map_err(api::status)?;
        let once = once!("CloseTask", caller, request);
        let id = api::task_id(&request.task_id).map_err(api::status)?;
        let closed = self
            .engine
            .close_task(&caller.svid, id, request.failed, once)
            .await;
        let mut closed = closed.map_err(api::status)?;
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            self.wait_closed(id, wait).await?;
            let as_it_is = self.engine.get_task(&caller.svid, id);
            closed = as_it_is.map_err(api::status)?;
        }
        let (task, leases) = closed;
        let signed = self.engine.receipt(&caller.svid, id).map_err(api::status)?;
        Ok(Response::new(v1::CloseTaskResponse {
            leases: leases
                .iter()
                .map(|l| shown(&self.engine, l, &task.agent.0))
                .collect(),
            task: Some(api::task(&task)),
            receipt: Some(api::receipt(signed)),
        }))
    }

    async fn get_receipt(
        &self,
        request: Request<v1::GetReceiptRequest>,
    ) -> Result<Response<v1::GetReceiptResponse>, Status> {
        let caller = caller(&request)?;
        let id = api::task_id(&request.get_ref().task_id).map_err(api::status)?;
        let signed = self.engine.receipt(&caller.svid, id).map_err(api::status)?;
        Ok(Response::new(v1::GetReceiptResponse {
            receipt: Some(api::receipt(signed)),
        }))
    }

    async fn get_task(
        &self,
        request: Request<v1::GetTaskRequest>,
    ) -> Result<Response<v1::GetTaskResponse>, Status> {
        let caller = caller(&request)?;
        let id = api::task_id(&request.get_ref().task_id).map_err(api::status)?;
        let (task, leases) = self
            .engine
            .get_task(&caller.svid, id)
            .map_err(api::status)?;
        Ok(Response::new(v1::GetTaskResponse {
            leases: leases
                .iter()
                .map(|l| shown(&self.engine, l, &task.agent.0))
                .collect(),
            task: Some(api::task(&task)),
        }))
    }
}

impl Front {
    /// As long as that and [`MAX_WAIT`] allow, and no longer than the broker runs.
    async fn wait_closed(&self, id: TaskId, most: Duration) -> Result<(), Status> {
        tokio::select! {
            waited = self.engine.wait_closed(id, most.min(MAX_WAIT)) => waited.map_err(api::status),
            () = self.stopping() => Ok(()),
        }
    }

    /// Renews the hold until the task ends, the agent goes away, or its identity is no longer good.
    async fn keep_holding(
        &self,
        caller: Caller,
        mut hold: Hold,
        send: mpsc::Sender<Result<v1::HoldTaskResponse, Status>>,
    ) {
        let every = hold.every();
        loop {
            let next = tokio::select! {
                () = send.closed() => return,
                () = self.stopping() => Err(Status::unavailable("the broker is stopping: hold the task again elsewhere")),
                ended = hold.ended() => {
                    let _ = send.send(answer(ended)).await;
                    return;
                }
                () = tokio::time::sleep(every) => self.hold_again(&caller, &hold).await,
            };
            let over = next.is_err();
            // One that does not read is still there: it misses this answer, not its life.
            match send.try_send(next) {
                Err(mpsc::error::TrySendError::Full(missed)) if over => {
                    let _ = send.send(missed).await;
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                _ if over => return,
                _ => {}
            }
        }
    }

    async fn hold_again(
        &self,
        caller: &Caller,
        hold: &Hold,
    ) -> Result<v1::HoldTaskResponse, Status> {
        let svid = self.verify_again(caller)?;
        answer(hold.renew(&svid).await)
    }
}

fn answer(
    task: Result<quietus_core::Task, crate::engine::Error>,
) -> Result<v1::HoldTaskResponse, Status> {
    let task = task.map_err(api::status)?;
    Ok(v1::HoldTaskResponse {
        task: Some(api::task(&task)),
    })
}

fn handed_over(
    engine: &Engine,
    caller: &Caller,
    issued: Issued,
) -> (Option<v1::Lease>, Option<v1::Credential>) {
    let lease = shown(engine, &issued.lease, caller.svid.id().as_str());
    (Some(lease), Some(api::credential(&issued.credential)))
}

/// A lease with the kind that its target makes.
pub(super) fn shown(engine: &Engine, lease: &quietus_core::Lease, agent: &str) -> v1::Lease {
    let kind = engine
        .config()
        .target(&lease.target)
        .map_or("", |target| target.kind().as_str());
    api::lease(lease, agent, kind)
}
