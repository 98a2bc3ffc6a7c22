//! The ledger as static files (c2sp.org/tlog-tiles), and what a complete copy has beside them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use quietus_core::Digest;
use quietus_identity::VerifiedSvid;
use quietus_ledger::tiles::Tile;
use tokio::sync::Semaphore;

use super::guest::Guest;
use super::{Answer, refuse_method, words};
use crate::engine::{Engine, Error};
use crate::trust::Trust;

/// Most files that are read at once.
const AT_ONCE: usize = 8;
/// How long a caller that was refused is not recorded again, in seconds, and how many such callers are remembered.
const MINUTE: u64 = 60;
const REMEMBERED: usize = 10_000;
/// Longest path that names a file.
const LONGEST: usize = 256;
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";
/// A year: what it names never changes.
const FOR_EVER: &str = "max-age=31536000, immutable";
/// Changes at least when a witness has cosigned.
const NEVER: &str = "no-store";

const TILE: &str = "not the path of a tile, such as tile/0/x001/234 or tile/entries/005.p/17\n";
const SIZE: &str = "not the size of a tree in decimal digits\n";
const DIGEST: &str = "not a digest: 64 lower-case hex digits\n";

/// Answers requests for files of the ledger.
#[derive(Clone)]
pub struct Tiles {
    engine: Arc<Engine>,
    trust: Arc<Trust>,
    turns: Arc<Semaphore>,
    /// Who was refused and recorded lately, and when, in seconds.
    told: Arc<Mutex<BTreeMap<String, u64>>>,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Checkpoint,
    CheckpointOf(u64),
    Tile(Tile),
    Attachment(Digest),
    Policy(Digest),
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nothing {
    Missing,
    Malformed(&'static str),
}

impl Tiles {
    /// Of this engine's ledger; callers are known by these bundles.
    pub fn new(engine: Arc<Engine>, trust: Arc<Trust>) -> Self {
        Self {
            engine,
            trust,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            told: Arc::default(),
        }
    }

    /// Answers one request.
    pub async fn answer(self, request: Request<Incoming>) -> Answer {
        if let Some(refused) = self.turn_away(&request).await {
            return refused;
        }
        if let Some(refused) = refuse_method(request.method()) {
            return refused;
        }
        let path = request.uri().path();
        let named = match request.uri().query() {
            None => named(path),
            Some(_) => Err(Nothing::Malformed("there are no queries here\n")),
        };
        match named {
            Ok(named) => self.read(named).await,
            Err(Nothing::Missing) => missing(),
            Err(Nothing::Malformed(why)) => bad(why),
        }
    }

    /// What is said to those who may not read; none to those who may.
    async fn turn_away(&self, request: &Request<Incoming>) -> Option<Answer> {
        let guest = request.extensions().get::<Guest>();
        let peer = match guest {
            Some(Guest::Anybody) => return None,
            Some(Guest::Known(peer, _)) => peer,
            None => return Some(forbidden("nobody knows who asks")),
        };
        let now = self.engine.now().seconds();
        let Ok(svid) = peer.verified(&self.trust, now) else {
            return Some(forbidden("your SVID is no longer accepted"));
        };
        if self.engine.config().is_auditor(svid.id().as_str()) {
            return None;
        }
        if guest.is_some_and(Guest::first_refusal) && self.is_news(svid.id().as_str(), now) {
            self.record(&svid, request.uri().path()).await;
        }
        Some(forbidden(
            "you are not an auditor: the broker's configuration has no [[auditor]] entry for your SPIFFE ID",
        ))
    }

    /// Whether the refusal of this caller was not recorded within the last minute: a new connection costs nothing, and
    /// an entry is for ever.
    fn is_news(&self, caller: &str, now: u64) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.retain(|_, at| *at + MINUTE > now);
        }
        let known = told.get(caller).is_some_and(|at| *at + MINUTE > now);
        let has_room = told.len() < REMEMBERED;
        if !known && has_room {
            told.insert(caller.to_owned(), now);
        }
        !known && has_room
    }

    async fn record(&self, svid: &VerifiedSvid, path: &str) {
        let call = path.get(..LONGEST.min(path.len())).unwrap_or_default();
        let recorded = self.engine.record_refused(svid, call, "NOT_AN_AUDITOR");
        if let Err(error) = recorded.await {
            tracing::error!(%error, "a refusal could not be recorded");
        }
    }

    async fn read(self, named: Named) -> Answer {
        let Ok(turn) = self.turns.acquire_owned().await else {
            return words(StatusCode::SERVICE_UNAVAILABLE, "the broker is stopping\n");
        };
        let engine = Arc::clone(&self.engine);
        // The turn is over when the reading is, though whoever asked may be gone by then.
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            file(&engine, named)
        });
        match read.await {
            Ok(Ok(file)) => file,
            Ok(Err(error)) => failed(&error),
            Err(_) => words(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"),
        }
    }
}

fn file(engine: &Engine, named: Named) -> Result<Answer, Error> {
    Ok(match named {
        Named::Checkpoint => found(engine.checkpoint(None)?.note, TEXT, NEVER),
        Named::CheckpointOf(size) => found(engine.checkpoint_of(size)?.note, TEXT, NEVER),
        Named::Tile(tile) => found(engine.tile(tile)?, BYTES, FOR_EVER),
        Named::Attachment(digest) => found(engine.attachment(digest)?, JSON, FOR_EVER),
        Named::Policy(digest) => found(engine.archived_policy(digest)?, JSON, FOR_EVER),
    })
}

fn found(content: Vec<u8>, media: &'static str, caching: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(content)));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    answer
}

fn failed(error: &Error) -> Answer {
    match error {
        Error::NotFound(_) => missing(),
        Error::Refused(refused) if refused.reason == "PRUNED" => uncached(words(
            StatusCode::GONE,
            "these entries were pruned: only their hashes are left\n",
        )),
        error => {
            tracing::error!(%error, "a file of the ledger could not be read");
            uncached(words(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n"))
        }
    }
}

fn missing() -> Answer {
    uncached(words(StatusCode::NOT_FOUND, "there is no such file\n"))
}

fn bad(why: &'static str) -> Answer {
    uncached(words(StatusCode::BAD_REQUEST, why))
}

/// The connection is not worth keeping.
fn forbidden(why: &'static str) -> Answer {
    let mut answer = uncached(words(StatusCode::FORBIDDEN, why));
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

fn uncached(mut answer: Answer) -> Answer {
    let never = HeaderValue::from_static(NEVER);
    answer.headers_mut().insert(CACHE_CONTROL, never);
    answer
}

/// One file, one spelling.
fn named(path: &str) -> Result<Named, Nothing> {
    let path = path.strip_prefix('/').filter(|path| path.len() <= LONGEST);
    let path = path.ok_or(Nothing::Malformed("not a path of a file\n"))?;
    if path == "checkpoint" {
        return Ok(Named::Checkpoint);
    }
    let (folder, name) = path.split_once('/').ok_or(Nothing::Missing)?;
    let (named, looks_like) = match folder {
        "tile" => (path.parse().ok().map(Named::Tile), TILE),
        "checkpoints" => (size(name).map(Named::CheckpointOf), SIZE),
        "attachments" => (name.parse().ok().map(Named::Attachment), DIGEST),
        "policies" => (name.parse().ok().map(Named::Policy), DIGEST),
        _ => return Err(Nothing::Missing),
    };
    named.ok_or(Nothing::Malformed(looks_like))
}

fn size(text: &str) -> Option<u64> {
    let size: u64 = text.parse().ok()?;
    (size.to_string() == text).then_some(size)
}
