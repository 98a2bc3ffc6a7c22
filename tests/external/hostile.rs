//! Processes that do not keep the contract: nothing of what they answer gets through.

use std::time::Duration;

use quietus::api::issuer as pb;
use quietus::issuers::{Doomed, Issuer};
use quietus_core::Confirmation;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::faulty::{Fault, serve};
use crate::orders::{now, order};
use crate::stage::{PATIENT, Served, away, issue, issuer, said, settings, socket};

const SECRET: &str = "correct-horse-battery-staple";
/// Long enough to connect, short enough to wait for.
const SHORT: Duration = Duration::from_secs(2);

/// What the refusal says, and what is done to the answer.
type Case<T> = (&'static str, fn(&mut T));

fn doomed() -> Doomed {
    Doomed::from(order().order.lease())
}

#[tokio::test]
async fn an_answer_that_does_not_hold_is_refused() {
    let faults: [Case<pb::IssueResponse>; 18] = [
        ("another lease", |it| {
            it.lease_id = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0".to_owned();
        }),
        ("another lease", |it| it.lease_id.clear()),
        ("expires_at is missing", |it| it.credential = None),
        ("expires_at is missing", |it| {
            credential(it).expires_at = None
        }),
        ("expires later", |it| fuse(it).seconds += 1),
        ("expires later", |it| fuse(it).nanos = 1),
        ("no point in time", |it| fuse(it).seconds = -1),
        ("no point in time", |it| fuse(it).nanos = 1_000_000_000),
        ("without fields", |it| {
            credential(it).public_fields.clear();
            credential(it).secret_fields.clear();
        }),
        ("fingerprint of 31 bytes", |it| {
            credential(it).fingerprint = vec![1; 31];
        }),
        ("fields, more than 64", |it| {
            let fields = (0..64).map(|n| (format!("F{n}"), String::new()));
            credential(it).public_fields.extend(fields);
        }),
        ("more than 64 KiB", |it| {
            secret(it, "A", &"x".repeat(65_537))
        }),
        ("more than 128 KiB", |it| {
            for name in ["A", "B", "C"] {
                secret(it, name, &"x".repeat(60_000));
            }
        }),
        ("control characters", |it| secret(it, "A", "\u{1b}[2J")),
        ("control characters", |it| public(it, "A", "a\0b")),
        ("[A-Za-z_][A-Za-z0-9_]*", |it| {
            secret(it, "LD PRELOAD=x", "y")
        }),
        ("both public and secret", |it| public(it, "SECRET", "x")),
        ("a public field with a secret", |it| {
            public(it, "URL", &format!("https://u:{SECRET}@api.example"));
        }),
    ];
    for (expected, fault) in faults {
        let served = serve(Fault::Issues(fault));
        let text = said(issue(&served.issuer(), &order().order).await);
        assert!(
            text.starts_with("the issuer's answer is refused: "),
            "{text}"
        );
        assert!(text.contains(expected), "{text}, not {expected}");
        assert!(!text.contains(SECRET), "{text}");
    }
}

fn credential(answer: &mut pb::IssueResponse) -> &mut pb::Credential {
    answer.credential.as_mut().unwrap()
}

fn fuse(answer: &mut pb::IssueResponse) -> &mut quietus::api::wire::Timestamp {
    credential(answer).expires_at.as_mut().unwrap()
}

fn secret(answer: &mut pb::IssueResponse, name: &str, value: &str) {
    let fields = &mut credential(answer).secret_fields;
    fields.insert("SECRET".to_owned(), SECRET.to_owned());
    fields.insert(name.to_owned(), value.to_owned());
}

fn public(answer: &mut pb::IssueResponse, name: &str, value: &str) {
    secret(answer, "SECRET", SECRET);
    let fields = &mut credential(answer).public_fields;
    fields.insert(name.to_owned(), value.to_owned());
}

#[tokio::test]
async fn keys_and_certificates_may_have_lines() {
    let served = serve(Fault::Issues(|it| {
        secret(it, "KEY_PEM", "-----BEGIN\n\tx\r\n-----END\n");
    }));
    issue(&served.issuer(), &order().order).await.unwrap();
}

#[tokio::test]
async fn a_huge_answer_is_not_read() {
    let served = serve(Fault::Issues(|it| {
        secret(it, "A", &"x".repeat(8 << 20));
    }));
    let text = said(issue(&served.issuer(), &order().order).await);
    assert_eq!(text, "the issuer answered OUT_OF_RANGE");
}

#[tokio::test]
async fn who_claims_otherwise_gets_no_work_at_all() {
    let faults: [Case<pb::DescribeResponse>; 8] = [
        ("kind = api-keys", |it| it.kind = "api-keys".to_owned()),
        ("kind is not", |it| it.kind = "\u{1b}[2J".to_owned()),
        ("version is not", |it| it.version = "x".repeat(65)),
        ("version 2 of the contract", |it| it.protocol_version = 2),
        ("can_revoke = false", |it| {
            it.can_revoke = false;
            it.confirms_by.clear();
        }),
        ("confirms_by = on_crl", |it| {
            it.confirms_by = "on_crl".to_owned();
        }),
        ("expires_at_target = false", |it| {
            it.expires_at_target = false;
        }),
        ("renewable = false", |it| it.renewable = false),
    ];
    for (expected, fault) in faults {
        let served = serve(Fault::Describes(fault));
        let issuer = served.issuer();
        let texts = [
            said(issue(&issuer, &order().order).await),
            said(issuer.revoke(&doomed()).await),
            said(issuer.list().await),
            said(issuer.check().await),
        ];
        for text in texts {
            assert!(text.contains(expected), "{text}, not {expected}");
        }
    }
}

#[tokio::test]
async fn a_process_that_changes_is_noticed_at_the_next_check() {
    let served = Served::sound();
    let issuer = served.issuer();
    issuer.check().await.unwrap();
    // Another one at the same place: a revocation there would confirm what it knows nothing of.
    let Served { folder, .. } = &served;
    std::fs::remove_file(&served.socket).unwrap();
    let other = serve(Fault::Describes(|it| it.kind = "other".to_owned()));
    std::fs::rename(&other.socket, folder.path().join("issuer.sock")).unwrap();
    said(issuer.check().await);
    said(issuer.revoke(&doomed()).await);
}

#[tokio::test]
async fn only_the_agreed_confirmation_counts() {
    let faults: [Case<pb::RevokeResponse>; 7] = [
        ("on_crl", |it| it.confirmation = "on_crl".to_owned()),
        ("refused_by_introspection", |it| {
            it.confirmation = "refused_by_introspection".to_owned();
        }),
        ("expired_at_target", |it| {
            it.confirmation = "expired_at_target".to_owned();
        }),
        ("no known word", |it| it.confirmation.clear()),
        ("no known word", |it| {
            it.confirmation = "certainly".to_owned();
        }),
        ("another lease", |it| it.lease_id.push('0')),
        ("another lease", |it| it.lease_id.clear()),
    ];
    for (expected, fault) in faults {
        let served = serve(Fault::Revokes(fault));
        let text = said(served.issuer().revoke(&doomed()).await);
        assert!(text.contains(expected), "{text}, not {expected}");
    }
}

#[tokio::test]
async fn that_its_time_is_over_counts_once_it_is() {
    let served = serve(Fault::Revokes(|it| {
        it.confirmation = "expired_at_target".to_owned();
    }));
    let issuer = served.issuer();
    let over = Doomed {
        expires_at: Some(now()),
        ..doomed()
    };
    assert_eq!(
        issuer.revoke(&over).await.unwrap(),
        Confirmation::ExpiredAtTarget
    );
    said(issuer.revoke(&Doomed::stray(over.id)).await);
}

#[tokio::test]
async fn a_list_that_does_not_hold_is_refused() {
    let faults: [Case<pb::ListResponse>; 6] = [
        ("lease_id is none", |it| found(it, "not-a-lease", "x")),
        ("1 to 256 bytes", |it| found(it, LEASE, "")),
        ("1 to 256 bytes", |it| found(it, LEASE, &"x".repeat(257))),
        ("1 to 256 bytes", |it| found(it, LEASE, "x\u{202e}y")),
        ("follows itself", |it| {
            it.next_page_token = "again".to_owned();
        }),
        ("page token", |it| it.next_page_token = "x".repeat(257)),
    ];
    for (expected, fault) in faults {
        let served = serve(Fault::Lists(fault));
        let text = said(served.issuer().list().await);
        assert!(text.contains(expected), "{text}, not {expected}");
    }
    let many = serve(Fault::Lists(|it| {
        (0..1001).for_each(|_| found(it, LEASE, "x"));
    }));
    assert!(said(many.issuer().list().await).contains("more entries"));
}

const LEASE: &str = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0";

fn found(answer: &mut pb::ListResponse, lease: &str, name: &str) {
    answer.credentials.push(pb::Found {
        lease_id: lease.to_owned(),
        name: name.to_owned(),
    });
}

#[tokio::test]
async fn a_check_that_misleads_is_refused() {
    let served = serve(Fault::Checks(|it| it.message = "fine\u{1b}[2J".to_owned()));
    said(served.issuer().check().await);
}

#[tokio::test]
async fn the_text_of_an_error_is_never_passed_on() {
    let served = serve(Fault::RefusesIssue(|lease| {
        let text = format!("{lease} has the key {SECRET}");
        let details = ErrorDetails::with_error_info("QUOTA_EXHAUSTED", "x", []);
        Status::with_error_details(Code::FailedPrecondition, text, details)
    }));
    assert_eq!(
        said(issue(&served.issuer(), &order().order).await),
        "the issuer answered FAILED_PRECONDITION: QUOTA_EXHAUSTED"
    );
    let served = serve(Fault::RefusesIssue(|_| {
        let details = ErrorDetails::with_error_info(SECRET, SECRET, []);
        Status::with_error_details(Code::Unavailable, SECRET, details)
    }));
    assert_eq!(
        away(issue(&served.issuer(), &order().order).await),
        "the issuer answered UNAVAILABLE"
    );
}

#[tokio::test]
async fn no_and_not_now_are_told_apart() {
    let no: [fn() -> Status; 3] = [
        || Status::permission_denied(""),
        || Status::not_found(""),
        || Status::unimplemented(""),
    ];
    for refuse in no {
        let served = serve(Fault::RefusesRevoke(refuse));
        said(served.issuer().revoke(&doomed()).await);
    }
    let not_now: [fn() -> Status; 6] = [
        || Status::unavailable(""),
        || Status::internal(""),
        || Status::unknown(""),
        || Status::resource_exhausted(""),
        || Status::deadline_exceeded(""),
        || Status::unauthenticated(""),
    ];
    for refuse in not_now {
        let served = serve(Fault::RefusesRevoke(refuse));
        away(served.issuer().revoke(&doomed()).await);
    }
}

#[tokio::test]
async fn a_process_that_hangs_is_not_waited_for() {
    for fault in [Fault::HangsOnDescribe, Fault::HangsOnIssue] {
        let served = serve(fault);
        let issuer = issuer(settings(served.endpoint()), SHORT);
        let text = away(issue(&issuer, &order().order).await);
        assert_eq!(text, "the issuer did not answer in time");
    }
    let served = serve(Fault::HangsOnRevoke);
    let issuer = issuer(settings(served.endpoint()), SHORT);
    away(issuer.revoke(&doomed()).await);
    // One call that hangs does not take the others with it.
    issuer.check().await.unwrap();
}

#[tokio::test]
async fn silence_after_the_connection_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mute.sock");
    let _mute = UnixListener::bind(&path).unwrap();
    let issuer = issuer(settings(socket(&path)), SHORT);
    away(issue(&issuer, &order().order).await);
}

#[tokio::test]
async fn garbage_is_away() {
    for garbage in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 4096], b""] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("garbage.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(garbage).await;
            }
        });
        let issuer = issuer(settings(socket(&path)), PATIENT);
        away(issue(&issuer, &order().order).await);
        away(issuer.revoke(&doomed()).await);
        server.abort();
    }
}

#[tokio::test]
async fn a_panic_over_there_is_away_and_the_next_call_is_made() {
    let served = serve(Fault::Orders(|_| panic!("a bug over there")));
    let issuer = served.issuer();
    away(issue(&issuer, &order().order).await);
    issuer.check().await.unwrap();
}
