use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::DevError;

const PRIVATE_FOLDER: u32 = 0o700;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A file to be written, by its name relative to the folder.
pub(super) struct NewFile {
    pub(super) name: String,
    mode: u32,
    text: Zeroizing<String>,
}

impl NewFile {
    pub(super) fn public(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mode: 0o644,
            text: Zeroizing::new(text.into()),
        }
    }

    pub(super) fn private(name: impl Into<String>, text: Zeroizing<String>) -> Self {
        Self {
            name: name.into(),
            mode: 0o600,
            text,
        }
    }
}

/// Refuses a folder in which one of the files is already, unless it is to be replaced.
pub(super) fn check_absent(folder: &Path, names: &[&str]) -> Result<(), DevError> {
    let mut present = Vec::new();
    for name in names {
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(_) => present.push((*name).to_owned()),
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(io_error("look at", &path)(error)),
        }
    }
    match present.is_empty() {
        true => Ok(()),
        false => Err(DevError::Exists {
            folder: folder.to_owned(),
            names: present,
        }),
    }
}

/// Makes a folder that only its owner may enter, with those above it. One that is there is used as it is, unless
/// others may write in it.
pub(super) fn outer_folder(path: &Path) -> Result<(), DevError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(PRIVATE_FOLDER);
    match builder.create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(io_error("create", path)(error))
        }
        _ => check_folder(path, fs::metadata(path)),
    }
}

/// The same for a folder inside, which may not be a link to somewhere else.
pub(super) fn inner_folder(path: &Path) -> Result<(), DevError> {
    match DirBuilder::new().mode(PRIVATE_FOLDER).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(io_error("create", path)(error))
        }
        _ => check_folder(path, fs::symlink_metadata(path)),
    }
}

/// Writes files that are not there, with their mode from the first instant on. With `replace`, what is there is
/// removed first; a link is removed and not followed.
pub(super) fn write(
    folder: &Path,
    files: &[NewFile],
    replace: bool,
) -> Result<Vec<PathBuf>, DevError> {
    let write = |file: &NewFile| {
        let path = folder.join(&file.name);
        if replace {
            remove(&path).map_err(io_error("replace", &path))?;
        }
        create(&path, file).map_err(io_error("write", &path))?;
        Ok(path)
    };
    files.iter().map(write).collect()
}

pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, DevError> {
    fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(io_error("read", path))
}

fn create(path: &Path, file: &NewFile) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(file.mode)
        .open(path)?
        .write_all(file.text.as_bytes())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn check_folder(path: &Path, metadata: io::Result<fs::Metadata>) -> Result<(), DevError> {
    let metadata = metadata.map_err(io_error("look at", path))?;
    let path = path.to_owned();
    if !metadata.is_dir() {
        return Err(DevError::NotFolder { path });
    }
    match metadata.mode() & WRITABLE_BY_OTHERS {
        0 => Ok(()),
        _ => Err(DevError::SharedFolder { path }),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DevError {
    let path = path.to_owned();
    move |source| DevError::Io {
        action,
        path,
        source,
    }
}
