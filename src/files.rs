//! Files that are read again while the broker serves: bounded reads, and a poll that sees every way of replacing one.

use std::fs::{self, File};
use std::io::{self, Read};
#[cfg(any(feature = "redis", feature = "static-secrets"))]
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::digest::{Context, SHA256};
use thiserror::Error;
use tokio::time::MissedTickBehavior;

const SHORTEST_POLL: Duration = Duration::from_millis(1);

/// Reads a regular file of at most `limit` bytes.
///
/// The bytes are never moved while they are read, so that a caller who wipes them wipes the only copy.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    // Looked at before it is opened: opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(FileError::NotRegular);
    }
    let mut bytes = Vec::with_capacity(limit + 1);
    File::open(path)?
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)?;
    match bytes.len() > limit {
        true => Err(FileError::TooLarge { limit }),
        false => Ok(bytes),
    }
}

#[cfg(any(feature = "redis", feature = "static-secrets"))]
/// The same for a file with a secret in it, which nobody but its owner may touch.
pub(crate) fn read_private(path: &Path, limit: usize) -> Result<Vec<u8>, FileError> {
    let mode = fs::metadata(path)?.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => read(path, limit),
        _ => Err(FileError::Shared { mode }),
    }
}

/// What a poll found: enough to tell whether the next one finds something else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Content([u8; 32]),
    Failure(String),
}

impl Seen {
    /// By content and not by inode or time, because Kubernetes swaps a symbolic link two levels up.
    pub(crate) fn content<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        for bytes in files {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self::Content(digest)
    }

    pub(crate) fn failure(error: &impl ToString) -> Self {
        Self::Failure(error.to_string())
    }
}

/// Calls `look` at once and then at every interval, where it may block, and `tell` with what it returned. Never ends.
pub(crate) async fn poll<T: Send + 'static>(
    every: Duration,
    look: impl Fn() -> T + Send + Sync + 'static,
    tell: impl Fn(T),
) {
    let look = Arc::new(look);
    let mut ticks = tokio::time::interval(every.max(SHORTEST_POLL));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let look = Arc::clone(&look);
        match tokio::task::spawn_blocking(move || look()).await {
            Ok(seen) => tell(seen),
            Err(error) => tracing::error!(%error, "a poll for changed files did not finish"),
        }
    }
}

/// Why a file is not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be opened or read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, pipe, socket or device.
    #[error("is not a regular file")]
    NotRegular,
    /// A secret that others may read or write.
    #[error("can be used by others (mode {mode:o}): chmod 600 it")]
    Shared {
        /// Its permissions.
        mode: u32,
    },
    /// Larger than anything that belongs there.
    #[error("has more than {limit} bytes, the most that are read: is it the right file?")]
    TooLarge {
        /// The most bytes that are read.
        limit: usize,
    },
}
