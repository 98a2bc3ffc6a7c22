//! The mark beside the store: how far the last store used here got. It is written after every commit, so a store
//! that ends before it is an older copy.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::rows::Header;

const LEN: usize = 32;

/// The file and what it said when it was opened.
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    last: Option<Reached>,
}

/// How far a store got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) store: [u8; 16],
    pub(super) generation: u64,
    pub(super) seq: u64,
}

impl Reached {
    /// Whether a store with this header is an older copy of the one that reached this, or another one altogether.
    pub(super) fn is_newer_than(&self, header: &Header) -> bool {
        self.store != header.store || self.generation > header.generation || self.seq > header.seq
    }

    fn to_bytes(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..16].copy_from_slice(&self.store);
        bytes[16..24].copy_from_slice(&self.generation.to_be_bytes());
        bytes[24..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (store, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<8>()?;
        let seq = rest.first_chunk::<8>()?;
        Some(Self {
            store: *store,
            generation: u64::from_be_bytes(*generation),
            seq: u64::from_be_bytes(*seq),
        })
    }
}

impl Mark {
    pub(super) fn open(store: &Path) -> io::Result<Self> {
        let path = store.with_extension("mark");
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let last = Reached::from_bytes(&bytes);
        Ok(Self { file, path, last })
    }

    /// What it said when it was opened.
    pub(super) fn last(&self) -> Option<Reached> {
        self.last
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn write(&self, reached: &Reached) -> io::Result<()> {
        self.file.write_all_at(&reached.to_bytes(), 0)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
