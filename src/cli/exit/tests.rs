use tonic_types::ErrorDetails;

use super::*;

fn told(status: Status) -> (Exit, String) {
    let report = Report::of(&status.into());
    (report.exit, report.text(Palette::PLAIN))
}

fn with_reason(code: Code, domain: &str, reason: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, domain, []);
    Status::with_error_details(code, "why", details)
}

#[test]
fn every_grpc_code_has_its_exit_code() {
    let cases = [
        (Code::PermissionDenied, true, Exit::Refused),
        (Code::PermissionDenied, false, Exit::Failed),
        (Code::FailedPrecondition, true, Exit::Refused),
        (Code::FailedPrecondition, false, Exit::Failed),
        (Code::NotFound, true, Exit::NotFound),
        (Code::NotFound, false, Exit::NotFound),
        (Code::Unavailable, true, Exit::Unreachable),
        (Code::Unauthenticated, false, Exit::Unreachable),
        (Code::InvalidArgument, true, Exit::Failed),
        (Code::ResourceExhausted, true, Exit::Failed),
        (Code::Aborted, true, Exit::Failed),
        (Code::Internal, true, Exit::Failed),
        (Code::Unknown, false, Exit::Failed),
    ];
    for (code, from_broker, exit) in cases {
        let domain = if from_broker { "quietus" } else { "elsewhere" };
        assert_eq!(
            told(with_reason(code, domain, "X")).0,
            exit,
            "{code:?} {from_broker}"
        );
    }
}

#[test]
fn a_refusal_is_told_with_its_reason_and_a_hint() {
    let (exit, text) = told(with_reason(Code::PermissionDenied, "quietus", "FROZEN"));
    assert_eq!(exit, Exit::Refused);
    let hint = "an operator sees freezes with `quietus status` and lifts them with `quietus thaw`";
    assert_eq!(text, format!("error: why\nreason: FROZEN\nhint: {hint}\n"));
}

#[test]
fn what_the_broker_says_is_made_harmless() {
    let status = Status::new(Code::Internal, "a\x1b[2J\nhint: b");
    assert_eq!(told(status).1, "error: a\\u{1b}[2J\\nhint: b\n");
    assert_eq!(
        told(Status::new(Code::Internal, "")).1,
        "error: the broker answered Internal\n"
    );
}

#[test]
fn our_own_complaints_have_exit_codes() {
    let cases = [
        (Complaint::NoIdentity, Exit::Usage),
        (
            Complaint::Unconfirmed {
                what: String::new(),
            },
            Exit::Usage,
        ),
        (Complaint::Usage(String::new()), Exit::Usage),
        (Complaint::Declined("revoked"), Exit::Failed),
        (Complaint::Incomplete("task"), Exit::Failed),
        (Complaint::NotFound("lease"), Exit::NotFound),
        (Complaint::TimedOut(Duration::ZERO), Exit::Unreachable),
        (Complaint::Interrupted, Exit::Interrupted),
    ];
    for (complaint, exit) in cases {
        assert_eq!(Report::of(&complaint.into()).exit, exit);
    }
}

#[test]
fn a_closed_pipe_is_no_failure_of_ours() {
    let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
    assert_eq!(Report::of(&pipe.into()).exit, Exit::BrokenPipe);
    let other = io::Error::from(io::ErrorKind::NotFound);
    assert_eq!(Report::of(&other.into()).exit, Exit::Failed);
}

#[test]
fn a_broker_out_of_reach_is_told_apart() {
    let report = Report::of(&ConnectError::NotHttp2.into());
    assert_eq!(report.exit, Exit::Unreachable);
    assert_eq!(report.reason.as_deref(), Some("TLS_NOT_HTTP2"));
}

#[test]
fn the_help_lists_every_code() {
    let help = help();
    for (exit, meaning) in CODES {
        assert!(
            help.contains(&format!("{:>3}  {meaning}", exit as u8)),
            "{help}"
        );
    }
}
