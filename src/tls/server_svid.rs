use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::credentials::{CredentialError, Credentials, RawCredentials, SvidFiles};
use crate::files::{self, Seen};
use crate::trust::Now;

/// The broker's own SVID, read again when its files change: SPIRE replaces it at half its life.
#[derive(Debug)]
pub struct ServerSvid {
    files: SvidFiles,
    current: ArcSwap<Credentials>,
    status: ArcSwap<SvidStatus>,
    seen: Mutex<Seen>,
}

/// How the last readings of the broker's own SVID went.
#[derive(Clone, Debug)]
pub struct SvidStatus {
    /// When the SVID in use was read, in unix seconds.
    pub loaded_at: u64,
    /// What is wrong with the files now. While there is something, the SVID read at `loaded_at` stays in use.
    pub error: Option<String>,
}

/// What a reload of the broker's own SVID came to.
#[derive(Debug)]
pub enum SvidChange {
    /// A new SVID is in use.
    Replaced,
    /// The old one is kept. While certificate and key are replaced one after the other, this can pass by itself.
    Kept(CredentialError),
}

impl ServerSvid {
    /// Reads the SVID. A broken one is an error: without it there is nothing to serve.
    pub fn load(files: SvidFiles, now: u64) -> Result<Self, CredentialError> {
        let raw = RawCredentials::read(&files)?;
        let status = SvidStatus {
            loaded_at: now,
            error: None,
        };
        Ok(Self {
            current: ArcSwap::from_pointee(raw.parse(&files)?),
            status: ArcSwap::from_pointee(status),
            seen: Mutex::new(raw.seen()),
            files,
        })
    }

    /// Reads the files again. New connections get the new SVID; a broken one leaves the old in use.
    pub fn reload(&self, now: u64) -> Option<SvidChange> {
        let mut last = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = RawCredentials::read(&self.files);
        let seen = match &read {
            Ok(raw) => raw.seen(),
            Err(error) => Seen::failure(error),
        };
        if seen == *last {
            return None;
        }
        *last = seen;
        Some(match read.and_then(|raw| raw.parse(&self.files)) {
            Ok(credentials) => self.replace(credentials, now),
            Err(error) => self.keep(error),
        })
    }

    /// Reloads at every interval, for ever, and tells of changes. Spawn it.
    pub async fn watch(
        self: Arc<Self>,
        every: Duration,
        now: Now,
        on_change: impl Fn(SvidChange) + Send,
    ) {
        let look = move || self.reload(now());
        let tell = |change: Option<SvidChange>| change.into_iter().for_each(&on_change);
        files::poll(every, look, tell).await
    }

    /// The SVID in use.
    pub fn current(&self) -> Credentials {
        Credentials::clone(&self.current.load())
    }

    /// How the last readings went.
    pub fn status(&self) -> Arc<SvidStatus> {
        self.status.load_full()
    }

    fn replace(&self, credentials: Credentials, now: u64) -> SvidChange {
        self.current.store(Arc::new(credentials));
        self.status.store(Arc::new(SvidStatus {
            loaded_at: now,
            error: None,
        }));
        SvidChange::Replaced
    }

    fn keep(&self, error: CredentialError) -> SvidChange {
        self.status.store(Arc::new(SvidStatus {
            loaded_at: self.status.load().loaded_at,
            error: Some(error.to_string()),
        }));
        SvidChange::Kept(error)
    }
}

impl ResolvesServerCert for ServerSvid {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().share())
    }
}
