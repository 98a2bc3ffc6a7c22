//! The disk under the store.
//!
//! Growth is allocated when it happens, so that a full disk shows there and not in the middle of a commit. redb
//! doubles its file: when there is no room for that the file is extended without blocks, grants are refused from
//! then on, and revoking goes on. Its writes find their blocks one by one. A reserve is kept beside the store, and
//! when a write finds no room a slice of it is given up just then, so that nobody else can take it first. Grants come
//! back once the reserve is whole again and the configured room is free besides.
//!
//! When the reserve is used up a write fails, redb takes nothing more, and the store stops for good: what was
//! acknowledged was synced and is there when it is opened again with more room. An fsync that fails stops it just so
//! and is never tried again, since the kernel may have dropped what it could not write and report success next.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Kept back for revoking.
const RESERVE: u64 = 32 << 20;
/// How much of it is given up at a time.
const SLICE: u64 = 1 << 20;

/// What the store stands on. Tests bring disks that fill up, fail and forget.
pub trait Disk: StorageBackend {}

impl<D: StorageBackend> Disk for D {}

/// How much room is left.
pub trait Space: Send + Sync {
    /// Free bytes, if that can be told.
    fn free(&self) -> Option<u64>;
    /// Sets the reserve aside again if it was given up; whether it stands.
    fn restore_reserve(&self) -> bool;
}

/// A file, its reserve, and whether the reserve had to be given up.
#[derive(Debug)]
pub struct FileDisk {
    backend: FileBackend,
    file: File,
    medium: Arc<dyn Medium>,
    reserve: Arc<Reserve>,
    short: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Reserve {
    path: PathBuf,
    dir: PathBuf,
    medium: Arc<dyn Medium>,
}

/// What takes room on a file system, and tells how much there is.
trait Medium: fmt::Debug + Send + Sync {
    /// Gives the file blocks from one place to another, and the length that this takes.
    fn allocate(&self, file: &File, from: u64, to: u64) -> io::Result<()>;
    fn write(&self, file: &File, offset: u64, data: &[u8]) -> io::Result<()>;
    fn free(&self, dir: &Path) -> Option<u64>;
}

#[derive(Debug)]
struct FileSystem;

impl FileDisk {
    /// Opens or creates the file, for this process alone.
    pub fn open(path: &Path, short: Arc<AtomicBool>) -> Result<Self, redb::DatabaseError> {
        Self::open_on(Arc::new(FileSystem), path, short)
    }

    fn open_on(
        medium: Arc<dyn Medium>,
        path: &Path,
        short: Arc<AtomicBool>,
    ) -> Result<Self, redb::DatabaseError> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(path)?;
        let backend = FileBackend::new(file.try_clone()?)?;
        let reserve = Arc::new(Reserve {
            path: path.with_extension("reserve"),
            dir: path.parent().unwrap_or(Path::new(".")).to_owned(),
            medium: Arc::clone(&medium),
        });
        reserve.restore_reserve();
        Ok(Self {
            backend,
            file,
            medium,
            reserve,
            short,
        })
    }

    /// The room left on its file system.
    pub fn space(&self) -> Arc<dyn Space> {
        Arc::clone(&self.reserve) as Arc<dyn Space>
    }

    fn grow(&self, from: u64, to: u64) -> io::Result<()> {
        match self.medium.allocate(&self.file, from, to) {
            Err(error) if is_full(&error) => {
                self.short.store(true, Ordering::Relaxed);
                self.backend.set_len(to)
            }
            // A file system that allocates nothing ahead.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.backend.set_len(to),
            done => done,
        }
    }

    /// Makes a little room; whether there was any left.
    fn make_room(&self) -> io::Result<bool> {
        self.short.store(true, Ordering::Relaxed);
        self.reserve.give_up_some()
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

impl StorageBackend for FileDisk {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let now = self.backend.len()?;
        match len > now {
            true => self.grow(now, len),
            false => self.backend.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        loop {
            match self.medium.write(&self.file, offset, data) {
                Err(error) if is_full(&error) && self.make_room()? => {}
                done => return done,
            }
        }
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.backend.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.backend.unlock_range(start, end)
    }
}

impl Medium for FileSystem {
    fn allocate(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        // A long allocation can be cut short by a signal.
        let allocate = || fallocate(file.as_fd(), FallocateFlags::empty(), from, to - from);
        Ok(rustix::io::retry_on_intr(allocate)?)
    }

    fn write(&self, file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
        file.write_all_at(data, offset)
    }

    fn free(&self, dir: &Path) -> Option<u64> {
        let stat = statvfs(dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl Reserve {
    /// Gives a slice of it up; whether there was one.
    fn give_up_some(&self) -> io::Result<bool> {
        let file = match OpenOptions::new().write(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        let left = file.metadata()?.len();
        file.set_len(left.saturating_sub(SLICE))?;
        Ok(left > 0)
    }

    /// Whether all of it is there.
    fn stands(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= RESERVE)
    }

    fn set_aside(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&self.path)?;
        match self.medium.allocate(&file, 0, RESERVE) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => self.fill(&file),
            done => done,
        }
    }

    fn fill(&self, file: &File) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut offsets = (0..RESERVE).step_by(zeros.len());
        offsets.try_for_each(|offset| self.medium.write(file, offset, &zeros))
    }

    /// Whether there is room for it besides what the store may still write.
    fn fits(&self) -> bool {
        self.free().is_some_and(|free| free >= 2 * RESERVE)
    }
}

impl Space for Reserve {
    fn free(&self) -> Option<u64> {
        self.medium.free(&self.dir)
    }

    fn restore_reserve(&self) -> bool {
        if self.stands() {
            return true;
        }
        // What is left of it is better than nothing.
        self.fits() && self.set_aside().is_ok()
    }
}

/// redb takes a type, the store any disk.
pub(super) struct Boxed(pub(super) Box<dyn Disk>);

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StorageBackend for Boxed {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }
}

#[cfg(test)]
mod tests;
