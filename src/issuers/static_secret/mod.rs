//! A secret that cannot be made short-lived, kept sealed and handed out where policy allows.
//!
//! `can_revoke`: only with a `rotate_command`. `confirms_by`: the sealed file holds another version than the one that
//! was handed out, because that program or an operator has changed the secret and sealed the new one.
//! `expires_at_target`: no.
//!
//! Whatever action policy permits hands the field out: what the secret can do is not ours to narrow.

mod hook;
pub mod sealed;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use quietus_core::{Confirmation, Digest, Enforced, IssueOrder, TargetName};
use ring::digest::{SHA256, digest};
use tokio::sync::Mutex;

use super::{
    Abilities, Credential, Doing, Doomed, Failure, Issuer, KeyRequest, Made, Prepared, Shared,
    Unfit,
};
use crate::config::{StaticKey, StaticSettings, Target};
use sealed::{Opened, SealError, SealingKey};

const NOT_REVOCABLE: &str = "cannot be revoked: rotate it at the target, then seal the new value \
                             with `quietus secret seal`";

/// Hands out one sealed secret.
pub struct StaticIssuer {
    target: TargetName,
    path: PathBuf,
    key: SealingKey,
    rotate_command: Option<Vec<String>>,
    timeout: Duration,
    /// One rotation at a time: it ends the leases of all that have the same version.
    rotating: Mutex<()>,
}

impl StaticIssuer {
    /// Reads the key and opens the secret.
    ///
    /// # Errors
    /// What to do about a key or a secret that does not fit.
    pub fn new(
        target: &Target,
        settings: &StaticSettings,
        _shared: &Shared,
    ) -> Result<Self, String> {
        let key = match &settings.key {
            StaticKey::File(path) => SealingKey::from_file(path)
                .map_err(|error| format!("{}: {error}", path.display()))?,
            StaticKey::Env(name) => {
                SealingKey::from_env(name).map_err(|error| format!("{name}: {error}"))?
            }
        };
        let issuer = Self {
            target: target.name.clone(),
            path: settings.sealed.clone(),
            key,
            rotate_command: settings.rotate_command.clone(),
            timeout: target.timeout,
            rotating: Mutex::default(),
        };
        match issuer.open() {
            Ok(_) => Ok(issuer),
            Err(error) => Err(issuer.told(&error)),
        }
    }

    fn open(&self) -> Result<Opened, SealError> {
        self.key.open_file(self.target.as_str(), &self.path)
    }

    fn told(&self, error: &SealError) -> String {
        format!("{}: {error}", self.path.display())
    }

    /// What is sealed now.
    fn current(&self) -> Result<Digest, Failure> {
        let opened = self
            .open()
            .map_err(|error| Failure::away(self.told(&error)))?;
        Ok(fingerprint(&opened.version))
    }

    async fn end(&self, doomed: &Doomed) -> Result<Confirmation, Failure> {
        let _alone = self.rotating.lock().await;
        let before = self.current()?;
        if doomed
            .fingerprint
            .is_some_and(|handed_out| handed_out != before)
        {
            return Ok(Confirmation::RotatedAtTarget);
        }
        let Some(command) = &self.rotate_command else {
            return Err(Failure::said(NOT_REVOCABLE));
        };
        hook::run(command, &self.target, doomed.id, self.timeout).await?;
        match self.current()? == before {
            false => Ok(Confirmation::RotatedAtTarget),
            true => Err(Failure::said(
                "rotate_command succeeded, but the sealed secret is still of the same version",
            )),
        }
    }
}

impl Issuer for StaticIssuer {
    fn abilities(&self) -> Abilities {
        let can_revoke = self.rotate_command.is_some();
        Abilities {
            can_revoke,
            confirms_by: can_revoke.then_some(Confirmation::RotatedAtTarget),
            expires_at_target: false,
            renewable: true,
            enforced: Enforced::AtTarget,
        }
    }

    fn issue(&self, order: &IssueOrder, key: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        if key.is_some() {
            let message = "a static secret is bound to no key: leave the key out";
            return Err(Unfit::new("key", message));
        }
        self.renew(order)
    }

    /// The fields as they are now; perhaps others than at first.
    fn renew(&self, order: &IssueOrder) -> Result<Prepared, Unfit> {
        let opened = self.open().map_err(|error| {
            tracing::error!(target = %self.target, %error, "a sealed secret cannot be opened");
            Unfit::new(
                "scopes",
                "the secret of this target cannot be opened now: tell its operator",
            )
        })?;
        let fingerprint = Some(fingerprint(&opened.version));
        let credential = asked_for(opened, order)?;
        Ok(Prepared::new(fingerprint, async move {
            Ok(Made {
                credential,
                fingerprint,
            })
        }))
    }

    fn revoke<'a>(&'a self, doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        Box::pin(self.end(doomed))
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async {
            let opened = self
                .open()
                .map_err(|error| Failure::away(self.told(&error)))?;
            let (version, count) = (opened.version, opened.fields.len());
            Ok(format!("version {version}, fields: {count}"))
        })
    }
}

/// The fields that the scopes name, and no other.
fn asked_for(mut opened: Opened, order: &IssueOrder) -> Result<Credential, Unfit> {
    let mut fields = BTreeMap::new();
    for scope in &order.lease().scopes {
        let name = scope.resource();
        if fields.contains_key(name) {
            continue;
        }
        let value = opened.fields.remove(name).ok_or_else(|| {
            Unfit::new(
                "scopes",
                format!("{name:?}: the secret has no field of that name"),
            )
        })?;
        fields.insert(name.to_owned(), value);
    }
    Ok(Credential::Static {
        version: opened.version,
        fields,
    })
}

fn fingerprint(version: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, version.as_bytes()).as_ref());
    Digest(out)
}
