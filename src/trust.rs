//! The trust bundles in force, each from a file that may change while the broker serves.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use quietus_identity::{BundleError, TrustBundle, TrustBundles, TrustDomain};
use thiserror::Error;

use crate::files::{self, FileError, Seen};

const MAX_BUNDLE_BYTES: usize = 1024 * 1024;

/// A clock: the time in unix seconds.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The trust bundles in force. Readers never wait, not even while files are read again.
///
/// Replace a bundle by renaming a complete file over it: half a file can read as a bundle with fewer anchors.
#[derive(Debug)]
pub struct Trust {
    bundles: ArcSwap<TrustBundles>,
    status: ArcSwap<Vec<BundleStatus>>,
    sources: Mutex<Vec<Source>>,
}

/// Where the bundle of one trust domain comes from, and how its last reading went.
#[derive(Clone, Debug)]
pub struct BundleStatus {
    /// The trust domain.
    pub domain: TrustDomain,
    /// The file.
    pub path: PathBuf,
    /// How many anchors are in force.
    pub anchors: usize,
    /// When the bundle in force was read, in unix seconds.
    pub loaded_at: u64,
    /// What is wrong with the file now. While there is something, the bundle read at `loaded_at` stays in force.
    pub error: Option<String>,
}

/// What a reload found different in one file.
#[derive(Debug)]
pub struct Change {
    /// The trust domain.
    pub domain: TrustDomain,
    /// The file.
    pub path: PathBuf,
    /// The number of anchors now in force or, where the old bundle was kept, why.
    pub outcome: Result<usize, BundleFileError>,
}

impl Trust {
    /// Reads every bundle. One that cannot be read is an error: a broker does not start on half its trust.
    pub fn load(files: Vec<(TrustDomain, PathBuf)>, now: u64) -> Result<Self, TrustError> {
        check_distinct(&files)?;
        let mut sources = Vec::with_capacity(files.len());
        let mut bundles = TrustBundles::default();
        for (domain, path) in files {
            let (source, bundle) = Source::load(domain, path, now)?;
            sources.push(source);
            bundles.insert(bundle);
        }
        Ok(Self {
            bundles: ArcSwap::from_pointee(bundles),
            status: ArcSwap::from_pointee(status_of(&sources)),
            sources: Mutex::new(sources),
        })
    }

    /// Reads the files again and puts what changed into force, all of it at once.
    ///
    /// A file that is missing or broken leaves the old bundle in force. It is reported once, not at every reload.
    pub fn reload(&self, now: u64) -> Vec<Change> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bundles = TrustBundles::clone(&self.bundles.load());
        let changes: Vec<_> = sources
            .iter_mut()
            .filter_map(|source| source.reload(&mut bundles, now))
            .collect();
        if changes.iter().any(|change| change.outcome.is_ok()) {
            self.bundles.store(Arc::new(bundles));
        }
        if !changes.is_empty() {
            self.status.store(Arc::new(status_of(&sources)));
        }
        changes
    }

    /// Reloads at every interval, for ever, and tells of changes. Spawn it.
    pub async fn watch(
        self: Arc<Self>,
        every: Duration,
        now: Now,
        on_change: impl Fn(Vec<Change>) + Send,
    ) {
        let look = move || self.reload(now());
        let tell = |changes: Vec<Change>| match changes.is_empty() {
            true => {}
            false => on_change(changes),
        };
        files::poll(every, look, tell).await
    }

    /// The bundles in force.
    pub fn current(&self) -> Arc<TrustBundles> {
        self.bundles.load_full()
    }

    /// The state of every bundle, in the order in which they were configured.
    pub fn status(&self) -> Arc<Vec<BundleStatus>> {
        self.status.load_full()
    }

    /// The bundles in force, for a moment; cheaper than [`Self::current`].
    pub(crate) fn glance(&self) -> Guard<Arc<TrustBundles>> {
        self.bundles.load()
    }
}

/// Why trust bundles cannot be loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// One trust domain with two files.
    #[error("trust domain {domain} has two bundle files: put its anchors into one")]
    Repeated {
        /// The trust domain.
        domain: TrustDomain,
    },
    /// A file that is not a bundle.
    #[error("the bundle of trust domain {domain}, {path}, {problem}", path = path.display())]
    Bundle {
        /// The trust domain.
        domain: TrustDomain,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: BundleFileError,
    },
}

/// Why a file is not taken as a trust bundle.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleFileError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not a trust bundle.
    #[error("is refused: {0}")]
    Content(#[from] BundleError),
}

/// Reads the bundle of one trust domain once, as a client does.
pub(crate) fn read_bundle(
    domain: &TrustDomain,
    path: &Path,
) -> Result<TrustBundle, BundleFileError> {
    parse(domain, files::read(path, MAX_BUNDLE_BYTES))
}

#[derive(Debug)]
struct Source {
    status: BundleStatus,
    seen: Seen,
}

impl Source {
    fn load(
        domain: TrustDomain,
        path: PathBuf,
        now: u64,
    ) -> Result<(Self, TrustBundle), TrustError> {
        let (seen, read) = look(&path);
        match parse(&domain, read) {
            Ok(bundle) => {
                let status = BundleStatus {
                    domain,
                    path,
                    anchors: bundle.anchors().len(),
                    loaded_at: now,
                    error: None,
                };
                Ok((Self { status, seen }, bundle))
            }
            Err(problem) => Err(TrustError::Bundle {
                domain,
                path,
                problem,
            }),
        }
    }

    fn reload(&mut self, bundles: &mut TrustBundles, now: u64) -> Option<Change> {
        let (seen, read) = look(&self.status.path);
        if seen == self.seen {
            return None;
        }
        self.seen = seen;
        let bundle = parse(&self.status.domain, read);
        self.status.note(&bundle, now);
        Some(Change {
            domain: self.status.domain.clone(),
            path: self.status.path.clone(),
            outcome: bundle.map(|bundle| put(bundles, bundle)),
        })
    }
}

impl BundleStatus {
    fn note(&mut self, read: &Result<TrustBundle, BundleFileError>, now: u64) {
        match read {
            Ok(bundle) => {
                self.anchors = bundle.anchors().len();
                self.loaded_at = now;
                self.error = None;
            }
            Err(problem) => self.error = Some(problem.to_string()),
        }
    }
}

fn look(path: &Path) -> (Seen, Result<Vec<u8>, FileError>) {
    let read = files::read(path, MAX_BUNDLE_BYTES);
    let seen = match &read {
        Ok(bytes) => Seen::content([bytes.as_slice()]),
        Err(error) => Seen::failure(error),
    };
    (seen, read)
}

fn parse(
    domain: &TrustDomain,
    read: Result<Vec<u8>, FileError>,
) -> Result<TrustBundle, BundleFileError> {
    Ok(TrustBundle::parse(domain.clone(), &read?)?)
}

fn put(bundles: &mut TrustBundles, bundle: TrustBundle) -> usize {
    let anchors = bundle.anchors().len();
    bundles.insert(bundle);
    anchors
}

fn status_of(sources: &[Source]) -> Vec<BundleStatus> {
    sources.iter().map(|source| source.status.clone()).collect()
}

fn check_distinct(files: &[(TrustDomain, PathBuf)]) -> Result<(), TrustError> {
    let mut known = BTreeSet::new();
    match files.iter().find(|(domain, _)| !known.insert(domain)) {
        Some((domain, _)) => Err(TrustError::Repeated {
            domain: domain.clone(),
        }),
        None => Ok(()),
    }
}
