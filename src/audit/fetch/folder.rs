//! The folder that a copy is kept in: a file is there as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

use crate::files::{self, FileError};

/// What a copy consists of.
const PARTS: [&str; 5] = [
    "checkpoint",
    "checkpoints",
    "tile",
    "attachments",
    "policies",
];

/// A copy's folder, held by one writer at a time.
pub(super) struct Folder {
    path: PathBuf,
    held: File,
}

impl Folder {
    /// Makes the folder if there is none, and holds it until it is dropped.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {shown}"))?;
        let held = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        held.try_lock()
            .map_err(|error| anyhow!("{shown} is being written by another process ({error})"))?;
        let folder = Self {
            path: path.to_owned(),
            held,
        };
        match folder.stranger()? {
            None => Ok(folder),
            Some(name) => bail!(
                "{shown} is not the copy of a log: it has {name:?} in it. Name an empty folder, or a copy to be brought up to date"
            ),
        }
    }

    /// Something in a folder without a checkpoint that no unfinished copy leaves.
    fn stranger(&self) -> anyhow::Result<Option<String>> {
        if self.has("checkpoint") {
            return Ok(None);
        }
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !PARTS.contains(&name.as_str()) && name != draft_of("checkpoint") {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Whether there is such a file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file()
    }

    /// A file's bytes; none if there is no such file.
    pub(super) fn read(&self, name: &str, limit: usize) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        match files::read(&path, limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(anyhow!("{} {error}", path.display())),
        }
    }

    /// Puts a file in the place of the one of that name, in one step.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.path.join(name);
        self.replace(&path, bytes)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let draft = path.with_file_name(draft_of(&name));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(&draft)?.write_all(bytes)?;
        fs::rename(draft, path)
    }

    /// Takes a file away, and the folder around it if it is empty then.
    pub(super) fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => {
                // There may be others in it.
                let _ = path.parent().map(fs::remove_dir);
                Ok(())
            }
        }
    }

    /// Waits until everything that was written is on the disk.
    pub(super) fn sync(&self) -> anyhow::Result<()> {
        rustix::fs::syncfs(&self.held)
            .with_context(|| format!("cannot sync the disk of {}", self.path.display()))
    }
}

fn draft_of(name: &str) -> String {
    format!(".{name}.new")
}
