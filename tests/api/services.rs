//! Health and reflection answer over mTLS, and nothing answers without.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::common::*;

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_to_any_caller_with_an_svid() {
    let world = World::new();
    let serving = world.serve().await;
    for name in ["agent", "operator", "resource-server"] {
        let channel = world.connect(&serving, name).await;
        for service in [
            "",
            "quietus.v1.Broker",
            "quietus.v1.Operator",
            "quietus.v1.Verification",
        ] {
            let request = HealthCheckRequest {
                service: service.to_owned(),
            };
            let answer = HealthClient::new(channel.clone())
                .check(request)
                .await
                .unwrap();
            assert_eq!(
                answer.into_inner().status(),
                ServingStatus::Serving,
                "{service}"
            );
        }
        let request = HealthCheckRequest {
            service: "quietus.v1.Nothing".to_owned(),
        };
        let answer = HealthClient::new(channel).check(request).await;
        assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_names_the_services() {
    let world = World::new();
    let serving = world.serve().await;
    let channel = world.connect(&serving, "agent").await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let asked = tokio_stream::once(request);
    let mut answers = client
        .server_reflection_info(asked)
        .await
        .unwrap()
        .into_inner();
    let answer = answers
        .message()
        .await
        .unwrap()
        .unwrap()
        .message_response
        .unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<String> = listed
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for service in ["Broker", "Operator", "Verification"] {
        assert!(
            names.contains(&format!("quietus.v1.{service}")),
            "{names:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_echo_is_there_for_benchmarks_only() {
    use quietus::api::bench::EchoRequest;
    use quietus::api::bench::echo_client::EchoClient;
    let world = World::new();
    let serving = world.serve().await;
    let channel = world.connect(&serving, "agent").await;
    let answer = EchoClient::new(channel).echo(EchoRequest::default()).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_a_certificate_is_heard() {
    let world = World::new();
    let serving = world.serve().await;
    let mut roots = RootCertStore::empty();
    let bundle = world.domain.ca.bundle_pem().as_bytes();
    roots
        .add(CertificateDer::from_pem_slice(bundle).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(&serving.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .unwrap();
    let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_heard_in_the_clear() {
    let world = World::new();
    let serving = world.serve().await;
    let mut tcp = TcpStream::connect(&serving.address).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut heard = Vec::new();
    let _ = tcp.read_to_end(&mut heard).await;
    // An alert at most: no HTTP/2 settings frame.
    assert!(heard.is_empty() || heard[0] == 21, "{heard:?}");
}
