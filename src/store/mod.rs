//! The durable state: tasks, leases, deadlines, outbox, guards and the ledger, in one redb file.
//!
//! Everything changes through [`Store::commit`]: a conditional write whose read-set is checked inside the write
//! transaction that applies it. One committer thread groups what is waiting into one durable, two-phase
//! transaction. This is the only place that names redb.

mod apply;
mod commit;
mod disk;
mod ledger;
mod mark;
mod rows;
mod snapshot;
mod text;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use quietus_core::{Guards, Timestamp};
use quietus_ledger::merkle::ProofError;
use quietus_ledger::tiles::{Tile, TileError};
use redb::Database;
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use commit::PURGED;
pub use commit::{Change, Commit, Committed, Cosigned, Kept, Prune, Read, Retry, Then};
pub use disk::{Disk, FileDisk, Space};
pub use ledger::SignedHead;
pub use rows::{Answer, Effect, Header, Held, RequestKey, RequestRow};
pub use snapshot::{Due, Outgoing, Page, Snapshot};
pub use text::{SALT, SaltedText};
pub use tree::Notary;

use crate::telemetry::Commits;
use mark::Mark;
use tree::Tree;

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The redb file.
    pub path: PathBuf,
    /// Most memory for cached pages.
    pub cache_bytes: usize,
    /// With less than this free on the disk, grants stop and endings go on.
    pub min_free_bytes: u64,
    /// Open a store that is older than the last one used here; its open tasks must then be ended.
    pub accept_restored: bool,
    /// Let no tree grow over the ledger: for measuring what the tree costs, and for nothing else. A store that was
    /// written so does not open any more.
    pub without_tree: bool,
}

/// The store, shared by all who serve.
pub struct Store {
    // Before the database, since that is closed when it is dropped.
    latest: Arc<ArcSwap<Snapshot>>,
    guards: Arc<ArcSwap<Guards>>,
    header: Arc<ArcSwap<Header>>,
    queue: mpsc::Sender<commit::Job>,
    fatal: watch::Receiver<Option<String>>,
    short: Arc<AtomicBool>,
    space: Arc<dyn Space>,
    min_free: u64,
    mark: Arc<Mark>,
    commits: Arc<Commits>,
    path: PathBuf,
    restored: Option<u64>,
    notary: Arc<OnceLock<Notary>>,
    grown: watch::Receiver<u64>,
    committer: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
    db: Arc<Database>,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another broker has it, or redb cannot read it.
    #[error("cannot open the store {path}: {error}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What redb said.
        error: redb::Error,
    },
    /// The directory or a file beside the store.
    #[error("cannot use {path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A row that this version cannot read.
    #[error(transparent)]
    Broken(#[from] StoreError),
    /// An older copy of the store.
    #[error(
        "the store {path} is older than the one last used here (it ends at ledger entry {found}, the last one \
         used reached {expected}): it was restored from a copy, and what was revoked since could come alive \
         again. Put the newer file back, or start with --accept-restored-store, which first ends every task in it"
    )]
    Restored {
        /// The file.
        path: PathBuf,
        /// The ledger entry at which it ends.
        found: u64,
        /// The ledger entry that was reached before.
        expected: u64,
    },
    /// The ledger is not the one that its tree was grown over.
    #[error(
        "the ledger's last entries, up to {seq}, are not those that its Merkle tree was grown over: the store was \
         altered or damaged. Keep the file as evidence and put back a copy of it, or the store before it"
    )]
    Altered {
        /// The last entry.
        seq: u64,
    },
    /// The mark beside the store is gone.
    #[error(
        "the store {path} has no mark beside it ({mark}), so it cannot be told whether it is an older copy. Put \
         the mark back, or start with --accept-restored-store, which first ends every task in it"
    )]
    Unmarked {
        /// The file.
        path: PathBuf,
        /// The missing mark.
        mark: PathBuf,
    },
}

/// Why something could not be read from the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// redb failed.
    #[error("the store failed: {0}")]
    Database(Box<redb::Error>),
    /// A row does not decode.
    #[error(
        "the store has a row in {table} that cannot be read: it was written by another version, or damaged"
    )]
    Row {
        /// The table.
        table: &'static str,
    },
    /// A part of the ledger's tree that must be there is not.
    #[error("the ledger's tree has no {0}: the store was altered or damaged")]
    Tile(Tile),
    /// A part of the ledger's tree that is not what it must be.
    #[error("the ledger's tree is damaged: {0}")]
    Tree(#[from] TileError),
    /// A proof about entries that there are not.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The store was made by another version.
    #[error("the store has schema {found}; this version reads schema {expected}")]
    Schema {
        /// As found.
        found: u32,
        /// As needed.
        expected: u32,
    },
}

/// Why a commit was not made. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Something that was read has changed: read again and retry.
    #[error("something that was read has changed since")]
    Conflict,
    /// Too many open tasks.
    #[error("the agent already has {0} open tasks, the most allowed: close one first")]
    OpenTasks(u32),
    /// The disk is short of space; grants stop, endings go on.
    #[error(
        "the disk is short of space: nothing is granted until there is more (revoking goes on)"
    )]
    NoSpace,
    /// The store has failed, and the process must stop.
    #[error("the store has failed: {0}")]
    Stopped(String),
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(
    redb::CommitError,
    redb::Error,
    redb::SetDurabilityError,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError
);

impl Store {
    /// Opens or creates the store at `options.path`, and starts its committer.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let file = |error| OpenError::File {
            path: options.path.clone(),
            error,
        };
        if let Some(dir) = options.path.parent() {
            std::fs::create_dir_all(dir).map_err(file)?;
        }
        let short = Arc::new(AtomicBool::new(false));
        let disk = FileDisk::open(&options.path, Arc::clone(&short)).map_err(|error| {
            OpenError::Database {
                path: options.path.clone(),
                error: error.into(),
            }
        })?;
        let space = disk.space();
        Self::open_on(Box::new(disk), space, short, options)
    }

    /// Opens the store on another disk: for tests that break one.
    pub fn open_on(
        disk: Box<dyn Disk>,
        space: Arc<dyn Space>,
        short: Arc<AtomicBool>,
        options: &Options,
    ) -> Result<Self, OpenError> {
        let failed = |error: redb::Error| OpenError::Database {
            path: options.path.clone(),
            error,
        };
        let db = redb::Builder::new()
            .set_cache_size(options.cache_bytes)
            .create_with_backend(disk::Boxed(disk))
            .map_err(|error| failed(error.into()))?;
        let mut header = apply::prepare(&db)?;
        let mark = Mark::open(&options.path).map_err(|error| OpenError::File {
            path: options.path.clone(),
            error,
        })?;
        let restored = check_mark(&mark, &header, options)?;
        header.generation = header
            .generation
            .max(mark.last().map_or(0, |last| last.generation))
            + 1;
        apply::write_opened(&db, &header, restored)?;
        let tree = match options.without_tree {
            true => None,
            false => Some(Tree::load(&db, &header)?),
        };
        let tail = tree.as_ref().map_or_else(Vec::new, Tree::tail);
        let latest = Snapshot::take(&db, header, tail)?;
        let guards = latest.guards()?;
        let restored = latest.restored()?;
        let mark = Arc::new(mark);
        let (queue, jobs) = mpsc::channel(commit::QUEUE);
        let (failed, fatal) = watch::channel(None);
        let (grew, grown) = watch::channel(header.seq);
        let store = Self {
            latest: Arc::new(ArcSwap::from_pointee(latest)),
            db: Arc::new(db),
            guards: Arc::new(ArcSwap::from_pointee(guards)),
            header: Arc::new(ArcSwap::from_pointee(header)),
            queue,
            fatal,
            short,
            space,
            min_free: options.min_free_bytes,
            mark: Arc::clone(&mark),
            commits: Arc::default(),
            path: options.path.clone(),
            restored,
            notary: Arc::default(),
            grown,
            committer: std::sync::Mutex::new(None),
        };
        store
            .mark
            .write(&header.mark())
            .and_then(|()| store.mark.sync())
            .map_err(|error| OpenError::File {
                path: options.path.clone(),
                error,
            })?;
        let committer = commit::Committer {
            db: Arc::clone(&store.db),
            latest: Arc::clone(&store.latest),
            guards: Arc::clone(&store.guards),
            header: Arc::clone(&store.header),
            short: Arc::clone(&store.short),
            mark,
            commits: Arc::clone(&store.commits),
            failed,
            tree,
            grown: grew,
            notary: Arc::clone(&store.notary),
        };
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer.run(jobs))
            .map_err(|error| OpenError::File {
                path: options.path.clone(),
                error,
            })?;
        if let Ok(mut slot) = store.committer.lock() {
            *slot = Some(thread);
        }
        store.check_space();
        Ok(store)
    }

    /// Makes a change, durably, together with its ledger entries; or none of it.
    pub async fn commit(&self, commit: Commit) -> Result<Committed, CommitError> {
        self.commit_then(commit, None).await
    }

    /// The same, and what has to follow it: that comes even if the caller has gone away by then.
    pub async fn commit_then(
        &self,
        commit: Commit,
        then: Option<Then>,
    ) -> Result<Committed, CommitError> {
        let (to, answer) = oneshot::channel();
        let reply = commit::Reply { to, then };
        let job = commit::Job { commit, reply };
        if self.queue.send(job).await.is_err() {
            return Err(self.stopped());
        }
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// The state as of the last commit.
    pub fn read(&self) -> Arc<Snapshot> {
        self.latest.load_full()
    }

    /// Freezes and floors as of the last commit.
    pub fn guards(&self) -> Arc<Guards> {
        self.guards.load_full()
    }

    /// Counters as of the last commit.
    pub fn header(&self) -> Header {
        **self.header.load()
    }

    /// The entry at which a restored store ended, if it was one and was accepted, be it at an earlier start that did
    /// not get as far as [`Store::forget_restored`].
    pub fn restored(&self) -> Option<u64> {
        self.restored
    }

    /// Every task of the restored store has been ended: it is a store like any other from here on.
    pub fn forget_restored(&self) -> Result<(), StoreError> {
        apply::forget_restored(&self.db)
    }

    /// Has the head of the ledger's tree signed from here on: whenever a bundle is full, and when a commit asks for it.
    pub fn sign_heads(&self, notary: Notary) {
        // Who signs does not change while a broker runs.
        let _ = self.notary.set(notary);
    }

    /// How many ledger entries there are, as it changes.
    pub fn grown(&self) -> watch::Receiver<u64> {
        self.grown.clone()
    }

    /// Turns once from `None` to the reason, when the store has failed and the process must stop.
    pub fn fatal(&self) -> watch::Receiver<Option<String>> {
        self.fatal.clone()
    }

    /// Whether grants are refused for want of disk space.
    pub fn is_short_of_space(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Looks at the free space, and allows or refuses grants by it.
    pub fn check_space(&self) {
        if let Some(free) = self.space.free() {
            // The reserve, if it is set aside now, is no longer free.
            let room = || self.space.free().is_some_and(|free| free >= self.min_free);
            let short = free < self.min_free || !self.space.restore_reserve() || !room();
            self.short.store(short, Ordering::Relaxed);
        }
    }

    /// Makes the mark beside the store survive a power failure as well. A process crash it survives anyway.
    pub fn sync_mark(&self) -> std::io::Result<()> {
        self.mark.sync()
    }

    /// How large its transactions are, and how long they take.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// The size of the file.
    pub fn bytes_on_disk(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn stopped(&self) -> CommitError {
        let reason = self.fatal.borrow().clone();
        CommitError::Stopped(reason.unwrap_or_else(|| "it is shut down".to_owned()))
    }
}

impl Drop for Store {
    /// Waits for the committer, so that the file is closed when the store is gone.
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        self.queue = closed;
        let thread = self.committer.lock().ok().and_then(|mut slot| slot.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        let _ = self.mark.sync();
    }
}

fn check_mark(mark: &Mark, header: &Header, options: &Options) -> Result<Option<u64>, OpenError> {
    let error = match mark.last() {
        Some(last) if last.is_newer_than(header) => OpenError::Restored {
            path: options.path.clone(),
            found: header.seq,
            expected: last.seq,
        },
        // Without an entry there is nothing that could come alive: a crash in the first opening leaves just that.
        None if header.seq > 0 => OpenError::Unmarked {
            path: options.path.clone(),
            mark: mark.path().to_owned(),
        },
        _ => return Ok(None),
    };
    match options.accept_restored {
        true => Ok(Some(header.seq)),
        false => Err(error),
    }
}

/// The high-water mark of the effective time, as stored.
impl Header {
    /// The latest effective time that was ever committed.
    pub fn high_water(&self) -> Timestamp {
        Timestamp(self.high_water)
    }
}
