//! A connection does not outlive what it was accepted for.

use quietus::client::ConnectError;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::authority::{Authority, NEXT_NOON, NOON};
use crate::broker::{Broker, check_health};

#[tokio::test]
async fn a_request_is_refused_once_the_svid_has_expired() {
    let mut broker = Broker::start().await;
    let channel = broker.client().connect().await.expect("connection");
    check_health(&channel).await.expect("answer");
    let (_, before) = broker.call().await;

    broker.set_clock(NEXT_NOON);
    let refusal = check_health(&channel).await.expect_err("expired");
    assert_eq!(
        reason(&refusal),
        (Code::Unauthenticated, "SVID_EXPIRED".to_owned())
    );

    // The connection is still the same: it was the request that was refused.
    broker.set_clock(NOON);
    check_health(&channel).await.expect("answer");
    assert_eq!(broker.call().await.1, before);
}

#[tokio::test]
async fn a_request_is_refused_once_the_bundle_has_lost_the_authority() {
    let mut broker = Broker::start().await;
    let channel = broker.client().connect().await.expect("connection");
    check_health(&channel).await.expect("answer");
    let (_, before) = broker.call().await;

    Authority::named("prod.example", "successor").write_bundle(&broker.bundle_path());
    assert_eq!(broker.trust.reload(NOON).len(), 1);
    let refusal = check_health(&channel).await.expect_err("not trusted");
    assert_eq!(
        reason(&refusal),
        (Code::Unauthenticated, "SVID_UNKNOWN_ISSUER".to_owned())
    );

    broker.authority.write_bundle(&broker.bundle_path());
    assert_eq!(broker.trust.reload(NOON).len(), 1);
    check_health(&channel).await.expect("answer");
    assert_eq!(broker.call().await.1, before);
}

#[tokio::test]
async fn a_lost_connection_says_why_it_cannot_be_made_again() {
    let broker = Broker::start().await;
    let channel = broker.client().connect().await.expect("connection");
    check_health(&channel).await.expect("answer");
    let _folder = broker.stop().await;
    // A request can still meet the connection that is about to be closed.
    for _ in 0..100 {
        let status = check_health(&channel).await.expect_err("no broker");
        if let Some(error) = ConnectError::within(&status) {
            assert_eq!(error.reason(), "BROKER_UNREACHABLE");
            return;
        }
    }
    panic!("no connect error in a hundred attempts");
}

fn reason(status: &Status) -> (Code, String) {
    let details = status.get_details_error_info();
    (status.code(), details.expect("error info").reason)
}
