//! The keys that sign tokens: files in one directory, the newest in use, the older ones published until nothing
//! that they signed is alive.
//!
//! A file is named `<created>-<kid>.pk8`, with the time of creation in milliseconds, and is readable by its owner
//! alone. The directory is the whole truth: there is no other state.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use quietus_core::Timestamp;
use quietus_token::{JwkSet, MAX_KEYS, SigningKey};
use ring::rand::SystemRandom;
use zeroize::Zeroizing;

/// A resource server's clock may be this far behind.
const LEEWAY: Duration = Duration::from_secs(60);
/// Largest key file.
const MAX_FILE: u64 = 4096;

/// The key directory and what is in it.
pub struct Keys {
    dir: PathBuf,
    overlap: Duration,
    ring: ArcSwap<KeyRing>,
    /// Held while the ring is replaced, so that no change is made on an older ring and lost.
    changing: Mutex<()>,
}

/// The keys as of one moment.
pub struct KeyRing {
    /// Newest first; never empty.
    keys: Vec<Dated>,
    published: JwkSet,
}

struct Dated {
    created: Timestamp,
    key: Arc<SigningKey>,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The directory or a file in it.
    #[error("cannot use the signing keys in {path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others can read a key.
    #[error(
        "the signing key {path} can be read by others (mode {mode:o}): run `chmod 600 {path}`, and rotate if it may have been read"
    )]
    Mode {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file is not a key.
    #[error("{path} is not a signing key: {reason}. Remove it, or restore it from a backup")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// As many keys as a set may have.
    #[error(
        "there are {MAX_KEYS} signing keys already, the most that a verifier takes: rotate again once the oldest is retired"
    )]
    TooMany,
    /// No key could be made.
    #[error("cannot make a signing key: {0}")]
    Generate(String),
}

impl Keys {
    /// Reads the directory; makes it, and a first key, if there is none. `max_ttl` is the longest life of a token.
    pub fn open(dir: &Path, max_ttl: Duration, now: Timestamp) -> Result<Self, KeysError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| file_error(dir, error))?;
        let mut keys = read_dir(dir)?;
        if keys.is_empty() {
            keys.push(create(dir, now)?);
        }
        let overlap = max_ttl + LEEWAY;
        Ok(Self {
            dir: dir.to_owned(),
            overlap,
            ring: ArcSwap::from_pointee(KeyRing::new(keys)?),
            changing: Mutex::new(()),
        })
    }

    /// The keys as they are now.
    pub fn ring(&self) -> Arc<KeyRing> {
        self.ring.load_full()
    }

    /// Makes a key that will sign once [`Keys::adopt`] is called.
    pub fn make(&self, now: Timestamp) -> Result<Made, KeysError> {
        let ring = self.ring();
        if ring.keys.len() >= MAX_KEYS {
            return Err(KeysError::TooMany);
        }
        // Later than any key there is, whatever the clock says.
        let newest = ring.keys.first().map_or(0, |dated| dated.created.0);
        create(&self.dir, Timestamp(now.0.max(newest + 1))).map(Made)
    }

    /// Signs with that key from now on; the others stay published for as long as what they signed can live.
    pub fn adopt(&self, made: Made) -> Result<(), KeysError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring();
        let mut keys = vec![made.0];
        keys.extend(ring.keys.iter().map(Dated::share));
        self.ring.store(Arc::new(KeyRing::new(keys)?));
        Ok(())
    }

    /// Forgets and deletes the keys whose tokens have all expired.
    pub fn retire(&self, now: Timestamp) -> Result<Vec<String>, KeysError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let ring = self.ring();
        let retired = ring.retired(self.overlap, now);
        if retired.is_empty() {
            return Ok(Vec::new());
        }
        let kept = ring.keys[..ring.keys.len() - retired.len()]
            .iter()
            .map(Dated::share);
        let kept = KeyRing::new(kept.collect())?;
        self.ring.store(Arc::new(kept));
        for dated in retired {
            let path = self.dir.join(dated.file_name());
            fs::remove_file(&path).map_err(|error| file_error(&path, error))?;
        }
        Ok(retired
            .iter()
            .map(|dated| dated.key.kid().to_owned())
            .collect())
    }
}

/// A key that is on the disk and not yet in use.
pub struct Made(Dated);

impl Made {
    /// Its id.
    pub fn kid(&self) -> &str {
        self.0.key.kid()
    }
}

impl KeyRing {
    fn new(mut keys: Vec<Dated>) -> Result<Self, KeysError> {
        keys.sort_by_key(|dated| std::cmp::Reverse(dated.created));
        let jwks = keys.iter().map(|dated| dated.key.public_jwk());
        let published =
            JwkSet::new(jwks).map_err(|error| KeysError::Generate(error.to_string()))?;
        Ok(Self { keys, published })
    }

    /// The key in use.
    pub fn current(&self) -> &SigningKey {
        &self.keys[0].key
    }

    /// Every key, the one in use first.
    pub fn iter(&self) -> impl Iterator<Item = &SigningKey> {
        self.keys.iter().map(|dated| &*dated.key)
    }

    /// What verifiers need.
    pub fn published(&self) -> &JwkSet {
        &self.published
    }

    /// A key is retired once its successor is older than any token it can have signed.
    fn retired(&self, overlap: Duration, now: Timestamp) -> &[Dated] {
        let live = self
            .keys
            .windows(2)
            .take_while(|pair| now < pair[0].created.after(overlap))
            .count();
        &self.keys[(live + 1).min(self.keys.len())..]
    }
}

impl Dated {
    fn share(&self) -> Self {
        Self {
            created: self.created,
            key: Arc::clone(&self.key),
        }
    }

    fn file_name(&self) -> String {
        format!("{:016}-{}.pk8", self.created.0, self.key.kid())
    }
}

fn read_dir(dir: &Path) -> Result<Vec<Dated>, KeysError> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| file_error(dir, error))? {
        let path = entry.map_err(|error| file_error(dir, error))?.path();
        if path.extension().is_some_and(|extension| extension == "pk8") {
            keys.push(read(&path)?);
        }
    }
    Ok(keys)
}

fn read(path: &Path) -> Result<Dated, KeysError> {
    let malformed = |reason: &str| malformed(path, reason);
    let bytes = read_private(path)?;
    let key = SigningKey::from_pkcs8(&bytes).map_err(|error| malformed(&error.to_string()))?;
    let name = path
        .file_stem()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let created = name
        .split_once('-')
        .filter(|(_, kid)| *kid == key.kid())
        .and_then(|(created, _)| created.parse().ok())
        .ok_or_else(|| malformed("its name does not fit it"))?;
    Ok(Dated {
        created: Timestamp(created),
        key: Arc::new(key),
    })
}

/// A key file that nobody but its owner may read.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let meta = fs::metadata(path).map_err(|error| file_error(path, error))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeysError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    if meta.len() > MAX_FILE {
        return Err(malformed(path, "it is too large"));
    }
    let bytes = fs::read(path).map_err(|error| file_error(path, error))?;
    Ok(Zeroizing::new(bytes))
}

/// Written whole under another name and then renamed, so that a crash leaves a key or none.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    let draft = path.with_extension("new");
    let write = || -> io::Result<()> {
        // What a crash left of an earlier draft is of no use.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|error| file_error(path, error))
}

fn create(dir: &Path, now: Timestamp) -> Result<Dated, KeysError> {
    let generate = |error: quietus_token::KeyError| KeysError::Generate(error.to_string());
    let bytes = SigningKey::generate(&SystemRandom::new()).map_err(generate)?;
    let dated = Dated {
        created: now,
        key: Arc::new(SigningKey::from_pkcs8(&bytes).map_err(generate)?),
    };
    let path = dir.join(dated.file_name());
    write_private(&path, &bytes)?;
    Ok(dated)
}

pub(crate) fn malformed(path: &Path, reason: &str) -> KeysError {
    KeysError::Malformed {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn file_error(path: &Path, error: io::Error) -> KeysError {
    KeysError::File {
        path: path.to_owned(),
        error,
    }
}
