//! Checks that leave something out. Each use deserves a reason beside it.

use crate::error::TokenError;
use crate::verify::{VerifiedToken, Verifier};

/// As [`Verifier::verify`], **without asking who presents the token**: whoever has stolen one may use it. For resource
/// servers that cannot see the client's certificate, until they can.
///
/// # Errors
/// The first rule that the token breaks, in the order of [`TokenError`].
pub fn verify_unbound(
    verifier: &Verifier,
    token: &str,
    now: u64,
) -> Result<VerifiedToken, TokenError> {
    verifier.verify_unbound(token, now)
}
