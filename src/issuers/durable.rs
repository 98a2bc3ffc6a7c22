//! Files that hold a key, or that a target reads: read with care, replaced whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::Failure;
use crate::files::{self, FileError};

/// Who may read a key besides its owner: nobody.
const OTHERS: u32 = 0o077;
/// Largest key file.
const MAX_KEY: usize = 32 * 1024;

/// Reads a key that nobody but its owner may read.
pub(super) fn read_key(path: &Path) -> Result<Zeroizing<String>, String> {
    let named = |error: &dyn std::fmt::Display| format!("the key {}: {error}", path.display());
    let mode = fs::metadata(path)
        .map_err(|e| named(&e))?
        .permissions()
        .mode();
    if mode & OTHERS != 0 {
        let message = format!(
            "can be read or changed by others (mode {:o}): run `chmod 600` on it, and make a new one if it may have been read",
            mode & 0o777
        );
        return Err(named(&message));
    }
    let bytes = Zeroizing::new(files::read(path, MAX_KEY).map_err(|e| named(&e))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| named(&"is not text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads a file of at most `limit` bytes; `None` if there is none.
pub(super) fn read_if_there(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, String> {
    match files::read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Puts a file that everyone may read in the place of another: whoever opens it sees the one or the other, whole, and
/// after a crash as well.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let written = write_beside(path, bytes).and_then(|()| sync_folder(path));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Works on such a file where it may block. It runs to its end even if nobody waits for it any more.
pub(super) async fn off_thread<S: Send + Sync + 'static, T: Send + 'static>(
    state: &Arc<S>,
    work: impl FnOnce(&S) -> Result<T, String> + Send + 'static,
) -> Result<T, Failure> {
    let state = Arc::clone(state);
    match tokio::task::spawn_blocking(move || work(&state)).await {
        Ok(done) => done.map_err(Failure::away),
        Err(error) => Err(Failure::away(error)),
    }
}

/// What a panic left of it is still good: it is changed last, once the file is written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut beside = name.to_owned();
    beside.push(".new");
    let beside = path.with_file_name(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&beside)?;
    // The target may run as another user, whatever the umask is.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
