//! X.509 certificates in the name of a target's own CA (RFC 5280).
//!
//! `can_revoke`: yes, by a revocation list in a file that the target reads. `confirms_by`: the serial number was read
//! back from that file under the CA's signature, and the command that makes the target read it succeeded.
//! `expires_at_target`: yes, `notAfter`, which every verifier checks.
//!
//! The names, the usage and the life of a certificate follow from the configuration and the order. Of a certification
//! request nothing counts but its key. The serial number is the lease's id, so that a certificate whose making was not
//! confirmed can be revoked. Each scope is a URI among the names, `urn:quietus:scope:<target>:<action>:<resource>`,
//! by which a server tells them apart.
//!
//! A connection that was made before a revocation goes on until its target ends it.

mod authority;
mod check;
mod csr;
mod leaf;
mod list;
mod names;
mod register;

use std::sync::Arc;

use quietus_core::{Confirmation, Enforced, IssueOrder};

use super::{Abilities, Doing, Doomed, Failure, Issuer, KeyRequest, Prepared, Shared, Unfit};
use crate::config::{Target, X509Settings};
use authority::Authority;
use leaf::Leaf;
use list::Entry;
use register::Register;

/// Makes certificates for one target.
pub struct X509Issuer {
    settings: X509Settings,
    authority: Arc<Authority>,
    register: Arc<Register>,
    shared: Shared,
}

impl X509Issuer {
    /// Reads the CA's files, and the revocation list if there is one.
    ///
    /// # Errors
    /// If one of them does not hold what it should, or others can read the key.
    pub fn new(target: &Target, settings: &X509Settings, shared: &Shared) -> Result<Self, String> {
        let authority = Arc::new(Authority::open(&settings.ca_cert, &settings.ca_key)?);
        let register = Register::open(
            Arc::clone(&authority),
            settings.crl.clone(),
            settings.crl_lifetime,
            settings.reload_command.clone(),
            target.timeout / 2,
        )?;
        Ok(Self {
            settings: settings.clone(),
            authority,
            register: Arc::new(register),
            shared: shared.clone(),
        })
    }
}

impl Issuer for X509Issuer {
    fn abilities(&self) -> Abilities {
        Abilities {
            can_revoke: true,
            confirms_by: Some(Confirmation::OnCrl),
            expires_at_target: true,
            renewable: false,
            enforced: Enforced::AtTarget,
        }
    }

    fn issue(&self, order: &IssueOrder, key: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        let key = match key {
            None => None,
            Some(KeyRequest::Csr(der)) => Some(csr::key(der)?),
            Some(KeyRequest::SshPublicKey(_)) => {
                let message = "send a PKCS#10 request for a certificate of this kind, or no key";
                return Err(Unfit::new("key", message));
            }
        };
        if order.lease().expires_at > self.authority.until {
            let message = "the CA's own certificate ends before: ask for less, or have it renewed";
            return Err(Unfit::new("ttl", message));
        }
        let leaf = Leaf::new(&self.settings, order, key)?;
        let authority = Arc::clone(&self.authority);
        let register = Arc::clone(&self.register);
        let clock = Arc::clone(&self.shared.now);
        Ok(Prepared::new(None, async move {
            let now = clock();
            authority.valid_at(now).map_err(Failure::away)?;
            register.ready(now).await?;
            leaf.make(&authority).map_err(Failure::said)
        }))
    }

    fn revoke<'a>(&'a self, doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        Box::pin(async {
            let now = (self.shared.now)();
            if doomed.expires_at.is_some_and(|end| end <= now) {
                return Ok(Confirmation::ExpiredAtTarget);
            }
            let serial = names::serial(doomed.id).map_err(Failure::said)?;
            let entry = Entry {
                revoked_at: now,
                until: doomed.expires_at,
            };
            self.register.revoke(serial, entry, now).await?;
            Ok(Confirmation::OnCrl)
        })
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async {
            let now = (self.shared.now)();
            self.authority.valid_at(now).map_err(Failure::away)?;
            self.register.describe(now).await
        })
    }

    fn upkeep(&self) -> Doing<'_, Result<(), Failure>> {
        Box::pin(async { self.register.keep((self.shared.now)()).await })
    }
}
