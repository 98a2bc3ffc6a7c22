//! Where PostgreSQL's programs are.

use std::cmp::Reverse;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::DevPostgresError;

/// Where Debian and its kin put them: a folder a version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Where Red Hat and its kin, and others, put them.
const OTHERS: [&str; 4] = [
    "/usr/pgsql",
    "/usr/local/pgsql",
    "/opt/homebrew",
    "/usr/local",
];

/// The two programs of a server, of one version.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub(super) initdb: PathBuf,
    pub(super) postgres: PathBuf,
}

impl Binaries {
    /// In `PATH`, or else the newest that Debian has, or else wherever others put them.
    pub(super) fn find() -> Result<Self, DevPostgresError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
        folders.extend(versions());
        folders.extend(OTHERS.map(|folder| Path::new(folder).join("bin")));
        let found = folders.iter().find_map(|folder| Self::in_folder(folder));
        found.ok_or(DevPostgresError::NotInstalled)
    }

    /// A link in `PATH` is followed: a server finds the rest of itself beside its real place.
    fn in_folder(folder: &Path) -> Option<Self> {
        let real = |name| {
            fs::canonicalize(folder.join(name))
                .ok()
                .filter(|it| it.is_file())
        };
        Some(Self {
            initdb: real("initdb")?,
            postgres: real("postgres")?,
        })
    }
}

fn versions() -> Vec<PathBuf> {
    let entries = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    versions.sort_by_key(|path| Reverse(version(path)));
    versions.into_iter().map(|path| path.join("bin")).collect()
}

fn version(path: &Path) -> u32 {
    let name = path.file_name().and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}
