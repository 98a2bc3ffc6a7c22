//! The conformance test finds what is wrong, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quietus::config::ExternalEndpoint;
use quietus::issuers::external::conformance::{Candidate, Findings, Verdict, test};
use quietus_core::Action;
use tonic::Status;

use crate::faulty::{Fault, serve};
use crate::orders::{TARGET, now};
use crate::stage::{BROKER, PATIENT, Served};

fn candidate(endpoint: ExternalEndpoint) -> Candidate {
    Candidate {
        endpoint,
        svid: None,
        broker: BROKER.to_owned(),
        target: TARGET.parse().unwrap(),
        scopes: vec![(Action::Read, "invoices".to_owned())],
        timeout: PATIENT,
        now: Arc::new(now),
    }
}

async fn findings(served: &Served, timeout: Duration) -> Findings {
    let candidate = Candidate {
        timeout,
        ..candidate(served.endpoint())
    };
    test(candidate, |_| {}).await.unwrap()
}

/// Exactly these checks fail.
async fn finds(fault: Fault, expected: &[&str]) {
    finds_within(fault, PATIENT, expected).await;
}

async fn finds_within(fault: Fault, timeout: Duration, expected: &[&str]) {
    let served = serve(fault);
    let findings = findings(&served, timeout).await;
    let failed: BTreeSet<&str> = names(&findings, Verdict::Fail);
    assert_eq!(failed, expected.iter().copied().collect(), "{findings:#?}");
}

fn names(findings: &Findings, verdict: Verdict) -> BTreeSet<&'static str> {
    let checks = findings.checks.iter();
    checks
        .filter(|check| check.verdict == verdict)
        .map(|check| check.name)
        .collect()
}

#[tokio::test]
async fn the_example_passes_every_check() {
    let served = Served::sound();
    let findings = findings(&served, PATIENT).await;
    assert_eq!(findings.count(Verdict::Pass), 21, "{findings:#?}");
    assert!(findings.is_sound());
    let issuer = findings.issuer.unwrap();
    assert_eq!((issuer.kind.as_str(), issuer.renewable), ("api-key", true));
}

#[tokio::test]
async fn it_can_be_run_again_and_leaves_nothing_behind() {
    let served = Served::sound();
    for _ in 0..2 {
        assert!(findings(&served, PATIENT).await.is_sound());
    }
    let file = std::fs::read_to_string(served.folder.path().join("keys.json")).unwrap();
    assert!(file.starts_with(r#"{"keys":{},"#), "{file}");
}

#[tokio::test]
async fn less_ability_is_no_fault() {
    let served = serve(Fault::RefusesList(|| Status::unimplemented("")));
    let without_list = findings(&served, PATIENT).await;
    assert!(without_list.is_sound(), "{without_list:#?}");
    assert_eq!(
        names(&without_list, Verdict::Skip),
        ["list", "list-forgets", "list-private"].into()
    );
    let served = serve(Fault::Describes(|it| {
        it.can_revoke = false;
        it.confirms_by.clear();
    }));
    let without_revoke = findings(&served, PATIENT).await;
    assert!(without_revoke.is_sound(), "{without_revoke:#?}");
    let skipped = names(&without_revoke, Verdict::Skip);
    assert!(skipped.contains("revoke") && skipped.contains("fence"));
}

#[tokio::test]
async fn nobody_there_is_one_failure_and_the_rest_is_skipped() {
    let served = Served::sound();
    let nowhere = served.folder.path().join("nowhere.sock");
    let endpoint = ExternalEndpoint::Socket {
        path: nowhere,
        uid: None,
    };
    let findings = test(candidate(endpoint), |_| {}).await.unwrap();
    assert_eq!(names(&findings, Verdict::Fail), ["describe"].into());
    assert_eq!(findings.count(Verdict::Skip), 20);
    assert_eq!(findings.issuer, None);
}

#[tokio::test]
async fn a_description_that_cannot_be_is_found() {
    let faults: [fn(&mut quietus::api::issuer::DescribeResponse); 7] = [
        |it| it.protocol_version = 2,
        |it| it.kind = "API key".to_owned(),
        |it| it.kind.clear(),
        |it| it.version = "1.0\x1b[2J".to_owned(),
        |it| it.confirms_by = "refused_by_introspection".to_owned(),
        |it| it.confirms_by.clear(),
        |it| it.can_revoke = false,
    ];
    for fault in faults {
        finds(Fault::Describes(fault), &["describe"]).await;
    }
}

#[tokio::test]
async fn a_target_that_is_away_is_found() {
    finds(Fault::RefusesCheck(|| Status::unavailable("")), &["check"]).await;
    finds(Fault::Checks(|it| it.message.clear()), &["check"]).await;
}

#[tokio::test]
async fn a_credential_that_nobody_may_take_is_found() {
    let faults: [fn(&mut quietus::api::issuer::IssueResponse); 3] = [
        |it| it.lease_id = "0192f0c1-7d7e-7c3a-9b1d-2f6c1d0e8a55.0".to_owned(),
        |it| it.credential.as_mut().unwrap().expires_at = None,
        |it| it.credential.as_mut().unwrap().fingerprint.truncate(20),
    ];
    for fault in faults {
        finds(Fault::Issues(fault), &["issue", "issue-at-once", "many"]).await;
    }
}

#[tokio::test]
async fn a_secret_that_shows_is_found() {
    let shows = |it: &mut quietus::api::issuer::IssueResponse| {
        let credential = it.credential.as_mut().unwrap();
        let secret = credential.secret_fields["API_KEY"].clone();
        let public = &mut credential.public_fields;
        public.insert("URL".to_owned(), format!("https://x:{secret}@api.example"));
    };
    let expected = ["issue", "issue-at-once", "many", "secrets"];
    finds(Fault::Issues(shows), &expected).await;
    finds(Fault::TellsSecrets, &["secrets"]).await;
}

#[tokio::test]
async fn a_second_credential_for_a_lease_is_found() {
    let expected = [
        "issue-again",
        "issue-at-once",
        "list",
        "renew",
        "fence",
        "fence-before",
        "leftovers",
    ];
    finds(Fault::MakesAnother, &expected).await;
}

#[tokio::test]
async fn one_secret_for_all_is_found() {
    let same = |it: &mut quietus::api::issuer::IssueResponse| {
        let secrets = &mut it.credential.as_mut().unwrap().secret_fields;
        secrets.insert("API_KEY".to_owned(), "the-master-key".to_owned());
    };
    finds(Fault::Issues(same), &["many"]).await;
}

#[tokio::test]
async fn a_list_that_is_wrong_is_found() {
    finds(Fault::Lists(|it| it.credentials.clear()), &["list"]).await;
    let twice: fn(&mut quietus::api::issuer::ListResponse) =
        |it| it.credentials.extend(it.credentials.clone());
    finds(Fault::Lists(twice), &["list"]).await;
    let everybodys: fn(&mut quietus::api::issuer::Origin) = |it| it.broker_id = BROKER.to_owned();
    finds(Fault::ListsFor(everybodys), &["list-private"]).await;
    let endless: fn(&mut quietus::api::issuer::ListResponse) =
        |it| it.next_page_token = "again".to_owned();
    let lists = ["list", "list-private", "list-forgets", "leftovers"];
    finds(Fault::Lists(endless), &lists).await;
}

#[tokio::test]
async fn an_ability_that_is_only_claimed_is_found() {
    finds(
        Fault::RefusesRenew(|| Status::unimplemented("")),
        &["renew"],
    )
    .await;
    let denied: fn(&mut quietus::api::issuer::DescribeResponse) = |it| it.renewable = false;
    finds(Fault::Describes(denied), &["renew"]).await;
}

#[tokio::test]
async fn a_revocation_that_is_none_is_found() {
    let otherwise: fn(&mut quietus::api::issuer::RevokeResponse) =
        |it| it.confirmation = "on_crl".to_owned();
    let revokes = ["revoke", "revoke-again", "revoke-unknown", "leftovers"];
    finds(Fault::Revokes(otherwise), &revokes).await;
    let too_soon: fn(&mut quietus::api::issuer::RevokeResponse) =
        |it| it.confirmation = "expired_at_target".to_owned();
    finds(Fault::Revokes(too_soon), &revokes).await;
    finds(
        Fault::RevokesNothing,
        &["list-forgets", "fence-before", "renew-revoked", "leftovers"],
    )
    .await;
    finds(
        Fault::KnowsNoAbsence,
        &[
            "revoke-again",
            "revoke-unknown",
            "fence-before",
            "leftovers",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_missing_fence_is_found() {
    finds(Fault::HasNoFence, &["fence", "fence-before", "leftovers"]).await;
    finds(Fault::HasHalfAFence, &["fence-before"]).await;
}

#[tokio::test]
async fn a_careless_reader_is_found() {
    let expired: fn(&mut quietus::api::issuer::Order) = |order| {
        let at = order.expires_at.as_mut().unwrap();
        if at.seconds < i64::try_from(now().seconds()).unwrap() {
            at.seconds += 600;
        }
    };
    finds(Fault::Orders(expired), &["expired-order"]).await;
    let any: fn(&mut quietus::api::issuer::Order) = |order| {
        order.scopes[0].action = "read".to_owned();
        order.scopes[0].resource = "invoices".to_owned();
    };
    finds(Fault::Orders(any), &["absurd-scope"]).await;
    finds(Fault::PanicsOnScopes, &["absurd-scope"]).await;
    finds(Fault::ReadsAnything, &["oversize"]).await;
}

#[tokio::test]
async fn a_process_that_hangs_is_found() {
    let short = Duration::from_secs(2);
    finds_within(Fault::HangsOnDescribe, short, &["describe"]).await;
    // The first lease goes on, so it is not made again: no fence is needed to say no to it.
    let revokes = [
        "revoke",
        "revoke-again",
        "revoke-unknown",
        "list-forgets",
        "fence-before",
        "renew-revoked",
        "leftovers",
    ];
    finds_within(Fault::HangsOnRevoke, short, &revokes).await;
}
