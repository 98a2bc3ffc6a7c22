//! The commit path: conditional writes, grouped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use quietus_core::{AgentId, Digest, Guards, Lease, Task, TaskId, Timestamp};
use quietus_ledger::Draft;
use quietus_ledger::note::Cosigner;
use redb::Database;
use tokio::sync::{mpsc, oneshot, watch};

use super::apply::{Attempt, Tables, begin};
use super::mark::Mark;
use super::rows::{Header, RequestKey, RequestRow};
use super::snapshot::Snapshot;
use super::text::SaltedText;
use super::tree::{Notary, Tree};
use super::{CommitError, StoreError};
use crate::telemetry::Commits;

/// How many commits may wait.
pub(super) const QUEUE: usize = 4096;
/// How many leases one commit forgets.
pub(crate) const PURGED: usize = 256;
/// How many go into one transaction.
const BATCH: usize = 256;
/// How often a batch that waits for company looks for it, and how often at most.
const NAP: Duration = Duration::from_micros(200);
const NAPS: u32 = 20;

/// A change that is made if nothing in its read-set has changed, and not at all otherwise.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The effective time at which it was decided.
    pub now: Timestamp,
    /// What it rests on.
    pub reads: Vec<Read>,
    /// The task and leases as they are to be.
    pub change: Option<Change>,
    /// A task to forget, with its leases: a portion of them, if they are many. Its version must be in the read-set.
    pub purge: Option<TaskId>,
    /// Freezes and floors as they are to be. Their epoch must be in the read-set.
    pub guards: Option<Guards>,
    /// The policy set that is to be in force, with its archived form.
    pub policy: Option<(Digest, Vec<u8>)>,
    /// Settings of targets that are to be kept, and of those that are to be forgotten.
    pub settings: Vec<Kept>,
    /// What an idempotency key came to. It must be in the read-set as unused.
    pub request: Option<(RequestKey, RequestRow)>,
    /// What to record.
    pub entries: Vec<Draft>,
    /// Texts that are to be kept under their commitments, and of those that are to be erased.
    pub texts: Vec<(Digest, Option<SaltedText>)>,
    /// Whether the head of the tree is to be signed, if it has grown since it was last signed.
    pub checkpoint: bool,
    /// What a witness says of a checkpoint.
    pub cosigned: Option<Cosigned>,
    /// Entries to forget.
    pub prune: Option<Prune>,
    /// Whether it gives someone more authority, and so stops when the disk is short of space.
    pub grant: bool,
    /// Whether it is to be made though it changes nothing but the high-water mark of the effective time.
    pub mark: bool,
}

impl Commit {
    /// Whether it changes a task, a lease, a guard, or what was answered.
    pub fn is_change(&self) -> bool {
        let state = self.change.is_some() || self.purge.is_some() || self.guards.is_some();
        state || self.request.is_some()
    }

    /// Whether there is nothing to make.
    pub fn is_empty(&self) -> bool {
        let changes = self.change.is_some() || self.purge.is_some() || self.guards.is_some();
        let rows = self.policy.is_some() || self.request.is_some() || !self.entries.is_empty();
        let ledger = self.checkpoint || self.cosigned.is_some() || self.prune.is_some();
        let beside = !self.settings.is_empty() || !self.texts.is_empty();
        !changes && !rows && !ledger && !beside && !self.mark
    }
}

/// Entries to forget: their hashes stay in the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prune {
    /// All up to this one; a whole number of bundles.
    pub through: u64,
    /// What was kept beside them.
    pub attachments: Vec<Digest>,
}

/// A witness's answer, which was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The size of the tree.
    pub size: u64,
    /// The checkpoint that the witness was shown.
    pub note: Vec<u8>,
    /// Its signature lines.
    pub lines: Vec<u8>,
    /// Its key. Lines of others are ignored.
    pub witness: Cosigner,
}

/// The settings of a target, encoded; none if they are to be forgotten.
pub type Kept = (String, Option<Vec<u8>>);

/// Something a commit rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// The task had this version; 0 if it did not exist.
    Task(TaskId, u64),
    /// The guards had this epoch.
    Guards(u64),
    /// This policy set was in force.
    Policy(Digest),
    /// The idempotency key was unused.
    Unused(RequestKey),
    /// There was a text under this commitment.
    Text(Digest),
    /// The agent had fewer open tasks than this.
    OpenTasksBelow(AgentId, u32),
}

/// A task and those of its leases that changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// As it is to be.
    pub task: Task,
    /// When it must next be looked at.
    pub due: Option<Timestamp>,
    /// As they are to be.
    pub leases: Vec<Lease>,
    /// When a revocation among them is to be tried.
    pub retry: Retry,
}

/// When a revocation is to be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// At once.
    #[default]
    Now,
    /// Not before this.
    At(Timestamp),
}

/// A commit was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The place of its last ledger entry.
    pub seq: u64,
}

/// What is done as soon as a commit is made, whether or not anybody still waits for it. It must not block.
pub type Then = Box<dyn FnOnce() + Send>;

pub(super) struct Job {
    pub(super) commit: Commit,
    pub(super) reply: Reply,
}

/// Where a verdict goes.
pub(super) struct Reply {
    pub(super) to: oneshot::Sender<Verdict>,
    pub(super) then: Option<Then>,
}

pub(super) struct Committer {
    pub(super) db: Arc<Database>,
    pub(super) latest: Arc<ArcSwap<Snapshot>>,
    pub(super) guards: Arc<ArcSwap<Guards>>,
    pub(super) header: Arc<ArcSwap<Header>>,
    pub(super) short: Arc<AtomicBool>,
    pub(super) mark: Arc<Mark>,
    pub(super) commits: Arc<Commits>,
    pub(super) failed: watch::Sender<Option<String>>,
    /// None if no tree is to be grown.
    pub(super) tree: Option<Tree>,
    pub(super) notary: Arc<OnceLock<Notary>>,
    /// Told how many ledger entries there are.
    pub(super) grown: watch::Sender<u64>,
}

/// A panic is a failure of the store like any other: nothing can be committed any more.
impl Drop for Committer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = "the committer panicked".to_owned();
            self.failed.send_replace(Some(reason));
        }
    }
}

impl Committer {
    /// Runs until nobody is left to commit, or the store fails. It never tries again after a failure: after a
    /// failed fsync nothing is known of what is on the disk.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batches = Batches::default();
        while let Some(first) = jobs.blocking_recv() {
            let batch = batches.gather(first, &mut jobs);
            if let Err(error) = self.commit(batch) {
                self.failed.send_replace(Some(error.to_string()));
                return;
            }
        }
    }

    /// Dropping a job unanswered tells its sender that the store has failed.
    fn commit(&mut self, batch: Vec<Job>) -> Result<(), StoreError> {
        let _counted = self.commits.begin(batch.len());
        let mut header = **self.header.load();
        let mut guards = None;
        let mut verdicts = Vec::with_capacity(batch.len());
        let write = begin(&self.db)?;
        {
            let mut tables = Tables::open(&write)?;
            for job in batch {
                let mut attempt = Attempt {
                    tables: &mut tables,
                    header: &mut header,
                    epoch: guards.as_ref().unwrap_or(&**self.guards.load()).epoch,
                    short: self.short.load(Ordering::Relaxed),
                    tree: self.tree.as_mut(),
                    notary: self.notary.get(),
                };
                let verdict = attempt.check(&job.commit)?;
                if verdict.is_ok() {
                    guards = job.commit.guards.clone().or(guards);
                    attempt.apply(job.commit)?;
                }
                verdicts.push((job.reply, verdict.map(|()| Committed { seq: header.seq })));
            }
            header.root = self.tree.as_ref().map_or(header.root, Tree::root);
            tables.write_header(&header)?;
        }
        if verdicts.iter().all(|(_, verdict)| verdict.is_err()) {
            write.abort()?;
            answer(verdicts);
            return Ok(());
        }
        write.commit()?;
        if let Err(error) = self.mark.write(&header.mark()) {
            tracing::error!(%error, "the mark beside the store cannot be written: an older copy would not be noticed");
        }
        // What is read from here on must show this commit, and so must be in place before anyone is answered; the
        // snapshot before the guards, as readers take them.
        let tail = self.tree.as_ref().map_or_else(Vec::new, Tree::tail);
        let snapshot = Snapshot::take(&self.db, header, tail)?;
        self.latest.store(Arc::new(snapshot));
        if let Some(guards) = guards {
            self.guards.store(Arc::new(guards));
        }
        self.header.store(Arc::new(header));
        self.grown.send_replace(header.seq);
        answer(verdicts);
        Ok(())
    }
}

pub(super) type Verdict = Result<Committed, CommitError>;

fn answer(verdicts: Vec<(Reply, Verdict)>) {
    for (reply, verdict) in verdicts {
        if let (Ok(_), Some(then)) = (&verdict, reply.then) {
            then();
        }
        // Whoever has gone away meanwhile does not need to know.
        let _ = reply.to.send(verdict);
    }
}

/// Gathers what goes into one transaction.
///
/// A transaction costs much more than one more commit in it. So when there is company, a batch waits as long as
/// somebody keeps coming: right after a batch was answered, the first of its callers is back before the others, and
/// a transaction for it alone would have all of them wait for two. A caller that is alone never waits.
#[derive(Default)]
struct Batches {
    before: usize,
}

impl Batches {
    fn gather(&mut self, first: Job, jobs: &mut mpsc::Receiver<Job>) -> Vec<Job> {
        let mut batch = Vec::with_capacity(self.before.max(16));
        batch.push(first);
        drain(jobs, &mut batch);
        if self.before > 1 || batch.len() > 1 {
            wait_for_company(jobs, &mut batch);
        }
        self.before = batch.len();
        batch
    }
}

fn wait_for_company(jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
    for _ in 0..NAPS {
        let before = batch.len();
        std::thread::sleep(NAP);
        drain(jobs, batch);
        if batch.len() == before || batch.len() == BATCH {
            return;
        }
    }
}

fn drain(jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
    while batch.len() < BATCH
        && let Ok(job) = jobs.try_recv()
    {
        batch.push(job);
    }
}
