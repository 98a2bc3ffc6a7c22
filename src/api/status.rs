//! The one mapping from the broker's errors to gRPC.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::engine::Error;

/// The domain of every `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "quietus";

/// Longest message, in bytes. It travels in a header, percent-encoded, and once more in the details; clients take
/// 16 KiB of headers and close the connection over more.
const MAX_MESSAGE: usize = 2048;

/// When a target that is away is worth asking again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(2);

/// An error as callers see it: the right code, a stable reason, and nothing internal.
pub fn status(error: Error) -> Status {
    let message = cut(error.to_string());
    match error {
        Error::Refused(refused) => {
            with_reason(refused_code(&refused.reason), &refused.reason, message)
        }
        Error::Invalid { field, .. } => invalid(field, message),
        Error::NotFound(_) => with_reason(Code::NotFound, "NOT_FOUND", message),
        Error::KeyReused => with_reason(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED", message),
        Error::KeyStale => with_reason(Code::FailedPrecondition, "IDEMPOTENCY_KEY_STALE", message),
        Error::Busy => with_reason(Code::Aborted, "BUSY", message),
        Error::NoSpace => with_reason(Code::ResourceExhausted, "DISK_SHORT_OF_SPACE", message),
        Error::Away(target) => {
            let mut details = ErrorDetails::with_error_info(
                "TARGET_UNAVAILABLE",
                DOMAIN,
                [("target".to_owned(), target.to_string())],
            );
            details.set_retry_info(Some(RETRY));
            Status::with_error_details(Code::Unavailable, message, details)
        }
        Error::Maintenance => with_reason(Code::Unavailable, "MAINTENANCE", message),
        Error::Stopped => with_reason(Code::Unavailable, "STOPPING", message),
        Error::Internal(internal) => {
            tracing::error!(error = %internal, "a call failed");
            with_reason(Code::Internal, "INTERNAL", message)
        }
    }
}

/// The caller may not do this at all.
pub fn refused(reason: &str, message: impl Into<String>) -> Status {
    with_reason(Code::PermissionDenied, reason, message.into())
}

fn cut(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let mut ends = (0..=MAX_MESSAGE).rev();
        let end = ends.find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
        message.push_str(" …");
    }
    message
}

fn refused_code(reason: &str) -> Code {
    match reason {
        "TOO_MANY_OPEN_TASKS" | "TOO_MANY_LIVE_LEASES" | "TOO_MANY_LEASES" | "TOO_MANY_KEYS" => {
            Code::ResourceExhausted
        }
        "TASK_ENDED"
        | "LEASE_ENDED"
        | "LEASE_NOT_RENEWABLE"
        | "NO_TIME_LEFT"
        | "APPROVAL_NEEDED"
        | "POLICY_NOT_LOADED"
        | "TASK_OPEN"
        | "TARGET_REFUSED" => Code::FailedPrecondition,
        "LEASE_NOT_FOUND" => Code::NotFound,
        "PRUNED" => Code::OutOfRange,
        reason if reason.starts_with("SVID_") => Code::Unauthenticated,
        _ => Code::PermissionDenied,
    }
}

fn with_reason(code: Code, reason: &str, message: String) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    Status::with_error_details(code, message, details)
}

fn invalid(field: &str, message: String) -> Status {
    let mut details = ErrorDetails::with_bad_request_violation(field, &message);
    details.set_error_info("INVALID_ARGUMENT", DOMAIN, []);
    Status::with_error_details(Code::InvalidArgument, message, details)
}
