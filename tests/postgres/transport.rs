//! TLS to the server.

use std::time::Duration;

use quietus::config::PostgresTls;
use quietus::dev::DevPostgresOptions;
use quietus::issuers::{Credential, Failure, Issuer};

use crate::fixture::{launch, make};
use crate::order::{issuer, order, settings, try_issuer};

#[tokio::test]
async fn the_server_is_verified_in_full() {
    let options = DevPostgresOptions {
        tls: true,
        ..DevPostgresOptions::default()
    };
    let server = launch(&options);
    let stranger = quietus::dev::DevCa::generate(
        "other.example".parse().unwrap(),
        std::time::SystemTime::now(),
        Duration::from_secs(3600),
    );
    let folder = tempfile::tempdir().unwrap();
    let wrong_ca = folder.path().join("ca.pem");
    std::fs::write(&wrong_ca, stranger.unwrap().bundle_pem()).unwrap();

    let good = settings(&server, "postgres");
    for host in ["127.0.0.1", "localhost"] {
        let mut named = good.clone();
        named.host = host.to_owned();
        issuer(&named).check().await.unwrap();
    }
    let mut wrong = good.clone();
    wrong.tls = PostgresTls::VerifyFull { ca_file: wrong_ca };
    let mut other_name = good.clone();
    // The same machine by an address that the certificate does not name; the server listens on all of them.
    other_name.host = "127.0.0.2".to_owned();
    for settings in [wrong, other_name] {
        let failure = issuer(&settings).check().await.unwrap_err();
        let Failure::Away(why) = &failure else {
            panic!("{failure:?}")
        };
        assert!(
            why.contains("certificate") || why.contains("refused"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn agents_are_given_the_authority() {
    let options = DevPostgresOptions {
        tls: true,
        ..DevPostgresOptions::default()
    };
    let server = launch(&options);
    let issuer = issuer(&settings(&server, "postgres"));
    let credential = make(&issuer, &order(&["db:read:pg_catalog.pg_class"], 60))
        .await
        .unwrap();
    let Credential::Postgres { ca_pem, .. } = credential else {
        panic!()
    };
    let authority = std::fs::read_to_string(server.ca_file().unwrap()).unwrap();
    assert_eq!(ca_pem, authority);
}

#[tokio::test]
async fn a_server_without_tls_is_not_talked_to_in_the_clear() {
    let plain = crate::fixture::shared();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    let ca = quietus::dev::DevCa::generate(
        "other.example".parse().unwrap(),
        std::time::SystemTime::now(),
        Duration::from_secs(3600),
    );
    std::fs::write(&ca_file, ca.unwrap().bundle_pem()).unwrap();
    let mut settings = settings(&plain, "postgres");
    settings.tls = PostgresTls::VerifyFull {
        ca_file: ca_file.clone(),
    };
    let failure = issuer(&settings).check().await.unwrap_err();
    assert!(matches!(failure, Failure::Away(_)), "{failure:?}");

    let broker = "spiffe://dev.example/broker";
    for text in [
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "x",
    ] {
        std::fs::write(&ca_file, text).unwrap();
        let refused = try_issuer(&settings, Duration::from_secs(1), broker);
        assert!(refused.is_err_and(|it| it.contains("ca_file")), "{text:?}");
    }
}
