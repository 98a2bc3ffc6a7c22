//! Evidence that outsiders verify.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod independent;
#[path = "../../crates/ledger/tests/audit/log.rs"]
mod log;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

/// A copy of a log in a folder of its own, taken away in the end.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn of(copy: &log::Copy) -> Self {
        let folder = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for (path, bytes) in &copy.0 {
            folder.put(&format!("copy/{path}"), bytes);
        }
        folder
    }

    fn put(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn copy(&self) -> PathBuf {
        self.dir.path().join("copy")
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}
