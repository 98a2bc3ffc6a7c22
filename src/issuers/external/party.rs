//! The other side: one process, one connection at a time, and what it was found to be.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quietus_core::Timestamp;
use tokio::sync::Mutex;
use tonic::transport::Channel;
use tonic::{Code, IntoRequest, Request, Response, Status};

use super::link::Link;
use super::{answer, ask, refusal, unacceptable};
use crate::api::issuer as wire;
use crate::api::issuer::issuer_client::IssuerClient;
use crate::config::ExternalSettings;
use crate::issuers::{Failure, Found};
use crate::telemetry::{TRACEPARENT, current};

/// The longest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 256 * 1024;
/// The longest page of a list, in bytes.
pub(super) const MAX_PAGE: usize = 1024 * 1024;
/// The most pages of a list.
const MAX_PAGES: usize = 1000;
/// After so long a new connection is made: both SVIDs are then verified anew, and the process described.
const LASTS: Duration = Duration::from_secs(300);

/// A process that makes credentials.
pub(super) struct Party {
    link: Link,
    settings: ExternalSettings,
    origin: wire::Origin,
    deadline: Deadline,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    current: Mutex<Option<Acquaintance>>,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(pub(super) Duration);

/// A connection whose other end is what the configuration states.
#[derive(Clone)]
struct Acquaintance {
    client: IssuerClient<Channel>,
    since: Timestamp,
    number: u64,
    is_over: bool,
    version: String,
}

impl Deadline {
    /// The message, with the deadline that the other side is told of, and the trace that the call is a part of.
    pub(super) fn on<T>(self, message: T) -> Request<T> {
        let mut request = message.into_request();
        request.set_timeout(self.0);
        let traced = current().and_then(|context| context.to_string().parse().ok());
        if let Some(context) = traced {
            request.metadata_mut().insert(TRACEPARENT, context);
        }
        request
    }
}

impl Party {
    pub(super) fn new(
        link: Link,
        settings: ExternalSettings,
        origin: wire::Origin,
        timeout: Duration,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Self {
        Self {
            link,
            settings,
            origin,
            deadline: Deadline(timeout),
            now,
            current: Mutex::new(None),
        }
    }

    pub(super) fn settings(&self) -> &ExternalSettings {
        &self.settings
    }

    pub(super) fn origin(&self) -> &wire::Origin {
        &self.origin
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Makes a call, within the time limit, to a process that is what it should be.
    pub(super) async fn call<T, A, F>(&self, ask: A) -> Result<T, Failure>
    where
        A: Fn(IssuerClient<Channel>, Deadline) -> F,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = self.try_call(ask).await?;
        answer.map_err(|status| refusal::failure(&status))
    }

    /// All that it says is there, page by page; `None` if it keeps no list.
    pub(super) async fn list(&self) -> Result<Option<Vec<Found>>, Failure> {
        let mut found = Vec::new();
        let mut token = String::new();
        for _ in 0..MAX_PAGES {
            let page = match self.page(&token).await? {
                Ok(page) => page,
                Err(status) if status.code() == Code::Unimplemented => return Ok(None),
                Err(status) => return Err(refusal::failure(&status)),
            };
            let next = answer::page(page, &token, &mut found).map_err(unacceptable)?;
            match next {
                Some(next) => token = next,
                None => return Ok(Some(found)),
            }
        }
        Err(unacceptable(format_args!(
            "a list of more than {MAX_PAGES} pages"
        )))
    }

    /// Looks again at what it is, and has it look at its target.
    pub(super) async fn check(&self) -> Result<String, Failure> {
        self.forget_all().await;
        let request = ask::check(&self.origin);
        let answer = self
            .call(|mut client, deadline| {
                let request = deadline.on(request.clone());
                async move { client.check(request).await }
            })
            .await?;
        let message = answer::words(&answer.message).map_err(unacceptable)?;
        let (known, _) = self.meet().await?;
        Ok(format!(
            "{} {}: {message}",
            self.settings.kind, known.version
        ))
    }

    async fn forget_all(&self) {
        if let Some(known) = self.current.lock().await.as_mut() {
            known.is_over = true;
        }
    }

    async fn page(&self, token: &str) -> Result<Result<wire::ListResponse, Status>, Failure> {
        let request = ask::list(&self.origin, token.to_owned());
        self.try_call(|client, deadline| {
            let mut client = client.max_decoding_message_size(MAX_PAGE);
            let request = deadline.on(request.clone());
            async move { client.list(request).await }
        })
        .await
    }

    async fn try_call<T, A, F>(&self, ask: A) -> Result<Result<T, Status>, Failure>
    where
        A: Fn(IssuerClient<Channel>, Deadline) -> F,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let answer = tokio::time::timeout(self.deadline.0, self.attempt(ask)).await;
        answer.unwrap_or_else(|_| Err(Failure::away(refusal::LATE)))
    }

    /// A connection that broke while nobody looked says nothing of the process: calls may be repeated, so one is.
    async fn attempt<T, A, F>(&self, ask: A) -> Result<Result<T, Status>, Failure>
    where
        A: Fn(IssuerClient<Channel>, Deadline) -> F,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let (known, is_new) = self.meet().await?;
        let answer = ask(known.client, self.deadline).await;
        let answer = match answer {
            Err(status) if refusal::is_lost(&status) => {
                self.forget(known.number).await;
                if is_new {
                    return Ok(Err(status));
                }
                let (known, _) = self.meet().await?;
                ask(known.client, self.deadline).await
            }
            answer => answer,
        };
        Ok(answer.map(Response::into_inner))
    }

    /// The connection that there is, or a new one.
    async fn meet(&self) -> Result<(Acquaintance, bool), Failure> {
        let now = self.now();
        let mut current = self.current.lock().await;
        let lasts = |it: &&Acquaintance| !it.is_over && now.since(it.since) < LASTS;
        if let Some(known) = current.as_ref().filter(lasts) {
            return Ok((known.clone(), false));
        }
        let last = current.as_mut().map(|it| {
            it.is_over = true;
            it.number
        });
        let number = last.map_or(0, |number| number.wrapping_add(1));
        let client = IssuerClient::new(self.link.open().await?);
        let known = self.acquaint(client, number).await?;
        *current = Some(known.clone());
        Ok((known, true))
    }

    async fn acquaint(
        &self,
        client: IssuerClient<Channel>,
        number: u64,
    ) -> Result<Acquaintance, Failure> {
        let mut client = client.max_decoding_message_size(MAX_ANSWER);
        let request = self.deadline.on(ask::describe(&self.origin));
        let described = client.describe(request).await;
        let described = described.map_err(|status| refusal::failure(&status))?;
        let version = answer::described(described.get_ref(), &self.settings);
        Ok(Acquaintance {
            version: version.map_err(Failure::said)?,
            since: self.now(),
            is_over: false,
            client,
            number,
        })
    }

    /// Has the next call make a new connection, unless that has happened.
    async fn forget(&self, number: u64) {
        let mut current = self.current.lock().await;
        if let Some(known) = current.as_mut().filter(|it| it.number == number) {
            known.is_over = true;
        }
    }
}
