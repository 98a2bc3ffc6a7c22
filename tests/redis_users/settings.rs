//! What the configuration lets through, and TLS.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::orders::{build, make, order, target, write_mode};
use crate::server::{OURS, Server, free_port};

const TARGET: &str = r#"[[target]]
name = "cache"
kind = "redis"
environment = "dev"
sensitivity = 1
resource_servers = []
"#;

fn with(lines: &str) -> Result<quietus::config::Target, String> {
    let folder = TempDir::new().unwrap();
    let user = "user = \"quietus\"\npassword_file = \"p\"\n";
    let table = format!("{TARGET}[target.redis]\n{user}{lines}\n");
    target(folder.path(), &table).map_err(|error| error.to_string())
}

#[test]
fn what_would_go_in_the_clear_or_nowhere_is_refused() {
    let good = "host = \"127.0.0.1\"\ntls = false\n";
    with(good).unwrap();
    with("socket = \"redis.sock\"\nagent_host = \"cache.example\"").unwrap();
    let cases = [
        ("", "host"),
        ("host = \"cache.example\"", "ca_file"),
        ("host = \"cache.example\"\ntls = false", "localhost"),
        ("host = \"10.0.0.1\"\ntls = false", "localhost"),
        ("host = \"localhost.example\"\ntls = false", "localhost"),
        ("host = \"a b\"\ntls = false", "host name"),
        ("host = \"127.0.0.1\"\nsocket = \"s\"", "socket"),
        ("socket = \"s\"", "agent_host"),
        (
            "host = \"h\"\nca_file = \"ca\"\ncert_file = \"c\"",
            "key_file",
        ),
        (&format!("{good}port = 0"), "port"),
        (&format!("{good}persist = \"rdb\""), "aclfile"),
        (&format!("{good}user_prefix = \"a b\""), "user_prefix"),
        (&format!("{good}user_prefix = \"\""), "user_prefix"),
        (&format!("{good}commands.read = []"), "rules"),
        (&format!("{good}commands.admin = [\"+get\"]"), "template"),
        (&format!("{good}commands.read = [\"~*\"]"), "+get"),
        (&format!("{good}commands.read = [\"+get ~*\"]"), "+get"),
        (&format!("{good}commands.read = [\"allkeys\"]"), "+get"),
        (&format!("{good}commands.read = [\"nopass\"]"), "+get"),
        (&format!("{good}templates.a = [\"~a)\"]"), "pattern"),
        (&format!("{good}templates.a = [\"~\"]"), "pattern"),
        (&format!("{good}templates.a = [\">password\"]"), "+get"),
        (
            &format!("{good}templates.\"a b\" = [\"+get\"]"),
            "templates",
        ),
        (&format!("{good}password = \"x\""), "password"),
    ];
    for (lines, word) in cases {
        let error = with(lines).unwrap_err();
        assert!(error.contains(word), "{lines}: {error}");
    }
}

#[test]
fn the_sample_is_a_target() {
    let sample = include_str!("../../config/targets/redis.toml");
    let folder = TempDir::new().unwrap();
    let target = target(folder.path(), sample).unwrap();
    assert_eq!(target.kind().as_str(), "redis");
}

#[test]
fn a_password_that_others_may_read_or_that_is_none_is_refused() {
    let folder = TempDir::new().unwrap();
    let table = format!(
        "{TARGET}[target.redis]\nhost = \"127.0.0.1\"\ntls = false\nuser = \"quietus\"\npassword_file = \"p\"\n"
    );
    let path = folder.path().join("p");
    let refusal = || build(&folder, &table).err().unwrap().to_string();
    assert!(refusal().contains("cannot be read"));
    for mode in [0o640, 0o604, 0o644, 0o660] {
        write_mode(&path, OURS, mode);
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let refusal = refusal();
        assert!(
            refusal.contains("chmod 600") && !refusal.contains(OURS),
            "{refusal}"
        );
    }
    for bytes in [&b""[..], b"\n", b"\xff\xfe", &[b'a'; 2000]] {
        write_mode(&path, bytes, 0o600);
        refusal();
    }
    write_mode(&path, OURS, 0o600);
    build(&folder, &table).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_only_the_server_that_the_authority_vouches_for_is_spoken_to() {
    let certificates = TempDir::new().unwrap();
    let at = |name: &str| certificates.path().join(name).to_str().unwrap().to_owned();
    for name in ["ours", "other"] {
        authority(&certificates, name);
    }
    let port = free_port().to_string();
    let (cert, key, ca) = (at("ours.crt"), at("ours.key"), at("ours-ca.pem"));
    let server = Server::with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
    ])
    .await;
    let table = |host: &str, ca: &str, more: &str| {
        let plain = server.table(port.parse().unwrap(), "");
        let plain = plain.replace("host = \"127.0.0.1\"", &format!("host = \"{host}\""));
        plain.replace("tls = false", &format!("ca_file = \"{}\"\n{more}", at(ca)))
    };
    let identity = format!("cert_file = \"{cert}\"\nkey_file = \"{key}\"");
    let issuer = build(
        &server.folder,
        &table("localhost", "ours-ca.pem", &identity),
    )
    .unwrap();
    issuer.check().await.unwrap();
    let credential = make(&*issuer, &order(1, &["cache:read:a:*"]))
        .await
        .unwrap();
    let quietus::issuers::Credential::Redis { tls, ca_pem, .. } = credential else {
        panic!("another kind");
    };
    assert!(tls && ca_pem.contains("BEGIN CERTIFICATE"));
    let refused = [
        table("localhost", "other-ca.pem", &identity),
        // Not in the certificate.
        table("127.0.0.1", "ours-ca.pem", &identity),
        // The server asks for a certificate.
        table("localhost", "ours-ca.pem", ""),
    ];
    for table in refused {
        let issuer = build(&server.folder, &table).unwrap();
        assert!(issuer.check().await.is_err(), "{table}");
    }
    assert!(build(&server.folder, &table("localhost", "ours.key", "")).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_will_do() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("redis.sock");
    let socket = socket.to_str().unwrap();
    let server = Server::with(&["--unixsocket", socket]).await;
    let table = server.table(server.port, &format!("socket = \"{socket}\""));
    let table = table.replace("host = \"127.0.0.1\"", "agent_host = \"cache.example\"");
    let issuer = build(&server.folder, &table).unwrap();
    issuer.check().await.unwrap();
}

/// `NAME-ca.pem`, and `NAME.crt` with `NAME.key` from it, for `localhost`.
fn authority(folder: &TempDir, name: &str) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.distinguished_name
        .push(DnType::CommonName, "localhost");
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    let path = |end: &str| folder.path().join(format!("{name}{end}"));
    fs::write(path("-ca.pem"), ca.pem()).unwrap();
    fs::write(path(".crt"), leaf.pem()).unwrap();
    write_mode(&path(".key"), key.serialize_pem(), 0o600);
}
