//! A copy of a log in a folder, as it is verified: bounded reads of regular files that never leave the folder.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use quietus_ledger::audit::{Files, MAX_FILE};

/// Most files that are listed: those of some hundred million entries.
const MAX_PATHS: usize = 2_000_000;
/// Deepest folder of a copy: `tile`, a level, and six groups of digits.
const MAX_DEPTH: usize = 10;
/// Where a copy keeps its files; whatever else lies in the folder is left alone.
const PLACES: [&str; 5] = [
    "checkpoint",
    "checkpoints",
    "tile",
    "attachments",
    "policies",
];

/// A folder with a copy of a log. Symbolic links in it are refused.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

/// Why a copy cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Not a folder, or not readable.
    #[error("cannot read {path}: {error}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A symbolic link, a pipe, a device.
    #[error("{0} is neither a regular file nor a folder: a copy has nothing else in it")]
    NotRegular(PathBuf),
    /// A name that no file of a copy has.
    #[error("{0} is not the name of a file of a copy")]
    Name(PathBuf),
    /// More files than can be a copy.
    #[error("{path} holds more than {MAX_PATHS} files")]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
}

impl Folder {
    /// The copy in this folder.
    ///
    /// # Errors
    /// [`CopyError`] if it is no folder.
    pub fn open(root: &Path) -> Result<Self, CopyError> {
        let failed = |error| io_error(root, error);
        match fs::metadata(root).map_err(failed)?.is_dir() {
            true => Ok(Self {
                root: root.to_owned(),
            }),
            false => Err(failed(io::ErrorKind::NotADirectory.into())),
        }
    }

    /// Looks at every step of the way, so that no link leads out of the folder; none if there is no such file.
    fn locate(&self, path: &str) -> Result<Option<PathBuf>, CopyError> {
        let mut found = self.root.clone();
        let mut steps = Path::new(path).components().peekable();
        while let Some(step) = steps.next() {
            let Component::Normal(name) = step else {
                return Err(CopyError::Name(path.into()));
            };
            found.push(name);
            let meta = match fs::symlink_metadata(&found) {
                Ok(meta) => meta,
                Err(error) if is_absent(&error) => return Ok(None),
                Err(error) => return Err(io_error(&found, error)),
            };
            let fits = match steps.peek() {
                Some(_) => meta.is_dir(),
                None => meta.is_file(),
            };
            if !fits {
                return Err(CopyError::NotRegular(found));
            }
        }
        Ok(Some(found))
    }

    /// Adds the paths of all files at or below this one.
    fn list(&self, path: PathBuf, depth: usize, paths: &mut Vec<String>) -> Result<(), CopyError> {
        let full = self.root.join(&path);
        let meta = match fs::symlink_metadata(&full) {
            Ok(meta) => meta,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(io_error(&full, error)),
        };
        match () {
            () if meta.is_file() => {
                let name = path.into_os_string().into_string();
                paths.push(name.map_err(|name| CopyError::Name(name.into()))?);
                let path = self.root.clone();
                (paths.len() <= MAX_PATHS)
                    .then_some(())
                    .ok_or(CopyError::TooMany { path })
            }
            () if meta.is_dir() && depth < MAX_DEPTH => {
                for entry in fs::read_dir(&full).map_err(|error| io_error(&full, error))? {
                    let entry = entry.map_err(|error| io_error(&full, error))?;
                    self.list(path.join(entry.file_name()), depth + 1, paths)?;
                }
                Ok(())
            }
            () => Err(CopyError::NotRegular(full)),
        }
    }
}

impl Files for Folder {
    type Error = CopyError;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, CopyError> {
        let Some(path) = self.locate(path)? else {
            return Ok(None);
        };
        let read = || {
            let mut bytes = Vec::new();
            let file = File::open(&path)?;
            file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map(Some).map_err(|error| io_error(&path, error))
    }

    fn paths(&self) -> Result<Vec<String>, CopyError> {
        let mut paths = Vec::new();
        for place in PLACES {
            self.list(place.into(), 0, &mut paths)?;
        }
        paths.sort();
        Ok(paths)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn io_error(path: &Path, error: io::Error) -> CopyError {
    let path = path.to_owned();
    CopyError::Io { path, error }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("copy");
        fs::create_dir_all(root.join("tile/0")).unwrap();
        fs::write(root.join("tile/0/000"), "hashes").unwrap();
        fs::write(root.join("checkpoint"), "note").unwrap();
        fs::write(root.join("notes.txt"), "mine").unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        let folder = Folder::open(&root).unwrap();
        (dir, folder)
    }

    #[test]
    fn files_are_read_and_listed_and_strangers_left_alone() {
        let (_dir, folder) = folder();
        assert_eq!(folder.paths().unwrap(), ["checkpoint", "tile/0/000"]);
        assert_eq!(folder.read("tile/0/000").unwrap().unwrap(), b"hashes");
        for absent in ["tile/0/001", "tile/1/000", "checkpoint/x", "policies/x"] {
            let read = folder.read(absent);
            assert!(
                matches!(read, Ok(None) | Err(CopyError::NotRegular(_))),
                "{absent}"
            );
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let (dir, folder) = folder();
        let absolute = dir.path().join("secret");
        let absolute = absolute.to_str().unwrap();
        for path in [
            "../secret",
            "tile/../../secret",
            "tile/0/../../../secret",
            absolute,
        ] {
            assert!(
                matches!(folder.read(path), Err(CopyError::Name(_))),
                "{path}"
            );
        }
    }

    #[test]
    fn links_and_pipes_are_refused_wherever_they_are() {
        let (dir, folder) = folder();
        let root = dir.path().join("copy");
        symlink(dir.path().join("secret"), root.join("checkpoints")).unwrap();
        assert!(matches!(folder.paths(), Err(CopyError::NotRegular(_))));
        fs::remove_file(root.join("checkpoints")).unwrap();
        symlink(dir.path(), root.join("tile/1")).unwrap();
        assert!(matches!(
            folder.read("tile/1/secret"),
            Err(CopyError::NotRegular(_))
        ));
        assert!(matches!(folder.paths(), Err(CopyError::NotRegular(_))));
        fs::remove_file(root.join("tile/1")).unwrap();
        symlink(dir.path().join("secret"), root.join("tile/0/001")).unwrap();
        assert!(matches!(
            folder.read("tile/0/001"),
            Err(CopyError::NotRegular(_))
        ));
        fs::remove_file(root.join("tile/0/001")).unwrap();
        assert!(folder.paths().is_ok());
    }

    #[test]
    fn folders_without_end_and_files_that_are_none_are_refused() {
        let (dir, folder) = folder();
        let deep = dir
            .path()
            .join("copy/tile")
            .join("x/".repeat(MAX_DEPTH + 1));
        fs::create_dir_all(deep).unwrap();
        assert!(matches!(folder.paths(), Err(CopyError::NotRegular(_))));
        assert!(matches!(folder.read("tile"), Err(CopyError::NotRegular(_))));
        assert!(Folder::open(&dir.path().join("secret")).is_err());
        assert!(Folder::open(&dir.path().join("nowhere")).is_err());
    }

    #[test]
    fn of_an_endless_file_only_the_beginning_is_read() {
        let (dir, folder) = folder();
        let file = File::create(dir.path().join("copy/checkpoint")).unwrap();
        file.set_len(MAX_FILE as u64 * 1000).unwrap();
        assert_eq!(
            folder.read("checkpoint").unwrap().unwrap().len(),
            MAX_FILE + 1
        );
    }
}
