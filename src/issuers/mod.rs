//! Making and unmaking credentials: one file a kind, one trait for all.
//!
//! An issuer acts only on an [`IssueOrder`], which only the lifecycle can write. What can be refused or computed
//! without the target happens in [`Issuer::issue`], before the order is committed; what it returns is inert until it
//! is run, which happens after. The secret is handed to whoever asked and is never stored.
//!
//! Whatever an issuer makes at a target is named after its lease, so that [`Issuer::revoke`] and [`Issuer::list`]
//! need to know no more than the lease's name: a call whose reply was lost is settled by looking at the target.

mod credential;
#[cfg(any(feature = "ssh", feature = "x509"))]
mod durable;
#[cfg(feature = "external")]
pub mod external;
#[cfg(feature = "jwt")]
pub mod jwt;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "ssh")]
pub mod ssh;
#[cfg(feature = "static-secrets")]
pub mod static_secret;
#[cfg(feature = "x509")]
pub mod x509;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use quietus_core::{Confirmation, Digest, Enforced, IssueOrder, Lease, LeaseId, Timestamp};

use crate::config::{Settings, Target};
use crate::keys::Keys;
use crate::tls::SvidFiles;
pub use credential::{Credential, Secret};

/// The longest error text of a target that is kept, in bytes.
pub const MAX_SAID: usize = 512;

/// What an issuer can do, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether it can end a credential before its time.
    pub can_revoke: bool,
    /// How the death of a credential is confirmed when it is ended before its time.
    pub confirms_by: Option<Confirmation>,
    /// Whether the target itself lets a credential expire: the second fuse.
    pub expires_at_target: bool,
    /// Whether a credential can be given a later end without being made anew.
    pub renewable: bool,
    /// Where the death of a credential is enforced.
    pub enforced: Enforced,
}

/// A future that an issuer returns.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes and unmakes one kind of credential at one target.
///
/// Every call may be cut short at any point (a time limit, a crash), may be made again, and must then come to the same.
pub trait Issuer: Send + Sync + 'static {
    /// What it can do.
    fn abilities(&self) -> Abilities;

    /// Checks the order and makes everything ready; nothing outside happens before the result is run.
    ///
    /// # Errors
    /// [`Unfit`] if no such credential can be made, whatever the state of the target.
    fn issue(&self, order: &IssueOrder, key: Option<&KeyRequest>) -> Result<Prepared, Unfit>;

    /// The same for a renewal: the credential that there is gets the order's later end.
    ///
    /// # Errors
    /// [`Unfit`] if the kind cannot be renewed.
    fn renew(&self, _order: &IssueOrder) -> Result<Prepared, Unfit> {
        Err(Unfit::new(
            "lease_id",
            "a credential of this kind cannot be renewed: request a new one",
        ))
    }

    /// The very credential that was made for this order before, if it can be told again without having been stored.
    fn repeat(&self, _order: &IssueOrder) -> Option<Credential> {
        None
    }

    /// Unmakes the credential of a lease, and what its bearer has running, and looks that it is gone. One that is
    /// not there is gone.
    ///
    /// # Errors
    /// [`Failure`] as long as its death is not certain. The caller tries again, for ever.
    fn revoke<'a>(&'a self, doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>>;

    /// The credentials of ours that are at the target, as far as it can be asked. `None` if it keeps no list.
    ///
    /// # Errors
    /// [`Failure`] if the target does not answer.
    fn list(&self) -> Doing<'_, Result<Option<Vec<Found>>, Failure>> {
        Box::pin(async { Ok(None) })
    }

    /// Whether the target answers and lets the issuer do its work; what it is, in words.
    ///
    /// # Errors
    /// [`Failure`] with what is wrong.
    fn check(&self) -> Doing<'_, Result<String, Failure>>;

    /// What has to be done from time to time, such as signing a revocation list before it runs out. Called about once
    /// a minute.
    ///
    /// # Errors
    /// [`Failure`] with what is wrong.
    fn upkeep(&self) -> Doing<'_, Result<(), Failure>> {
        Box::pin(async { Ok(()) })
    }
}

/// A credential that is ready to be made. Dropping it makes nothing.
pub struct Prepared {
    fingerprint: Option<Digest>,
    making: Doing<'static, Result<Made, Failure>>,
}

impl Prepared {
    /// Something to run once its order is committed. The fingerprint is recorded with the order if it is known
    /// beforehand.
    pub fn new(
        fingerprint: Option<Digest>,
        making: impl Future<Output = Result<Made, Failure>> + Send + 'static,
    ) -> Self {
        Self {
            fingerprint,
            making: Box::pin(making),
        }
    }

    /// SHA-256 of what identifies the credential without being it, if it is known beforehand.
    pub fn fingerprint(&self) -> Option<Digest> {
        self.fingerprint
    }

    /// Makes it. Call this only once the order is committed.
    ///
    /// # Errors
    /// [`Failure`] if the target did not, or perhaps did not, make it.
    pub async fn run(self) -> Result<Made, Failure> {
        self.making.await
    }
}

/// A credential that was made.
#[derive(Debug)]
pub struct Made {
    /// What is handed to whoever asked.
    pub credential: Credential,
    /// SHA-256 of what identifies it without being it (a certificate, a role's name), if it became known only now.
    pub fingerprint: Option<Digest>,
}

/// A credential that has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// Its lease; everything at the target is named after it.
    pub id: LeaseId,
    /// When it expires by itself; unknown for a stray.
    pub expires_at: Option<Timestamp>,
    /// SHA-256 of what identifies it; unknown for a stray, or if it was perhaps never made.
    pub fingerprint: Option<Digest>,
}

impl From<&Lease> for Doomed {
    fn from(lease: &Lease) -> Self {
        Self {
            id: lease.id,
            expires_at: Some(lease.expires_at),
            fingerprint: lease.fingerprint,
        }
    }
}

impl Doomed {
    /// Something at a target that no lease names.
    pub fn stray(id: LeaseId) -> Self {
        Self {
            id,
            expires_at: None,
            fingerprint: None,
        }
    }
}

/// A credential of ours that was found at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The lease that its name says it belongs to.
    pub id: LeaseId,
    /// What it is called there.
    pub name: String,
}

/// The public half of a key that the agent made itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyRequest {
    /// A PKCS#10 certification request, DER. Only its key and the proof of its possession count.
    Csr(Vec<u8>),
    /// A public key as OpenSSH writes it (`ssh-ed25519 AAAA…`).
    SshPublicKey(String),
}

/// Why no such credential can be made, whatever the state of the target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Unfit {
    /// The request's field that is wrong.
    pub field: &'static str,
    /// What to do about it.
    pub message: String,
}

impl Unfit {
    /// A field, and what to do about it.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

/// Why a target did not do, or perhaps did not do, what it was asked. The texts are shown to operators and kept with
/// the lease: never a secret, and no more than [`MAX_SAID`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It could not be reached, did not answer in time, or cannot do anything now: true of every credential there.
    #[error("{0}")]
    Away(String),
    /// It answered, and said no to this one.
    #[error("{0}")]
    Said(String),
}

impl Failure {
    /// The target cannot be reached.
    pub fn away(why: impl std::fmt::Display) -> Self {
        Self::Away(bounded(&why.to_string()))
    }

    /// The target said no.
    pub fn said(what: impl std::fmt::Display) -> Self {
        Self::Said(bounded(&what.to_string()))
    }
}

/// At most [`MAX_SAID`] bytes, on one line.
pub fn bounded(text: &str) -> String {
    let mut end = text.len().min(MAX_SAID);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace(|c: char| c.is_control(), " ")
}

/// What issuers are built with.
#[derive(Clone)]
pub struct Shared {
    /// The keys that sign tokens.
    pub keys: Arc<Keys>,
    /// `iss` of tokens.
    pub issuer: String,
    /// The broker's SPIFFE ID.
    pub broker: String,
    /// The broker's own X.509-SVID, to be read for every connection that is made with it.
    pub svid: SvidFiles,
    /// Effective time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Why an issuer cannot be built: something that its target's settings name does not fit.
#[derive(Debug, thiserror::Error)]
#[error("target {target}: {message}")]
pub struct BuildError {
    /// Which target.
    pub target: String,
    /// What to do about it.
    pub message: String,
}

/// What builds the issuer of a target: [`build`], unless a test brings issuers of its own.
pub type Builder = dyn Fn(&Target, &Shared) -> Result<Arc<dyn Issuer>, BuildError> + Send + Sync;

/// Builds the issuer of a target. It opens the files that the settings name, and no connection.
///
/// # Errors
/// [`BuildError`] if a file is missing, can be read by others, or does not hold what it should.
pub fn build(target: &Target, shared: &Shared) -> Result<Arc<dyn Issuer>, BuildError> {
    let built: Result<Arc<dyn Issuer>, String> = match &target.settings {
        #[cfg(feature = "jwt")]
        Settings::Jwt => Ok(Arc::new(jwt::JwtIssuer::new(shared))),
        #[cfg(feature = "postgres")]
        Settings::Postgres(settings) => postgres::PostgresIssuer::new(target, settings, shared)
            .map(|it| Arc::new(it) as Arc<dyn Issuer>),
        #[cfg(feature = "x509")]
        Settings::X509(settings) => x509::X509Issuer::new(target, settings, shared)
            .map(|it| Arc::new(it) as Arc<dyn Issuer>),
        #[cfg(feature = "ssh")]
        Settings::Ssh(settings) => {
            ssh::SshIssuer::new(target, settings, shared).map(|it| Arc::new(it) as Arc<dyn Issuer>)
        }
        #[cfg(feature = "redis")]
        Settings::Redis(settings) => redis::RedisIssuer::new(target, settings, shared)
            .map(|it| Arc::new(it) as Arc<dyn Issuer>),
        #[cfg(feature = "static-secrets")]
        Settings::Static(settings) => static_secret::StaticIssuer::new(target, settings, shared)
            .map(|it| Arc::new(it) as Arc<dyn Issuer>),
        #[cfg(feature = "external")]
        Settings::External(settings) => external::ExternalIssuer::new(target, settings, shared)
            .map(|it| Arc::new(it) as Arc<dyn Issuer>),
        #[allow(
            unreachable_patterns,
            reason = "with every feature on there is no other"
        )]
        _ => Err(format!(
            "this broker was built without the feature for kind = {:?}: build it with that, or remove the target",
            target.kind().as_str()
        )),
    };
    built.map_err(|message| BuildError {
        target: target.name.to_string(),
        message,
    })
}
