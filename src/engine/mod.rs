//! What the broker does: read a snapshot, decide, step, commit, act, reply.
//!
//! Every change takes the same road (`Engine::settle`): a plan is made from what was read, submitted with its
//! read-set, and made again if somebody else was faster. Nothing here takes a lock, and nothing secret is made
//! before its commit.

mod action;
mod credential;
mod decide;
mod end;
mod erase;
mod explain;
mod introspect;
mod ledger;
mod list;
mod liveness;
mod measure;
mod once;
mod open;
mod operate;
mod pending;
mod receipt;
mod record;
mod retention;
mod revoke;
mod start;
mod targets;
mod timekeeper;
mod trace;
mod witness;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use quietus_core::{
    AgentId, Caller, Digest, Identity, Lease, Load, Rules, Step, TargetName, Task, TaskId,
    Timestamp, View, next_deadline,
};
use quietus_identity::VerifiedSvid;
use quietus_ledger::EntryError;
use quietus_policy::PolicySet;

use crate::clock::Clock;
use crate::config::Config;
use crate::evidence::Evidence;
use crate::failpoint;
use crate::issuers::{Shared, Unfit};
use crate::keys::{Keys, KeysError};
use crate::store::{Answer, Change, Commit, CommitError, Retry, Snapshot, Store, StoreError};
use crate::telemetry::Telemetry;
use crate::trust::Trust;

pub use action::{ActionReport, ActionResult};
pub use credential::{Issued, RequestOrder};
pub use erase::Erasure;
pub use explain::Explained;
pub use introspect::Active;
pub use ledger::{Entries, Portion, Proof};
pub use list::{LeaseFilter, Listed, TaskFilter};
pub use liveness::{Hold, alive_until};
pub use once::Once;
pub use open::{OpenRequest, Opened};
pub use operate::{PolicyFolderError, Status, read_policies};
pub use pending::Pending;
pub use receipt::Signed;
pub use revoke::{Revoked, Target};
pub use start::{Mode, StartError};
pub use targets::{Checked, Swept, TargetState};
pub use witness::CosignError;

/// How often a plan is made anew before the caller is asked to try later.
const ATTEMPTS: usize = 200;

/// The broker, but for its sockets.
pub struct Engine {
    config: Config,
    rules: Rules,
    broker: String,
    store: Store,
    clock: Arc<Clock>,
    policy: ArcSwap<PolicySet>,
    keys: Arc<Keys>,
    evidence: Arc<Evidence>,
    witnesses: witness::Witnesses,
    shared: Shared,
    targets: Arc<targets::Targets>,
    /// Told whenever a target has answered a revocation.
    confirmed: tokio::sync::Notify,
    signed: introspect::Signed,
    holds: liveness::Holds,
    trust: Arc<Trust>,
    telemetry: Arc<Telemetry>,
    started_at: Timestamp,
    /// Nothing is ended, granted or changed: for looking.
    maintenance: bool,
    /// Sweeps under way.
    sweeps: AtomicUsize,
    /// One at a time: reloads and rotations, which change more than the store.
    operating: tokio::sync::Mutex<()>,
}

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was decided, and recorded, that it is not to be.
    #[error("{}", .0.message)]
    Refused(Refused),
    /// The request makes no sense.
    #[error("{field}: {message}")]
    Invalid {
        /// The field that is wrong.
        field: &'static str,
        /// What to do about it.
        message: String,
    },
    /// No such thing, or it is not the caller's to see.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The idempotency key was used for another request.
    #[error("this idempotency key was used for another request: use a new key")]
    KeyReused,
    /// The answer to an earlier use of the idempotency key can no longer be given.
    #[error("the answer to this idempotency key can no longer be given: use a new key")]
    KeyStale,
    /// Others kept being faster.
    #[error("too many changes at once: try again")]
    Busy,
    /// The disk is short of space.
    #[error("{}", CommitError::NoSpace)]
    NoSpace,
    /// The target cannot be reached, so no credential was made for it.
    #[error("the target {0} does not answer, so no credential was made: try again later")]
    Away(TargetName),
    /// The broker was started for looking only.
    #[error(
        "the broker was started with --no-revoke: nothing is granted, ended or changed until it is started without"
    )]
    Maintenance,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopped,
    /// Something that is not the caller's business went wrong.
    #[error("internal error")]
    Internal(#[from] Internal),
}

/// A refusal, as told to whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// A stable upper-case word.
    pub reason: String,
    /// What a person can do with it.
    pub message: String,
}

/// What must not leave the broker but in its log.
#[derive(Debug, thiserror::Error)]
pub enum Internal {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A target's settings.
    #[error("a target's settings cannot be kept: {0}")]
    Settings(String),
    /// A receipt that would not verify.
    #[error("a receipt cannot be made: {0}")]
    Receipt(String),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// What to commit, and what to answer once it is.
struct Plan<T> {
    commit: Commit,
    answer: T,
}

impl Engine {
    /// Effective time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What its issuers are built with.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The store, to watch and to close.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Commits a plan; makes it anew as often as something it rests on has changed.
    async fn settle<T>(&self, make: impl Fn() -> Result<Plan<T>, Error>) -> Result<T, Error> {
        self.try_to_settle(ATTEMPTS, make).await
    }

    /// The same, however often others are faster: for endings, which must not be crowded out.
    async fn settle_surely<T>(
        &self,
        make: impl Fn() -> Result<Plan<T>, Error>,
    ) -> Result<T, Error> {
        self.try_to_settle(usize::MAX, make).await
    }

    async fn try_to_settle<T>(
        &self,
        attempts: usize,
        make: impl Fn() -> Result<Plan<T>, Error>,
    ) -> Result<T, Error> {
        for _ in 0..attempts {
            let Plan { commit, answer } = make()?;
            if commit.is_empty() {
                return Ok(answer);
            }
            if self.maintenance && commit.is_change() {
                return Err(Error::Maintenance);
            }
            // Whoever waits for the commit may go away; what it ends must be ended all the same.
            let then = targets::heed_once_made(&self.targets, &commit);
            let endings = self.endings(&commit);
            failpoint::reach("commit.before");
            match self.store.commit_then(commit, then).await {
                Ok(_) => {
                    failpoint::reach("commit.after");
                    self.tell_endings(endings);
                    return Ok(answer);
                }
                Err(CommitError::Conflict) => tokio::task::yield_now().await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Busy)
    }

    /// Records a refusal that came before there was anything to plan: an agent that is not registered or no longer
    /// trusted, or one that reached for a task of another. The caller is told what it would have been told anyway.
    async fn refused_early(
        &self,
        svid: &VerifiedSvid,
        task: Option<TaskId>,
        once: &Once,
        error: Error,
    ) -> Error {
        let (refusal, answer) = match &error {
            Error::Refused(Refused { reason, message }) => (
                reason.clone(),
                Some(Answer::Refused(reason.clone(), message.clone())),
            ),
            Error::NotFound(_) => ("NOT_FOUND".to_owned(), None),
            _ => return error,
        };
        let mut entry =
            open::with_request(self.entry("request.refused", Some(svid), self.now()), once);
        entry.agent = Some(svid.id().to_string());
        entry.refusal = Some(refusal);
        if let Some(task) = task {
            entry.detail.insert("task".to_owned(), task.to_string());
            // What others reach for is not of their trace.
            let own = self.load_own(svid, task, Load::Nothing).ok();
            let trace = own.map(|(task, _)| record::trace_of(&task, true));
            entry.trace = trace.or(entry.trace);
        }
        let plan = || {
            let now = self.now();
            // What is only repeated was recorded when it was first said.
            if self.answered(once, now)?.is_some() {
                return Ok(Plan::nothing(()));
            }
            let mut commit = Commit {
                now,
                entries: record::drafts(Some(entry.clone()))?,
                // Whoever is refused without end must not fill the last of the disk.
                grant: true,
                ..Commit::default()
            };
            if let Some(answer) = answer.clone() {
                self.answer_once(&mut commit, once, answer);
            }
            Ok(Plan { commit, answer: () })
        };
        self.settle(plan).await.err().unwrap_or(error)
    }

    /// Records that what an operator ordered could not be; the error that the operator is told.
    async fn refused_order(&self, by: Option<&VerifiedSvid>, call: &str, error: Error) -> Error {
        let (Some(by), Error::Refused(Refused { reason, .. })) = (by, &error) else {
            return error;
        };
        let recorded = self.record_refused(by, call, reason).await;
        recorded.err().unwrap_or(error)
    }

    /// Records that somebody asked for what cannot be, or is not theirs to ask for.
    pub async fn record_refused(
        &self,
        svid: &VerifiedSvid,
        call: &str,
        refusal: &str,
    ) -> Result<(), Error> {
        let mut entry = self.entry("request.refused", Some(svid), self.now());
        entry.refusal = Some(refusal.to_owned());
        entry.detail.insert("call".to_owned(), call.to_owned());
        self.settle(|| {
            let commit = Commit {
                now: self.now(),
                entries: record::drafts(Some(entry.clone()))?,
                grant: true,
                ..Commit::default()
            };
            Ok(Plan { commit, answer: () })
        })
        .await
    }

    async fn record_entry(&self, entry: &quietus_ledger::Entry) -> Result<(), Error> {
        self.settle(|| {
            let commit = Commit {
                now: self.now(),
                entries: record::drafts(Some(entry.clone()))?,
                ..Commit::default()
            };
            Ok(Plan { commit, answer: () })
        })
        .await
    }

    /// For what changes more than the store; the store looks after itself.
    fn not_in_maintenance(&self) -> Result<(), Error> {
        match self.maintenance {
            true => Err(Error::Maintenance),
            false => Ok(()),
        }
    }

    /// A commit that makes a step, resting on the task as it was read.
    fn commit_of(&self, before: &Task, step: &Step, now: Timestamp) -> Commit {
        let change = step.task.as_ref().map(|task| Change {
            task: task.clone(),
            due: next_deadline(task, self.rules.retention),
            leases: step.leases.clone(),
            retry: Retry::Now,
        });
        Commit {
            now,
            reads: vec![crate::store::Read::Task(before.id, before.version)],
            change,
            ..Commit::default()
        }
    }
}

impl<T> Plan<T> {
    fn nothing(answer: T) -> Self {
        Self {
            commit: Commit::default(),
            answer,
        }
    }
}

/// The caller as the lifecycle knows it: a verified SVID and nothing less.
fn caller_of(svid: &VerifiedSvid) -> Caller {
    Caller {
        agent: AgentId(svid.id().to_string()),
        identity: Identity {
            certificate: Digest(svid.fingerprint()),
            anchor: Digest(svid.anchor()),
            until: Timestamp::from_seconds(svid.trusted_until()),
        },
    }
}

/// A task and those of its leases that an event needs. The clock is looked at after this and not before: nothing may
/// seem to have happened before what it rests on.
fn load(snapshot: &Snapshot, id: TaskId, need: Load) -> Result<Option<(Task, Vec<Lease>)>, Error> {
    let Some(task) = snapshot.task(id)? else {
        return Ok(None);
    };
    let leases = match need {
        Load::Nothing => Vec::new(),
        Load::One(lease) => snapshot.lease(lease)?.into_iter().collect(),
        Load::Live => snapshot.live_leases(&task)?,
    };
    Ok(Some((task, leases)))
}

fn view<'g>(task: Task, leases: Vec<Lease>, guards: &'g Arc<quietus_core::Guards>) -> View<'g> {
    View {
        task,
        leases,
        guards,
    }
}

impl Error {
    fn refused(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Refused(Refused {
            reason: reason.into(),
            message: message.into(),
        })
    }

    fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            message: message.into(),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<EntryError> for Error {
    fn from(error: EntryError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<KeysError> for Error {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::TooMany => Self::refused("TOO_MANY_KEYS", error.to_string()),
            error => Self::Internal(error.into()),
        }
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Self::invalid(unfit.field, unfit.message)
    }
}

impl From<CommitError> for Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Busy,
            CommitError::OpenTasks(_) => Self::refused("TOO_MANY_OPEN_TASKS", error.to_string()),
            CommitError::NoSpace => Self::NoSpace,
            CommitError::Stopped(_) => Self::Stopped,
        }
    }
}
