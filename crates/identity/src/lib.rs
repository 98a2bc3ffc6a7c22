//! Who is calling: SPIFFE IDs, trust bundles and the verification of X.509-SVIDs.
//!
//! Bytes, bundles and a time go in; a [`VerifiedSvid`] comes out, and nothing but [`verify`] can build one.
//! A function that needs an authenticated caller therefore asks for the value, not for a promise.
//!
//! Path building and signatures are left to `rustls-webpki`. What it does not look at is enforced here: the
//! SPIFFE rules of the X509-SVID specification, key usage, the validity, usage and path length of trust anchors,
//! and strict DER inside the extensions that decide anything. Each certificate has to satisfy two parsers.
//!
//! This crate does no I/O, reads no clock, draws no randomness and knows nothing of TLS or gRPC; its `clippy.toml`
//! holds it to that. Times are unix seconds.
//!
//! ```
//! use quietus_identity::{Purpose, SvidError, TrustBundles, verify};
//!
//! let refusal = verify(&[], &TrustBundles::default(), Purpose::Client, 1_700_000_000);
//! assert_eq!(refusal.unwrap_err().reason(), "SVID_CHAIN_EMPTY");
//! ```

mod bundle;
mod certificate;
mod digest;
mod path;
mod spiffe_id;
mod svid;

pub use bundle::{Anchor, AnchorError, BundleError, TrustBundle, TrustBundles};
pub use certificate::CertificateError;
pub use rustls_pki_types::CertificateDer;
pub use spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use svid::{Purpose, SvidError, VerifiedSvid, verify};
