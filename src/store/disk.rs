//! The disk under the store: growth is allocated ahead, and a reserve is given up when it cannot be, so that
//! revoking goes on when the disk is full.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use redb::backends::FileBackend;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Kept back for revoking.
const RESERVE: u64 = 32 << 20;

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
    reserve: Arc<Reserve>,
    short: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Reserve {
    path: PathBuf,
    dir: PathBuf,
}

impl FileDisk {
    /// Opens or creates the file, for this process alone.
    pub fn open(path: &Path, short: Arc<AtomicBool>) -> Result<Self, redb::DatabaseError> {
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
        });
        reserve.restore_reserve();
        Ok(Self {
            backend,
            file,
            reserve,
            short,
        })
    }

    /// The room left on its file system.
    pub fn space(&self) -> Arc<dyn Space> {
        Arc::clone(&self.reserve) as Arc<dyn Space>
    }

    /// Allocates the blocks now, so that no later write can find the disk full.
    fn grow(&self, from: u64, to: u64) -> io::Result<()> {
        let flags = FallocateFlags::empty();
        match fallocate(self.file.as_fd(), flags, from, to - from) {
            Err(rustix::io::Errno::OPNOTSUPP) => self.backend.set_len(to),
            done => done.map_err(io::Error::from),
        }
    }
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
        if len <= now {
            return self.backend.set_len(len);
        }
        match self.grow(now, len) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.short.store(true, Ordering::Relaxed);
                self.reserve.give_up()?;
                self.grow(now, len)
            }
            done => done,
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.backend.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.backend.close()
    }
}

impl Reserve {
    fn give_up(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn set_aside(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&self.path)?;
        match fallocate(file.as_fd(), FallocateFlags::empty(), 0, RESERVE) {
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            done => done.map_err(io::Error::from),
        }
    }
}

impl Space for Reserve {
    fn free(&self) -> Option<u64> {
        let stat = statvfs(&self.dir).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn restore_reserve(&self) -> bool {
        if self.path.exists() {
            return true;
        }
        let done = self.set_aside();
        if done.is_err() {
            let _ = self.give_up();
        }
        done.is_ok()
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
}
