//! The calls of a test, and what is remembered of their answers.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use quietus_core::{LeaseId, TaskId, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use super::{Candidate, Halt, Outcome};
use crate::api::issuer as wire;
use crate::api::issuer::issuer_client::IssuerClient;
use crate::issuers::external::answer::{self, Claims, Expected};
use crate::issuers::external::link::Link;
use crate::issuers::external::party::{Deadline, MAX_ANSWER, MAX_PAGE};
use crate::issuers::external::{ask, refusal};
use crate::issuers::{Credential, Doomed, Found, Made, Secret};

/// How long the credentials of a test live.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);
/// Who the credentials of a test are for.
const AGENT: &str = "spiffe://conformance.test/agent";
/// The most pages that a test reads.
const MAX_PAGES: usize = 1000;

/// A test under way.
pub(super) struct Run {
    candidate: Candidate,
    link: Link,
    channel: Option<Channel>,
    task: TaskId,
    claims: Option<Claims>,
    first: Option<Made>,
    touched: BTreeSet<LeaseId>,
    secrets: Vec<Secret>,
    shown: Vec<String>,
}

/// Why a call came to nothing.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    /// The issuer said no.
    No(String),
    /// It said that it can do nothing now, or nothing at all.
    Away(String),
    /// It answered something that no broker would take.
    Bad(String),
    /// It does not do this.
    Unimplemented,
}

/// A client, and where the texts of errors go.
#[derive(Clone)]
pub(super) struct Caller {
    client: IssuerClient<Channel>,
    deadline: Deadline,
}

impl Run {
    pub(super) fn new(candidate: Candidate) -> Result<Self, String> {
        let mut random = [0; 10];
        let filled = SystemRandom::new().fill(&mut random);
        filled.map_err(|_| "the system gives no randomness".to_owned())?;
        let now = (candidate.now)();
        let id = uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid();
        let link = Link::new(
            &candidate.endpoint,
            candidate.svid.as_ref(),
            candidate.now.clone(),
        )?;
        Ok(Self {
            candidate,
            link,
            channel: None,
            task: TaskId(id),
            claims: None,
            first: None,
            touched: BTreeSet::new(),
            secrets: Vec::new(),
            shown: Vec::new(),
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.candidate.now)()
    }

    pub(super) fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    pub(super) fn lease(&self, number: u32) -> LeaseId {
        LeaseId {
            task: self.task,
            number,
        }
    }

    /// The first credential, whose life most checks follow.
    pub(super) fn first(&self) -> Option<&Made> {
        self.first.as_ref()
    }

    pub(super) fn keep_first(&mut self, made: Made) {
        self.first = Some(made);
    }

    pub(super) fn needs_first(&self) -> Outcome {
        match self.first {
            Some(_) => Ok(()),
            None => Err(Halt::Skip("no credential was made".to_owned())),
        }
    }

    pub(super) fn needs_revocation(&self) -> Outcome {
        match self.claims.as_ref().is_some_and(|claims| claims.can_revoke) {
            true => Ok(()),
            false => Err(Halt::Skip("it claims can_revoke = false".to_owned())),
        }
    }

    /// The leases that the issuer was asked for.
    pub(super) fn touched(&self) -> Vec<LeaseId> {
        self.touched.iter().copied().collect()
    }

    /// An order for the next five minutes.
    pub(super) fn order(&self, lease: LeaseId) -> wire::Order {
        self.order_until(lease, self.now().after(LIFETIME))
    }

    pub(super) fn order_until(&self, lease: LeaseId, expires_at: Timestamp) -> wire::Order {
        let whole = Timestamp::from_seconds(expires_at.seconds());
        let scopes = self.candidate.scopes.iter();
        wire::Order {
            lease_id: lease.to_string(),
            agent_id: AGENT.to_owned(),
            task_id: lease.task.to_string(),
            origin: Some(self.origin()),
            scopes: scopes
                .map(|(action, resource)| wire::Scope {
                    action: action.to_string(),
                    resource: resource.clone(),
                })
                .collect(),
            issued_at: ask::moment(self.now()),
            expires_at: ask::moment(whole),
        }
    }

    /// Asks what it is, on a new connection.
    pub(super) async fn describe(&mut self) -> Result<(), Refused> {
        self.channel = None;
        let request = ask::describe(&self.origin());
        let caller = self.caller().await?;
        let answer = caller
            .call(|mut client, deadline| async move { client.describe(deadline.on(request)).await })
            .await;
        let answer = self.heard(answer)?;
        self.claims = Some(Claims::of(&answer).map_err(Refused::Bad)?);
        Ok(())
    }

    pub(super) async fn check(&mut self) -> Result<(), Refused> {
        let request = ask::check(&self.origin());
        let caller = self.caller().await?;
        let answer = caller
            .call(|mut client, deadline| async move { client.check(deadline.on(request)).await })
            .await;
        let answer = self.heard(answer)?;
        self.shown.push(answer.message.clone());
        answer::words(&answer.message).map_err(Refused::Bad)?;
        Ok(())
    }

    /// Has a credential made as ordered.
    pub(super) async fn issue(&mut self, order: wire::Order) -> Result<Made, Refused> {
        let mut answers = self.issue_all(vec![order]).await?;
        answers.pop().unwrap_or(Err(Refused::Unimplemented))
    }

    /// The same for many orders at once.
    pub(super) async fn issue_all(
        &mut self,
        orders: Vec<wire::Order>,
    ) -> Result<Vec<Result<Made, Refused>>, Refused> {
        let caller = self.caller().await?;
        let mut calls = tokio::task::JoinSet::new();
        for order in orders.clone() {
            self.touched.extend(order.lease_id.parse::<LeaseId>().ok());
            let caller = caller.clone();
            calls.spawn(async move {
                let request = wire::IssueRequest {
                    order: Some(order.clone()),
                    key: None,
                };
                let issue = |mut client: IssuerClient<Channel>, deadline: Deadline| async move {
                    client.issue(deadline.on(request)).await
                };
                (order, caller.call(issue).await)
            });
        }
        let mut made = Vec::new();
        for (order, answer) in calls.join_all().await {
            let answer = self.heard(answer);
            made.push(answer.and_then(|answer| {
                let expected = self.expected(&order)?;
                self.noted(answer.credential.as_ref());
                expected.issued(answer).map_err(Refused::Bad)
            }));
        }
        Ok(made)
    }

    pub(super) async fn renew(&mut self, order: wire::Order) -> Result<Made, Refused> {
        let expected = self.expected(&order)?;
        let request = wire::RenewRequest { order: Some(order) };
        let caller = self.caller().await?;
        let answer = caller
            .call(|mut client, deadline| async move { client.renew(deadline.on(request)).await })
            .await;
        let answer = self.heard(answer)?;
        self.noted(answer.credential.as_ref());
        expected.renewed(answer).map_err(Refused::Bad)
    }

    /// Has the credential of a lease unmade, as one that has not expired.
    pub(super) async fn revoke(&mut self, lease: LeaseId) -> Result<(), Refused> {
        let doomed = Doomed {
            id: lease,
            expires_at: Some(self.now().after(LIFETIME)),
            fingerprint: None,
        };
        let request = ask::revoke(&doomed, &self.origin());
        let caller = self.caller().await?;
        let answer = caller
            .call(|mut client, deadline| async move { client.revoke(deadline.on(request)).await })
            .await;
        let answer = self.heard(answer)?;
        let claims = self.claims.as_ref().ok_or(Refused::Unimplemented)?;
        let confirmed = answer::confirmed(&answer, lease, claims.confirms_by, false);
        confirmed.map(|_| ()).map_err(Refused::Bad)
    }

    /// The leases of this test that it lists, for this broker or for another one.
    pub(super) async fn list(&mut self, broker: Option<&str>) -> Result<Vec<LeaseId>, Refused> {
        let mut origin = self.origin();
        if let Some(broker) = broker {
            origin.broker_id = broker.to_owned();
        }
        let mut found = Vec::new();
        let mut token = String::new();
        for _ in 0..MAX_PAGES {
            let request = ask::list(&origin, token.clone());
            let caller = self.caller().await?;
            let answer = caller
                .call(|client, deadline| async move {
                    let mut client = client.max_decoding_message_size(MAX_PAGE);
                    client.list(deadline.on(request)).await
                })
                .await;
            let page = self.heard(answer)?;
            match answer::page(page, &token, &mut found).map_err(Refused::Bad)? {
                Some(next) => token = next,
                None => return Ok(self.own(found)),
            }
        }
        Err(Refused::Bad(format!(
            "a list of more than {MAX_PAGES} pages"
        )))
    }

    /// Whether something that was shown, or an error's text, has a secret in it.
    pub(super) fn leak(&self) -> Option<&str> {
        let long = self
            .secrets
            .iter()
            .filter(|it| answer::is_long(it.expose()));
        let mut leaks = long.filter_map(|secret| {
            let mut shown = self.shown.iter();
            shown.find(|text| text.contains(secret.expose()))
        });
        leaks
            .next()
            .map(|_| "a public field, a name or the text of an error has a secret in it")
    }

    /// How many secrets were handed out.
    pub(super) fn secrets(&self) -> usize {
        self.secrets.len()
    }

    fn own(&mut self, found: Vec<Found>) -> Vec<LeaseId> {
        let task = self.task;
        let own = found.into_iter().filter(|it| it.id.task == task);
        let (ids, names): (Vec<_>, Vec<_>) = own.map(|it| (it.id, it.name)).unzip();
        self.shown.extend(names);
        ids
    }

    fn origin(&self) -> wire::Origin {
        ask::origin(&self.candidate.broker, &self.candidate.target)
    }

    fn expected(&self, order: &wire::Order) -> Result<Expected, Refused> {
        let claims = self.claims.as_ref().ok_or(Refused::Unimplemented)?;
        let lease = order.lease_id.parse().map_err(|_| Refused::Unimplemented)?;
        let at = order.expires_at.as_ref().map_or(0, |at| at.seconds);
        Ok(Expected {
            lease,
            kind: claims.kind.clone(),
            expires_at: Timestamp::from_seconds(u64::try_from(at).unwrap_or(0)),
            expires_at_target: claims.expires_at_target,
        })
    }

    /// Keeps what the last check needs: secrets, and what must not hold them.
    fn noted(&mut self, credential: Option<&wire::Credential>) {
        let empty = BTreeMap::new();
        let public = credential.map_or(&empty, |it| &it.public_fields);
        let secret = credential.map_or(&empty, |it| &it.secret_fields);
        for (name, value) in public {
            self.shown.extend([name.clone(), value.clone()]);
        }
        self.secrets.extend(secret.values().map(Secret::new));
    }

    /// The answer; of an error the text is kept for the last check.
    fn heard<T>(&mut self, answer: Result<T, Option<Status>>) -> Result<T, Refused> {
        let status = match answer {
            Ok(answer) => return Ok(answer),
            Err(None) => return Err(Refused::Away(refusal::LATE.to_owned())),
            Err(Some(status)) => status,
        };
        if refusal::is_lost(&status) {
            self.channel = None;
        }
        self.shown.push(status.message().to_owned());
        let failure = refusal::failure(&status).to_string();
        Err(match status.code() {
            Code::Unimplemented => Refused::Unimplemented,
            code if refusal::said_no(code) => Refused::No(failure),
            _ => Refused::Away(failure),
        })
    }

    async fn caller(&mut self) -> Result<Caller, Refused> {
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => self.connect().await?,
        };
        Ok(Caller {
            client: IssuerClient::new(channel).max_decoding_message_size(MAX_ANSWER),
            deadline: Deadline(self.candidate.timeout),
        })
    }

    async fn connect(&mut self) -> Result<Channel, Refused> {
        let opened = tokio::time::timeout(self.candidate.timeout, self.link.open()).await;
        let opened = opened.map_err(|_| Refused::Away(refusal::LATE.to_owned()))?;
        let channel = opened.map_err(|failure| Refused::Away(failure.to_string()))?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }
}

impl Caller {
    /// One call; an error without a status is silence.
    async fn call<T, A, F>(&self, ask: A) -> Result<T, Option<Status>>
    where
        A: FnOnce(IssuerClient<Channel>, Deadline) -> F,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let asked = ask(self.client.clone(), self.deadline);
        match tokio::time::timeout(self.deadline.0, asked).await {
            Ok(answer) => answer.map(Response::into_inner).map_err(Some),
            Err(_) => Err(None),
        }
    }
}

impl Refused {
    /// What is wrong, in words.
    pub(super) fn why(self) -> String {
        match self {
            Self::No(why) | Self::Away(why) => why,
            Self::Bad(why) => format!("no broker would take this answer: {why}"),
            Self::Unimplemented => "the issuer answered UNIMPLEMENTED".to_owned(),
        }
    }
}

/// Two answers for one lease that are one credential.
pub(super) fn same(one: &Made, other: &Made) -> bool {
    fields(one) == fields(other)
}

/// Two credentials with a secret in common.
pub(super) fn shares_secret(one: &Made, other: &Made) -> bool {
    let (Some((_, one)), Some((_, other))) = (fields(one), fields(other)) else {
        return false;
    };
    let mut long = one.values().filter(|it| answer::is_long(it.expose()));
    long.any(|secret| other.values().any(|it| it == secret))
}

type Fields<'a> = (&'a BTreeMap<String, String>, &'a BTreeMap<String, Secret>);

fn fields(made: &Made) -> Option<Fields<'_>> {
    match &made.credential {
        Credential::External { public, secret, .. } => Some((public, secret)),
        _ => None,
    }
}
