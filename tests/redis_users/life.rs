//! Made, found, unmade, and looked for.

use quietus::issuers::{Doomed, Failure};
use quietus_core::Confirmation;

use crate::orders::{make, order};
use crate::server::{ADMIN, OURS, Server, log_in, parts, says};

const READ: &str = "cache:read:orders:*";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_found_and_gone_with_its_connections() {
    let server = Server::new().await;
    let issuer = server.issuer();
    assert!(issuer.check().await.unwrap().starts_with("Redis 7."));
    let order = order(1, &[READ]);
    let id = order.lease().id;
    let credential = make(&*issuer, &order).await.unwrap();
    let user = parts(&credential).1.to_owned();
    assert_eq!(user, format!("quietus-{id}"));
    let mut inside = log_in(&credential).await.unwrap();
    assert_eq!(says(&mut inside, "GET orders:1").await, "ok");
    let found = issuer.list().await.unwrap().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id, found[0].name.as_str()), (id, user.as_str()));

    let doomed = Doomed::from(order.lease());
    let confirmed = issuer.revoke(&doomed).await.unwrap();
    assert_eq!(confirmed, Confirmation::DeletedAtTarget);
    assert_eq!(says(&mut inside, "GET orders:1").await, "broken");
    let refused = log_in(&credential).await.err().unwrap();
    assert_eq!(refused.kind(), redis::ErrorKind::AuthenticationFailed);
    assert!(!server.users().await.contains(&user));
    assert!(!server.clients().await.contains(&user));
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
    // And again: what is not there is gone.
    assert_eq!(
        issuer.revoke(&doomed).await,
        Ok(Confirmation::DeletedAtTarget)
    );
    assert_eq!(
        issuer.revoke(&Doomed::stray(id)).await,
        Ok(Confirmation::DeletedAtTarget)
    );
    assert!(
        !server.users().await.contains(&user),
        "a revocation makes no user"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_in_every_state_are_closed() {
    let server = Server::new().await;
    let issuer = server.issuer();
    let order = order(
        1,
        &["cache:read:q:*", "cache:write:q:*", "cache:delete:q:*"],
    );
    let credential = make(&*issuer, &order).await.unwrap();
    let mut waiting = Vec::new();
    for line in ["BLPOP q:none 0", "XREAD BLOCK 0 STREAMS q:s $"] {
        let mut inside = log_in(&credential).await.unwrap();
        waiting.push(tokio::spawn(async move { says(&mut inside, line).await }));
    }
    let mut queued = log_in(&credential).await.unwrap();
    assert_eq!(says(&mut queued, "MULTI").await, "ok");
    loop {
        let clients = server.clients().await;
        if clients.contains("cmd=blpop") && clients.contains("cmd=xread") {
            break;
        }
    }
    issuer.revoke(&Doomed::from(order.lease())).await.unwrap();
    for one in waiting {
        assert_eq!(one.await.unwrap(), "broken");
    }
    assert_eq!(says(&mut queued, "SET q:1 1").await, "broken");
    assert!(!server.clients().await.contains("user=quietus-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_never_sees_the_password() {
    let server = Server::new().await;
    let issuer = server.issuer();
    let order = order(1, &[READ]);
    let credential = make(&*issuer, &order).await.unwrap();
    let (_, user, password) = parts(&credential);
    assert_eq!(password.len(), 43);
    let kept = format!("{:?}", server.ask(&["ACL", "GETUSER", user]).await);
    let hash = ring::digest::digest(&ring::digest::SHA256, password.as_bytes());
    let hash: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(kept.contains(&hash) && !kept.contains(password), "{kept}");
    assert!(!format!("{credential:?}").contains(password));
}

#[tokio::test(flavor = "multi_thread")]
async fn making_it_again_leaves_one_user_and_one_password() {
    let server = Server::new().await;
    let issuer = server.issuer();
    let order = order(1, &[READ]);
    let first = make(&*issuer, &order).await.unwrap();
    let second = make(&*issuer, &order).await.unwrap();
    assert!(log_in(&first).await.is_err());
    let mut inside = log_in(&second).await.unwrap();
    assert_eq!(says(&mut inside, "GET orders:1").await, "ok");
    assert_eq!(issuer.list().await.unwrap().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_leaves_the_user_as_it_is_and_tells_no_password() {
    let server = Server::new().await;
    let issuer = server.issuer();
    assert!(issuer.abilities().renewable && !issuer.abilities().expires_at_target);
    let order = order(1, &[READ]);
    let before = issuer.renew(&order).unwrap().run().await;
    assert!(matches!(before, Err(Failure::Said(_))), "{before:?}");
    let credential = make(&*issuer, &order).await.unwrap();
    let renewed = issuer
        .renew(&order)
        .unwrap()
        .run()
        .await
        .unwrap()
        .credential;
    assert_eq!(parts(&renewed).1, parts(&credential).1);
    assert_eq!(parts(&renewed).2, "");
    assert!(log_in(&credential).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_names_of_leases_are_ours() {
    let server = Server::new().await;
    let issuer = server.issuer();
    for name in [
        "quietus-",
        "quietus-check",
        "quietus-5.1",
        "quietus-01010101-0101-0101-0101-010101010101.01",
        "other-01010101-0101-0101-0101-010101010101.1",
        "Quietus-01010101-0101-0101-0101-010101010101.1",
    ] {
        server.ask(&["ACL", "SETUSER", name]).await;
    }
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
    server
        .ask(&[
            "ACL",
            "SETUSER",
            "quietus-01010101-0101-0101-0101-010101010101.1",
        ])
        .await;
    assert_eq!(issuer.list().await.unwrap().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_without_persistence_users_are_gone_and_that_is_confirmed() {
    let mut server = Server::new().await;
    let issuer = server.issuer();
    let order = order(1, &[READ]);
    let credential = make(&*issuer, &order).await.unwrap();
    server.kill();
    let doomed = Doomed::from(order.lease());
    let away = issuer.revoke(&doomed).await;
    assert!(matches!(away, Err(Failure::Away(_))), "{away:?}");
    server.start().await;
    assert!(log_in(&credential).await.is_err());
    assert_eq!(
        settled(&*issuer, &doomed).await,
        Confirmation::DeletedAtTarget
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_aclfile_users_live_on_and_the_dead_stay_dead() {
    let mut server = Server::new().await;
    let issuer = server.issuer_at(server.port, "persist = \"aclfile\"");
    issuer.check().await.unwrap();
    let (kept, ended) = (order(1, &[READ]), order(2, &[READ]));
    let kept = make(&*issuer, &kept).await.unwrap();
    let dead = make(&*issuer, &ended).await.unwrap();
    issuer.revoke(&Doomed::from(ended.lease())).await.unwrap();
    server.restart().await;
    let mut inside = log_in(&kept).await.unwrap();
    assert_eq!(says(&mut inside, "GET orders:1").await, "ok");
    assert_eq!(says(&mut inside, "GET other:1").await, "NOPERM");
    assert!(log_in(&dead).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_was_not_saved_is_saved_by_the_next_attempt() {
    let mut server = Server::new().await;
    let issuer = server.issuer_at(server.port, "persist = \"aclfile\"");
    let order = order(1, &[READ]);
    let credential = make(&*issuer, &order).await.unwrap();
    // As if the broker had been killed between the two.
    server.ask(&["ACL", "DELUSER", parts(&credential).1]).await;
    issuer.revoke(&Doomed::from(order.lease())).await.unwrap();
    server.restart().await;
    assert!(log_in(&credential).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_do_it_the_target_is_away_and_no_password_is_told() {
    let server = Server::new().await;
    let issuer = server.issuer();
    let order = order(1, &[READ]);
    make(&*issuer, &order).await.unwrap();
    let doomed = Doomed::from(order.lease());
    server
        .ask(&["ACL", "SETUSER", "quietus", "-acl|deluser"])
        .await;
    for failure in [
        issuer.revoke(&doomed).await.unwrap_err(),
        issuer.check().await.unwrap_err(),
    ] {
        assert!(
            matches!(&failure, Failure::Away(why) if why.contains("NOPERM")),
            "{failure}"
        );
    }
    server
        .ask(&["ACL", "SETUSER", "quietus", "resetpass", ">another"])
        .await;
    let fresh = server.issuer();
    let failure = fresh.check().await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Away(why) if why.contains("password")),
        "{failure}"
    );
    assert!(!failure.to_string().contains(OURS) && !failure.to_string().contains(ADMIN));
    assert!(fresh.revoke(&doomed).await.is_err());
}

/// The first call after a server went away may still find the old connection.
async fn settled(issuer: &dyn quietus::issuers::Issuer, doomed: &Doomed) -> Confirmation {
    for _ in 0..100 {
        if let Ok(confirmed) = issuer.revoke(doomed).await {
            return confirmed;
        }
    }
    panic!("it is never settled");
}
