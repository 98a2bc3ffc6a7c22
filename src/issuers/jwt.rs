//! Signed JWT access tokens (RFC 9068), bound to the agent's certificate (RFC 8705).
//!
//! `can_revoke`: yes, by introspection. `confirms_by`: the broker's own record, from the commit on.
//! `expires_at_target`: yes, `exp`, which every verifier checks.

use quietus_core::{Digest, IssueOrder, Lease};
use quietus_token::{AuthorizationDetail, Claims, Confirmation, SigningKey, Token, Unsigned};

use crate::keys::KeyRing;

/// The kind's name in configuration, policy and lists.
pub const KIND: &str = "jwt";

/// Makes tokens in one issuer's name.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    issuer: String,
}

/// A token that is decided in every byte but the signature.
pub struct Prepared(Unsigned);

/// Why a token cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// It would be larger than a verifier accepts.
    #[error("the token would be too large: ask for fewer scopes at a time")]
    TooLarge,
    /// Its claims would be refused by every verifier.
    #[error("the token's claims do not hold: {0}")]
    Claims(&'static str),
}

impl JwtIssuer {
    /// An issuer of this name (`iss`).
    pub fn new(issuer: String) -> Self {
        Self { issuer }
    }

    /// The name (`iss`).
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Everything but the signature.
    pub fn prepare(&self, key: &SigningKey, order: &IssueOrder) -> Result<Prepared, JwtError> {
        let claims = self.claims(order);
        claims
            .check()
            .map_err(|error| JwtError::Claims(error.reason()))?;
        let unsigned = key.prepare(&claims);
        match unsigned.fits() {
            true => Ok(Prepared(unsigned)),
            false => Err(JwtError::TooLarge),
        }
    }

    /// The very token that was made for this order before: signed with the key whose digest was recorded. None if
    /// that key is gone, or the lease has been renewed since.
    pub fn repeat(&self, keys: &KeyRing, order: &IssueOrder) -> Option<Token> {
        let recorded = order.lease().fingerprint?;
        keys.iter().find_map(|key| {
            let prepared = self.prepare(key, order).ok()?;
            (prepared.fingerprint() == recorded).then(|| prepared.sign(key))
        })
    }

    fn claims(&self, order: &IssueOrder) -> Claims {
        let lease = order.lease();
        let issued_at = order.issued_at().seconds();
        Claims {
            iss: self.issuer.clone(),
            sub: order.agent().0.clone(),
            client_id: order.agent().0.clone(),
            aud: lease.target.to_string(),
            iat: issued_at,
            nbf: issued_at,
            exp: lease.expires_at.seconds(),
            jti: lease.id.to_string(),
            txn: lease.id.task.to_string(),
            scope: scope_claim(lease),
            authorization_details: details(lease),
            act: None,
            cnf: Confirmation::from_thumbprint(lease.certificate.0),
        }
    }
}

impl Prepared {
    /// What identifies the token without being it: the digest of what is signed.
    pub fn fingerprint(&self) -> Digest {
        Digest(self.0.digest())
    }

    /// The token. Call it only once the order is committed.
    pub fn sign(self, key: &SigningKey) -> Token {
        key.sign(self.0)
    }
}

fn scope_claim(lease: &Lease) -> String {
    let scopes: Vec<String> = lease.scopes.iter().map(ToString::to_string).collect();
    scopes.join(" ")
}

fn details(lease: &Lease) -> Vec<AuthorizationDetail> {
    lease
        .scopes
        .iter()
        .map(|scope| {
            let action = scope.action().as_str();
            AuthorizationDetail::scope(scope.target().as_str(), action, scope.resource())
        })
        .collect()
}
