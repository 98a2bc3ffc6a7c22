//! What a role may do, and that it may do nothing else.

use std::collections::BTreeMap;

use quietus::config::PostgresTemplate;
use quietus::issuers::{Failure, Issuer, KeyRequest};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::fixture::{Db, code, denied, make, revoke};
use crate::order::{issuer, now, order, order_at, renewal};

/// A statement for each right on the table `orders`, and some that nobody was given.
const PROBES: [(&str, &str); 11] = [
    ("read", "SELECT id FROM public.orders"),
    ("copy", "COPY public.orders TO STDOUT"),
    ("insert", "INSERT INTO public.orders VALUES (2, 'second')"),
    ("update", "UPDATE public.orders SET note = 'changed'"),
    ("delete", "DELETE FROM public.orders"),
    ("truncate", "TRUNCATE public.orders"),
    ("alter", "ALTER TABLE public.orders ADD COLUMN more int"),
    ("other", "SELECT id FROM public.other"),
    ("upper", "SELECT id FROM public.\"Orders\""),
    ("hidden", "SELECT id FROM hidden.orders"),
    ("create", "CREATE TABLE public.mine (id int)"),
];

/// Which of the probes pass; each is undone.
async fn passing(client: &Client) -> Vec<&'static str> {
    let mut passing = Vec::new();
    for (name, sql) in PROBES {
        client.batch_execute("BEGIN").await.unwrap();
        let outcome = match name {
            "copy" => client.copy_out(sql).await.map(|_| ()),
            _ => client.simple_query(sql).await.map(|_| ()),
        };
        client.batch_execute("ROLLBACK").await.unwrap();
        match outcome {
            Ok(()) => passing.push(name),
            Err(error) => assert_eq!(*code(&error), SqlState::INSUFFICIENT_PRIVILEGE, "{name}"),
        }
    }
    passing
}

#[tokio::test]
async fn each_action_may_do_its_own_and_nothing_else() {
    let db = Db::new().await;
    let issuer = db.issuer();
    for (scope, expected) in [
        ("db:read:public.orders", vec!["read", "copy"]),
        ("db:write:public.orders", vec!["insert", "update"]),
        ("db:delete:public.orders", vec!["delete"]),
        ("db:export:public.orders", vec!["read", "copy"]),
        ("db:read:public.Orders", vec!["upper"]),
        ("db:read:hidden.orders", vec!["hidden"]),
        ("db:read:public.*", vec!["read", "copy", "other", "upper"]),
        ("db:execute:public.single", vec![]),
    ] {
        let order = order(&[scope], 600);
        let credential = make(&issuer, &order).await.unwrap();
        let client = db.login(&credential).await.unwrap();
        assert_eq!(passing(&client).await, expected, "{scope}");
        revoke(&issuer, order.lease().id).await.unwrap();
    }
}

#[tokio::test]
async fn functions_are_granted_by_name_or_by_their_very_arguments() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let lease = order(&["db:execute:public.total(int4)"], 600);
    let client = db
        .login(&make(&issuer, &lease).await.unwrap())
        .await
        .unwrap();
    client.simple_query("SELECT public.total(1)").await.unwrap();
    assert!(denied(
        client.simple_query("SELECT public.total('x'::text)").await
    ));
    assert!(denied(client.simple_query("SELECT public.single()").await));

    let all = order(&["db:execute:public.*"], 600);
    let client = db.login(&make(&issuer, &all).await.unwrap()).await.unwrap();
    client
        .simple_query("SELECT public.single() + public.total('x'::text)")
        .await
        .unwrap();

    let unclear = order(&["db:execute:public.total"], 600);
    let refused = make(&issuer, &unclear).await.unwrap_err();
    assert!(refused.to_string().contains("not unique"), "{refused}");
    assert!(!db.exists(&issuer.role(unclear.lease().id)).await);
}

#[tokio::test]
async fn a_role_can_log_in_and_has_no_powers() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let order = order(&["db:read:public.orders"], 600);
    let client = db
        .login(&make(&issuer, &order).await.unwrap())
        .await
        .unwrap();
    let sql = "SELECT rolsuper OR rolinherit OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls, \
               rolconnlimit, extract(epoch FROM rolvaliduntil)::int8 FROM pg_roles WHERE rolname = current_user";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, bool>(0), row.get::<_, i32>(1)), (false, 5));
    assert_eq!(
        row.get::<_, i64>(2) as u64,
        order.lease().expires_at.seconds()
    );
    for escalation in [
        "CREATE ROLE more LOGIN".to_owned(),
        format!("ALTER ROLE \"{}\" SUPERUSER", issuer.role(order.lease().id)),
        format!(
            "ALTER ROLE \"{}\" VALID UNTIL 'infinity'",
            issuer.role(order.lease().id)
        ),
        "SET ROLE postgres".to_owned(),
        "COPY public.orders TO '/tmp/out'".to_owned(),
        "SELECT pg_read_file('/etc/passwd')".to_owned(),
        format!(
            "COMMENT ON ROLE \"{}\" IS ''",
            issuer.role(order.lease().id)
        ),
    ] {
        assert!(
            client.simple_query(&escalation).await.is_err(),
            "{escalation}"
        );
    }
    // Of this it is only warned.
    client
        .batch_execute("GRANT SELECT ON public.orders TO PUBLIC")
        .await
        .unwrap();
    let sql = "SELECT array_to_string(relacl, ',') ~ '(^|,)=' FROM pg_class WHERE oid = 'public.orders'::regclass";
    assert!(
        !db.admin
            .query_one(sql, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );
}

#[tokio::test]
async fn what_is_not_there_cannot_be_granted_and_nothing_is_left() {
    let db = Db::new().await;
    let issuer = db.issuer();
    for scope in [
        "db:read:public.nothing",
        "db:read:nowhere.orders",
        "db:read:public.ORDERS",
        "db:read:nowhere.*",
        "db:execute:public.nothing",
        "db:execute:public.total(int8)",
        "db:execute:public.total(nothing)",
    ] {
        // The first right can be given, the second cannot.
        let order = order(&["db:read:public.orders", scope], 600);
        let failure = make(&issuer, &order).await.unwrap_err();
        assert!(matches!(failure, Failure::Said(_)), "{scope}: {failure:?}");
        assert!(!db.exists(&issuer.role(order.lease().id)).await, "{scope}");
    }
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn the_password_is_good_until_the_lease_expires_and_a_renewal_moves_that() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let past = order_at(
        &["db:read:public.orders"],
        60,
        quietus_core::Timestamp(now().0 - 120_000),
    );
    let credential = make(&issuer, &past).await.unwrap();
    let refused = db.login(&credential).await.unwrap_err();
    assert_eq!(*code(&refused), SqlState::INVALID_PASSWORD);

    let renewed = renewal(&past, 3600);
    issuer.renew(&renewed).unwrap().run().await.unwrap();
    db.login(&credential).await.unwrap();

    revoke(&issuer, past.lease().id).await.unwrap();
    let gone = issuer.renew(&renewed).unwrap().run().await.unwrap_err();
    assert!(matches!(gone, Failure::Said(_)), "{gone:?}");
    assert!(!db.exists(&issuer.role(past.lease().id)).await);
}

#[tokio::test]
async fn sessions_are_limited() {
    let db = Db::new().await;
    let mut settings = db.settings();
    settings.connection_limit = 2;
    let issuer = issuer(&settings);
    let order = order(&["db:read:public.orders"], 600);
    let credential = make(&issuer, &order).await.unwrap();
    let _two = [
        db.login(&credential).await.unwrap(),
        db.login(&credential).await.unwrap(),
    ];
    let refused = db.login(&credential).await.unwrap_err();
    assert_eq!(*code(&refused), SqlState::TOO_MANY_CONNECTIONS);
}

#[tokio::test]
async fn a_template_gives_what_it_says_and_is_undone() {
    let db = Db::new().await;
    let sql = "CREATE TABLE public.audit (who text); CREATE ROLE migrator_t; GRANT ALL ON SCHEMA public TO migrator_t";
    db.admin.batch_execute(sql).await.unwrap();
    let mut settings = db.settings();
    settings.templates = templates(
        &[
            "ALTER ROLE {{role}} INHERIT",
            "GRANT migrator_t TO {{role}}",
        ],
        &["INSERT INTO public.audit VALUES ('{{role}}')"],
    );
    let issuer = issuer(&settings);
    let order = order(&["db:admin:migrate"], 600);
    let client = db
        .login(&make(&issuer, &order).await.unwrap())
        .await
        .unwrap();
    assert_eq!(passing(&client).await, ["create"]);
    client
        .batch_execute("CREATE TABLE public.made_by_agent (id int)")
        .await
        .unwrap();

    // Whoever takes the template away has to put it back: it says how it is undone.
    let failure = revoke(&db.issuer(), order.lease().id).await.unwrap_err();
    assert!(failure.to_string().contains("\"migrate\""), "{failure}");
    assert!(
        client.simple_query("SELECT 1").await.is_err(),
        "its session is gone all the same"
    );

    revoke(&issuer, order.lease().id).await.unwrap();
    let sql =
        "SELECT (SELECT count(*) FROM public.audit), to_regclass('public.made_by_agent') IS NULL";
    let row = db.admin.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), (1_i64, true));
}

#[tokio::test]
async fn a_template_that_fails_leaves_nothing() {
    let db = Db::new().await;
    for wrong in [
        "GRANT nobody_at_all TO {{role}}",
        "GRANT {{role}",
        // Several at once are not run at all.
        "COMMENT ON ROLE {{role}} IS 'x'; COMMIT",
    ] {
        let mut settings = db.settings();
        settings.templates = templates(&["ALTER ROLE {{role}} CREATEDB", wrong], &[]);
        let issuer = issuer(&settings);
        let order = order(&["db:admin:migrate"], 600);
        let failure = make(&issuer, &order).await.unwrap_err();
        assert!(matches!(failure, Failure::Said(_)), "{wrong}: {failure:?}");
        assert!(!db.exists(&issuer.role(order.lease().id)).await, "{wrong}");
    }
}

#[tokio::test]
async fn orders_that_fit_no_role_are_refused_beforehand() {
    let db = Db::new().await;
    let issuer = db.issuer();
    for scope in ["db:read:orders", "db:admin:public.orders", "db:read:a.b.c"] {
        let unfit = issuer
            .issue(&order(&[scope], 600), None)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(unfit.field, "scopes");
    }
    let key = KeyRequest::SshPublicKey(String::new());
    let unfit = issuer.issue(&order(&["db:read:public.orders"], 600), Some(&key));
    assert_eq!(unfit.map(|_| ()).unwrap_err().field, "key");
}

#[tokio::test]
async fn a_database_that_is_closed_to_the_public_is_opened_to_the_role() {
    let db = Db::new().await;
    let sql = format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", db.name);
    db.admin.batch_execute(&sql).await.unwrap();
    let issuer = db.issuer();
    let order = order(&["db:read:public.orders"], 600);
    let credential = make(&issuer, &order).await.unwrap();
    db.login(&credential).await.unwrap();
    revoke(&issuer, order.lease().id).await.unwrap();
}

fn templates(grant: &[&str], revoke: &[&str]) -> BTreeMap<String, PostgresTemplate> {
    let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    let template = PostgresTemplate {
        grant: own(grant),
        revoke: own(revoke),
    };
    [("migrate".to_owned(), template)].into()
}
