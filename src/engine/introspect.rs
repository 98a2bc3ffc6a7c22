//! Whether a token is good now (RFC 7662).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use quietus_core::{AgentId, Digest, Lease, LeaseId, Timestamp};
use quietus_identity::VerifiedSvid;
use quietus_token::fingerprint;

use super::{Engine, Error};

/// A token that is good now.
#[derive(Clone, Debug)]
pub struct Active {
    /// Its lease.
    pub lease: Lease,
    /// Whose it is.
    pub agent: AgentId,
    /// When this very token expires; a renewed lease may live longer.
    pub expires_at: Timestamp,
}

/// How many tokens are remembered.
const REMEMBERED: usize = 1 << 16;

/// Tokens whose signatures need not be checked again, because the broker itself has made or checked them: by the
/// digest of the whole token, so that nothing here could serve as one.
#[derive(Default)]
pub(super) struct Signed(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: HashMap<[u8; 32], Known>,
    old: HashMap<[u8; 32], Known>,
}

#[derive(Clone, Copy)]
struct Known {
    lease: LeaseId,
    expires_at: Timestamp,
}

impl Engine {
    /// What a resource server may know of a token: nothing, unless it is good now and meant for it.
    pub fn introspect(
        &self,
        asker: &VerifiedSvid,
        token: &str,
        presenter: Option<Digest>,
    ) -> Result<Option<Active>, Error> {
        let now = self.now();
        let Some(known) = self
            .check_signed(token)
            .filter(|known| now < known.expires_at)
        else {
            return Ok(None);
        };
        let snapshot = self.store.read();
        // The guards come after the snapshot, so that no revocation can slip between them.
        let Some(lease) = snapshot.lease(known.lease)? else {
            return Ok(None);
        };
        let Some(task) = snapshot.task(known.lease.task)? else {
            return Ok(None);
        };
        let guards = self.store.guards();
        let served = self
            .config
            .target(&lease.target)
            .is_some_and(|target| target.is_served_by(asker.id().as_str()));
        let good = served
            && lease.is_active(now)
            && task.is_open()
            && task.overdue(now).is_none()
            && guards.fallen(&task.agent, None, task.epoch).is_none()
            && guards
                .fallen(&task.agent, Some(&lease.target), lease.epoch)
                .is_none()
            && presenter.is_none_or(|presenter| presenter == lease.certificate);
        Ok(good.then_some(Active {
            lease,
            agent: task.agent,
            expires_at: known.expires_at,
        }))
    }

    fn check_signed(&self, token: &str) -> Option<Known> {
        let digest = fingerprint(token);
        if let Some(known) = self.signed.find(&digest) {
            return Some(known);
        }
        let keys = self.keys.ring();
        let signed = keys.published().check_signature(token).ok()?;
        let claims = signed.claims();
        let known = Known {
            lease: claims.jti.parse().ok()?,
            expires_at: Timestamp::from_seconds(claims.exp),
        };
        self.signed.insert(digest, known);
        Some(known)
    }
}

impl Signed {
    /// The broker has just signed this token.
    pub(super) fn remember(&self, token: [u8; 32], lease: &Lease) {
        let known = Known {
            lease: lease.id,
            expires_at: lease.expires_at,
        };
        self.insert(token, known);
    }

    /// Keys have gone: whatever they signed must be looked at again.
    pub(super) fn forget_all(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
    }

    fn find(&self, token: &[u8; 32]) -> Option<Known> {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = generations.young.get(token);
        known.or_else(|| generations.old.get(token)).copied()
    }

    fn insert(&self, token: [u8; 32], known: Known) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= REMEMBERED / 2 {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(token, known);
    }
}
