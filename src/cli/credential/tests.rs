#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use super::*;

/// What would break a URI, a password file or a shell.
const PASSWORD: &str = "p@ss:w/rd?#[]%&=+\\ é'";
const PEM: &str = "-----BEGIN X-----\nAQID\n-----END X-----\n";

fn postgres(host: &str, ca_pem: &str) -> Credential {
    Credential::from(Kind::Postgres(v1::PostgresCredential {
        host: host.to_owned(),
        port: 5432,
        database: "orders".to_owned(),
        user: "quietus_1".to_owned(),
        password: PASSWORD.to_owned(),
        sslmode: "verify-full".to_owned(),
        ca_pem: ca_pem.to_owned(),
    }))
}

fn x509(key_pem: &str) -> Credential {
    Credential::from(Kind::X509(v1::X509Credential {
        certificate_pem: PEM.replace('X', "CERTIFICATE"),
        ca_pem: PEM.to_owned(),
        key_pem: key_pem.to_owned(),
    }))
}

fn ssh(private_key: &str) -> Credential {
    Credential::from(Kind::Ssh(v1::SshCredential {
        certificate: "ssh-ed25519-cert-v01@openssh.com AAAA\n".to_owned(),
        private_key: private_key.to_owned(),
        principals: vec!["deploy".to_owned(), "ci".to_owned()],
        host: "build.example".to_owned(),
        port: 22,
    }))
}

fn redis(tls: bool, ca_pem: &str) -> Credential {
    Credential::from(Kind::Redis(v1::RedisCredential {
        host: "::1".to_owned(),
        port: 6379,
        user: "quietus_1".to_owned(),
        password: "p:w".to_owned(),
        tls,
        ca_pem: ca_pem.to_owned(),
    }))
}

fn fields(names: &[&str]) -> BTreeMap<String, String> {
    let names = names.iter();
    names
        .map(|name| ((*name).to_owned(), format!("{name} is secret")))
        .collect()
}

fn static_secret(names: &[&str]) -> Credential {
    Credential::from(Kind::StaticSecret(v1::StaticCredential {
        version: "3".to_owned(),
        fields: fields(names),
    }))
}

fn external(public: &[&str], secret: &[&str]) -> Credential {
    Credential::from(Kind::External(v1::ExternalCredential {
        kind: "ftp".to_owned(),
        public_fields: fields(public),
        secret_fields: fields(secret),
    }))
}

fn jwt() -> Credential {
    Credential::from(Kind::Jwt("a.b.c".to_owned()))
}

#[test]
fn bare_values() {
    let certificate = PEM.replace('X', "CERTIFICATE");
    let cases = [
        (jwt(), "a.b.c".to_owned()),
        (x509(""), format!("{certificate}{PEM}")),
        (x509("key"), format!("{certificate}key\n{PEM}")),
        (
            ssh(""),
            "ssh-ed25519-cert-v01@openssh.com AAAA\n".to_owned(),
        ),
        (
            ssh("key"),
            "key\nssh-ed25519-cert-v01@openssh.com AAAA\n".to_owned(),
        ),
        (
            redis(false, ""),
            "redis://quietus_1:p%3Aw@[::1]:6379".to_owned(),
        ),
        (
            redis(true, ""),
            "rediss://quietus_1:p%3Aw@[::1]:6379".to_owned(),
        ),
        (static_secret(&["a"]), "a is secret".to_owned()),
        (
            static_secret(&["a", "b"]),
            r#"{"a":"a is secret","b":"b is secret"}"#.to_owned(),
        ),
        (static_secret(&[]), "{}".to_owned()),
        (external(&[], &["a"]), "a is secret".to_owned()),
        (
            external(&["a"], &["b"]),
            r#"{"a":"a is secret","b":"b is secret"}"#.to_owned(),
        ),
    ];
    for (credential, bare) in cases {
        assert_eq!(*credential.bare(), bare, "{credential:?}");
    }
}

#[test]
fn whatever_could_break_a_uri_is_encoded() {
    let uri = postgres("db.example", "").bare();
    let expected = "postgres://quietus_1:p%40ss%3Aw%2Frd%3F%23%5B%5D%25%26%3D%2B%5C%20%C3%A9%27\
        @db.example:5432/orders?sslmode=verify-full";
    assert_eq!(*uri, expected);
    // The client library's own reading of it.
    #[cfg(feature = "postgres")]
    for host in ["db.example", "::1", "10.0.0.1"] {
        use tokio_postgres::config::Host;
        let role = Postgres {
            sslmode: Some("require".to_owned()),
            ..role(host)
        };
        let config: tokio_postgres::Config = uri::postgres(&role, None).parse().unwrap();
        assert_eq!(config.get_password(), Some(PASSWORD.as_bytes()));
        assert_eq!(config.get_user(), Some("quietus_1"));
        assert_eq!(config.get_dbname(), Some("orders"));
        assert_eq!(config.get_ports(), [5432]);
        let hosts = config.get_hosts();
        assert!(
            matches!(hosts, [Host::Tcp(found)] if found == host),
            "{hosts:?}"
        );
    }
}

#[cfg(feature = "postgres")]
fn role(host: &str) -> Postgres {
    match postgres(host, "") {
        Credential::Postgres(role) => role,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_documents_are_stable() {
    let cases = [
        (jwt(), json!({ "kind": "jwt", "token": "a.b.c" })),
        (
            postgres("db", ""),
            json!({
                "kind": "postgres", "host": "db", "port": 5432, "database": "orders", "user": "quietus_1",
                "password": PASSWORD, "sslmode": "verify-full", "ca_pem": null,
            }),
        ),
        (
            x509(""),
            json!({
                "kind": "x509", "certificate_pem": PEM.replace('X', "CERTIFICATE"), "ca_pem": PEM, "key_pem": null,
            }),
        ),
        (
            ssh("key"),
            json!({
                "kind": "ssh", "certificate": "ssh-ed25519-cert-v01@openssh.com AAAA", "private_key": "key",
                "principals": ["deploy", "ci"], "host": "build.example", "port": 22,
            }),
        ),
        (
            redis(true, PEM),
            json!({
                "kind": "redis", "host": "::1", "port": 6379, "user": "quietus_1", "password": "p:w", "tls": true,
                "ca_pem": PEM,
            }),
        ),
        (
            static_secret(&["a"]),
            json!({ "kind": "static", "version": "3", "fields": { "a": "a is secret" } }),
        ),
        (
            external(&["a"], &["b"]),
            json!({
                "kind": "external", "external_kind": "ftp", "public_fields": { "a": "a is secret" },
                "secret_fields": { "b": "b is secret" },
            }),
        ),
    ];
    for (credential, expected) in cases {
        assert_eq!(serde_json::to_value(&credential).unwrap(), expected);
    }
}

#[test]
fn words_and_debug_show_no_secret() {
    let all = [
        (jwt(), ""),
        (postgres("db", ""), "role quietus_1 of orders at db:5432"),
        (
            x509("secret"),
            "a certificate, its key, the authority of its peers",
        ),
        (ssh("secret"), "logs in as deploy, ci at build.example:22"),
        (redis(false, ""), "user quietus_1 at ::1:6379"),
        (
            static_secret(&["a", "b"]),
            "version 3 of a static secret: a, b",
        ),
        (external(&["a"], &["b"]), "ftp: a, b"),
    ];
    for (credential, words) in all {
        assert_eq!(credential.words().join("\n"), words);
        let debug = format!("{credential:?}");
        for secret in ["a.b.c", PASSWORD, "p:w", "b is secret", "\"secret\""] {
            assert!(!debug.contains(secret), "{debug}");
        }
    }
    let words = postgres("db", PEM).words().join("\n");
    assert!(words.contains("not in the URI"), "{words}");
}

#[test]
fn files_of_every_kind() {
    let cases: [(Credential, &[&str]); 8] = [
        (jwt(), &["token"]),
        (postgres("db", ""), &["pgpass", "url"]),
        (postgres("db", PEM), &["ca.pem", "pgpass", "url"]),
        (x509("key"), &["ca.pem", "cert.pem", "key.pem"]),
        (ssh(""), &["id-cert.pub"]),
        (ssh("key"), &["id", "id-cert.pub"]),
        (redis(true, PEM), &["ca.pem", "url"]),
        (static_secret(&["../a"]), &["secret.json"]),
    ];
    for (credential, names) in cases {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("a/b");
        let written = Folder::prepare(&path).unwrap().write(&credential).unwrap();
        assert_eq!(mode(&path), 0o700);
        let mut found: Vec<_> = written.iter().map(|path| name(path)).collect();
        found.sort();
        assert_eq!(found, names);
        for path in written {
            assert_eq!(mode(&path), 0o600, "{path:?}");
            assert!(std::fs::read(&path).unwrap().ends_with(b"\n"));
        }
    }
}

#[test]
fn a_password_file_and_a_uri_that_names_the_authority() {
    let outer = tempfile::tempdir().unwrap();
    let folder = Folder::prepare(outer.path()).unwrap();
    folder.write(&postgres("::1", PEM)).unwrap();
    let read = |name: &str| std::fs::read_to_string(outer.path().join(name)).unwrap();
    let expected = "\\:\\:1:5432:orders:quietus_1:p@ss\\:w/rd?#[]%&=+\\\\ é'\n";
    assert_eq!(read("pgpass"), expected);
    let url = read("url");
    assert!(
        url.contains("?sslmode=verify-full&sslrootcert=%2F"),
        "{url}"
    );
    assert!(url.ends_with("%2Fca.pem\n"), "{url}");
}

#[test]
fn folders_that_will_not_do_are_refused_beforehand() {
    let outer = tempfile::tempdir().unwrap();
    let shared = outer.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o777)).unwrap();
    let taken = outer.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::os::unix::fs::symlink("nowhere", taken.join("key.pem")).unwrap();
    let file = outer.path().join("file");
    std::fs::write(&file, "").unwrap();
    for (path, why) in [(shared, "chmod 700"), (taken, "key.pem"), (file, "folder")] {
        let error = format!("{:#}", Folder::prepare(&path).unwrap_err());
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn all_files_are_written_or_none() {
    let outer = tempfile::tempdir().unwrap();
    let folder = Folder::prepare(outer.path()).unwrap();
    std::os::unix::fs::symlink("elsewhere", outer.path().join("cert.pem")).unwrap();
    assert!(folder.write(&x509("key")).is_err());
    assert!(!outer.path().join("key.pem").exists());
    assert!(!outer.path().join("elsewhere").exists());
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
