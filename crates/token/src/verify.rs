//! What a resource server asks of a token.

use crate::claims::Claims;
use crate::encoding::sha256;
use crate::error::TokenError;
use crate::jwk::JwkSet;
use crate::jws::SignedClaims;

/// Most leeway, in seconds.
pub const MAX_LEEWAY: u64 = 60;

/// Verifies the tokens of one issuer for one audience.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: JwkSet,
    issuer: String,
    audience: String,
    leeway: u64,
}

impl Verifier {
    /// Trusts `keys` to speak for `issuer`, and takes tokens for `audience` alone. Both are compared whole.
    pub fn new(keys: JwkSet, issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            keys,
            issuer: issuer.into(),
            audience: audience.into(),
            leeway: 0,
        }
    }

    /// How many seconds the clocks here and at the broker may differ: 0 at first, at most [`MAX_LEEWAY`], and more is
    /// taken as that.
    #[must_use]
    pub fn leeway(mut self, seconds: u64) -> Self {
        self.leeway = seconds.min(MAX_LEEWAY);
        self
    }

    /// Verifies `token` as it was presented on a connection with the client certificate `presented`, at the Unix time
    /// `now` in seconds (RFC 9068 section 4, RFC 8705 section 3).
    ///
    /// # Errors
    /// The first rule that the token breaks, in the order of [`TokenError`].
    pub fn verify(
        &self,
        token: &str,
        presented: Presented,
        now: u64,
    ) -> Result<VerifiedToken, TokenError> {
        let verified = self.verify_unbound(token, now)?;
        if presented.is(&verified.claims().cnf.x5t_s256) {
            Ok(verified)
        } else {
            Err(TokenError::WrongCertificate)
        }
    }

    pub(crate) fn verify_unbound(
        &self,
        token: &str,
        now: u64,
    ) -> Result<VerifiedToken, TokenError> {
        let signed = self.keys.check_signature(token)?;
        self.check_parties(signed.claims())?;
        self.check_times(signed.claims(), now)?;
        Ok(VerifiedToken(signed))
    }

    fn check_parties(&self, claims: &Claims) -> Result<(), TokenError> {
        if claims.iss != self.issuer {
            return Err(TokenError::Issuer);
        }
        if claims.aud != self.audience {
            return Err(TokenError::Audience);
        }
        Ok(())
    }

    fn check_times(&self, claims: &Claims, now: u64) -> Result<(), TokenError> {
        let latest_start = now.saturating_add(self.leeway);
        if now >= claims.exp.saturating_add(self.leeway) {
            return Err(TokenError::Expired);
        }
        if claims.nbf > latest_start {
            return Err(TokenError::NotYetValid);
        }
        if claims.iat > latest_start {
            return Err(TokenError::IssuedInFuture);
        }
        Ok(())
    }
}

/// The certificate that the client showed, and proved to hold, in the mutual TLS handshake.
#[derive(Clone, Copy, Debug)]
pub struct Presented([u8; 32]);

impl Presented {
    /// The client's own certificate, the first of its chain, in DER.
    pub fn certificate(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// The certificate whose DER encoding has this SHA-256 digest, for those behind a proxy that ends TLS and says so.
    pub fn from_thumbprint(thumbprint: [u8; 32]) -> Self {
        Self(thumbprint)
    }

    /// Compares in constant time.
    fn is(&self, thumbprint: &[u8; 32]) -> bool {
        let pairs = self.0.iter().zip(thumbprint);
        let difference = pairs.fold(0, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

/// A token that passed every check, at the time of the check. Only a [`Verifier`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedToken(SignedClaims);

impl VerifiedToken {
    /// Whether the token grants `action` on `resource` of `target`. Names are compared whole: there are no wildcards,
    /// and no action implies another.
    pub fn allows(&self, target: &str, action: &str, resource: &str) -> bool {
        let details = &self.claims().authorization_details;
        details.iter().any(|d| d.allows(target, action, resource))
    }

    /// The SPIFFE ID of the agent whose authority this is (`sub`).
    pub fn subject(&self) -> &str {
        &self.claims().sub
    }

    /// The SPIFFE ID of the agent that acts: the outermost `act`, or the subject itself if it delegated to nobody.
    pub fn actor(&self) -> &str {
        let actor = self.claims().actors().next();
        actor.map_or(self.subject(), |actor| &actor.sub)
    }

    /// The lease (`jti`).
    pub fn lease_id(&self) -> &str {
        &self.claims().jti
    }

    /// The task (`txn`).
    pub fn task_id(&self) -> &str {
        &self.claims().txn
    }

    /// The Unix second from which on the token is not valid any more (`exp`), without leeway.
    pub fn expires_at(&self) -> u64 {
        self.claims().exp
    }

    /// The key that signed it.
    pub fn kid(&self) -> &str {
        self.0.kid()
    }

    /// Everything it says.
    pub fn claims(&self) -> &Claims {
        self.0.claims()
    }
}
