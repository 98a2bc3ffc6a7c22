//! A lease: one credential's life inside one task.

use serde::{Deserialize, Serialize};

use crate::{Cause, Digest, LeaseId, Scope, TargetName, Timestamp};

/// One credential's life. The credential itself is never here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its name; the credential's name at the target is derived from it.
    pub id: LeaseId,
    /// The target the credential is for.
    pub target: TargetName,
    /// What the credential may do.
    pub scopes: Vec<Scope>,
    /// Where its death is enforced.
    pub enforced: Enforced,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it was last renewed, if it was.
    pub renewed_at: Option<Timestamp>,
    /// When it expires; a renewal moves it.
    pub expires_at: Timestamp,
    /// Which limit set `expires_at`.
    pub bound: Bound,
    /// SHA-256 of the certificate that the credential is bound to.
    pub certificate: Digest,
    /// SHA-256 of what identifies the credential (for a JWT its signing input), once known.
    pub fingerprint: Option<Digest>,
    /// The guards' epoch at issue.
    pub epoch: u64,
    /// How often it was renewed.
    pub renewals: u32,
    /// Where it stands.
    pub state: LeaseState,
}

/// `Issuing → Active → Revoking → Ended`; there is no way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseState {
    /// Intended; the target may or may not have it yet.
    Issuing,
    /// Good until it expires.
    Active,
    /// Ended here; its death at the target is not confirmed yet.
    Revoking {
        /// What ended it.
        cause: Cause,
        /// Since when.
        since: Timestamp,
        /// How often the target was asked in vain.
        attempts: u32,
        /// What the target last said. Never a secret.
        last_error: Option<String>,
    },
    /// Gone.
    Ended {
        /// What ended it.
        cause: Cause,
        /// When its end began.
        since: Timestamp,
        /// When its death was confirmed.
        at: Timestamp,
        /// How its death was confirmed.
        confirmed: Confirmation,
        /// How often the target was asked in vain before.
        attempts: u32,
    },
}

/// Where a credential's death is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Enforced {
    /// By the broker's own record: resource servers ask, so the commit that ends the lease is the revocation.
    AtBroker,
    /// By the target: it must be told, and must confirm.
    AtTarget,
}

/// How a credential's death was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// Introspection refuses it from the commit on.
    RefusedByIntrospection,
    /// Deleted at the target, looked up, and found absent.
    DeletedAtTarget,
    /// On a certificate revocation list that the target has (RFC 5280).
    OnCrl,
    /// On an OpenSSH key revocation list that the target has.
    OnKrl,
    /// The secret was replaced at the target by another.
    RotatedAtTarget,
    /// Its own expiry has passed at the target.
    ExpiredAtTarget,
}

/// Which of the limits was the least and so set a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// What was asked for.
    Request,
    /// The deciding policies' maximum.
    Policy,
    /// The broker's configured maximum.
    Config,
    /// The task's deadline.
    Task,
    /// The expiry of the SVID.
    Svid,
}

impl Bound {
    /// A stable lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Policy => "policy",
            Self::Config => "config",
            Self::Task => "task",
            Self::Svid => "svid",
        }
    }
}

impl Confirmation {
    /// Every way.
    pub const ALL: [Self; 6] = [
        Self::RefusedByIntrospection,
        Self::DeletedAtTarget,
        Self::OnCrl,
        Self::OnKrl,
        Self::RotatedAtTarget,
        Self::ExpiredAtTarget,
    ];

    /// A stable lower-case word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RefusedByIntrospection => "refused_by_introspection",
            Self::DeletedAtTarget => "deleted_at_target",
            Self::OnCrl => "on_crl",
            Self::OnKrl => "on_krl",
            Self::RotatedAtTarget => "rotated_at_target",
            Self::ExpiredAtTarget => "expired_at_target",
        }
    }
}

impl Lease {
    /// Whether the credential may be honoured at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.state == LeaseState::Active && now < self.expires_at
    }

    /// Whether it has not yet begun to end.
    pub fn is_live(&self) -> bool {
        matches!(self.state, LeaseState::Issuing | LeaseState::Active)
    }

    /// Whether its death is confirmed.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, LeaseState::Ended { .. })
    }

    /// What ended it, if something has.
    pub fn cause(&self) -> Option<&Cause> {
        match &self.state {
            LeaseState::Issuing | LeaseState::Active => None,
            LeaseState::Revoking { cause, .. } | LeaseState::Ended { cause, .. } => Some(cause),
        }
    }

    /// The state's name in the design's words.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            LeaseState::Issuing => "Issuing",
            LeaseState::Active => "Active",
            LeaseState::Revoking { .. } => "Revoking",
            LeaseState::Ended { .. } => "Ended",
        }
    }
}
