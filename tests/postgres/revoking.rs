//! The end of a role, whatever it is doing and whatever it owns.

use std::time::Duration;

use quietus::config::OnOwned;
use quietus::issuers::postgres::PostgresIssuer;
use quietus::issuers::{Credential, Failure, Issuer};
use quietus_core::Confirmation;
use tokio_postgres::error::SqlState;

use crate::fixture::{Db, admin, code, login_to, make, revoke, until};
use crate::order::{issuer, issuer_within, order};

const READ: &str = "db:read:public.orders";

#[tokio::test]
async fn a_revoked_role_is_gone_and_so_is_one_that_never_was() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let order = order(&[READ, "db:execute:public.single"], 600);
    let id = order.lease().id;
    assert_eq!(revoke(&issuer, id).await, Ok(Confirmation::DeletedAtTarget));
    let credential = make(&issuer, &order).await.unwrap();
    assert!(db.exists(&issuer.role(id)).await);
    for _ in 0..2 {
        assert_eq!(revoke(&issuer, id).await, Ok(Confirmation::DeletedAtTarget));
        assert!(!db.exists(&issuer.role(id)).await);
    }
    let refused = db.login(&credential).await.unwrap_err();
    assert_eq!(*code(&refused), SqlState::INVALID_PASSWORD);
}

#[tokio::test]
async fn sessions_end_whatever_they_are_doing() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let order = order(&["db:write:public.orders", READ], 600);
    let credential = make(&issuer, &order).await.unwrap();
    let busy = db.login(&credential).await.unwrap();
    let holding = db.login(&credential).await.unwrap();
    let idle = db.login(&credential).await.unwrap();
    let long = tokio::spawn(async move { busy.simple_query("SELECT pg_sleep(3600)").await });
    holding
        .batch_execute("BEGIN; LOCK TABLE public.orders IN ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    holding
        .batch_execute("UPDATE public.orders SET note = 'held'")
        .await
        .unwrap();
    let role = issuer.role(order.lease().id);
    until("three sessions", || async { db.sessions(&role).await == 3 }).await;

    revoke(&issuer, order.lease().id).await.unwrap();

    assert_eq!(db.sessions(&role).await, 0);
    assert!(long.await.unwrap().is_err());
    assert!(idle.simple_query("SELECT 1").await.is_err());
    let row = db
        .admin
        .query_one("SELECT note FROM public.orders", &[])
        .await
        .unwrap();
    assert_eq!(
        row.get::<_, String>(0),
        "first",
        "what was not committed is undone"
    );
}

#[tokio::test]
async fn what_it_owns_is_dropped() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let order = order(&[READ], 600);
    own_something(&db, &make(&issuer, &order).await.unwrap()).await;
    revoke(&issuer, order.lease().id).await.unwrap();
    assert!(!db.exists(&issuer.role(order.lease().id)).await);
    assert_eq!(owner_of(&db).await, None);
}

#[tokio::test]
async fn what_it_owns_is_reassigned() {
    let db = Db::new().await;
    let keeper = format!("keeper \"{}\"", db.name);
    let sql = format!("CREATE ROLE \"{}\"", keeper.replace('"', "\"\""));
    db.admin.batch_execute(&sql).await.unwrap();
    let mut settings = db.settings();
    settings.on_owned = OnOwned::Reassign(keeper.clone());
    let issuer = issuer(&settings);
    let order = order(&[READ], 600);
    own_something(&db, &make(&issuer, &order).await.unwrap()).await;
    revoke(&issuer, order.lease().id).await.unwrap();
    assert!(!db.exists(&issuer.role(order.lease().id)).await);
    assert_eq!(owner_of(&db).await, Some(keeper));
}

#[tokio::test]
async fn what_depends_on_its_things_is_not_dropped_with_them() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let order = order(&[READ], 600);
    let client = own_something(&db, &make(&issuer, &order).await.unwrap()).await;
    let sql = "CREATE VIEW public.precious AS SELECT id FROM mine.things";
    db.admin.batch_execute(sql).await.unwrap();
    let failure = revoke(&issuer, order.lease().id).await.unwrap_err();
    assert!(matches!(failure, Failure::Said(_)), "{failure:?}");
    assert!(
        client.simple_query("SELECT 1").await.is_err(),
        "it has no session any more"
    );
    db.admin
        .batch_execute("DROP VIEW public.precious")
        .await
        .unwrap();
    revoke(&issuer, order.lease().id).await.unwrap();
}

#[tokio::test]
async fn things_in_other_databases_do_not_keep_it_alive() {
    let db = Db::new().await;
    let other = Db::at(db.server.clone()).await;
    let issuer = db.issuer();
    let order = order(&[READ], 600);
    let credential = make(&issuer, &order).await.unwrap();
    // Everybody may do that wherever they may connect.
    let client = login_to(&credential, &other.name).await.unwrap();
    client.simple_query("SELECT lo_create(0)").await.unwrap();
    revoke(&issuer, order.lease().id).await.unwrap();
    assert!(!db.exists(&issuer.role(order.lease().id)).await);
    let there = admin(&db.server, &other.name).await;
    let row = there
        .query_one("SELECT count(*) FROM pg_largeobject_metadata", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn roles_that_hold_on_to_each_other_go_all_the_same() {
    let db = Db::new().await;
    db.admin
        .batch_execute("GRANT ALL ON SCHEMA public TO PUBLIC")
        .await
        .unwrap();
    let (broker, _folder) = no_superuser(&db).await;
    let orders = [order(&[READ], 600), order(&[READ], 600)];
    let roles = orders.each_ref().map(|it| broker.role(it.lease().id));
    for (at, order) in orders.iter().enumerate() {
        let client = db
            .login(&make(&broker, order).await.unwrap())
            .await
            .unwrap();
        let sql = format!("CREATE TABLE public.t{at} (id int)");
        client.batch_execute(&sql).await.unwrap();
        if at == 1 {
            let sql = format!("GRANT SELECT ON public.t1 TO \"{}\"", roles[0]);
            client.batch_execute(&sql).await.unwrap();
        }
    }
    let first = revoke(&broker, orders[0].lease().id).await.unwrap_err();
    assert!(first.to_string().contains("public.t1"), "{first}");
    for order in [&orders[1], &orders[0]] {
        revoke(&broker, order.lease().id).await.unwrap();
    }
}

/// A broker that may make roles and hand on `SELECT` on one table, and no more.
async fn no_superuser(db: &Db) -> (PostgresIssuer, tempfile::TempDir) {
    let user = format!("broker_{}", db.name);
    let sql = format!(
        "CREATE ROLE {user} LOGIN CREATEROLE PASSWORD 'p'; GRANT USAGE ON SCHEMA public TO {user} WITH GRANT OPTION; \
         GRANT SELECT ON public.orders TO {user} WITH GRANT OPTION; GRANT SELECT ON public.other TO {user}"
    );
    db.admin.batch_execute(&sql).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = db.settings();
    settings.user = user;
    settings.password_file = Some(crate::settings::secret(&folder, "p\n"));
    (issuer(&settings), folder)
}

#[tokio::test]
async fn a_broker_that_is_no_superuser_can_do_it_all() {
    let db = Db::new().await;
    let (issuer, _folder) = no_superuser(&db).await;
    let good = order(&[READ], 600);
    let client = own_something(&db, &make(&issuer, &good).await.unwrap()).await;
    client
        .simple_query("SELECT id FROM public.orders")
        .await
        .unwrap();
    revoke(&issuer, good.lease().id).await.unwrap();
    assert!(!db.exists(&issuer.role(good.lease().id)).await);
    assert_eq!(owner_of(&db).await, None);

    // The server only warns of a right that is not its to give.
    for scope in [
        "db:read:public.other",
        "db:delete:public.orders",
        "db:read:public.*",
    ] {
        let order = order(&[READ, scope], 600);
        let failure = make(&issuer, &order).await.unwrap_err();
        assert!(matches!(failure, Failure::Said(_)), "{scope}: {failure:?}");
        assert!(!db.exists(&issuer.role(order.lease().id)).await, "{scope}");
    }
}

#[tokio::test]
async fn a_creation_that_was_cut_off_is_not_finished_after_its_revocation() {
    let db = Db::new().await;
    let issuer = issuer_within(&db.settings(), Duration::from_secs(60));
    let order = order(&[READ], 600);
    let role = issuer.role(order.lease().id);
    // The rights of the table are being changed by somebody else, so the creation waits in the middle.
    let elsewhere = admin(&db.server, &db.name).await;
    elsewhere
        .batch_execute("BEGIN; GRANT SELECT ON public.orders TO pg_monitor")
        .await
        .unwrap();
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND application_name = 'quietus'";
    let waiting = || async {
        let row = db.admin.query_one(waits, &[]).await.unwrap();
        row.get::<_, i64>(0)
    };
    let prepared = issuer.issue(&order, None).unwrap();
    let making = tokio::spawn(prepared.run());
    until("the creation waits", || async { waiting().await == 1 }).await;
    making.abort();
    assert!(making.await.unwrap_err().is_cancelled());

    let id = order.lease().id;
    let revoking = tokio::spawn(async move { (revoke(&issuer, id).await, issuer) });
    until("the revocation waits for it", || async {
        waiting().await == 2
    })
    .await;
    elsewhere.batch_execute("COMMIT").await.unwrap();
    let (revoked, issuer) = revoking.await.unwrap();
    assert_eq!(revoked, Ok(Confirmation::DeletedAtTarget));
    until("nobody is at work", || async { waiting().await == 0 }).await;
    assert!(!db.exists(&role).await);
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn what_was_made_before_is_made_anew() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let order = order(&[READ], 600);
    let first = make(&issuer, &order).await.unwrap();
    let second = make(&issuer, &order).await.unwrap();
    assert!(db.login(&first).await.is_err());
    db.login(&second).await.unwrap();
    assert_eq!(issuer.list().await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn many_at_once_on_one_table_do_not_get_in_each_other_s_way() {
    let db = Db::new().await;
    let issuer = std::sync::Arc::new(db.issuer());
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let issuer = std::sync::Arc::clone(&issuer);
        all.spawn(async move {
            let order = order(&[READ], 600);
            make(&issuer, &order).await.unwrap();
            revoke(&issuer, order.lease().id).await.unwrap();
        });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

/// A schema of the role's own with a table in it, and a session that is in the middle of something.
async fn own_something(db: &Db, credential: &Credential) -> tokio_postgres::Client {
    let sql = "CREATE SCHEMA mine; GRANT ALL ON SCHEMA mine TO PUBLIC";
    db.admin.batch_execute(sql).await.unwrap();
    let client = db.login(credential).await.unwrap();
    let sql = "CREATE TABLE mine.things (id int); GRANT SELECT ON mine.things TO PUBLIC; \
               ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC; BEGIN; LOCK TABLE mine.things";
    client.batch_execute(sql).await.unwrap();
    client
        .batch_execute("COMMIT; BEGIN; SELECT 1")
        .await
        .unwrap();
    client
}

async fn owner_of(db: &Db) -> Option<String> {
    let sql =
        "SELECT relowner::regrole::name::text FROM pg_class WHERE oid = to_regclass('mine.things')";
    let sql = sql.replace(
        "relowner::regrole::name::text",
        "pg_get_userbyid(relowner)::text",
    );
    db.admin
        .query_opt(&sql, &[])
        .await
        .unwrap()
        .map(|row| row.get(0))
}
