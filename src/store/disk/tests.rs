use std::collections::VecDeque;
use std::sync::Mutex;

use io::ErrorKind::{Other, PermissionDenied, StorageFull, Unsupported};

use super::*;

/// A file system that says what it is told to, then does what it is asked for.
#[derive(Debug, Default)]
struct Scripted {
    allocations: Mutex<VecDeque<io::ErrorKind>>,
    writes: Mutex<VecDeque<io::ErrorKind>>,
    free: Mutex<Option<u64>>,
}

impl Medium for Scripted {
    fn allocate(&self, file: &File, _: u64, to: u64) -> io::Result<()> {
        match self.allocations.lock().unwrap().pop_front() {
            // `Other` stands for success, so that a script can say "then".
            None | Some(Other) => file.set_len(to),
            Some(kind) => Err(kind.into()),
        }
    }

    fn write(&self, file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.writes.lock().unwrap().pop_front() {
            None => FileSystem.write(file, offset, data),
            Some(kind) => Err(kind.into()),
        }
    }

    fn free(&self, _: &Path) -> Option<u64> {
        *self.free.lock().unwrap()
    }
}

struct Bench {
    folder: tempfile::TempDir,
    medium: Arc<Scripted>,
    disk: FileDisk,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let medium = Arc::new(Scripted {
            free: Mutex::new(Some(1 << 40)),
            ..Scripted::default()
        });
        let disk = FileDisk::open_on(
            Arc::clone(&medium) as Arc<dyn Medium>,
            &folder.path().join("quietus.redb"),
            Arc::default(),
        )
        .unwrap();
        Self {
            folder,
            medium,
            disk,
        }
    }

    fn allocations(&self, script: &[io::ErrorKind]) {
        *self.medium.allocations.lock().unwrap() = script.iter().copied().collect();
    }

    fn writes(&self, script: &[io::ErrorKind]) {
        *self.medium.writes.lock().unwrap() = script.iter().copied().collect();
    }

    fn reserve(&self) -> PathBuf {
        self.folder.path().join("quietus.reserve")
    }

    fn reserve_len(&self) -> u64 {
        fs::metadata(self.reserve()).map_or(0, |meta| meta.len())
    }

    fn is_short(&self) -> bool {
        self.disk.short.load(Ordering::Relaxed)
    }
}

#[test]
fn growing_with_room_keeps_the_reserve() {
    let bench = Bench::new();
    bench.disk.set_len(1 << 20).unwrap();
    assert_eq!(bench.disk.len().unwrap(), 1 << 20);
    assert_eq!(bench.reserve_len(), RESERVE);
    assert!(!bench.is_short());
}

#[test]
fn growing_on_a_full_disk_goes_on_without_blocks_and_keeps_the_reserve() {
    let bench = Bench::new();
    bench.allocations(&[StorageFull]);
    bench.disk.set_len(1 << 30).unwrap();
    assert_eq!(bench.disk.len().unwrap(), 1 << 30);
    assert_eq!(bench.reserve_len(), RESERVE);
    assert!(bench.is_short());
}

#[test]
fn a_disk_that_fails_is_not_a_full_one() {
    let bench = Bench::new();
    bench.allocations(&[PermissionDenied]);
    let error = bench.disk.set_len(1 << 20).unwrap_err();
    assert_eq!(error.kind(), PermissionDenied);
    bench.writes(&[PermissionDenied]);
    let error = bench.disk.write(0, b"revoked").unwrap_err();
    assert_eq!(error.kind(), PermissionDenied);
    assert_eq!(bench.reserve_len(), RESERVE);
    assert!(!bench.is_short());
}

#[test]
fn a_file_system_that_allocates_nothing_ahead_is_used_as_it_is() {
    let bench = Bench::new();
    bench.allocations(&[Unsupported]);
    bench.disk.set_len(1 << 20).unwrap();
    assert_eq!(bench.disk.len().unwrap(), 1 << 20);
    assert!(!bench.is_short());

    fs::remove_file(bench.reserve()).unwrap();
    bench.allocations(&[Unsupported]);
    assert!(bench.disk.space().restore_reserve());
    assert_eq!(bench.reserve_len(), RESERVE);
}

#[test]
fn a_write_that_finds_the_disk_full_is_made_in_the_room_of_the_reserve() {
    let bench = Bench::new();
    bench.disk.set_len(4096).unwrap();
    bench.writes(&[StorageFull, StorageFull]);
    bench.disk.write(0, b"revoked").unwrap();
    let mut found = [0; 7];
    bench.disk.read(0, &mut found).unwrap();
    assert_eq!(&found, b"revoked");
    // No more of it than was needed: the rest is safe from others.
    assert_eq!(bench.reserve_len(), RESERVE - 2 * SLICE);
    assert!(bench.is_short());
}

#[test]
fn with_the_reserve_used_up_a_full_disk_is_an_error() {
    let bench = Bench::new();
    let most = usize::try_from(RESERVE / SLICE).unwrap();
    for (fails, written) in [(most, true), (most + 1, false), (1, false)] {
        bench.writes(&vec![StorageFull; fails]);
        assert_eq!(bench.disk.write(0, b"revoked").is_ok(), written, "{fails}");
        if written {
            bench.disk.space().restore_reserve();
            assert_eq!(bench.reserve_len(), RESERVE);
        }
    }
}

#[test]
fn a_reserve_that_is_not_whole_does_not_stand() {
    let bench = Bench::new();
    let space = bench.disk.space();
    fs::File::create(bench.reserve()).unwrap();
    assert!(space.restore_reserve());
    assert_eq!(bench.reserve_len(), RESERVE);
}

#[test]
fn the_reserve_does_not_take_the_room_that_the_store_still_needs() {
    let bench = Bench::new();
    let space = bench.disk.space();
    let part = RESERVE / 4;
    fs::OpenOptions::new()
        .write(true)
        .open(bench.reserve())
        .unwrap()
        .set_len(part)
        .unwrap();
    for (free, len) in [
        (RESERVE, part),
        (2 * RESERVE - 1, part),
        (2 * RESERVE, RESERVE),
    ] {
        *bench.medium.free.lock().unwrap() = Some(free);
        assert_eq!(space.restore_reserve(), len == RESERVE, "{free}");
        assert_eq!(bench.reserve_len(), len, "{free}");
    }
}

#[test]
fn the_real_file_system_allocates_what_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quietus.redb");
    let disk = FileDisk::open(&path, Arc::default()).unwrap();
    disk.set_len(1 << 20).unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.len(), 1 << 20);
    assert!(std::os::unix::fs::MetadataExt::blocks(&meta) * 512 >= 1 << 20);
    assert!(disk.space().free().unwrap() > 0);
}
