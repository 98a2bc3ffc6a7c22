#![allow(clippy::unwrap_used, clippy::panic)]

use v1::credential::Kind;

use super::*;

const SECRET: &str = "hunter2";

fn secret() -> String {
    SECRET.to_owned()
}

fn fields() -> BTreeMap<String, String> {
    [("api_key".to_owned(), secret())].into()
}

fn every_kind() -> [Kind; 7] {
    [
        Kind::Jwt(secret()),
        Kind::Postgres(v1::PostgresCredential {
            user: "somebody".to_owned(),
            password: secret(),
            ..Default::default()
        }),
        Kind::X509(v1::X509Credential {
            certificate_pem: "somebody".to_owned(),
            key_pem: secret(),
            ..Default::default()
        }),
        Kind::Ssh(v1::SshCredential {
            principals: vec!["somebody".to_owned()],
            private_key: secret(),
            ..Default::default()
        }),
        Kind::Redis(v1::RedisCredential {
            user: "somebody".to_owned(),
            password: secret(),
            ..Default::default()
        }),
        Kind::StaticSecret(v1::StaticCredential {
            version: "somebody".to_owned(),
            fields: fields(),
        }),
        Kind::External(v1::ExternalCredential {
            kind: "somebody".to_owned(),
            secret_fields: fields(),
            ..Default::default()
        }),
    ]
}

#[test]
fn no_kind_shows_its_secret() {
    for kind in every_kind() {
        let credential = Some(v1::Credential { kind: Some(kind) });
        let requested = v1::RequestCredentialResponse {
            lease: None,
            credential: credential.clone(),
        };
        let renewed = v1::RenewLeaseResponse {
            lease: None,
            credential: credential.clone(),
        };
        for shown in [
            format!("{credential:?}"),
            format!("{credential:#?}"),
            format!("{requested:?}"),
            format!("{renewed:#?}"),
        ] {
            assert!(!shown.contains(SECRET), "{shown}");
            assert!(shown.contains('…'), "{shown}");
        }
    }
}

#[test]
fn what_is_no_secret_is_shown() {
    for kind in every_kind().into_iter().skip(1) {
        let shown = format!("{kind:?}");
        assert!(shown.contains("somebody"), "{shown}");
    }
    let fields = format!("{:?}", every_kind()[5]);
    assert!(fields.contains(r#"{"api_key": …}"#), "{fields}");
}

#[test]
fn a_secret_that_is_not_there_is_told_apart() {
    let shown = format!("{:?}", v1::X509Credential::default());
    assert!(shown.contains("key_pem: -"), "{shown}");
}

#[test]
fn a_token_that_is_asked_about_is_not_shown() {
    let asked = v1::IntrospectRequest {
        token: secret(),
        ..Default::default()
    };
    let shown = format!("{asked:?}");
    assert!(!shown.contains(SECRET), "{shown}");
}
