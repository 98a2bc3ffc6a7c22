//! Names that try to be more than names, and names of roles.

use quietus::issuers::{Failure, Issuer};
use quietus_core::LeaseId;

use crate::fixture::{Db, denied, make, revoke};
use crate::order::{order, try_issuer};

/// Each is a table's name or means to be something else. A resource holds no space, double quote or backslash; those
/// are refused long before.
const HOSTILE: [&str; 9] = [
    "orders;DROP/**/TABLE/**/public.other",
    "orders;--",
    "orders'",
    "';SELECT/**/1;--",
    "$$;SELECT",
    "orders)TO/**/PUBLIC;--",
    "orders,other",
    "{{role}}",
    "*;",
];

#[tokio::test]
async fn hostile_names_are_names_of_nothing() {
    let db = Db::new().await;
    let issuer = db.issuer();
    for name in HOSTILE {
        for action in ["read", "write", "execute"] {
            let order = order(&[&format!("db:{action}:public.{name}")], 600);
            // Refused beforehand, or by the server, which knows nothing of the name.
            let Ok(prepared) = issuer.issue(&order, None) else {
                continue;
            };
            let failure = prepared.run().await.unwrap_err();
            let Failure::Said(said) = &failure else {
                panic!("{failure:?}")
            };
            let unknown = said.contains("does not exist") || said.contains("could not find");
            assert!(unknown, "{name}: {said}");
        }
    }
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
    db.admin
        .batch_execute("SELECT 1 FROM public.orders, public.other")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_table_with_a_hostile_name_is_just_a_table() {
    let db = Db::new().await;
    let issuer = db.issuer();
    for name in HOSTILE.iter().filter(|name| !name.contains('.')) {
        let sql = format!("CREATE TABLE public.\"{name}\" (id int)");
        db.admin.batch_execute(&sql).await.unwrap();
        let order = order(&[&format!("db:read:public.{name}")], 600);
        let client = db
            .login(&make(&issuer, &order).await.unwrap())
            .await
            .unwrap();
        client
            .simple_query(&format!("SELECT id FROM public.\"{name}\""))
            .await
            .unwrap();
        assert!(
            denied(client.simple_query("SELECT id FROM public.other").await),
            "{name}"
        );
        revoke(&issuer, order.lease().id).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_that_would_be_cut_off_means_no_other_table() {
    let db = Db::new().await;
    let cut = "x".repeat(63);
    let sql = format!("CREATE TABLE public.{cut} (id int)");
    db.admin.batch_execute(&sql).await.unwrap();
    let issuer = db.issuer();
    let longer = order(&[&format!("db:read:public.{cut}x")], 600);
    assert!(issuer.issue(&longer, None).is_err());
    make(&issuer, &order(&[&format!("db:read:public.{cut}")], 600))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_database_or_owner_with_a_hostile_name_is_just_that() {
    let db = Db::new().await;
    let name = "a\"; DROP ROLE x; -- ü'";
    let quoted = name.replace('"', "\"\"");
    let sql = format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0");
    db.admin.batch_execute(&sql).await.unwrap();
    let sql = format!("REVOKE CONNECT ON DATABASE \"{quoted}\" FROM PUBLIC");
    db.admin.batch_execute(&sql).await.unwrap();
    let there = crate::fixture::admin(&db.server, name).await;
    there
        .batch_execute("CREATE TABLE public.t (id int)")
        .await
        .unwrap();
    let mut settings = db.settings();
    settings.database = name.to_owned();
    let issuer = crate::order::issuer(&settings);
    let order = order(&["db:read:public.t"], 600);
    let client = db
        .login(&make(&issuer, &order).await.unwrap())
        .await
        .unwrap();
    client
        .simple_query("SELECT id FROM public.t")
        .await
        .unwrap();
    revoke(&issuer, order.lease().id).await.unwrap();
}

#[tokio::test]
async fn a_role_is_named_after_its_lease_and_that_is_read_back() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let lease = order(&["db:read:public.orders"], 600).lease().id;
    for number in [0, 7, u32::MAX] {
        let id = LeaseId { number, ..lease };
        let role = issuer.role(id);
        assert!(role.starts_with("quietus_") && role.len() <= 63, "{role}");
        assert_eq!(issuer.lease(&role), Some(id));
        for other in [
            format!("{role}x"),
            format!("x{role}"),
            role.to_uppercase(),
            role.replace(&format!("_{number}"), &format!("_0{number}")),
            role.replace(&format!("_{number}"), ""),
        ] {
            assert_eq!(issuer.lease(&other), None, "{other}");
        }
    }
}

#[tokio::test]
async fn only_the_broker_s_own_roles_are_listed() {
    let db = Db::new().await;
    let issuer = db.issuer();
    let renamed = try_issuer(
        &db.settings(),
        std::time::Duration::from_secs(30),
        "spiffe://dev.example/other",
    );
    let renamed = renamed.unwrap();
    let order = order(&["db:read:public.orders"], 600);
    make(&issuer, &order).await.unwrap();
    let role = issuer.role(order.lease().id);
    let strangers = format!("CREATE ROLE quietus_{0}; CREATE ROLE \"{role}x\"", db.name);
    db.admin.batch_execute(&strangers).await.unwrap();
    let found = issuer.list().await.unwrap().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id, &found[0].name), (order.lease().id, &role));
    assert_eq!(renamed.list().await.unwrap().unwrap(), []);
    // But a broker with another name still finds, by the lease, what it made under the old one.
    revoke(&renamed, order.lease().id).await.unwrap();
    assert!(!db.exists(&role).await);
    assert!(db.exists(&format!("{role}x")).await);
}
