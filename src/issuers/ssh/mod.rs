//! OpenSSH user certificates (OpenSSH, PROTOCOL.certkeys).
//!
//! `can_revoke`: yes, by a key revocation list in a file that the hosts read at every login (`RevokedKeys`).
//! `confirms_by`: the lease was read back from that file. `expires_at_target`: yes, `valid before`, which every host
//! checks.
//!
//! A scope is `<target>:execute:<principal>`. Who may log in as whom, from where, with which command and with what
//! else follows from the configuration; of the agent's key only the key counts. The key id is the lease's id, which is
//! also what revokes.
//!
//! A session that was begun before a revocation goes on until its host ends it: a key revocation list is looked at when
//! someone logs in, and only then.

mod authority;
mod certificate;
mod key;
mod krl;
mod register;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use quietus_core::{Confirmation, Digest, Enforced, IssueOrder, Scope};
use ring::digest::{SHA256, digest};

use super::{
    Abilities, Credential, Doing, Doomed, Failure, Issuer, KeyRequest, Made, Prepared, Shared,
    Unfit,
};
use crate::config::{Principal, SshSettings, Target};
use authority::Authority;
use certificate::{Draft, line};
use key::Subject;
use register::Register;

/// The longest life of a certificate: no lease is longer.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Makes certificates for the hosts of one target.
pub struct SshIssuer {
    settings: SshSettings,
    authority: Arc<Authority>,
    register: Arc<Register>,
    shared: Shared,
}

impl SshIssuer {
    /// Reads the CA's key, and the key revocation list if there is one.
    ///
    /// # Errors
    /// If one of them does not hold what it should, or others can read the key.
    pub fn new(_target: &Target, settings: &SshSettings, shared: &Shared) -> Result<Self, String> {
        let authority = Authority::open(&settings.ca_key)?;
        let register = Register::open(authority.public(), settings.krl.clone())?;
        Ok(Self {
            settings: settings.clone(),
            authority: Arc::new(authority),
            register: Arc::new(register),
            shared: shared.clone(),
        })
    }

    fn draft(&self, order: &IssueOrder) -> Result<Draft, Unfit> {
        let mut draft = Draft::new(order);
        if draft.life(order.issued_at()) > LONGEST {
            return Err(Unfit::new("ttl", "a certificate lives for 7 days at most"));
        }
        let scopes = &order.lease().scopes;
        let found: Result<Vec<_>, _> = scopes.iter().map(|scope| self.principal(scope)).collect();
        let found = found?;
        let first = found
            .first()
            .ok_or_else(|| Unfit::new("scopes", "ask for at least one"))?;
        let alike = |it: &&Principal| {
            (&it.force_command, &it.permit) == (&first.force_command, &first.permit)
        };
        if !found.iter().all(alike) {
            let message =
                "these principals differ in what their sessions may do: ask for one at a time";
            return Err(Unfit::new("scopes", message));
        }
        for principal in &found {
            if !draft.principals.contains(&principal.name) {
                draft.principals.push(principal.name.clone());
            }
        }
        if let Some(command) = &first.force_command {
            draft.critical.push(("force-command", command.clone()));
        }
        if !self.settings.source_address.is_empty() {
            let networks = self.settings.source_address.join(",");
            draft.critical.push(("source-address", networks));
        }
        draft.extensions = first.permit.iter().map(|it| it.extension()).collect();
        draft.extensions.sort_unstable();
        Ok(draft)
    }

    fn principal(&self, scope: &Scope) -> Result<&Principal, Unfit> {
        let mut principals = self.settings.principals.iter();
        let found = principals.find(|it| it.name == scope.resource());
        let found = found.filter(|it| it.actions.contains(&scope.action()));
        found.ok_or_else(|| {
            let message = format!(
                "{scope}: nobody may log in so: name a principal and an action that the target's settings list, such as {}:execute:NAME",
                scope.target()
            );
            Unfit::new("scopes", message)
        })
    }

    /// What an agent is told besides.
    fn credential(
        &self,
        principals: Vec<String>,
    ) -> impl FnOnce(String, Option<super::Secret>) -> Credential + use<> {
        let (host, port) = (self.settings.host.clone(), self.settings.port);
        move |certificate, private_key| Credential::Ssh {
            certificate,
            private_key,
            principals,
            host,
            port,
        }
    }
}

impl Issuer for SshIssuer {
    fn abilities(&self) -> Abilities {
        Abilities {
            can_revoke: true,
            confirms_by: Some(Confirmation::OnKrl),
            expires_at_target: true,
            renewable: false,
            enforced: Enforced::AtTarget,
        }
    }

    fn issue(&self, order: &IssueOrder, key: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        let key = match key {
            None => None,
            Some(KeyRequest::SshPublicKey(text)) => Some(Subject::read(text)?),
            Some(KeyRequest::Csr(_)) => {
                let message =
                    "send an OpenSSH public key for a certificate of this kind, or no key";
                return Err(Unfit::new("key", message));
            }
        };
        let draft = self.draft(order)?;
        let credential = self.credential(draft.principals.clone());
        let (authority, register) = (Arc::clone(&self.authority), Arc::clone(&self.register));
        let clock = Arc::clone(&self.shared.now);
        Ok(Prepared::new(None, async move {
            register.ready(clock()).await?;
            let (subject, secret) = match key {
                Some(subject) => (subject, None),
                None => {
                    let comment = draft.lease.to_string();
                    let made = Subject::generate(&comment).map_err(Failure::said)?;
                    (made.0, Some(made.1))
                }
            };
            let bytes = draft.sign(&subject, &authority).map_err(Failure::said)?;
            Ok(Made {
                credential: credential(line(&bytes, &subject, draft.lease), secret),
                fingerprint: Some(fingerprint(&bytes)),
            })
        }))
    }

    fn revoke<'a>(&'a self, doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        Box::pin(async {
            let now = (self.shared.now)();
            if doomed.expires_at.is_some_and(|end| end <= now) {
                return Ok(Confirmation::ExpiredAtTarget);
            }
            // Nobody knows when a stray expires, but that it does by then.
            let end = doomed.expires_at.unwrap_or(now.after(LONGEST));
            self.register.revoke(doomed.id, end, now).await?;
            Ok(Confirmation::OnKrl)
        })
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async { self.register.describe().await })
    }

    fn upkeep(&self) -> Doing<'_, Result<(), Failure>> {
        Box::pin(async { self.register.keep((self.shared.now)()).await })
    }
}

fn fingerprint(bytes: &[u8]) -> Digest {
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Digest(fingerprint)
}
