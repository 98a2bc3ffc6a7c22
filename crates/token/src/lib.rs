//! Tokens that are worth nothing in other hands: signing them, and the library that a resource server links against.
//!
//! A token is a JWT access token (RFC 9068) in compact JWS form (RFC 7515), signed with Ed25519 (RFC 8037), and bound
//! by `cnf.x5t#S256` to the client certificate of the workload it was made for (RFC 8705). There is one algorithm, one
//! type and one way to name a key, so that a token has nothing to negotiate.
//!
//! A resource server keeps one [`Verifier`] and asks it, for each request, with the certificate that the client showed
//! in the mutual TLS handshake and the current time:
//!
//! ```
//! use quietus_token::{JwkSet, Presented, TokenError, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (token, client_certificate, now) = ("a.b.c", b"der", 1_800_000_000);
//! let keys = JwkSet::from_json(br#"{"keys":[{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA",
//!     "kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
//!     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
//! let verifier = Verifier::new(keys, "https://quietus.example", "orders-db").leeway(5);
//!
//! match verifier.verify(token, Presented::certificate(client_certificate), now) {
//!     Ok(token) if token.allows("orders-db", "read", "public.orders") => { /* serve */ }
//!     Ok(_) => { /* 403: insufficient_scope */ }
//!     Err(error) => assert_eq!(error.reason(), "HEADER_ENCODING"), // 401: invalid_token
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A verified token was good at that moment. Whether its lease has been revoked since, only the broker knows: ask it
//! with `Introspect`.
//!
//! This crate opens no file or socket and reads no clock. Time is passed in, in seconds since the Unix epoch. Nothing
//! that it prints or returns in an error holds a token or a key.

mod claims;
pub mod danger;
mod encoding;
mod error;
mod jwk;
mod jws;
mod members;
mod sign;
mod verify;

pub use claims::{Actor, AuthorizationDetail, Claims, Confirmation, MAX_ACTORS, MAX_DATE};
pub use error::TokenError;
pub use jwk::{Jwk, JwkError, JwkSet, MAX_KEY_ID, MAX_KEYS, MAX_SET};
pub use jws::{MAX_TOKEN, SignedClaims, decode_unverified_ids, fingerprint};
pub use sign::{KeyError, SigningKey, Token, Unsigned};
pub use verify::{MAX_LEEWAY, Presented, VerifiedToken, Verifier};
