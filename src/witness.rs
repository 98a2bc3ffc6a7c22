//! Asks witnesses to cosign the log's checkpoints (c2sp.org/tlog-witness).
//!
//! All are shown the same checkpoints, a round at a time, each by a task of its own: one that is slow, away or lying
//! misses rounds and keeps nobody else waiting. Nothing that the broker grants or revokes waits for any of them.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use quietus_ledger::witness::known_size;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::engine::{CosignError, Engine};
use crate::store::SignedHead;
use crate::trust::Now;
use crate::web::client::{AskError, Endpoint, EndpointError, Limits, Reply};

/// How much of an answer is waited for and read: a few signature lines.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(20),
    body: 64 * 1024,
};
/// What the size in an answer 409 is marked as.
const SIZE: &str = "text/x.tlog.size";
/// How often a witness is asked in a row: once with what it was thought to know, and once with what it says.
const TRIES: usize = 2;
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
const MAX_DOUBLINGS: u32 = 9;

/// Everybody who is asked.
#[derive(Debug, Default)]
pub struct Witnesses {
    askers: Vec<Asker>,
}

/// One who is asked.
#[derive(Debug)]
struct Asker {
    /// Its place in the configuration.
    witness: usize,
    name: String,
    endpoint: Endpoint,
    /// The size that it is thought to know.
    known: u64,
}

/// A witness that cannot be asked at all.
#[derive(Debug, thiserror::Error)]
#[error("the witness {name} cannot be asked: {error}")]
pub struct WitnessError {
    name: String,
    #[source]
    error: EndpointError,
}

/// Why there is no cosignature.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Cosign(#[from] CosignError),
    #[error("it does not know this log (404): has it been told of the log's origin and key?")]
    UnknownLog,
    #[error("it does not believe the log's signature (403): has it been told of the log's key?")]
    UnknownKey,
    #[error("it finds the new tree inconsistent with the one it knows (422)")]
    Inconsistent,
    #[error("it knows another tree of the same size (409)")]
    OtherTree,
    #[error("it says that it knows another size (409), but not which in {SIZE}")]
    NoSize,
    #[error("it keeps changing the size that it says it knows (409)")]
    Fickle,
    #[error("it answers {0}")]
    Status(StatusCode),
}

type Round = watch::Receiver<Option<SignedHead>>;

impl Witnesses {
    /// Those of the configuration.
    ///
    /// # Errors
    /// [`WitnessError`] if a file of authorities cannot be used.
    pub fn new(engine: &Engine, now: &Now) -> Result<Self, WitnessError> {
        let configured = engine.config().ledger.witnesses.iter().enumerate();
        let askers = configured.map(|(witness, it)| {
            let name = it.key.name().to_owned();
            match Endpoint::new(it.url.clone(), it.ca.as_deref(), Arc::clone(now)) {
                Ok(endpoint) => Ok(Asker {
                    witness,
                    name,
                    endpoint,
                    known: 0,
                }),
                Err(error) => Err(WitnessError { name, error }),
            }
        });
        let askers = askers.collect::<Result<_, _>>()?;
        Ok(Self { askers })
    }

    /// Asks them for ever.
    pub async fn run(self, engine: Arc<Engine>) {
        if self.askers.is_empty() {
            return;
        }
        let (show, shown) = watch::channel(None);
        let mut asking = JoinSet::new();
        for asker in self.askers {
            asking.spawn(asker.run(Arc::clone(&engine), shown.clone()));
        }
        let every = engine.config().ledger.cosign_every;
        let mut grown = engine.grown();
        loop {
            grown.mark_unchanged();
            match engine.show_witnesses() {
                Ok(Some(head)) => {
                    show.send_replace(Some(head));
                    tokio::time::sleep(every).await;
                }
                Ok(None) if grown.changed().await.is_err() => return,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "the newest checkpoint cannot be read");
                    tokio::time::sleep(every).await;
                }
            }
        }
    }
}

impl Asker {
    async fn run(mut self, engine: Arc<Engine>, mut round: Round) {
        let mut failures = 0;
        while round.changed().await.is_ok() {
            // What is newest by then is asked for again.
            while let Some(failure) = self.take(&engine, &mut round).await {
                failures += 1;
                self.tell(&failure, failures);
                tokio::time::sleep(pause(failures)).await;
            }
            if failures > 0 {
                tracing::info!(witness = self.name, "the witness cosigns again");
            }
            failures = 0;
        }
    }

    /// One round; what went wrong, if anything did.
    async fn take(&mut self, engine: &Engine, round: &mut Round) -> Option<Failure> {
        let head = round.borrow_and_update().clone()?;
        let failure = self.ask(engine, &head).await.err();
        if failure.is_some() {
            // It is asked anew what it knows.
            self.known = 0;
        }
        failure
    }

    async fn ask(&mut self, engine: &Engine, head: &SignedHead) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let submission = engine.submission(head, self.known)?;
            let body = submission.body().map_err(CosignError::from)?;
            let reply = self.endpoint.post("add-checkpoint", body, LIMITS).await?;
            match reply.status {
                StatusCode::OK => {
                    engine.cosigned(self.witness, head, &reply.body).await?;
                    self.known = head.size;
                    return Ok(());
                }
                StatusCode::CONFLICT => self.known = self.conflict(&reply)?,
                status => return Err(refusal(status)),
            }
        }
        Err(Failure::Fickle)
    }

    /// The size that the witness knows.
    fn conflict(&self, reply: &Reply) -> Result<u64, Failure> {
        if reply.media.as_deref() != Some(SIZE) {
            return Err(Failure::NoSize);
        }
        match known_size(&reply.body) {
            Some(size) if size == self.known => Err(Failure::OtherTree),
            Some(size) => Ok(size),
            None => Err(Failure::NoSize),
        }
    }

    /// Every failure is known after its doublings only, or a witness that is gone would fill the log.
    fn tell(&self, failure: &Failure, failures: u32) {
        if failures.is_power_of_two() {
            tracing::warn!(witness = self.name, %failure, failures, "a witness has not cosigned; trying again");
        }
    }
}

fn refusal(status: StatusCode) -> Failure {
    match status {
        StatusCode::NOT_FOUND => Failure::UnknownLog,
        StatusCode::FORBIDDEN => Failure::UnknownKey,
        StatusCode::UNPROCESSABLE_ENTITY => Failure::Inconsistent,
        status => Failure::Status(status),
    }
}

fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
    (SHORTEST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes() {
        assert_eq!(pause(1), Duration::from_secs(1));
        assert_eq!(pause(4), Duration::from_secs(8));
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
