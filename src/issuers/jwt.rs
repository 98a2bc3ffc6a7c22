//! Signed JWT access tokens (RFC 9068), bound to the agent's certificate (RFC 8705).
//!
//! `can_revoke`: yes, by introspection. `confirms_by`: the broker's own record, from the commit on.
//! `expires_at_target`: yes, `exp`, which every verifier checks.

use quietus_core::{Confirmation, Digest, Enforced, IssueOrder, Lease};
use quietus_token::{AuthorizationDetail, Claims, SigningKey, Unsigned};

use super::{
    Abilities, Credential, Doing, Doomed, Failure, Issuer, KeyRequest, Made, Prepared, Shared,
    Unfit,
};

/// Makes tokens in one issuer's name.
pub struct JwtIssuer {
    shared: Shared,
}

impl JwtIssuer {
    /// An issuer that signs with the broker's keys.
    pub fn new(shared: &Shared) -> Self {
        Self {
            shared: shared.clone(),
        }
    }

    /// Everything but the signature.
    fn unsigned(&self, key: &SigningKey, order: &IssueOrder) -> Result<Unsigned, Unfit> {
        let claims = self.claims(order);
        claims.check().map_err(|error| {
            let message = format!("the token's claims do not hold: {}", error.reason());
            Unfit::new("scopes", message)
        })?;
        let unsigned = key.prepare(&claims);
        match unsigned.fits() {
            true => Ok(unsigned),
            false => Err(Unfit::new(
                "scopes",
                "the token would be too large: ask for fewer scopes at a time",
            )),
        }
    }

    fn claims(&self, order: &IssueOrder) -> Claims {
        let lease = order.lease();
        let issued_at = order.issued_at().seconds();
        Claims {
            iss: self.shared.issuer.clone(),
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
            cnf: quietus_token::Confirmation::from_thumbprint(lease.certificate.0),
        }
    }
}

impl Issuer for JwtIssuer {
    fn abilities(&self) -> Abilities {
        Abilities {
            can_revoke: true,
            confirms_by: Some(Confirmation::RefusedByIntrospection),
            expires_at_target: true,
            renewable: true,
            enforced: Enforced::AtBroker,
        }
    }

    fn issue(&self, order: &IssueOrder, key: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        if key.is_some() {
            let message = "a token is bound to the certificate of the call: leave the key out";
            return Err(Unfit::new("key", message));
        }
        let keys = self.shared.keys.ring();
        let unsigned = self.unsigned(keys.current(), order)?;
        let fingerprint = Some(Digest(unsigned.digest()));
        Ok(Prepared::new(fingerprint, async move {
            Ok(Made {
                credential: Credential::Jwt(keys.current().sign(unsigned)),
                fingerprint,
            })
        }))
    }

    fn renew(&self, order: &IssueOrder) -> Result<Prepared, Unfit> {
        self.issue(order, None)
    }

    /// Signed with the key whose digest was recorded; ed25519 makes the same signature again.
    fn repeat(&self, order: &IssueOrder) -> Option<Credential> {
        let recorded = order.lease().fingerprint?;
        self.shared.keys.ring().iter().find_map(|key| {
            let unsigned = self.unsigned(key, order).ok()?;
            (Digest(unsigned.digest()) == recorded).then(|| Credential::Jwt(key.sign(unsigned)))
        })
    }

    fn revoke<'a>(&'a self, _doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        Box::pin(async { Ok(Confirmation::RefusedByIntrospection) })
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(async { Ok("tokens are signed here".to_owned()) })
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
