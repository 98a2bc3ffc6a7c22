//! Policy reload, key rotation, status.

use std::path::Path;

use quietus_core::{Digest, Freeze, Selector, Timestamp};
use quietus_identity::VerifiedSvid;
use quietus_policy::{PolicyFile, PolicySet};

use super::record::{drafts, hex};
use super::{Engine, Error, Plan};
use crate::archive;
use crate::store::{Answer, Commit, Header};

/// How the broker is.
#[derive(Clone, Debug)]
pub struct Status {
    /// SPIFFE ID of the broker.
    pub broker: String,
    /// Since when it runs.
    pub started_at: Timestamp,
    /// Effective time.
    pub now: Timestamp,
    /// How far that is ahead of the wall clock.
    pub clock_ahead: std::time::Duration,
    /// Counters.
    pub header: Header,
    /// Digest of the policy set in force, in hex.
    pub policy_digest: String,
    /// How many policies it has.
    pub policies: usize,
    /// The signing key in use.
    pub kid: String,
    /// Standing refusals.
    pub freezes: Vec<(Selector, Freeze)>,
    /// What is not as it should be.
    pub degraded: Vec<&'static str>,
    /// The size of the store.
    pub store_bytes: u64,
}

/// Why a policy folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFolderError {
    /// The folder or a file in it.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: std::path::PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A policy.
    #[error(transparent)]
    Policy(#[from] quietus_policy::PolicyError),
}

/// Compiles every `.cedar` file of a folder.
pub fn read_policies(dir: &Path) -> Result<PolicySet, PolicyFolderError> {
    let read = |path: &Path, error| PolicyFolderError::Read {
        path: path.to_owned(),
        error,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| read(dir, error))? {
        let path = entry.map_err(|error| read(dir, error))?.path();
        if path
            .extension()
            .is_none_or(|extension| extension != "cedar")
        {
            continue;
        }
        let size = std::fs::metadata(&path)
            .map_err(|error| read(&path, error))?
            .len();
        if size > quietus_policy::MAX_FILE_BYTES as u64 {
            let error = std::io::Error::other("it is larger than a policy file may be");
            return Err(read(&path, error));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| read(&path, error))?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        files.push(PolicyFile { name, text });
    }
    Ok(PolicySet::compile(files)?)
}

impl Engine {
    /// Reads the policy folder again. A folder that does not compile changes nothing. The digests before and after.
    pub async fn reload_policy(
        &self,
        by: Option<&VerifiedSvid>,
    ) -> Result<(String, String, usize), Error> {
        self.not_in_maintenance()?;
        let _operating = self.operating.lock().await;
        let set = match read_policies(&self.config.policy.dir) {
            Ok(set) => set,
            Err(error) => {
                let refused = Error::refused("POLICY_NOT_LOADED", error.to_string());
                return Err(self.refused_order(by, "ReloadPolicy", refused).await);
            }
        };
        let before = hex(&self.policy.load().digest());
        let after = self.adopt_policy(set, by).await?;
        Ok((before, after, self.policy.load().len()))
    }

    pub(super) async fn adopt_policy(
        &self,
        set: PolicySet,
        by: Option<&VerifiedSvid>,
    ) -> Result<String, Error> {
        let digest = set.digest();
        let archived = archive::pack(&set).map_err(|error| super::Internal::Entry(error.into()))?;
        self.settle(|| {
            let now = self.now();
            let mut entry = self.entry("policy.loaded", by, now);
            entry.policy = Some(hex(&digest));
            entry.detail = [
                ("archive", archive::sha256(&archived).to_string()),
                ("policies", set.len().to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
            let commit = Commit {
                now,
                policy: Some((Digest(digest), archived.clone())),
                entries: drafts(Some(entry))?,
                ..Commit::default()
            };
            Ok(Plan { commit, answer: () })
        })
        .await?;
        // Between the commit and this line grants conflict and are planned anew.
        self.policy.store(std::sync::Arc::new(set));
        Ok(hex(&digest))
    }

    /// Makes a new signing key the one in use. The new id and the old one.
    pub async fn rotate_keys(
        &self,
        by: &VerifiedSvid,
        once: super::Once,
    ) -> Result<(String, String), Error> {
        self.not_in_maintenance()?;
        let _operating = self.operating.lock().await;
        if let Some(answer) = self.answered(&once, self.now())? {
            return match answer {
                Answer::Rotated(kid, before) => Ok((kid, before)),
                _ => Err(Error::KeyStale),
            };
        }
        let before = self.keys.ring().current().kid().to_owned();
        let made = match self.keys.make(self.now()) {
            Ok(made) => made,
            Err(error) => {
                let error = error.into();
                return Err(self.refused_order(Some(by), "RotateKeys", error).await);
            }
        };
        let kid = made.kid().to_owned();
        self.settle(|| {
            let now = self.now();
            let mut entry =
                super::open::with_request(self.entry("keys.rotated", Some(by), now), &once);
            entry.detail.insert("kid".to_owned(), kid.clone());
            entry.detail.insert("previous".to_owned(), before.clone());
            let mut commit = Commit {
                now,
                entries: drafts(Some(entry))?,
                ..Commit::default()
            };
            let answer = Answer::Rotated(kid.clone(), before.clone());
            self.answer_once(&mut commit, &once, answer);
            Ok(Plan { commit, answer: () })
        })
        .await?;
        self.keys.adopt(made)?;
        Ok((kid, before))
    }

    /// The public keys that live tokens may be signed with.
    pub fn signing_keys(&self) -> quietus_token::JwkSet {
        self.keys.ring().published().clone()
    }

    /// How the broker is.
    pub fn status(&self) -> Status {
        let policy = self.policy.load();
        let short = self.store.is_short_of_space();
        let degraded = [
            short.then_some("disk_short_of_space"),
            self.maintenance.then_some("maintenance"),
        ];
        Status {
            broker: self.broker.clone(),
            started_at: self.started_at,
            now: self.now(),
            clock_ahead: self.clock.ahead(),
            header: self.store.header(),
            policy_digest: hex(&policy.digest()),
            policies: policy.len(),
            kid: self.keys.ring().current().kid().to_owned(),
            freezes: self.store.guards().freezes.clone().into_iter().collect(),
            degraded: degraded.into_iter().flatten().collect(),
            store_bytes: self.store.bytes_on_disk(),
        }
    }
}
