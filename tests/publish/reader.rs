//! A reader of static files that shares nothing with the broker but rustls: a socket, TLS, and HTTP by hand.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use quietus::tls::{Credentials, SvidFiles, client_config};
use quietus_ledger::audit::Files;
use quietus_ledger::tiles::{self, Tile};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::common::{Serving, World};

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Reads over TLS as somebody, or as nobody.
#[derive(Clone)]
pub struct Reader {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reader {
    /// With the SVID of this name, as clients of the API have it.
    pub fn known(world: &World, serving: &Serving, name: &str) -> Self {
        let file = |end: &str| world.path(&format!("{name}.{end}"));
        let files = SvidFiles {
            chain: file("pem"),
            key: file("key"),
        };
        let bundle = std::fs::read(world.path("bundle.pem")).unwrap();
        let domain = world.domain.ca.trust_domain().clone();
        let bundle = quietus_identity::TrustBundle::from_pem(domain, &bundle).unwrap();
        let time = Arc::clone(&world.time);
        let now = Arc::new(move || quietus::clock::TimeSource::wall(&*time).seconds());
        let broker = world.domain.ca.id("/broker").unwrap();
        let credentials = Credentials::load(&files).unwrap();
        let mut config = client_config(&credentials, broker, bundle, now).unwrap();
        config.alpn_protocols.clear();
        Self {
            address: serving.files.unwrap(),
            config: Arc::new(config),
        }
    }

    /// Without a certificate; the server is known by its name, as any web server is.
    pub fn anonymous(world: &World, address: SocketAddr) -> Self {
        let bundle = std::fs::read(world.path("bundle.pem")).unwrap();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&bundle) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address,
            config: Arc::new(config),
        }
    }

    pub fn offering(mut self, protocols: &[&[u8]]) -> Self {
        let config = Arc::make_mut(&mut self.config);
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        self
    }

    pub fn connect(&self) -> Stream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        StreamOwned::new(connection, socket)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: log\r\nConnection: close\r\n\r\n"
        ))
        .unwrap()
    }

    /// Sends this, and reads one answer and whatever follows to the end.
    pub fn ask(&self, request: &str) -> io::Result<Reply> {
        tokio::task::block_in_place(|| {
            let mut stream = self.connect();
            stream.write_all(request.as_bytes())?;
            stream.flush()?;
            let mut bytes = Vec::new();
            match stream.read_to_end(&mut bytes) {
                Err(error) if bytes.is_empty() => return Err(error),
                _ => {}
            }
            parse(&bytes).ok_or_else(|| io::Error::other("not HTTP"))
        })
    }

    pub fn file(&self, path: &str) -> Vec<u8> {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}");
        reply.body
    }

    pub fn status(&self, path: &str) -> u16 {
        self.get(path).status
    }
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|at| at == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    Some(Reply {
        status: status.parse().ok()?,
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: bytes[end + 4..].to_vec(),
    })
}

/// The log at the other end as a copy, of which the paths follow from the size of the tree.
impl Files for Reader {
    type Error = String;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let reply = self.get(&format!("/{path}"));
        match reply.status {
            200 => Ok(Some(reply.body)),
            404 | 410 => Ok(None),
            status => Err(format!("{path}: {status}")),
        }
    }

    fn paths(&self) -> Result<Vec<String>, String> {
        let note = String::from_utf8(self.file("/checkpoint")).unwrap();
        let size: u64 = note.lines().nth(1).unwrap().parse().unwrap();
        let kept = (256..size)
            .step_by(256)
            .map(|at| format!("checkpoints/{at}"));
        let tiles = tiles::grown(0, size).map(|tile: Tile| tile.to_string());
        let named = kept.chain(tiles).chain(["checkpoint".to_owned()]);
        Ok(named
            .filter(|path| self.status(&format!("/{path}")) == 200)
            .collect())
    }
}
