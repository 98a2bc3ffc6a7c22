//! An external issuer, as its author would write it: API keys, known to one JSON file, served on a unix socket.
//!
//! ```console
//! $ cargo run --example external_issuer -- /run/user/1000/api-keys
//! $ quietus issuer test --socket /run/user/1000/api-keys/issuer.sock
//! ```
//!
//! Here the "target" is the file itself: an API that takes these keys would look up their hash in it. What is to be
//! seen is the contract: one credential a lease id, the file written before the answer, a fence behind every
//! revocation, and a secret that is in no file, no public field and no error.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quietus::api::issuer as pb;
use quietus::api::issuer::issuer_server::{Issuer, IssuerServer};
use quietus::api::wire::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// How long a revoked lease id is remembered if nobody says when it would have expired.
const REMEMBERED: u64 = 2 * 24 * 60 * 60;
/// What our API lets a key do.
const ACTIONS: [&str; 2] = ["read", "write"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("usage: external_issuer FOLDER")?;
    let folder = PathBuf::from(folder);
    // Nobody else may write where the socket is: the broker looks.
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)?;
    let socket = folder.join("issuer.sock");
    let keys = ApiKeys::open(folder.join("keys.json"))?;
    // What a process that was killed left behind.
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    println!("issuing at {}", socket.display());
    let service = IssuerServer::new(keys).max_decoding_message_size(64 * 1024);
    Server::builder()
        .add_service(service)
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await?;
    Ok(())
}

/// The issuer: the file, and what is in it.
#[derive(Clone)]
pub struct ApiKeys {
    path: PathBuf,
    book: Arc<Mutex<Book>>,
}

/// What is in the file. A key's hash is enough to know it again.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Book {
    keys: BTreeMap<String, Key>,
    /// Lease ids that were revoked, and until when to remember them: unix seconds.
    fences: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Key {
    sha256: Vec<u8>,
    broker: String,
    target: String,
    may: BTreeSet<(String, String)>,
    expires_at: u64,
}

impl ApiKeys {
    /// Opens the file, or begins a new one.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let book = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Book::default(),
            Err(error) => return Err(error),
        };
        let book = Arc::new(Mutex::new(book));
        Ok(Self { path, book })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the book, on the disk first. If that fails nothing has changed.
    fn change(&self, change: impl FnOnce(&mut Book) -> Result<(), Status>) -> Result<(), Status> {
        let mut book = self.book();
        let mut draft = book.clone();
        change(&mut draft)?;
        let now = now();
        draft.fences.retain(|_, until| *until > now);
        // A key that has expired is of no use, but it is listed until it is revoked.
        write(&self.path, &draft).map_err(|_| Status::unavailable("the file cannot be written"))?;
        *book = draft;
        Ok(())
    }
}

#[tonic::async_trait]
impl Issuer for ApiKeys {
    async fn describe(
        &self,
        _request: Request<pb::DescribeRequest>,
    ) -> Result<Response<pb::DescribeResponse>, Status> {
        Ok(Response::new(pb::DescribeResponse {
            protocol_version: 1,
            kind: "api-key".to_owned(),
            version: "1.0.0".to_owned(),
            can_revoke: true,
            confirms_by: "deleted_at_target".to_owned(),
            expires_at_target: true,
            renewable: true,
        }))
    }

    async fn issue(
        &self,
        request: Request<pb::IssueRequest>,
    ) -> Result<Response<pb::IssueResponse>, Status> {
        let request = request.into_inner();
        if request.key.is_some() {
            return Err(Status::invalid_argument(
                "a key of the agent's is of no use here",
            ));
        }
        let order = request.order.unwrap_or_default();
        let (mut key, fuse) = ordered(&order)?;
        let secret = new_secret()?;
        key.sha256 = sha256(secret.as_bytes());
        let fingerprint = sha256(key.sha256.as_slice());
        self.change(|book| book.add(&order.lease_id, key))?;
        Ok(Response::new(pb::IssueResponse {
            credential: Some(pb::Credential {
                public_fields: [("API_KEY_ID".to_owned(), order.lease_id.clone())].into(),
                secret_fields: [("API_KEY".to_owned(), secret)].into(),
                fingerprint,
                expires_at: Some(fuse),
            }),
            lease_id: order.lease_id,
        }))
    }

    async fn renew(
        &self,
        request: Request<pb::RenewRequest>,
    ) -> Result<Response<pb::RenewResponse>, Status> {
        let order = request.into_inner().order.unwrap_or_default();
        let (renewed, fuse) = ordered(&order)?;
        let mut fingerprint = Vec::new();
        self.change(|book| {
            let key = book.own(&order.lease_id, order.origin.as_ref());
            let key = key.ok_or_else(|| Status::failed_precondition("there is no such key"))?;
            if key.may != renewed.may {
                return Err(Status::failed_precondition("it was made for other scopes"));
            }
            key.expires_at = renewed.expires_at;
            fingerprint = sha256(&key.sha256);
            Ok(())
        })?;
        // The bearer goes on with the key that it has.
        Ok(Response::new(pb::RenewResponse {
            credential: Some(pb::Credential {
                fingerprint,
                expires_at: Some(fuse),
                ..Default::default()
            }),
            lease_id: order.lease_id,
        }))
    }

    async fn revoke(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeResponse>, Status> {
        let request = request.into_inner();
        check_lease_id(&request.lease_id)?;
        let until = request.expires_at.as_ref().and_then(seconds);
        let until = until.unwrap_or(0).max(now() + REMEMBERED);
        self.change(|book| {
            if book.keys.contains_key(&request.lease_id)
                && book
                    .own(&request.lease_id, request.origin.as_ref())
                    .is_none()
            {
                return Err(Status::permission_denied("it was issued for another"));
            }
            book.keys.remove(&request.lease_id);
            book.fences.insert(request.lease_id.clone(), until);
            Ok(())
        })?;
        Ok(Response::new(pb::RevokeResponse {
            lease_id: request.lease_id,
            confirmation: "deleted_at_target".to_owned(),
        }))
    }

    async fn list(
        &self,
        request: Request<pb::ListRequest>,
    ) -> Result<Response<pb::ListResponse>, Status> {
        let request = request.into_inner();
        let origin = request.origin.unwrap_or_default();
        let size = request.page_size.clamp(1, 1000) as usize;
        let book = self.book();
        let after = request.page_token;
        let mut ids: Vec<&String> = book
            .keys
            .iter()
            .filter(|(id, key)| key.is_of(&origin) && **id > after)
            .map(|(id, _)| id)
            .take(size + 1)
            .collect();
        let more = ids.len() > size;
        ids.truncate(size);
        let last = ids.last().filter(|_| more);
        Ok(Response::new(pb::ListResponse {
            next_page_token: last.map(ToString::to_string).unwrap_or_default(),
            credentials: ids.into_iter().map(|id| found(id)).collect(),
        }))
    }

    async fn check(
        &self,
        _request: Request<pb::CheckRequest>,
    ) -> Result<Response<pb::CheckResponse>, Status> {
        let count = self.book().keys.len();
        Ok(Response::new(pb::CheckResponse {
            message: format!("{count} keys in the file"),
        }))
    }
}

impl Book {
    fn add(&mut self, lease: &str, key: Key) -> Result<(), Status> {
        if self.fences.contains_key(lease) {
            return Err(Status::failed_precondition("this lease was revoked"));
        }
        if self.keys.contains_key(lease) {
            return Err(Status::already_exists("its key was made, and is told once"));
        }
        self.keys.insert(lease.to_owned(), key);
        Ok(())
    }

    /// The key of a lease, if it was issued for this origin.
    fn own(&mut self, lease: &str, origin: Option<&pb::Origin>) -> Option<&mut Key> {
        let origin = origin?;
        self.keys.get_mut(lease).filter(|key| key.is_of(origin))
    }
}

impl Key {
    fn is_of(&self, origin: &pb::Origin) -> bool {
        self.broker == origin.broker_id && self.target == origin.target
    }
}

/// What the order asks for, if it can be had, and when it expires.
fn ordered(order: &pb::Order) -> Result<(Key, Timestamp), Status> {
    check_lease_id(&order.lease_id)?;
    let origin = order.origin.clone().unwrap_or_default();
    let expires_at = order.expires_at.as_ref().and_then(seconds).unwrap_or(0);
    if expires_at <= now() {
        return Err(Status::failed_precondition("the order has expired"));
    }
    let scopes = order.scopes.iter();
    let may = scopes
        .map(known_scope)
        .collect::<Result<BTreeSet<_>, _>>()?;
    if may.is_empty() {
        return Err(Status::invalid_argument("a key needs a scope"));
    }
    let key = Key {
        sha256: Vec::new(),
        broker: origin.broker_id,
        target: origin.target,
        may,
        expires_at,
    };
    let fuse = Timestamp {
        seconds: i64::try_from(expires_at).unwrap_or(i64::MAX),
        nanos: 0,
    };
    Ok((key, fuse))
}

fn known_scope(scope: &pb::Scope) -> Result<(String, String), Status> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    let known = ACTIONS.contains(&scope.action.as_str())
        && (1..=256).contains(&scope.resource.len())
        && scope.resource.bytes().all(plain);
    match known {
        true => Ok((scope.action.clone(), scope.resource.clone())),
        false => Err(Status::invalid_argument("a scope that is not known here")),
    }
}

fn check_lease_id(id: &str) -> Result<(), Status> {
    let plain = |b: u8| b.is_ascii_hexdigit() || b"-.".contains(&b);
    match (1..=64).contains(&id.len()) && id.bytes().all(plain) {
        true => Ok(()),
        false => Err(Status::invalid_argument("not a lease id")),
    }
}

fn found(id: &str) -> pb::Found {
    pb::Found {
        lease_id: id.to_owned(),
        name: format!("key of {id}"),
    }
}

fn new_secret() -> Result<String, Status> {
    let mut bytes = [0; 32];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Status::unavailable("no randomness"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// A whole new file in place of the old one, on the disk before anybody is told.
fn write(path: &Path, book: &Book) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec(book)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn seconds(at: &Timestamp) -> Option<u64> {
    u64::try_from(at.seconds).ok()
}

fn now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap_or(Duration::ZERO).as_secs()
}
