//! A disk that fails, fills up, and forgets what was not synced when the power goes.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use quietus::store::{Disk, OpenError, Options, Space, Store};

use crate::inside::rng::Rng;

/// The disk; handles to it are given to the store.
#[derive(Clone, Debug, Default)]
pub struct Platter(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    /// What a power failure cannot take.
    synced: Vec<u8>,
    /// What the operating system shows.
    shown: Vec<u8>,
    since_sync: Vec<Change>,
    counts: Counts,
    /// Operations that change something until every one fails.
    dies_after: Option<u64>,
    /// Syncs until one fails; those after it would succeed.
    sync_fails_after: Option<u64>,
    /// Writes until the disk is full.
    full_after: Option<u64>,
    failed: bool,
    panics: bool,
    /// Syncs wait as long as this.
    held: bool,
    waiting: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

/// What the disk was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes and changes of length.
    pub writes: u64,
    pub syncs: u64,
    /// Either, after the first one that failed.
    pub after_failure: u64,
}

/// What of the writes since the last sync is still there when the power comes back.
#[derive(Clone, Copy, Debug)]
pub enum Survives {
    Nothing,
    Everything,
    /// A random half of the blocks of this size.
    Blocks(usize),
}

impl Platter {
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub fn die_after(&self, operations: u64) {
        self.lock().dies_after = Some(operations);
    }

    pub fn fail_sync_after(&self, syncs: u64) {
        self.lock().sync_fails_after = Some(syncs);
    }

    pub fn fill_up_after(&self, writes: u64) {
        self.lock().full_after = Some(writes);
    }

    /// The next sync panics.
    pub fn panic_at_sync(&self) {
        self.lock().panics = true;
    }

    /// No sync returns before [`Platter::let_go`].
    pub fn hold(&self) {
        self.lock().held = true;
    }

    pub fn let_go(&self) {
        self.lock().held = false;
        self.0.1.notify_all();
    }

    /// Whether a sync waits for [`Platter::let_go`].
    pub fn is_waited_for(&self) -> bool {
        self.lock().waiting
    }

    /// A copy as the disk is after a power failure at this moment.
    pub fn after_power_failure(&self, survives: Survives, rng: &mut Rng) -> Self {
        let state = self.lock();
        let mut image = state.synced.clone();
        for change in &state.since_sync {
            survive(&mut image, change, survives, rng);
        }
        let state = State {
            synced: image.clone(),
            shown: image,
            ..State::default()
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub fn open(&self, room: &Arc<Room>, options: &Options) -> Result<Store, OpenError> {
        let disk: Box<dyn Disk> = Box::new(Handle(self.clone()));
        let space = Arc::clone(room) as Arc<dyn Space>;
        Store::open_on(disk, space, Arc::new(AtomicBool::new(false)), options)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn survive(image: &mut Vec<u8>, change: &Change, survives: Survives, rng: &mut Rng) {
    let size = match survives {
        Survives::Nothing => return,
        Survives::Everything => return change.apply(image),
        Survives::Blocks(size) => size,
    };
    match change {
        // Whether a new length lasts depends on nothing else.
        Change::Length(_) if rng.one_in(2) => change.apply(image),
        Change::Length(_) => {}
        Change::Write(offset, data) => {
            let mut at = 0;
            while at < data.len() {
                let position = usize::try_from(*offset).unwrap() + at;
                let end = data.len().min(at + size - position % size);
                if rng.one_in(2) && position + (end - at) <= image.len() {
                    image[position..position + (end - at)].copy_from_slice(&data[at..end]);
                }
                at = end;
            }
        }
    }
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Length(len) => image.resize(usize::try_from(*len).unwrap(), 0),
            Self::Write(offset, data) => {
                let offset = usize::try_from(*offset).unwrap();
                image[offset..offset + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl State {
    fn change(&mut self, change: Change) -> io::Result<()> {
        self.note();
        self.counts.writes += 1;
        if count_down(&mut self.full_after) {
            self.failed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let dying = count_down(&mut self.dies_after);
        if !self.failed {
            change.apply(&mut self.shown);
            self.since_sync.push(change);
        }
        self.check(dying)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.note();
        self.counts.syncs += 1;
        let dying = count_down(&mut self.dies_after) || count_down(&mut self.sync_fails_after);
        self.check(dying)?;
        for change in std::mem::take(&mut self.since_sync) {
            change.apply(&mut self.synced);
        }
        Ok(())
    }

    fn note(&mut self) {
        self.counts.after_failure += u64::from(self.failed);
    }

    fn check(&mut self, dying: bool) -> io::Result<()> {
        self.failed |= dying;
        match dying {
            true => Err(io::Error::other("the disk has failed")),
            false => Ok(()),
        }
    }
}

fn count_down(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => true,
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

#[derive(Debug)]
struct Handle(Platter);

impl redb::StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().shown.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        let offset = usize::try_from(offset).unwrap();
        let found = state.shown.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().change(Change::Length(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        while state.held {
            state.waiting = true;
            state = self.0.0.1.wait(state).unwrap();
        }
        state.waiting = false;
        assert!(!state.panics, "a disk that panics");
        state.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.lock().change(Change::Write(offset, data.to_vec()))
    }
}

/// How much room a disk says it has.
#[derive(Debug)]
pub struct Room {
    pub free: AtomicU64,
    pub reserve: AtomicBool,
}

impl Room {
    pub fn plenty() -> Arc<Self> {
        Arc::new(Self {
            free: AtomicU64::new(u64::MAX),
            reserve: AtomicBool::new(true),
        })
    }
}

impl Space for Room {
    fn free(&self) -> Option<u64> {
        Some(self.free.load(Ordering::SeqCst))
    }

    fn restore_reserve(&self) -> bool {
        self.reserve.load(Ordering::SeqCst)
    }
}

pub fn options(folder: &Path) -> Options {
    Options {
        path: folder.join("quietus.redb"),
        cache_bytes: 8 << 20,
        min_free_bytes: 1 << 20,
        accept_restored: false,
        without_tree: false,
    }
}
