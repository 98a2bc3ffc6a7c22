//! A witness (c2sp.org/tlog-witness) that keeps to its specification, and can be told not to.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use quietus::clock::{ManualTime, TimeSource};
use quietus::config::LedgerWitness;
use quietus_ledger::checkpoint::CheckpointError;
use quietus_ledger::merkle::Hash;
use quietus_ledger::note::{Cosigner, Verifier, Witness as Key};
use quietus_ledger::witness::{Submission, SubmissionError};
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the witness does with a submission that it has found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// A signature with one bit turned.
    Forged,
    /// A good signature by a key that nobody knows.
    OtherKey,
    /// Another key's signature under this one's name and id.
    Borrowed,
    /// A good cosignature of a text that goes on where the checkpoint ends.
    OtherText,
    /// A time this many seconds from now.
    Off(i64),
    /// An honest line, and as many of others.
    Crowded(usize),
    /// This many bytes.
    Huge(usize),
    /// Nothing, for as long as the other side waits.
    Silent,
    /// The connection is closed.
    Closes,
    /// Half an answer, then the connection is closed.
    BreaksOff,
    /// These bytes in place of HTTP.
    Rubbish,
    /// This status, media type and body.
    Says(u16, &'static str, String),
}

pub struct Witness {
    pub address: SocketAddr,
    pub key: Cosigner,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    pair: Ed25519KeyPair,
    log: Verifier,
    origin: String,
    time: Arc<ManualTime>,
    manner: Mutex<Manner>,
    known: Mutex<Option<(u64, Hash)>>,
    /// Every submission that was cosigned, with its old size.
    cosigned: Mutex<Vec<(u64, u64)>>,
    asked: AtomicUsize,
    /// Statuses other than 200 that the specification made it answer.
    refused: Mutex<Vec<u16>>,
    tls: Option<Arc<ServerConfig>>,
}

pub fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

impl Witness {
    pub fn start(name: &str, seed: u8, log: &Verifier, time: &Arc<ManualTime>) -> Self {
        Self::start_with(name, seed, log, time, None)
    }

    /// With this certificate and key.
    pub fn start_with(
        name: &str,
        seed: u8,
        log: &Verifier,
        time: &Arc<ManualTime>,
        certificate: Option<(&Path, &Path)>,
    ) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let key = Key::new(name, &pair(seed)).unwrap().cosigner().clone();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            pair: pair(seed),
            log: log.clone(),
            origin: log.name().to_owned(),
            time: Arc::clone(time),
            manner: Mutex::new(Manner::Honest),
            known: Mutex::default(),
            cosigned: Mutex::default(),
            asked: AtomicUsize::new(0),
            refused: Mutex::default(),
            tls: certificate.map(|(chain, key)| tls(chain, key)),
        });
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (shared, stop) = (Arc::clone(&shared), Arc::clone(&stop));
            move || accept(&socket, &shared, &stop)
        });
        Self {
            address,
            key,
            shared,
            stop,
            thread: Some(thread),
        }
    }

    pub fn configured(&self) -> LedgerWitness {
        LedgerWitness {
            url: format!("http://{}/submit/", self.address).parse().unwrap(),
            key: self.key.clone(),
            ca: None,
        }
    }

    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Old and new sizes of all that it has found good.
    pub fn cosigned(&self) -> Vec<(u64, u64)> {
        self.shared.cosigned.lock().unwrap().clone()
    }

    pub fn refused(&self) -> Vec<u16> {
        self.shared.refused.lock().unwrap().clone()
    }

    /// Makes it know another tree.
    pub fn know(&self, known: Option<(u64, Hash)>) {
        *self.shared.known.lock().unwrap() = known;
    }

    pub fn known(&self) -> Option<(u64, Hash)> {
        *self.shared.known.lock().unwrap()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tls(chain: &Path, key: &Path) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(chain).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            chain.map(Result::unwrap).collect(),
            PrivateKeyDer::from_pem_file(key).unwrap(),
        );
    Arc::new(config.unwrap())
}

/// Each connection has a thread of its own, so that one that hangs keeps no other waiting.
fn accept(socket: &TcpListener, shared: &Arc<Shared>, stop: &Arc<AtomicBool>) {
    while let Ok((stream, _)) = socket.accept() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
            let _ = match shared.tls.clone() {
                None => shared.serve(stream),
                Some(config) => {
                    let connection = ServerConnection::new(config).unwrap();
                    shared.serve(StreamOwned::new(connection, stream))
                }
            };
        });
    }
}

impl Shared {
    fn serve(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let (request, body) = read(&mut stream)?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (status, media, answer) = match request == "POST /submit/add-checkpoint HTTP/1.1" {
            true => self.add_checkpoint(&body),
            false => (404, "text/plain", String::new()),
        };
        if status != 200 {
            self.refused.lock().unwrap().push(status);
        }
        let manner = self.manner.lock().unwrap().clone();
        let stream = stream.get_mut();
        match manner {
            Manner::Silent => {
                // Until the other side gives up.
                let mut byte = [0];
                let _ = stream.read(&mut byte);
                return Ok(());
            }
            Manner::Closes => return Ok(()),
            Manner::Rubbish => return stream.write_all(b"220 mail.example ESMTP\r\n"),
            Manner::BreaksOff => {
                return stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n\xe2\x80\x94 w");
            }
            Manner::Says(status, media, body) => return reply(stream, status, media, &body),
            _ => {}
        }
        reply(stream, status, media, &answer)
    }

    /// The checks in the order of the specification, and the state that goes with them.
    fn add_checkpoint(&self, body: &[u8]) -> (u16, &'static str, String) {
        const PLAIN: &str = "text/plain";
        let Ok(submission) = Submission::parse(body) else {
            return (400, PLAIN, String::new());
        };
        let mut known = self.known.lock().unwrap();
        let found = submission.verify(&self.origin, std::slice::from_ref(&self.log), *known);
        let checkpoint = match found {
            Ok(checkpoint) => checkpoint,
            Err(SubmissionError::Checkpoint(CheckpointError::Origin { .. })) => {
                return (404, PLAIN, String::new());
            }
            Err(SubmissionError::Checkpoint(_)) => return (403, PLAIN, String::new()),
            Err(SubmissionError::Conflict { known, .. }) => {
                return (409, "text/x.tlog.size", format!("{known}\n"));
            }
            Err(SubmissionError::Inconsistent(_)) => return (422, PLAIN, String::new()),
            Err(_) => return (400, PLAIN, String::new()),
        };
        let text = checkpoint.text().unwrap();
        let manner = self.manner.lock().unwrap().clone();
        if manner == Manner::Honest {
            *known = Some((checkpoint.size, checkpoint.root));
            let mut cosigned = self.cosigned.lock().unwrap();
            cosigned.push((submission.old, checkpoint.size));
        }
        (200, PLAIN, self.lines(&text, &manner))
    }

    fn lines(&self, text: &str, manner: &Manner) -> String {
        let now = self.time.wall().seconds();
        let own = Key::new(&self.name, &self.pair).unwrap();
        let line = own.cosign(text, now);
        let other = pair(99);
        match manner {
            Manner::Forged => forge(&line),
            Manner::OtherKey => Key::new(&self.name, &other).unwrap().cosign(text, now),
            Manner::Borrowed => {
                let other = Key::new(&self.name, &other).unwrap().cosign(text, now);
                with_id_of(&line, &other)
            }
            Manner::OtherText => {
                let longer = format!("{text}\nmore\n");
                format!("more\n\n{}", own.cosign(&longer, now))
            }
            Manner::Off(seconds) => own.cosign(text, now.saturating_add_signed(*seconds)),
            Manner::Crowded(others) => {
                let others = (0..*others).map(|n| {
                    let name = format!("other.example/{n}");
                    Key::new(&name, &other).unwrap().cosign(text, now)
                });
                format!("{}{line}", others.collect::<String>())
            }
            Manner::Huge(bytes) => "x".repeat(*bytes),
            _ => line,
        }
    }
}

fn decode(line: &str) -> (String, Vec<u8>) {
    use base64::Engine;
    let (head, encoded) = line.trim_end().rsplit_once(' ').unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
    (head.to_owned(), bytes.unwrap())
}

fn encode(head: &str, bytes: &[u8]) -> String {
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("{head} {encoded}\n")
}

fn forge(line: &str) -> String {
    let (head, mut bytes) = decode(line);
    *bytes.last_mut().unwrap() ^= 1;
    encode(&head, &bytes)
}

fn with_id_of(line: &str, other: &str) -> String {
    let (head, own) = decode(line);
    let (_, mut bytes) = decode(other);
    bytes[..4].copy_from_slice(&own[..4]);
    encode(&head, &bytes)
}

fn read(stream: &mut impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.parse::<usize>().ok()).flatten()
    });
    let mut body = vec![0; length.unwrap_or(0).min(1 << 20)];
    stream.read_exact(&mut body)?;
    Ok((lines.swap_remove(0), body))
}

fn reply(stream: &mut impl Write, status: u16, media: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} As Said\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    stream.flush()
}
