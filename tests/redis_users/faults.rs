//! Replies that are lost, commands that come late, servers that hang.

use std::time::Duration;

use quietus::issuers::{Doomed, Failure};
use quietus_core::Confirmation;
use tokio::net::TcpListener;

use crate::orders::{self, make, order};
use crate::proxy::Proxy;
use crate::server::{Server, free_port};

const READ: &str = "cache:read:orders:*";

/// The order to make a user is on its way when the call is given up, and gets there after the revocation.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_comes_late_makes_no_user() {
    let server = Server::new().await;
    let proxy = Proxy::to(server.port).await;
    let quick = server.table(proxy.port, "").replace("60s", "1s");
    let issuer = orders::build(&server.folder, &quick).unwrap();
    issuer.check().await.unwrap();
    proxy.hold();
    let order = order(1, &[READ]);
    let failure = make(&*issuer, &order).await.unwrap_err();
    assert!(matches!(failure, Failure::Away(_)), "{failure}");
    proxy.has_held().await;
    let doomed = Doomed::from(order.lease());
    assert_eq!(
        issuer.revoke(&doomed).await,
        Ok(Confirmation::DeletedAtTarget)
    );
    proxy.release().await;
    nothing_of(&server).await;
}

/// The same, and the broker was killed in between: another process revokes.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_process_sent_is_never_carried_out_late() {
    let server = Server::new().await;
    let proxy = Proxy::to(server.port).await;
    let before = server.issuer_at(proxy.port, "");
    before.check().await.unwrap();
    proxy.hold();
    let order = order(1, &[READ]);
    let prepared = before.issue(&order, None).unwrap();
    let making = tokio::spawn(prepared.run());
    proxy.has_held().await;
    let after = server.issuer_at(proxy.port, "");
    let doomed = Doomed::from(order.lease());
    assert_eq!(
        after.revoke(&doomed).await,
        Ok(Confirmation::DeletedAtTarget)
    );
    proxy.release().await;
    assert!(making.await.unwrap().is_err());
    nothing_of(&server).await;
}

/// A call that nobody waits for any more is still before the next one on the same connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cut_short_is_settled_by_the_revocation() {
    let server = Server::new().await;
    let issuer = server.issuer();
    issuer.check().await.unwrap();
    for number in 1..100 {
        let order = order(number, &[READ]);
        let prepared = issuer.issue(&order, None).unwrap();
        let mut making = Box::pin(prepared.run());
        // As far as it gets at once, and no further.
        let polled = std::future::poll_fn(|cx| {
            let _ = making.as_mut().poll(cx);
            std::task::Poll::Ready(())
        });
        polled.await;
        drop(making);
        issuer.revoke(&Doomed::from(order.lease())).await.unwrap();
    }
    nothing_of(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_run_makes_nothing() {
    let server = Server::new().await;
    let issuer = server.issuer();
    drop(issuer.issue(&order(1, &[READ]), None).unwrap());
    nothing_of(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_calls_at_once() {
    let server = Server::new().await;
    let proxy = Proxy::to(server.port).await;
    let issuer = server.issuer_at(proxy.port, "");
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..50 {
        let issuer = issuer.clone();
        calls.spawn(async move {
            let order = order(number, &[READ]);
            make(&*issuer, &order).await.unwrap();
            issuer.revoke(&Doomed::from(order.lease())).await.unwrap();
        });
    }
    calls.join_all().await;
    assert_eq!(proxy.connections(), 1);
    nothing_of(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_says_nothing_is_away() {
    let server = Server::new().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for port in [free_port(), mute.local_addr().unwrap().port()] {
        let table = server.table(port, "").replace("60s", "100ms");
        let issuer = orders::build(&server.folder, &table).unwrap();
        let order = order(1, &[READ]);
        let doomed = Doomed::from(order.lease());
        let failures = [
            make(&*issuer, &order).await.unwrap_err(),
            issuer.revoke(&doomed).await.unwrap_err(),
            issuer.list().await.unwrap_err(),
            issuer.check().await.unwrap_err(),
        ];
        for failure in failures {
            assert!(matches!(failure, Failure::Away(_)), "{failure}");
        }
    }
}

/// Other brokers at the same server, and operators who use our user by hand, are left alone.
#[tokio::test(flavor = "multi_thread")]
async fn only_our_own_earlier_connections_are_closed() {
    let server = Server::new().await;
    let mut by_hand = crate::server::connect(server.port, "quietus", crate::server::OURS)
        .await
        .unwrap();
    server.issuer().check().await.unwrap();
    tokio::time::timeout(
        Duration::from_secs(60),
        crate::server::says(&mut by_hand, "PING"),
    )
    .await
    .map(|said| assert_eq!(said, "ok"))
    .unwrap();
}

async fn nothing_of(server: &Server) {
    let users = server.users().await;
    assert!(
        !users.iter().any(|it| it.starts_with("quietus-")),
        "{users:?}"
    );
}
