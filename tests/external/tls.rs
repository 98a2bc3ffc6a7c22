//! mTLS: who answers, and who asks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quietus::api::issuer::issuer_server::IssuerServer;
use quietus::config::ExternalEndpoint;
use quietus::dev::DevCa;
use quietus::issuers::external::ExternalIssuer;
use quietus::issuers::{Doomed, Issuer};
use quietus::server::listener::{Limits, Listener};
use quietus::tls::{ServerSvid, ServerTls, SvidFiles};
use quietus::trust::Trust;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;

use crate::orders::{now, order};
use crate::process::quietus;
use crate::stage::{PATIENT, away, issue, issuer_as, keys, settings};

const ISSUER: &str = "spiffe://dev.example/issuer/billing";
const HOUR: Duration = Duration::from_secs(3600);

/// The example behind mTLS.
struct Secured {
    folder: TempDir,
    ca: DevCa,
    address: String,
    server: JoinHandle<()>,
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn ca() -> DevCa {
    DevCa::generate(
        "dev.example".parse().unwrap(),
        std::time::SystemTime::now(),
        HOUR,
    )
    .unwrap()
}

fn write_svid(ca: &DevCa, folder: &Path, name: &str, path: &str) -> SvidFiles {
    let svid = ca.svid(path, std::time::SystemTime::now(), HOUR).unwrap();
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    std::fs::write(file("pem"), &svid.chain_pem).unwrap();
    std::fs::write(file("key"), svid.key_pem.as_bytes()).unwrap();
    SvidFiles {
        chain: file("pem"),
        key: file("key"),
    }
}

impl Secured {
    async fn start() -> Self {
        Self::start_as("/issuer/billing").await
    }

    async fn start_as(path: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = ca();
        std::fs::write(folder.path().join("bundle.pem"), ca.bundle_pem()).unwrap();
        write_svid(&ca, folder.path(), "broker", "/broker");
        let svid = write_svid(&ca, folder.path(), "issuer", path);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        Self {
            server: serve(socket, svid, folder.path()),
            folder,
            ca,
            address,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn endpoint(&self) -> ExternalEndpoint {
        ExternalEndpoint::Tls {
            address: self.address.clone(),
            issuer_id: ISSUER.parse().unwrap(),
            bundle: self.path("bundle.pem"),
        }
    }

    fn issuer(&self) -> ExternalIssuer {
        self.issuer_with(SvidFiles {
            chain: self.path("broker.pem"),
            key: self.path("broker.key"),
        })
    }

    fn issuer_with(&self, svid: SvidFiles) -> ExternalIssuer {
        issuer_as(settings(self.endpoint()), PATIENT, svid)
    }
}

fn serve(socket: TcpListener, svid: SvidFiles, folder: &Path) -> JoinHandle<()> {
    let seconds = now().seconds();
    let bundle = folder.join("bundle.pem");
    let trust = Trust::load(vec![("dev.example".parse().unwrap(), bundle)], seconds).unwrap();
    let svid = ServerSvid::load(svid, seconds).unwrap();
    let tls = ServerTls::new(
        Arc::new(svid),
        Arc::new(trust),
        Arc::new(|| now().seconds()),
    );
    let listener = Listener::new(socket, tls.unwrap(), Limits::default());
    let service = IssuerServer::new(keys(folder)).max_decoding_message_size(64 * 1024);
    tokio::spawn(async move {
        Server::builder()
            .add_service(service)
            .serve_with_incoming(listener.incoming())
            .await
            .unwrap();
    })
}

#[tokio::test]
async fn a_credential_lives_and_dies_over_mtls() {
    let served = Secured::start().await;
    let issuer = served.issuer();
    let ordered = order();
    issue(&issuer, &ordered.order).await.unwrap();
    assert_eq!(issuer.list().await.unwrap().unwrap().len(), 1);
    let doomed = Doomed::from(ordered.order.lease());
    issuer.revoke(&doomed).await.unwrap();
    assert_eq!(issuer.list().await.unwrap().unwrap(), []);
}

#[tokio::test]
async fn the_conformance_test_passes_over_mtls() {
    let served = Secured::start().await;
    let url = format!("https://{}", served.address);
    let file = |name: &str| served.path(name).to_str().unwrap().to_owned();
    let (svid, key, bundle) = (file("broker.pem"), file("broker.key"), file("bundle.pem"));
    let mut args = vec!["--address", &url, "--issuer-id", ISSUER];
    args.extend(["--svid", &svid, "--key", &key, "--bundle", &bundle]);
    let (code, text) = quietus(&args).await;
    assert_eq!(code, 0, "{text}");
    args[3] = "spiffe://dev.example/issuer/other";
    let (code, text) = quietus(&args).await;
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("the server is spiffe://dev.example/issuer/billing"),
        "{text}"
    );
}

#[tokio::test]
async fn another_spiffe_id_is_refused() {
    for path in ["/issuer/other", "/issuer/billing/x", "/broker"] {
        let served = Secured::start_as(path).await;
        let issuer = served.issuer();
        let text = away(issue(&issuer, &order().order).await);
        assert!(
            text.contains("not spiffe://dev.example/issuer/billing"),
            "{text}"
        );
        away(issuer.revoke(&Doomed::from(order().order.lease())).await);
        away(issuer.check().await);
    }
}

#[tokio::test]
async fn another_authority_is_refused() {
    let served = Secured::start().await;
    std::fs::write(served.path("bundle.pem"), ca().bundle_pem()).unwrap();
    let text = away(issue(&served.issuer(), &order().order).await);
    assert!(text.contains("SVID is refused"), "{text}");
}

#[tokio::test]
async fn a_broker_that_it_does_not_trust_is_refused_by_it() {
    let served = Secured::start().await;
    let stranger = write_svid(&ca(), served.folder.path(), "stranger", "/broker");
    let text = away(issue(&served.issuer_with(stranger), &order().order).await);
    assert!(
        text.contains("the issuer refuses the broker's SVID"),
        "{text}"
    );
}

#[tokio::test]
async fn an_svid_that_is_replaced_is_used_from_the_next_connection() {
    let served = Secured::start().await;
    let files = write_svid(&ca(), served.folder.path(), "broker", "/broker");
    let issuer = served.issuer_with(files);
    away(issuer.check().await);
    write_svid(&served.ca, served.folder.path(), "broker", "/broker");
    issuer.check().await.unwrap();
}

#[tokio::test]
async fn without_its_files_nothing_is_tried() {
    let served = Secured::start().await;
    let nowhere = SvidFiles {
        chain: served.path("nowhere.pem"),
        key: served.path("nowhere.key"),
    };
    let text = away(issue(&served.issuer_with(nowhere), &order().order).await);
    assert!(text.contains("our SVID cannot be loaded"), "{text}");
    std::fs::remove_file(served.path("bundle.pem")).unwrap();
    let text = away(issue(&served.issuer(), &order().order).await);
    assert!(text.contains("the issuer's trust bundle"), "{text}");
}

#[tokio::test]
async fn plain_text_and_silence_are_away() {
    let served = Secured::start().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut stated = settings(ExternalEndpoint::Tls {
        address,
        issuer_id: ISSUER.parse().unwrap(),
        bundle: served.path("bundle.pem"),
    });
    let svid = || SvidFiles {
        chain: served.path("broker.pem"),
        key: served.path("broker.key"),
    };
    let short = Duration::from_secs(2);
    away(issue(&issuer_as(stated.clone(), short, svid()), &order().order).await);
    // Nobody listens any more.
    drop(socket);
    away(issue(&issuer_as(stated.clone(), PATIENT, svid()), &order().order).await);
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 hello\r\n").await;
        }
    });
    if let ExternalEndpoint::Tls { address, .. } = &mut stated.endpoint {
        *address = port.to_string();
    }
    away(issue(&issuer_as(stated, PATIENT, svid()), &order().order).await);
    server.abort();
}
