//! Servers that go away and come back, and what is said of them.

use std::time::Duration;

use quietus::dev::DevPostgresOptions;
use quietus::issuers::{Credential, Failure, Issuer};

use crate::fixture::{Db, admin, launch, login_to, make, revoke, shared};
use crate::order::{issuer, issuer_within, order, settings};

const READ: &str = "db:read:public.orders";

#[tokio::test]
async fn a_server_that_was_killed_is_away_and_back_again() {
    let mut server = launch(&DevPostgresOptions::default());
    let first = admin(&server, "postgres").await;
    first
        .batch_execute("CREATE TABLE public.orders (id int)")
        .await
        .unwrap();
    let issuer = issuer(&settings(&server, "postgres"));
    let [kept, revoked, new] = [0; 3].map(|_| order(&[READ], 600));
    let credential = make(&issuer, &kept).await.unwrap();
    make(&issuer, &revoked).await.unwrap();

    server.kill();
    for outcome in [
        make(&issuer, &new).await.map(|_| ()),
        revoke(&issuer, revoked.lease().id).await.map(|_| ()),
        issuer.renew(&kept).unwrap().run().await.map(|_| ()),
        issuer.list().await.map(|_| ()),
        issuer.check().await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(Failure::Away(_))), "{outcome:?}");
    }

    server.start().unwrap();
    login_to(&credential, "postgres").await.unwrap();
    revoke(&issuer, revoked.lease().id).await.unwrap();
    revoke(&issuer, new.lease().id).await.unwrap();
    let found = issuer.list().await.unwrap().unwrap();
    assert_eq!(
        found.iter().map(|it| it.id).collect::<Vec<_>>(),
        [kept.lease().id]
    );

    server.stop().unwrap();
    assert!(matches!(issuer.check().await, Err(Failure::Away(_))));
    server.start().unwrap();
    issuer.check().await.unwrap();
}

#[tokio::test]
async fn the_server_is_never_told_the_password() {
    let options = DevPostgresOptions {
        settings: vec![("log_statement".to_owned(), "all".to_owned())],
        ..DevPostgresOptions::default()
    };
    let server = launch(&options);
    let first = admin(&server, "postgres").await;
    first
        .batch_execute("CREATE TABLE public.orders (id int)")
        .await
        .unwrap();
    let issuer = issuer(&settings(&server, "postgres"));
    let order = order(&[READ], 600);
    let credential = make(&issuer, &order).await.unwrap();
    login_to(&credential, "postgres").await.unwrap();
    issuer.renew(&order).unwrap().run().await.unwrap();
    revoke(&issuer, order.lease().id).await.unwrap();
    let log = std::fs::read_to_string(server.log_file()).unwrap();
    let Credential::Postgres { user, password, .. } = &credential else {
        panic!()
    };
    assert!(log.contains(&format!("CREATE ROLE \"{user}\"")), "{log}");
    assert!(!log.contains(password.expose()));
    assert!(!format!("{credential:?}").contains(password.expose()));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_away_in_time() {
    // It accepts, and says nothing.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = settings(&shared(), "postgres");
    settings.port = deaf.local_addr().unwrap().port();
    let issuer = issuer_within(&settings, Duration::from_millis(200));
    let order = order(&[READ], 600);
    assert!(matches!(make(&issuer, &order).await, Err(Failure::Away(_))));
    assert!(matches!(
        revoke(&issuer, order.lease().id).await,
        Err(Failure::Away(_))
    ));
}

#[tokio::test]
async fn locks_that_others_keep_do_not_keep_the_broker() {
    let db = Db::new().await;
    let issuer = issuer_within(&db.settings(), Duration::from_secs(1));
    let order = order(&[READ], 600);
    db.admin
        .batch_execute("BEGIN; GRANT SELECT ON public.orders TO pg_monitor")
        .await
        .unwrap();
    let failure = make(&issuer, &order).await.unwrap_err();
    assert!(matches!(failure, Failure::Said(_)), "{failure:?}");
    db.admin.batch_execute("COMMIT").await.unwrap();
    assert!(!db.exists(&issuer.role(order.lease().id)).await);
    make(&issuer, &order).await.unwrap();
    revoke(&issuer, order.lease().id).await.unwrap();
}

#[tokio::test]
async fn a_server_that_has_no_room_or_does_not_let_us_in_is_away() {
    let db = Db::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut wrong_password = db.settings();
    wrong_password.password_file = Some(crate::settings::secret(&folder, "wrong"));
    let mut no_database = db.settings();
    no_database.database = "nothing".to_owned();
    let mut no_user = db.settings();
    no_user.user = "nobody at all".to_owned();
    for settings in [wrong_password, no_database, no_user] {
        let failure = issuer(&settings).check().await.unwrap_err();
        assert!(matches!(failure, Failure::Away(_)), "{failure:?}");
        assert!(!failure.to_string().contains("wrong"), "{failure}");
    }
}

#[tokio::test]
async fn a_check_says_what_the_server_is_and_what_is_missing() {
    let db = Db::new().await;
    let words = db.issuer().check().await.unwrap();
    assert!(words.starts_with("PostgreSQL 1"), "{words}");
    let user = format!("powerless_{}", db.name);
    let sql = format!("CREATE ROLE {user} LOGIN PASSWORD 'p'");
    db.admin.batch_execute(&sql).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = db.settings();
    settings.user = user;
    settings.password_file = Some(crate::settings::secret(&folder, "p"));
    let failure = issuer(&settings).check().await.unwrap_err();
    assert!(failure.to_string().contains("CREATEROLE"), "{failure}");
}
