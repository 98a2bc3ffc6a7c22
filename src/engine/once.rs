//! Idempotency keys: the same key with the same request gets the same answer.

use quietus_core::{Digest, Timestamp};
use ring::digest::{Context, SHA256};

use super::{Engine, Error, Refused};
use crate::store::{Answer, Commit, Read, RequestKey, RequestRow};

/// Longest key, in bytes.
const MAX_KEY: usize = 64;

/// A request that is to be answered once.
#[derive(Clone, Copy, Debug)]
pub struct Once {
    key: Option<RequestKey>,
    body: Digest,
}

impl Once {
    /// A caller's key (empty for none) for one call, and the request's canonical bytes without the key.
    pub fn new(caller: &str, call: &str, key: &str, body: &[u8]) -> Result<Self, Error> {
        if key.len() > MAX_KEY {
            return Err(Error::invalid(
                "idempotency_key",
                format!("is longer than {MAX_KEY} bytes"),
            ));
        }
        let body = digest(&[call.as_bytes(), body]);
        let key = (!key.is_empty()).then(|| {
            let whole = digest(&[caller.as_bytes(), call.as_bytes(), key.as_bytes()]);
            let mut half = [0; 16];
            half.copy_from_slice(&whole.0[..16]);
            RequestKey(half)
        });
        Ok(Self { key, body })
    }

    /// For a call that takes no key.
    pub(super) fn unkeyed() -> Self {
        Self {
            key: None,
            body: Digest([0; 32]),
        }
    }

    /// The digest that the ledger shows.
    pub(super) fn body(&self) -> Digest {
        self.body
    }
}

impl Engine {
    /// What this request came to before, if it was made before.
    pub(super) fn answered(&self, once: &Once, now: Timestamp) -> Result<Option<Answer>, Error> {
        let Some(key) = once.key else { return Ok(None) };
        match self.store.read().request(key, now)? {
            None => Ok(None),
            Some(row) if row.body != once.body => Err(Error::KeyReused),
            Some(RequestRow {
                answer: Answer::Refused(reason, message),
                ..
            }) => Err(Error::Refused(Refused { reason, message })),
            Some(row) => Ok(Some(row.answer)),
        }
    }

    /// Makes a commit the one and only answer to the request.
    pub(super) fn answer_once(&self, commit: &mut Commit, once: &Once, answer: Answer) {
        if let Some(key) = once.key {
            commit.reads.push(Read::Unused(key));
            let body = once.body;
            commit.request = Some((key, RequestRow { body, answer }));
        }
    }
}

fn digest(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Digest(digest)
}
