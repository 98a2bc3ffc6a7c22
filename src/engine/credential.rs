//! Requesting and renewing credentials.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quietus_core::{
    Enforced, Event, Grant, IssueOrder, Lease, LeaseId, Load, Outcome, Scope, Step, TargetName,
    Task, TaskId, Timestamp, step,
};
use quietus_identity::VerifiedSvid;
use quietus_ledger::Entry;
use quietus_policy::Permit;

use super::decide::{Question, Verdict, denial, task_facts};
use super::open::with_request;
use super::record::{drafts, trace_of, untouched};
use super::targets::Site;
use super::trace::Asking;
use super::{Engine, Error, Once, Plan, caller_of, load, view};
use crate::issuers::{Credential, Issuer, KeyRequest, Prepared, Unfit};
use crate::store::{Answer, Commit, Read};
use crate::telemetry::carried;

/// What an agent asks for.
#[derive(Clone, Debug)]
pub struct RequestOrder {
    /// Under which task.
    pub task: TaskId,
    /// What the credential is to do, all at one target.
    pub scopes: Vec<Scope>,
    /// How long it is to live.
    pub ttl: Option<Duration>,
    /// The public half of a key of the agent's own, for kinds that take one.
    pub key: Option<KeyRequest>,
}

/// A credential and its lease.
#[derive(Debug)]
pub struct Issued {
    /// The lease.
    pub lease: Lease,
    /// The secret, with all that is needed to use it.
    pub credential: Credential,
}

/// A grant that is committed; its credential is still to be made.
enum Granted {
    New(Box<IssueOrder>, Prepared),
    Before(Box<IssueOrder>),
}

/// Who asks for a grant, under what, and when.
struct Asked<'a> {
    svid: &'a VerifiedSvid,
    task: Task,
    leases: Vec<Lease>,
    ttl: Option<Duration>,
    once: &'a Once,
    now: Timestamp,
}

impl Engine {
    /// Asks policy for a credential, records the answer, and only then makes it.
    pub async fn request_credential(
        self: &Arc<Self>,
        svid: &VerifiedSvid,
        order: RequestOrder,
        once: Once,
    ) -> Result<Issued, Error> {
        let target = self.check_scopes(&order.scopes)?;
        if !self.targets.must_be_told(&target) {
            return self.request(svid, target, order, once).await;
        }
        let (engine, svid) = (Arc::clone(self), svid.clone());
        see_through(async move { engine.request(&svid, target, order, once).await }).await
    }

    async fn request(
        self: &Arc<Self>,
        svid: &VerifiedSvid,
        target: TargetName,
        order: RequestOrder,
        once: Once,
    ) -> Result<Issued, Error> {
        let asking = self.asking(order.task);
        let plan = || {
            if let Some(answer) = self.answered(&once, self.now())? {
                return self.granted_before(svid, &answer).map(Plan::nothing);
            }
            let (task, _) = self.load_own(svid, order.task, Load::Nothing)?;
            let now = self.now();
            let asked = Asked {
                svid,
                task,
                leases: Vec::new(),
                ttl: order.ttl,
                once: &once,
                now,
            };
            let verdict = asking.decide(|| self.ask(&asked, &target, &order.scopes))?;
            let prepare =
                |issuer: &dyn Issuer, to: &IssueOrder| issuer.issue(to, order.key.as_ref());
            self.plan_grant(asked, verdict, prepare, Event::Issue)
        };
        let granted = match self.settle(plan).await {
            Ok(granted) => asking.recorded(granted),
            Err(error) => Err(self
                .refused_early(svid, Some(order.task), &once, error)
                .await),
        };
        self.answer(&asking, granted).await
    }

    /// Asks policy again, for the same scopes, and gives the lease a later end.
    pub async fn renew_lease(
        self: &Arc<Self>,
        svid: &VerifiedSvid,
        id: LeaseId,
        ttl: Option<Duration>,
        once: Once,
    ) -> Result<Issued, Error> {
        let lease = self.store.read().lease(id)?;
        if lease.is_none_or(|lease| lease.enforced == Enforced::AtBroker) {
            return self.renew(svid, id, ttl, once).await;
        }
        let (engine, svid) = (Arc::clone(self), svid.clone());
        see_through(async move { engine.renew(&svid, id, ttl, once).await }).await
    }

    async fn renew(
        self: &Arc<Self>,
        svid: &VerifiedSvid,
        id: LeaseId,
        ttl: Option<Duration>,
        once: Once,
    ) -> Result<Issued, Error> {
        let asking = self.asking(id.task);
        let plan = || {
            if let Some(answer) = self.answered(&once, self.now())? {
                return self.granted_before(svid, &answer).map(Plan::nothing);
            }
            let (task, leases) = self.load_own(svid, id.task, Load::One(id))?;
            let now = self.now();
            let lease = leases.first().cloned().ok_or(Error::NotFound("lease"))?;
            let asked = Asked {
                svid,
                task,
                leases,
                ttl,
                once: &once,
                now,
            };
            let verdict = asking.decide(|| self.ask(&asked, &lease.target, &lease.scopes))?;
            let prepare = |issuer: &dyn Issuer, to: &IssueOrder| issuer.renew(to);
            self.plan_grant(asked, verdict, prepare, |grant| Event::Renew(id, grant))
        };
        let granted = match self.settle(plan).await {
            Ok(granted) => asking.recorded(granted),
            Err(error) => Err(self.refused_early(svid, Some(id.task), &once, error).await),
        };
        self.answer(&asking, granted).await
    }

    /// Makes what is granted.
    async fn answer(
        self: &Arc<Self>,
        asking: &Asking<'_>,
        granted: Result<Granted, Error>,
    ) -> Result<Issued, Error> {
        let issued = match granted {
            Ok(granted) if granted.lease().enforced == Enforced::AtBroker => {
                self.make(granted).await
            }
            Ok(granted) => asking.making(self.make(granted)).await,
            Err(error) => Err(error),
        };
        asking.answered(issued.as_ref().map(|issued| &issued.lease));
        issued
    }

    /// A task and its leases, if they are this caller's; others learn nothing of them.
    pub(super) fn load_own(
        &self,
        svid: &VerifiedSvid,
        id: TaskId,
        need: Load,
    ) -> Result<(Task, Vec<Lease>), Error> {
        let found = load(&self.store.read(), id, need)?;
        found
            .filter(|(task, _)| task.agent.0 == svid.id().as_str())
            .ok_or(Error::NotFound("task"))
    }

    fn ask(
        &self,
        asked: &Asked<'_>,
        target: &TargetName,
        scopes: &[Scope],
    ) -> Result<(Question, Verdict), Error> {
        self.registered(asked.svid)?;
        let facts = task_facts(&asked.task, asked.now);
        let agent = asked.svid.id().as_str();
        let question = self.question(agent, target, facts, asked.ttl, asked.now)?;
        let verdict = question.ask_all(scopes);
        Ok((question, verdict))
    }

    fn plan_grant(
        &self,
        asked: Asked<'_>,
        (question, verdict): (Question, Verdict),
        prepare: impl Fn(&dyn Issuer, &IssueOrder) -> Result<Prepared, Unfit>,
        event: impl Fn(Grant) -> Event,
    ) -> Result<Plan<Result<Granted, Error>>, Error> {
        let Asked {
            svid,
            task,
            leases,
            ttl,
            once,
            now,
        } = asked;
        let told = |entry| with_verdict(with_request(entry, once), &question, &verdict);
        let permit = match &verdict.permit {
            // A permit is good for the agent it was decided for.
            Ok(permit) if permit.agent() == task.agent.0 => permit,
            Ok(_) => return Err(Error::NotFound("task")),
            Err(refusal) => {
                let mut entry = told(self.entry("request.refused", Some(svid), now));
                entry.agent = Some(task.agent.0.clone());
                let (reason, message) = denial(refusal);
                return self.plan_refusal(&task, entry, reason, message, once, now);
            }
        };
        let site = self.targets.site(question.target())?;
        let guards = self.store.guards();
        let grant = grant(svid, permit, site, ttl);
        let mut step = step(
            &self.rules,
            view(task.clone(), leases, &guards),
            event(grant),
            now,
        );
        let (Outcome::Issued(order) | Outcome::Renewed(order)) = &step.outcome else {
            return self.plan_lifecycle_refusal(svid, &task, &step, told, once, now);
        };
        let answer = Answer::Lease(order.lease().id, order.lease().renewals);
        let prepared = prepare(site.issuer.as_ref(), order)?;
        // Where nothing is sure to be made, no lease is left behind.
        site.admit()?;
        if let Some(fingerprint) = prepared.fingerprint() {
            step.identify(fingerprint);
        }
        let entry = self.entry_of(&task, &step, Some(svid), now).map(told);
        let mut commit = self.commit_of(&task, &step, now);
        commit.entries = drafts(entry)?;
        commit.reads.push(Read::Guards(guards.epoch));
        commit
            .reads
            .push(Read::Policy(quietus_core::Digest(permit.policy_digest())));
        commit.grant = true;
        self.answer_once(&mut commit, once, answer);
        let granted = Granted::New(Box::new(identified(step)?), prepared);
        Ok(Plan {
            commit,
            answer: Ok(granted),
        })
    }

    fn plan_lifecycle_refusal<T>(
        &self,
        svid: &VerifiedSvid,
        task: &Task,
        step: &Step,
        told: impl Fn(Entry) -> Entry,
        once: &Once,
        now: Timestamp,
    ) -> Result<Plan<Result<T, Error>>, Error> {
        let Outcome::Refused(refusal) = &step.outcome else {
            return Err(Error::Busy);
        };
        let entry = self.entry_of(task, step, Some(svid), now).map(told);
        let entry = entry.ok_or(Error::Busy)?;
        self.plan_refusal(
            task,
            entry,
            refusal.reason(),
            refusal.to_string(),
            once,
            now,
        )
    }

    /// A refusal is recorded like a grant.
    pub(super) fn plan_refusal<T>(
        &self,
        task: &Task,
        mut entry: Entry,
        reason: &'static str,
        message: String,
        once: &Once,
        now: Timestamp,
    ) -> Result<Plan<Result<T, Error>>, Error> {
        entry.refusal = Some(reason.to_owned());
        entry.task = Some(untouched(task));
        entry.trace = Some(trace_of(task, true));
        let mut commit = Commit {
            now,
            // The entry shows the task, so it must be as it is shown.
            reads: vec![Read::Task(task.id, task.version)],
            entries: drafts(Some(entry))?,
            // Whoever is refused without end must not fill the last of the disk.
            grant: true,
            ..Commit::default()
        };
        let answer = Answer::Refused(reason.to_owned(), message.clone());
        self.answer_once(&mut commit, once, answer);
        Ok(Plan {
            commit,
            answer: Err(Error::refused(reason, message)),
        })
    }

    fn granted_before(
        &self,
        svid: &VerifiedSvid,
        answer: &Answer,
    ) -> Result<Result<Granted, Error>, Error> {
        let Answer::Lease(id, renewals) = answer else {
            return Err(Error::KeyStale);
        };
        let (task, leases) = self.load_own(svid, id.task, Load::One(*id))?;
        let lease = leases.first().filter(|lease| lease.renewals == *renewals);
        let guards = self.store.guards();
        lease
            .and_then(|lease| IssueOrder::repeat(&task, lease, &guards, self.now()))
            .map(|order| Ok(Granted::Before(Box::new(order))))
            .ok_or(Error::KeyStale)
    }

    /// The one place where a secret comes into being.
    async fn make(self: &Arc<Self>, granted: Granted) -> Result<Issued, Error> {
        let issued = match granted {
            Granted::New(order, prepared) => self.make_new(*order, prepared).await?,
            Granted::Before(order) => {
                let site = self.targets.site(&order.lease().target)?;
                let credential = site.issuer.repeat(&order).ok_or(Error::KeyStale)?;
                Issued {
                    lease: order.lease().clone(),
                    credential,
                }
            }
        };
        if let Credential::Jwt(token) = &issued.credential {
            self.signed.remember(token.fingerprint(), &issued.lease);
        }
        Ok(issued)
    }

    /// All of one target, none twice, not too many.
    fn check_scopes(&self, scopes: &[Scope]) -> Result<TargetName, Error> {
        let most = self.config.limits.scopes_per_request;
        let first = scopes.first().ok_or_else(|| {
            Error::invalid(
                "scopes",
                "ask for at least one, for example orders-db:read:public.orders",
            )
        })?;
        if scopes.len() > most {
            return Err(Error::invalid(
                "scopes",
                format!("at most {most} at a time"),
            ));
        }
        if scopes.iter().any(|scope| scope.target() != first.target()) {
            return Err(Error::invalid(
                "scopes",
                "all must be of one target: a token has one audience",
            ));
        }
        let twice = scopes
            .iter()
            .enumerate()
            .any(|(i, scope)| scopes[..i].contains(scope));
        if twice {
            return Err(Error::invalid("scopes", "one is there twice"));
        }
        Ok(first.target().clone())
    }
}

impl Granted {
    fn lease(&self) -> &Lease {
        match self {
            Self::New(order, _) | Self::Before(order) => order.lease(),
        }
    }
}

/// Goes on though the caller goes away: what is ordered at a target must be made there, and recorded.
async fn see_through(
    asking: impl Future<Output = Result<Issued, Error>> + Send + 'static,
) -> Result<Issued, Error> {
    let asking = tokio::spawn(carried(asking));
    asking.await.unwrap_or(Err(Error::Stopped))
}

fn grant(svid: &VerifiedSvid, permit: &Permit, site: &Site, ttl: Option<Duration>) -> Grant {
    let abilities = site.issuer.abilities();
    Grant {
        caller: caller_of(svid),
        target: site.target.name.clone(),
        scopes: permit.scopes().to_vec(),
        enforced: abilities.enforced,
        renewable: abilities.renewable,
        ttl,
        policy_max: permit
            .max_ttl_seconds()
            .map(|(seconds, _)| Duration::from_secs(seconds)),
    }
}

/// The order with what identifies the credential in it.
fn identified(step: Step) -> Result<IssueOrder, Error> {
    match step.outcome {
        Outcome::Issued(order) | Outcome::Renewed(order) => Ok(order),
        _ => Err(Error::Busy),
    }
}

fn with_verdict(mut entry: Entry, question: &Question, verdict: &Verdict) -> Entry {
    entry.decisions = verdict.decisions.clone();
    entry.policy = Some(question.digest());
    entry.facts = Some(question.facts());
    entry
}
