//! Who gets through a handshake.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quietus::client::ConnectError;
use quietus::server::listener::Limits;
use quietus::tls::BrokerRefusal;
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, date_time_ymd};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, HandshakeKind, SignatureScheme};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::authority::Authority;
use crate::broker::{BROKER, Broker, check_health, connect_error};

#[tokio::test]
async fn an_svid_of_a_trusted_domain_is_let_in() {
    let mut broker = Broker::start().await;
    let channel = broker.client().connect().await.expect("connection");
    check_health(&channel).await.expect("answer");
    assert_eq!(broker.call().await.0, "spiffe://prod.example/agent");
}

#[tokio::test]
async fn a_caller_without_a_certificate_is_refused() {
    let mut broker = Broker::start().await;
    let without = |config: &mut rustls::ClientConfig| {
        config.client_auth_cert_resolver = Arc::new(NoCertificate);
    };
    let mut stream = broker.raw(without).await;
    let error = stream.fill_buf().await.expect_err("an alert");
    assert_eq!(alert(&error), AlertDescription::CertificateRequired);
    assert_eq!(broker.refusal().await, "TLS_HANDSHAKE");
}

#[tokio::test]
async fn an_svid_of_an_unknown_domain_is_refused() {
    let other = Authority::new("other.example");
    let (alert, reason) = refused(|broker| other.svid("/agent", broker.folder.path())).await;
    assert_eq!(alert, AlertDescription::UnknownCA);
    assert_eq!(reason, "SVID_TRUST_DOMAIN_UNKNOWN");
}

#[tokio::test]
async fn an_svid_that_another_authority_issued_in_our_name_is_refused() {
    let impostors = [
        ("prod.example", "SVID_SIGNATURE_INVALID"),
        ("another name", "SVID_UNKNOWN_ISSUER"),
    ];
    for (name, expected) in impostors {
        let impostor = Authority::named("prod.example", name);
        let (alert, reason) = refused(|broker| impostor.svid("/agent", broker.folder.path())).await;
        assert_eq!((alert, reason), (AlertDescription::UnknownCA, expected));
    }
}

#[tokio::test]
async fn an_expired_svid_is_refused() {
    let (alert, reason) = refused(|broker| {
        let folder = broker.folder.path();
        broker.authority.altered_svid("/late", folder, |svid| {
            svid.not_before = date_time_ymd(2029, 12, 30);
            svid.not_after = date_time_ymd(2029, 12, 31);
        })
    })
    .await;
    assert_eq!(alert, AlertDescription::CertificateExpired);
    assert_eq!(reason, "SVID_EXPIRED");
}

#[tokio::test]
async fn an_svid_without_digital_signature_is_refused() {
    let (alert, reason) = refused(|broker| {
        let folder = broker.folder.path();
        broker.authority.altered_svid("/agent", folder, |svid| {
            svid.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        })
    })
    .await;
    assert_eq!(alert, AlertDescription::UnsupportedCertificate);
    assert_eq!(reason, "SVID_KEY_USAGE_NO_DIGITAL_SIGNATURE");
}

#[tokio::test]
async fn an_svid_for_servers_only_is_refused() {
    let (alert, reason) = refused(|broker| {
        let folder = broker.folder.path();
        broker.authority.altered_svid("/agent", folder, |svid| {
            svid.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    })
    .await;
    assert_eq!(alert, AlertDescription::UnsupportedCertificate);
    assert_eq!(reason, "SVID_EXTENDED_KEY_USAGE");
}

#[tokio::test]
async fn a_client_refuses_a_server_with_another_identity() {
    let mut broker = Broker::start().await;
    let mut client = broker.client();
    client.broker = "spiffe://prod.example/vault".parse().expect("SPIFFE ID");
    let error = connect_error(&client).await;
    let ConnectError::BrokerRefused(BrokerRefusal::OtherIdentity { found, .. }) = &error else {
        panic!("{error}");
    };
    assert_eq!(found.as_str(), BROKER);
    assert_eq!(error.reason(), "BROKER_OTHER_IDENTITY");
    assert_eq!(broker.refusal().await, "TLS_HANDSHAKE");
}

#[tokio::test]
async fn a_client_refuses_a_server_that_its_bundle_does_not_vouch_for() {
    let broker = Broker::start().await;
    let client = broker.client();
    Authority::named("prod.example", "successor").write_bundle(&client.bundle);
    assert_eq!(connect_error(&client).await.reason(), "SVID_UNKNOWN_ISSUER");
}

#[tokio::test]
async fn a_client_says_that_nobody_listens() {
    let broker = Broker::start().await;
    let client = broker.client();
    let _folder = broker.stop().await;
    assert_eq!(connect_error(&client).await.reason(), "BROKER_UNREACHABLE");
}

#[tokio::test]
async fn an_address_without_a_port_is_refused() {
    let broker = Broker::start().await;
    let mut client = broker.client();
    client.address = "localhost".to_owned();
    assert_eq!(connect_error(&client).await.reason(), "ADDRESS_INVALID");
}

#[tokio::test]
async fn no_handshake_is_resumed() {
    let broker = Broker::start().await;
    let config = broker.raw_config(|config| config.resumption = Resumption::in_memory_sessions(8));
    let config = Arc::new(config);
    for _ in 0..2 {
        let mut stream = broker.raw_with(Arc::clone(&config)).await;
        // Tickets would come before the first bytes of HTTP/2.
        assert!(!stream.fill_buf().await.expect("HTTP/2").is_empty());
        let tls = stream.get_ref().1;
        assert_eq!(tls.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(tls.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_caller_that_does_not_ask_for_http2_is_refused() {
    let mut broker = Broker::start().await;
    let mut stream = broker.raw(|config| config.alpn_protocols.clear()).await;
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap_or(0), 0);
    assert_eq!(broker.refusal().await, "TLS_NOT_HTTP2");
}

#[tokio::test]
async fn tls_1_2_is_refused_and_tls_1_3_is_not() {
    let mut broker = Broker::start().await;
    let Some(old) = openssl(&broker, "-tls1_2").await else {
        println!("skipped: there is no openssl");
        return;
    };
    assert!(text(&old.stderr).contains("alert protocol version"));
    assert_eq!(broker.refusal().await, "TLS_HANDSHAKE");
    let new = openssl(&broker, "-tls1_3").await.expect("openssl");
    let said = text(&new.stdout);
    assert!(
        said.contains("New, TLSv1.3") && said.contains("ALPN protocol: h2"),
        "{said}"
    );
}

#[tokio::test]
async fn what_is_not_tls_is_refused() {
    let mut broker = Broker::start().await;
    let mut stream = TcpStream::connect(broker.address).await.expect("TCP");
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(broker.refusal().await, "TLS_HANDSHAKE");
}

#[tokio::test]
async fn those_who_say_nothing_keep_nobody_out() {
    let mut broker = Broker::start_with(Limits {
        handshakes: 2,
        handshake_timeout: Duration::MAX,
        ..Limits::default()
    })
    .await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(TcpStream::connect(broker.address).await.expect("TCP"));
    }
    let channel = broker.client().connect().await.expect("connection");
    check_health(&channel).await.expect("answer");
    assert_eq!(broker.refusal().await, "TLS_GIVEN_UP");
    assert_eq!(silent[0].read(&mut [0]).await.expect("end of stream"), 0);
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_ends() {
    let mut broker = Broker::start_with(Limits {
        handshake_timeout: Duration::from_millis(20),
        ..Limits::default()
    })
    .await;
    let mut silent = TcpStream::connect(broker.address).await.expect("TCP");
    assert_eq!(broker.refusal().await, "TLS_TIMED_OUT");
    assert_eq!(silent.read(&mut [0]).await.expect("end of stream"), 0);
}

#[tokio::test]
async fn connections_are_bounded() {
    let mut broker = Broker::start_with(Limits {
        connections: 1,
        ..Limits::default()
    })
    .await;
    let channel = broker.client().connect().await.expect("connection");
    assert_eq!(
        connect_error(&broker.client()).await.reason(),
        "BROKER_CLOSED"
    );
    assert_eq!(broker.refusal().await, "TOO_MANY_CONNECTIONS");
    check_health(&channel).await.expect("answer");
}

/// What a client is told, and what the broker says, of an SVID that is refused.
async fn refused(
    svid: impl FnOnce(&Broker) -> quietus::tls::SvidFiles,
) -> (AlertDescription, &'static str) {
    let mut broker = Broker::start().await;
    let client = broker.client_with(svid(&broker));
    match connect_error(&client).await {
        ConnectError::SvidRefused { alert } => (alert, broker.refusal().await),
        other => panic!("{other}"),
    }
}

async fn openssl(broker: &Broker, version: &str) -> Option<Output> {
    let svid = broker.client().svid;
    let mut command = Command::new("openssl");
    command.args(["s_client", version, "-alpn", "h2", "-connect"]);
    command.arg(broker.address.to_string());
    command.arg("-cert").arg(svid.chain);
    command.arg("-key").arg(svid.key);
    command.stdin(Stdio::null());
    command.output().await.ok()
}

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

fn alert(error: &std::io::Error) -> AlertDescription {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("not an alert: {error}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
