//! What an external issuer's error means.

use std::error::Error;

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

use crate::issuers::Failure;

/// Said where a time limit was reached.
pub(super) const LATE: &str = "the issuer did not answer in time";
/// The longest reason that is shown, in bytes.
const MAX_REASON: usize = 63;

/// The code, and the machine-readable reason if there is one; never the text, which may hold anything.
pub(super) fn failure(status: &Status) -> Failure {
    if is_late(status) {
        return Failure::away(LATE);
    }
    if is_lost(status) {
        return Failure::away("the connection to the issuer was lost");
    }
    let mut text = format!("the issuer answered {}", name(status.code()));
    if let Some(reason) = reason(status) {
        text.push_str(": ");
        text.push_str(&reason);
    }
    match said_no(status.code()) {
        true => Failure::said(text),
        false => Failure::away(text),
    }
}

/// Whether it was the connection that failed, and nobody's answer.
pub(super) fn is_lost(status: &Status) -> bool {
    status.source().is_some() && !is_late(status)
}

fn is_late(status: &Status) -> bool {
    let mut causes = std::iter::successors(status.source(), |&error| error.source());
    causes.any(|error| error.is::<TimeoutExpired>())
}

/// Whether the code says that this one is not done, as against nothing being done now.
pub(super) fn said_no(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::NotFound
            | Code::AlreadyExists
            | Code::OutOfRange
            | Code::Unimplemented
    )
}

/// The code as it is written in specifications: `FAILED_PRECONDITION`.
pub(super) fn name(code: Code) -> String {
    let mut name = String::new();
    for c in format!("{code:?}").chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

fn reason(status: &Status) -> Option<String> {
    let reason = status.get_details_error_info()?.reason;
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let sound = reason.len() <= MAX_REASON
        && reason.starts_with(|c: char| c.is_ascii_uppercase())
        && reason.bytes().all(plain);
    sound.then_some(reason)
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn with_reason(reason: &str) -> Status {
        let details = ErrorDetails::with_error_info(reason, "example", []);
        Status::with_error_details(Code::FailedPrecondition, "the key is s3cret", details)
    }

    #[test]
    fn the_reason_is_told_and_the_text_is_not() {
        let told = failure(&with_reason("QUOTA_EXHAUSTED"));
        let expected = "the issuer answered FAILED_PRECONDITION: QUOTA_EXHAUSTED";
        assert_eq!(told, Failure::said(expected));
    }

    #[test]
    fn a_reason_that_is_prose_is_left_out() {
        let long = "A".repeat(64);
        for reason in ["", "the key is s3cret", "S3CRET-KEY", "_A", "1A", &long] {
            let told = failure(&with_reason(reason));
            assert_eq!(
                told,
                Failure::said("the issuer answered FAILED_PRECONDITION")
            );
        }
    }

    #[test]
    fn codes_tell_no_from_not_now() {
        for code in 1..=16 {
            let code = Code::from(code);
            let away = matches!(failure(&Status::new(code, "")), Failure::Away(_));
            assert_eq!(away, !said_no(code), "{code:?}");
        }
        assert_eq!(name(Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
    }
}
