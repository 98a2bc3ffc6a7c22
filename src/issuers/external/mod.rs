//! Credentials that a process of the operator's own makes: the client's side of `quietus.issuer.v1`.
//!
//! What the process can do is stated in the configuration. One that claims anything else is given no work, not even a
//! revocation: another process at the same place would know none of our leases, and call them all gone. So it is asked
//! to describe itself on every connection. Its answers are not trusted: they are bounded, and held against the order.
//! Its error texts are never shown or kept, since nobody can tell what is in them.

mod answer;
mod ask;
pub mod conformance;
mod link;
mod party;
mod refusal;

use std::sync::Arc;

use quietus_core::{Confirmation, Enforced, IssueOrder};

use super::{
    Abilities, Doing, Doomed, Failure, Found, Issuer, KeyRequest, Made, Prepared, Shared, Unfit,
};
use crate::config::{ExternalSettings, Target};
use link::Link;
use party::Party;

/// Has credentials made by another process.
pub struct ExternalIssuer {
    party: Arc<Party>,
}

impl ExternalIssuer {
    /// The process that the settings name. It is not connected to yet.
    ///
    /// # Errors
    /// None so far: the files that the settings name are read whenever a connection is made.
    pub fn new(
        target: &Target,
        settings: &ExternalSettings,
        shared: &Shared,
    ) -> Result<Self, String> {
        let link = Link::new(
            &settings.endpoint,
            Some(&shared.svid),
            Arc::clone(&shared.now),
        )?;
        let origin = ask::origin(&shared.broker, &target.name);
        let party = Party::new(
            link,
            settings.clone(),
            origin,
            target.timeout,
            Arc::clone(&shared.now),
        );
        Ok(Self {
            party: Arc::new(party),
        })
    }

    fn settings(&self) -> &ExternalSettings {
        self.party.settings()
    }

    /// What cannot be ended is gone once its time is over, if the target keeps the time.
    fn outlived(&self, doomed: &Doomed) -> Result<Confirmation, Failure> {
        let Some(expires_at) = doomed
            .expires_at
            .filter(|_| self.settings().expires_at_target)
        else {
            return Err(Failure::said(
                "a credential of this kind cannot be ended: end it at the target by hand",
            ));
        };
        match self.party.now() >= expires_at {
            true => Ok(Confirmation::ExpiredAtTarget),
            false => Err(Failure::said(
                "a credential of this kind cannot be ended before it expires by itself",
            )),
        }
    }
}

impl Issuer for ExternalIssuer {
    fn abilities(&self) -> Abilities {
        let settings = self.settings();
        Abilities {
            can_revoke: settings.can_revoke,
            confirms_by: settings.confirms_by,
            expires_at_target: settings.expires_at_target,
            renewable: settings.renewable,
            enforced: Enforced::AtTarget,
        }
    }

    fn issue(&self, order: &IssueOrder, key: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        let party = Arc::clone(&self.party);
        let request = ask::issue(order, key, party.origin());
        let expected = answer::Expected::of(order, party.settings());
        Ok(Prepared::new(None, async move {
            let answer = party
                .call(|mut client, deadline| {
                    let request = deadline.on(request.clone());
                    async move { client.issue(request).await }
                })
                .await?;
            made(expected.issued(answer))
        }))
    }

    fn renew(&self, order: &IssueOrder) -> Result<Prepared, Unfit> {
        if !self.settings().renewable {
            let message = "a credential of this kind cannot be renewed: request a new one";
            return Err(Unfit::new("lease_id", message));
        }
        let party = Arc::clone(&self.party);
        let request = ask::renew(order, party.origin());
        let expected = answer::Expected::of(order, party.settings());
        Ok(Prepared::new(order.lease().fingerprint, async move {
            let answer = party
                .call(|mut client, deadline| {
                    let request = deadline.on(request.clone());
                    async move { client.renew(request).await }
                })
                .await?;
            made(expected.renewed(answer))
        }))
    }

    fn revoke<'a>(&'a self, doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        Box::pin(async move {
            if !self.settings().can_revoke {
                return self.outlived(doomed);
            }
            let request = ask::revoke(doomed, self.party.origin());
            let answer = self
                .party
                .call(|mut client, deadline| {
                    let request = deadline.on(request.clone());
                    async move { client.revoke(request).await }
                })
                .await?;
            let over = doomed.expires_at.is_some_and(|at| self.party.now() >= at);
            answer::revoked(&answer, doomed, self.settings(), over).map_err(unacceptable)
        })
    }

    fn list(&self) -> Doing<'_, Result<Option<Vec<Found>>, Failure>> {
        Box::pin(self.party.list())
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(self.party.check())
    }
}

fn made(answer: Result<Made, String>) -> Result<Made, Failure> {
    answer.map_err(unacceptable)
}

fn unacceptable(why: impl std::fmt::Display) -> Failure {
    Failure::said(format_args!("the issuer's answer is refused: {why}"))
}
