//! Private files: a folder of our own that goes when we do, and the folders of runs that could not remove theirs.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

const PREFIX: &str = "quietus-run.";

/// A folder that only its owner may enter. It is made when the first file is written, and removed when it is dropped.
#[derive(Debug)]
pub struct PrivateFolder {
    path: PathBuf,
    made: bool,
}

impl PrivateFolder {
    /// In memory where the system allows it, otherwise where temporary files go.
    pub fn planned() -> io::Result<Self> {
        let base = bases().into_iter().find(|base| is_usable(base));
        let base =
            base.ok_or_else(|| io::Error::other("there is no folder for temporary files"))?;
        let process = Process::of(std::process::id()).unwrap_or_default();
        let mut random = [0; 8];
        let drawn = SystemRandom::new().fill(&mut random);
        drawn.map_err(|_| io::Error::other("the system gives no random numbers"))?;
        let name = format!("{PREFIX}{process}.{:016x}", u64::from_be_bytes(random));
        Ok(Self {
            path: base.join(name),
            made: false,
        })
    }

    /// Where a file of this name would be.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes it, unless it is there.
    pub fn make(&mut self) -> io::Result<()> {
        if !self.made {
            DirBuilder::new().mode(0o700).create(&self.path)?;
            self.made = true;
        }
        Ok(())
    }

    /// Writes a file that nobody else may read. A reader sees the old content or the new, and nothing between.
    pub fn write(&mut self, name: &str, content: &str) -> io::Result<()> {
        self.make()?;
        let draft = self.join(&format!("{name}.draft"));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options
            .open(&draft)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .and_then(|()| fs::rename(&draft, self.join(name)));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if self.made {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes what runs that were killed have left behind.
pub fn sweep() {
    for base in bases() {
        let Ok(entries) = fs::read_dir(base) else {
            continue;
        };
        for entry in entries.flatten() {
            if is_left_behind(&entry.path(), &entry.file_name()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// A process: its number means something only in its namespace, and is given to another once it is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Process {
    namespace: u64,
    pid: u32,
    started: u64,
}

impl Process {
    /// The living process of this number, as `/proc` shows it.
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may hold anything; what follows is the state, and 19 fields on the start.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let alive = !matches!(fields.next()?, "Z" | "X" | "x");
        let started = fields.nth(18)?.parse().ok()?;
        alive.then_some(Self {
            namespace: namespace()?,
            pid,
            started,
        })
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(str::parse::<u64>);
        let mut next = || parts.next()?.ok();
        Some(Self {
            namespace: next()?,
            pid: u32::try_from(next()?).ok()?,
            started: next()?,
        })
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.namespace, self.pid, self.started)
    }
}

fn namespace() -> Option<u64> {
    fs::metadata("/proc/self/ns/pid")
        .ok()
        .map(|meta| meta.ino())
}

fn bases() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute());
    let rest = [PathBuf::from("/dev/shm"), std::env::temp_dir()];
    runtime.into_iter().chain(rest).collect()
}

fn is_usable(base: &Path) -> bool {
    use rustix::fs::{Access, access};
    base.is_dir() && access(base, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Whether it is a run's folder, ours, and its process is gone. One that we cannot judge stays.
fn is_left_behind(path: &Path, name: &OsStr) -> bool {
    let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    let Some(process) = process.and_then(Process::read) else {
        return false;
    };
    let Ok(meta) = fs::symlink_metadata(path) else {
        return false;
    };
    let ours = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw();
    ours && Some(process.namespace) == namespace() && Process::of(process.pid) != Some(process)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_private_and_go_with_the_folder() {
        let mut folder = PrivateFolder::planned().unwrap();
        assert!(!folder.path.exists());
        folder.write("a", "one").unwrap();
        folder.write("a", "two").unwrap();
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "two");
        assert_eq!(fs::read_dir(&folder.path).unwrap().count(), 1);
        assert_eq!(
            (mode(&folder.path), mode(&folder.join("a"))),
            (0o700, 0o600)
        );
        let path = folder.path.clone();
        assert!(!is_left_behind(&path, path.file_name().unwrap()));
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_there_already_is_not_used() {
        let mut folder = PrivateFolder::planned().unwrap();
        fs::create_dir(&folder.path).unwrap();
        assert!(folder.write("a", "secret").is_err());
        let path = folder.path.clone();
        drop(folder);
        fs::remove_dir(path).unwrap();
    }

    #[test]
    fn only_folders_of_the_dead_are_left_behind() {
        let base = tempfile::tempdir().unwrap();
        let living = Process::of(std::process::id()).unwrap();
        let dead = Process {
            started: living.started + 1,
            ..living
        };
        let elsewhere = Process {
            namespace: living.namespace + 1,
            ..dead
        };
        let cases = [
            (format!("{PREFIX}{dead}.00"), true),
            (format!("{PREFIX}{living}.00"), false),
            (format!("{PREFIX}{elsewhere}.00"), false),
            (format!("{PREFIX}x.1.2.00"), false),
            (format!("{PREFIX}1"), false),
            (PREFIX.to_owned(), false),
            (format!("other.{dead}.00"), false),
        ];
        for (name, left) in cases {
            let path = base.path().join(&name);
            fs::create_dir(&path).unwrap();
            assert_eq!(is_left_behind(&path, OsStr::new(&name)), left, "{name}");
        }
        let link = format!("{PREFIX}{dead}.01");
        symlink(base.path(), base.path().join(&link)).unwrap();
        assert!(!is_left_behind(&base.path().join(&link), OsStr::new(&link)));
        let file = format!("{PREFIX}{dead}.02");
        fs::write(base.path().join(&file), "").unwrap();
        assert!(!is_left_behind(&base.path().join(&file), OsStr::new(&file)));
    }
}
