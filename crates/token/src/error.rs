//! Why a token was refused.

/// Why a token was refused: one variant for each rule, in the order in which the rules are asked. No variant holds any
/// part of the token, so an error may be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN`](crate::MAX_TOKEN).
    #[error("the token is longer than {} bytes", crate::MAX_TOKEN)]
    TooLong,
    /// Not a compact JWS (RFC 7515 section 3.1).
    #[error("a token has three parts with dots between them")]
    Parts,
    /// The header is not base64url without padding in its one canonical spelling.
    #[error("the header is not canonical base64url without padding")]
    HeaderEncoding,
    /// The header is not a JSON object.
    #[error("the header is not a JSON object")]
    HeaderMalformed,
    /// A JSON object in the header or the claims has two members of one name.
    #[error("a JSON object has two members of one name")]
    DuplicateMember,
    /// `crit` asks for extensions (RFC 7515 section 4.1.11); this verifier knows none.
    #[error("the header names critical extensions")]
    Critical,
    /// `jwk`, `jku`, `x5u`, `x5c`, `x5t` or `x5t#S256`: a token may not say which key to trust.
    #[error("the header carries or points to a key")]
    KeyInHeader,
    /// `alg` is not exactly `EdDSA` (RFC 8037 section 3.1).
    #[error("the algorithm is not EdDSA")]
    Algorithm,
    /// `typ` is not `at+jwt` (RFC 9068 section 2.1).
    #[error("the type is not at+jwt")]
    Type,
    /// `kid` is missing or names no key of the issuer.
    #[error("the key is not known")]
    UnknownKey,
    /// The signature is not 64 bytes long.
    #[error("the signature is not 64 bytes long")]
    SignatureLength,
    /// The signature is not base64url without padding in its one canonical spelling.
    #[error("the signature is not canonical base64url without padding")]
    SignatureEncoding,
    /// The signature is not the named key's signature over this header and these claims.
    #[error("the signature is wrong")]
    Signature,
    /// The claims are not base64url without padding in their one canonical spelling.
    #[error("the claims are not canonical base64url without padding")]
    ClaimsEncoding,
    /// The claims are not a JSON object.
    #[error("the claims are not a JSON object")]
    ClaimsMalformed,
    /// A required claim is missing.
    #[error("the claim {0} is missing")]
    ClaimMissing(&'static str),
    /// A claim does not have its type.
    #[error("the claim {0} does not have its type")]
    ClaimType(&'static str),
    /// There is no `cnf` claim with an `x5t#S256` member (RFC 8705 section 3.1).
    #[error("the token is not bound to a certificate")]
    NotBound,
    /// A claim that must say something is empty.
    #[error("the claim {0} is empty")]
    ClaimEmpty(&'static str),
    /// `sub` is not a SPIFFE ID.
    #[error("the subject is not a SPIFFE ID")]
    Subject,
    /// A date is later than [`MAX_DATE`](crate::MAX_DATE).
    #[error("the date {0} is out of range")]
    DateRange(&'static str),
    /// `exp` is not after both `iat` and `nbf`.
    #[error("the token expires before it begins")]
    Lifetime,
    /// More than [`MAX_ACTORS`](crate::MAX_ACTORS) actors in `act` (RFC 8693 section 4.1).
    #[error("the delegation chain has more than {} actors", crate::MAX_ACTORS)]
    TooManyActors,
    /// `iss` is someone else.
    #[error("the issuer is another one")]
    Issuer,
    /// `aud` is someone else.
    #[error("the token is for another audience")]
    Audience,
    /// `exp` has come.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` has not come.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// The certificate presented is not the one that the token is bound to (RFC 8705 section 3).
    #[error("the token is bound to another certificate")]
    WrongCertificate,
}

impl TokenError {
    /// A name for programs and logs. It stays the same from version to version.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong => "TOO_LONG",
            Self::Parts => "PARTS",
            Self::HeaderEncoding => "HEADER_ENCODING",
            Self::HeaderMalformed => "HEADER_MALFORMED",
            Self::DuplicateMember => "DUPLICATE_MEMBER",
            Self::Critical => "CRITICAL",
            Self::KeyInHeader => "KEY_IN_HEADER",
            Self::Algorithm => "ALGORITHM",
            Self::Type => "TYPE",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::SignatureLength => "SIGNATURE_LENGTH",
            Self::SignatureEncoding => "SIGNATURE_ENCODING",
            Self::Signature => "SIGNATURE",
            Self::ClaimsEncoding => "CLAIMS_ENCODING",
            Self::ClaimsMalformed => "CLAIMS_MALFORMED",
            Self::ClaimMissing(_) => "CLAIM_MISSING",
            Self::ClaimType(_) => "CLAIM_TYPE",
            Self::NotBound => "NOT_BOUND",
            Self::ClaimEmpty(_) => "CLAIM_EMPTY",
            Self::Subject => "SUBJECT",
            Self::DateRange(_) => "DATE_RANGE",
            Self::Lifetime => "LIFETIME",
            Self::TooManyActors => "TOO_MANY_ACTORS",
            Self::Issuer => "ISSUER",
            Self::Audience => "AUDIENCE",
            Self::Expired => "EXPIRED",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::IssuedInFuture => "ISSUED_IN_FUTURE",
            Self::WrongCertificate => "WRONG_CERTIFICATE",
        }
    }
}
