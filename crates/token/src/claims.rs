//! What a token says.

use serde::{Deserialize, Serialize, Serializer};

use crate::encoding::{decode_array, encode, sha256};
use crate::error::TokenError;
use crate::members::Members;

/// Most actors in a delegation chain.
pub const MAX_ACTORS: usize = 8;
/// Latest date in a token, in Unix seconds: the last second of the year 9999, the end of RFC 3339.
pub const MAX_DATE: u64 = 253_402_300_799;

/// The `type` of the authorization details that this crate understands (RFC 9396 section 2).
const SCOPE_TYPE: &str = "quietus_scope";

/// The claims of a token (RFC 9068 section 2.2). Dates are Unix seconds.
///
/// When claims are read, a claim that is listed here must have its type, and one that is not listed is ignored. Read
/// them only from self-describing formats, such as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members")]
pub struct Claims {
    /// Who issued the token.
    pub iss: String,
    /// The SPIFFE ID of the agent whose authority this is.
    pub sub: String,
    /// The client that the token was issued to (RFC 8693 section 4.3).
    pub client_id: String,
    /// The one target that the token is for.
    pub aud: String,
    /// When it was issued.
    pub iat: u64,
    /// From when on it is valid.
    pub nbf: u64,
    /// From when on it is not valid any more.
    pub exp: u64,
    /// The lease.
    pub jti: String,
    /// The task.
    pub txn: String,
    /// The scopes with spaces between them (RFC 8693 section 4.2), for those who read no authorization details.
    pub scope: String,
    /// The scopes, taken apart (RFC 9396).
    pub authorization_details: Vec<AuthorizationDetail>,
    /// Who acts for the subject, if it delegated: the present actor, with the one before it inside (RFC 8693 section
    /// 4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    /// The certificate that the token is bound to (RFC 8705 section 3.1).
    pub cnf: Confirmation,
}

impl Claims {
    /// Checks every rule that needs neither the time nor the reader: what must be said is said, dates are in range and
    /// in order, the delegation chain is short. A verifier refuses what fails here, so a signer may ask first.
    ///
    /// # Errors
    /// [`ClaimEmpty`](TokenError::ClaimEmpty), [`Subject`](TokenError::Subject),
    /// [`DateRange`](TokenError::DateRange), [`Lifetime`](TokenError::Lifetime) or
    /// [`TooManyActors`](TokenError::TooManyActors).
    pub fn check(&self) -> Result<(), TokenError> {
        self.check_names()?;
        self.check_dates()?;
        match self.actors().nth(MAX_ACTORS) {
            None => Ok(()),
            Some(_) => Err(TokenError::TooManyActors),
        }
    }

    /// The delegation chain, the present actor first. Only the present one may bear on a decision; the others are
    /// history (RFC 8693 section 4.1).
    pub fn actors(&self) -> impl Iterator<Item = &Actor> {
        std::iter::successors(self.act.as_ref(), |actor| actor.act.as_deref())
    }

    fn check_names(&self) -> Result<(), TokenError> {
        let names = [
            ("iss", &self.iss),
            ("sub", &self.sub),
            ("client_id", &self.client_id),
            ("aud", &self.aud),
            ("jti", &self.jti),
            ("txn", &self.txn),
        ];
        match names.iter().find(|(_, text)| text.is_empty()) {
            Some((name, _)) => Err(TokenError::ClaimEmpty(name)),
            None if !self.sub.starts_with("spiffe://") => Err(TokenError::Subject),
            None => Ok(()),
        }
    }

    fn check_dates(&self) -> Result<(), TokenError> {
        let dates = [("iat", self.iat), ("nbf", self.nbf), ("exp", self.exp)];
        match dates.iter().find(|(_, date)| *date > MAX_DATE) {
            Some((name, _)) => Err(TokenError::DateRange(name)),
            None if self.exp <= self.iat || self.exp <= self.nbf => Err(TokenError::Lifetime),
            None => Ok(()),
        }
    }
}

/// What may be done (RFC 9396 section 2). A member that is not listed here could narrow what the others grant, so a
/// detail that has one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members")]
pub struct AuthorizationDetail {
    /// `quietus_scope`; a detail of another type grants nothing.
    #[serde(rename = "type")]
    pub type_: String,
    /// The targets.
    pub locations: Vec<String>,
    /// The actions.
    pub actions: Vec<String>,
    /// The resource.
    pub identifier: String,
}

impl AuthorizationDetail {
    /// One action on one resource of one target.
    pub fn scope(target: &str, action: &str, resource: &str) -> Self {
        Self {
            type_: SCOPE_TYPE.to_owned(),
            locations: vec![target.to_owned()],
            actions: vec![action.to_owned()],
            identifier: resource.to_owned(),
        }
    }

    /// Whether this grants `action` on `resource` of `target`. Names are compared whole: there are no wildcards, and no
    /// action implies another.
    pub fn allows(&self, target: &str, action: &str, resource: &str) -> bool {
        self.type_ == SCOPE_TYPE
            && self.identifier == resource
            && self.actions.iter().any(|a| a == action)
            && self.locations.iter().any(|l| l == target)
    }
}

/// A party that acts for another (RFC 8693 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members")]
pub struct Actor {
    /// Its SPIFFE ID.
    pub sub: String,
    /// Who acted before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

/// The certificate that a token is bound to (RFC 7800, RFC 8705 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Members")]
pub struct Confirmation {
    /// The SHA-256 digest of its DER encoding.
    #[serde(rename = "x5t#S256", serialize_with = "as_base64url")]
    pub x5t_s256: [u8; 32],
}

impl Confirmation {
    /// Binds to a certificate, given in DER.
    pub fn certificate(der: &[u8]) -> Self {
        Self::from_thumbprint(sha256(der))
    }

    /// Binds to the certificate whose DER encoding has this SHA-256 digest.
    pub fn from_thumbprint(x5t_s256: [u8; 32]) -> Self {
        Self { x5t_s256 }
    }
}

impl TryFrom<Members> for Claims {
    type Error = TokenError;

    fn try_from(mut members: Members) -> Result<Self, TokenError> {
        Ok(Self {
            iss: members.required("iss")?,
            sub: members.required("sub")?,
            client_id: members.required("client_id")?,
            aud: members.required("aud")?,
            iat: members.required("iat")?,
            nbf: members.required("nbf")?,
            exp: members.required("exp")?,
            jti: members.required("jti")?,
            txn: members.required("txn")?,
            scope: members.required("scope")?,
            authorization_details: members.required("authorization_details")?,
            act: members.optional("act")?,
            cnf: confirmation(&mut members)?,
        })
    }
}

fn confirmation(members: &mut Members) -> Result<Confirmation, TokenError> {
    let cnf: Option<Members> = members.optional("cnf")?;
    cnf.ok_or(TokenError::NotBound)?.try_into()
}

impl TryFrom<Members> for AuthorizationDetail {
    type Error = TokenError;

    fn try_from(mut members: Members) -> Result<Self, TokenError> {
        let detail = Self {
            type_: members.required("type")?,
            locations: members.required("locations")?,
            actions: members.required("actions")?,
            identifier: members.required("identifier")?,
        };
        if members.is_empty() {
            Ok(detail)
        } else {
            Err(TokenError::ClaimType("authorization_details"))
        }
    }
}

impl TryFrom<Members> for Actor {
    type Error = TokenError;

    fn try_from(mut members: Members) -> Result<Self, TokenError> {
        Ok(Self {
            sub: members.required("sub")?,
            act: members.optional("act")?,
        })
    }
}

impl TryFrom<Members> for Confirmation {
    type Error = TokenError;

    fn try_from(mut members: Members) -> Result<Self, TokenError> {
        let text: Option<String> = members
            .optional("x5t#S256")
            .map_err(|_| TokenError::ClaimType("cnf"))?;
        decode_array(&text.ok_or(TokenError::NotBound)?)
            .map(Self::from_thumbprint)
            .ok_or(TokenError::ClaimType("cnf"))
    }
}

fn as_base64url<S: Serializer>(bytes: &[u8; 32], output: S) -> Result<S::Ok, S::Error> {
    output.serialize_str(&encode(bytes))
}
