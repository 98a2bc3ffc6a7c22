//! A process that keeps the contract.

use quietus::issuers::{Credential, Doomed, Issuer, KeyRequest};
use quietus_core::{Confirmation, Enforced, LeaseId, TaskId};

use crate::orders::{now, order, order_for};
use crate::stage::{PATIENT, Served, api_key, away, issue, issuer, said, settings};

#[tokio::test]
async fn a_credential_lives_and_dies() {
    let served = Served::sound();
    let issuer = served.issuer();
    let ordered = order();
    let made = issue(&issuer, &ordered.order).await.unwrap();
    assert!(made.fingerprint.is_some());
    let Credential::External { kind, public, .. } = &made.credential else {
        panic!("{made:?}");
    };
    assert_eq!(kind, "api-key");
    assert_eq!(public["API_KEY_ID"], ordered.id().to_string());
    let listed = issuer.list().await.unwrap().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, ordered.id());
    let doomed = Doomed::from(ordered.order.lease());
    let confirmed = issuer.revoke(&doomed).await.unwrap();
    assert_eq!(confirmed, Confirmation::DeletedAtTarget);
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn its_abilities_are_the_configured_ones() {
    let served = Served::sound();
    let abilities = served.issuer().abilities();
    assert!(abilities.can_revoke && abilities.expires_at_target && abilities.renewable);
    assert_eq!(abilities.confirms_by, Some(Confirmation::DeletedAtTarget));
    assert_eq!(abilities.enforced, Enforced::AtTarget);
}

#[tokio::test]
async fn nothing_happens_before_the_order_is_run() {
    let served = Served::sound();
    let issuer = served.issuer();
    drop(issuer.issue(&order().order, None).unwrap());
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn a_lost_reply_makes_no_second_credential() {
    let served = Served::sound();
    let issuer = served.issuer();
    let ordered = order();
    issue(&issuer, &ordered.order).await.unwrap();
    let again = said(issue(&issuer, &ordered.order).await);
    assert_eq!(again, "the issuer answered ALREADY_EXISTS");
    assert_eq!(issuer.list().await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn an_order_that_comes_after_its_end_makes_nothing() {
    let served = Served::sound();
    let issuer = served.issuer();
    let ordered = order();
    issuer
        .revoke(&Doomed::from(ordered.order.lease()))
        .await
        .unwrap();
    said(issue(&issuer, &ordered.order).await);
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn a_stray_is_removed_by_its_name_alone() {
    let served = Served::sound();
    let issuer = served.issuer();
    issue(&issuer, &order().order).await.unwrap();
    let stray = issuer.list().await.unwrap().unwrap().remove(0);
    issuer.revoke(&Doomed::stray(stray.id)).await.unwrap();
    let nobodys = LeaseId {
        task: TaskId::from_bytes([9; 16]),
        number: 3,
    };
    issuer.revoke(&Doomed::stray(nobodys)).await.unwrap();
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn a_renewal_gives_the_same_credential_a_later_end() {
    let served = Served::sound();
    let issuer = served.issuer();
    let ordered = order();
    let made = issue(&issuer, &ordered.order).await.unwrap();
    let renewed = ordered.renewed();
    assert!(renewed.lease().expires_at > ordered.order.lease().expires_at);
    let again = issuer.renew(&renewed).unwrap().run().await.unwrap();
    assert_eq!(again.fingerprint, made.fingerprint);
    let Credential::External { secret, .. } = again.credential else {
        panic!();
    };
    assert!(secret.is_empty(), "the bearer goes on with what it has");
}

#[tokio::test]
async fn what_is_not_renewable_is_not_asked_for() {
    let served = Served::sound();
    let mut stated = settings(served.endpoint());
    stated.renewable = false;
    let issuer = issuer(stated, PATIENT);
    let unfit = issuer.renew(&order().renewed()).err().unwrap();
    assert_eq!(unfit.field, "lease_id");
}

#[tokio::test]
async fn a_process_that_is_replaced_is_met_again() {
    let mut served = Served::sound();
    let issuer = served.issuer();
    let ordered = order();
    let made = issue(&issuer, &ordered.order).await.unwrap();
    served.restart().await;
    // The connection is gone, and the file is not.
    let listed = issuer.list().await.unwrap().unwrap();
    assert_eq!(listed[0].id, ordered.id());
    assert!(!api_key(&made).is_empty());
}

#[tokio::test]
async fn what_was_revoked_stays_revoked_after_a_restart() {
    let mut served = Served::sound();
    let issuer = served.issuer();
    let ordered = order();
    issuer
        .revoke(&Doomed::from(ordered.order.lease()))
        .await
        .unwrap();
    served.restart().await;
    said(issue(&issuer, &ordered.order).await);
}

#[tokio::test]
async fn a_key_that_it_has_no_use_for_is_refused_by_it() {
    let served = Served::sound();
    let issuer = served.issuer();
    let key = KeyRequest::SshPublicKey("ssh-ed25519 AAAA".to_owned());
    let prepared = issuer.issue(&order().order, Some(&key)).unwrap();
    assert_eq!(
        said(prepared.run().await),
        "the issuer answered INVALID_ARGUMENT"
    );
}

#[tokio::test]
async fn a_scope_that_it_does_not_know_is_refused_by_it() {
    let served = Served::sound();
    let issuer = served.issuer();
    for scope in ["admin:invoices", "read:inv';DROP", "export:x"] {
        said(issue(&issuer, &order_for(scope).order).await);
    }
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn sixteen_at_once() {
    let served = Served::sound();
    let issuer = std::sync::Arc::new(served.issuer());
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let issuer = std::sync::Arc::clone(&issuer);
        calls.spawn(async move { issue(&issuer, &order().order).await.unwrap() });
    }
    let made = calls.join_all().await;
    let keys: std::collections::BTreeSet<String> = made.iter().map(api_key).collect();
    assert_eq!(keys.len(), 16);
}

#[tokio::test]
async fn a_check_says_what_answers() {
    let served = Served::sound();
    assert_eq!(
        served.issuer().check().await.unwrap(),
        "api-key 1.0.0: 0 keys in the file"
    );
}

#[tokio::test]
async fn the_secret_is_in_no_debug_text_and_in_no_file() {
    let served = Served::sound();
    let issuer = served.issuer();
    let made = issue(&issuer, &order().order).await.unwrap();
    let secret = api_key(&made);
    assert!(!format!("{made:?}").contains(&secret));
    let file = std::fs::read_to_string(served.folder.path().join("keys.json")).unwrap();
    assert!(!file.contains(&secret));
}

#[tokio::test]
async fn what_cannot_be_ended_is_over_when_its_time_is() {
    let served = Served::sound();
    let mut stated = settings(served.endpoint());
    stated.can_revoke = false;
    stated.confirms_by = None;
    let issuer = issuer(stated, PATIENT);
    let mut doomed = Doomed::from(order().order.lease());
    said(issuer.revoke(&doomed).await);
    doomed.expires_at = Some(now());
    let confirmed = issuer.revoke(&doomed).await.unwrap();
    assert_eq!(confirmed, Confirmation::ExpiredAtTarget);
    said(issuer.revoke(&Doomed::stray(doomed.id)).await);
}

#[tokio::test]
async fn nobody_there_is_away() {
    let served = Served::sound();
    let nowhere = served.folder.path().join("nowhere.sock");
    let issuer = issuer(settings(crate::stage::socket(&nowhere)), PATIENT);
    assert!(away(issue(&issuer, &order().order).await).contains("cannot be reached"));
    away(issuer.list().await);
    away(issuer.check().await);
    away(issuer.revoke(&Doomed::from(order().order.lease())).await);
}
