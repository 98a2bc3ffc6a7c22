//! What is shown to witnesses, what they say, and which checkpoint is served then.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quietus_core::Timestamp;
use quietus_ledger::note::{Cosigner, Note, NoteError, add_cosignatures};
use quietus_ledger::witness::{Submission, SubmissionError};

use super::ledger::time_of;
use super::{Engine, Error};
use crate::config::Ledger;
use crate::store::{Commit, Cosigned, SignedHead};

/// How far a witness's clock may be from the broker's.
const CLOCKS: Duration = Duration::from_secs(600);
/// After how many rounds without an answer a witness is behind, and a cosigned checkpoint too old to be served.
const ROUNDS: u32 = 5;
/// Most checkpoints that are remembered.
const REMEMBERED: usize = 64;

/// What the witnesses have done since the broker started.
#[derive(Debug, Default)]
pub(super) struct Witnesses(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// The newest last.
    heads: VecDeque<Head>,
    /// For each witness, in the order of the configuration, since when it owes an answer.
    owing: Vec<Option<Timestamp>>,
    /// The largest that was served: whoever has seen it must not be shown a smaller one.
    served: u64,
}

/// A checkpoint that was shown to witnesses.
#[derive(Debug)]
struct Head {
    size: u64,
    /// As it was before anybody cosigned it.
    note: Vec<u8>,
    at: Timestamp,
    cosigned: usize,
}

/// Why a witness's answer does not count.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// A false signature, or none at all.
    #[error("the cosignature is not good: {0}")]
    Note(#[from] NoteError),
    /// Signatures of others only.
    #[error("there is no cosignature by this witness's key in the answer")]
    Missing,
    /// A time that cannot be.
    #[error(
        "the cosignature is of the time {time} (in seconds), which is not when it was asked for: is a clock wrong?"
    )]
    Time {
        /// As the witness says.
        time: u64,
    },
    /// What is sent to the witness cannot be made.
    #[error("the submission cannot be made: {0}")]
    Submission(#[from] SubmissionError),
    /// The witness knows more than there is.
    #[error(
        "the witness knows the log with {known} entries, but it has only {size}: was an older copy of the store put back?"
    )]
    Ahead {
        /// What the witness knows.
        known: u64,
        /// What there is.
        size: u64,
    },
    /// The store.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl Witnesses {
    pub(super) fn new(config: &Ledger) -> Self {
        Self(Mutex::new(Seen {
            heads: VecDeque::new(),
            owing: vec![None; config.witnesses.len()],
            served: 0,
        }))
    }

    /// The size of the newest cosigned checkpoint.
    pub(super) fn newest(&self) -> Option<u64> {
        let seen = self.lock();
        let mut heads = seen.heads.iter().rev();
        heads.find(|head| head.cosigned > 0).map(|head| head.size)
    }

    /// The checkpoint to serve, never a smaller one than before: of those shown since then the one that most witnesses
    /// have cosigned, the newest if there are several. If there is none, the one that was served last is given time to
    /// be cosigned; then the newest that was shown takes its place.
    fn serve(&self, since: Timestamp) -> Option<SignedHead> {
        let mut seen = self.lock();
        let served = seen.served;
        let fresh = seen.heads.iter();
        let fresh = fresh.filter(|head| head.at >= since && head.size >= served);
        let cosigned = fresh.clone().filter(|head| head.cosigned > 0);
        let best = cosigned.max_by_key(|head| (head.cosigned, head.size));
        let same = || fresh.clone().find(|head| head.size == served);
        let newest = || seen.heads.back().filter(|head| head.size >= served);
        let head = best.or_else(same).or_else(newest)?;
        let (size, note) = (head.size, head.note.clone());
        seen.served = size;
        Some(SignedHead { size, note })
    }

    /// This was served without having been shown to any witness.
    fn served(&self, size: u64) {
        let mut seen = self.lock();
        seen.served = seen.served.max(size);
    }

    fn show(&self, head: &SignedHead, now: Timestamp) {
        let mut seen = self.lock();
        for owing in &mut seen.owing {
            owing.get_or_insert(now);
        }
        if seen.heads.len() == REMEMBERED {
            seen.heads.pop_front();
        }
        seen.heads.push_back(Head {
            size: head.size,
            note: head.note.clone(),
            at: now,
            cosigned: 0,
        });
    }

    fn answered(&self, witness: usize, size: u64) {
        let mut seen = self.lock();
        if let Some(owing) = seen.owing.get_mut(witness) {
            *owing = None;
        }
        if let Some(head) = seen.heads.iter_mut().find(|head| head.size == size) {
            head.cosigned += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// The newest checkpoint, if it was not shown to witnesses yet: from here on they owe an answer to it.
    pub fn show_witnesses(&self) -> Result<Option<SignedHead>, Error> {
        let newest = self.store.read().checkpoint()?;
        let shown = self.witnesses.lock().heads.back().map(|head| head.size);
        let fresh = newest.filter(|head| shown != Some(head.size));
        if let Some(head) = &fresh {
            self.witnesses.show(head, self.now());
        }
        Ok(fresh)
    }

    /// What to send to a witness that knows the log with `old` entries.
    pub fn submission(&self, head: &SignedHead, old: u64) -> Result<Submission, CosignError> {
        let size = head.size;
        if old > size {
            return Err(CosignError::Ahead { known: old, size });
        }
        let snapshot = self.store.read();
        let proof = snapshot.prove_consistency(old, size).map_err(Error::from)?;
        Ok(Submission {
            old,
            proof,
            note: String::from_utf8_lossy(&head.note).into_owned(),
        })
    }

    /// Keeps what this witness, by its place in the configuration, says of a checkpoint, if it is true.
    pub async fn cosigned(
        &self,
        witness: usize,
        head: &SignedHead,
        lines: &[u8],
    ) -> Result<(), CosignError> {
        let Some(configured) = self.config.ledger.witnesses.get(witness) else {
            return Err(CosignError::Missing);
        };
        self.check_cosignature(&configured.key, head, lines)?;
        let commit = Commit {
            now: self.now(),
            cosigned: Some(Cosigned {
                size: head.size,
                note: head.note.clone(),
                lines: lines.to_vec(),
                witness: configured.key.clone(),
            }),
            ..Commit::default()
        };
        self.store.commit(commit).await.map_err(Error::from)?;
        self.witnesses.answered(witness, head.size);
        Ok(())
    }

    fn check_cosignature(
        &self,
        key: &Cosigner,
        head: &SignedHead,
        lines: &[u8],
    ) -> Result<(), CosignError> {
        // What would be served is looked at, not what came: lines that belong to another text are false on this one.
        let note = add_cosignatures(&head.note, lines, std::slice::from_ref(key))?;
        let time = key.verify(&Note::parse(note.as_bytes())?)?;
        let time = time.ok_or(CosignError::Missing)?;
        // Nobody can have seen the tree before its last entry was written.
        let entry = Timestamp(time_of(&self.store.read(), head.size)?);
        let earliest = entry.seconds().saturating_sub(CLOCKS.as_secs());
        let latest = self.now().after(CLOCKS).seconds();
        match (earliest..=latest).contains(&time) {
            true => Ok(()),
            false => Err(CosignError::Time { time }),
        }
    }

    /// The checkpoint to serve: with witnesses a cosigned one, as long as there is one that is not too old.
    pub(super) fn served_checkpoint(&self) -> Result<Option<SignedHead>, Error> {
        if self.config.ledger.witnesses.is_empty() {
            return Ok(self.store.read().checkpoint()?);
        }
        let patience = self.config.ledger.cosign_every * ROUNDS;
        let since = self.now().0.saturating_sub(millis(patience));
        if let Some(head) = self.witnesses.serve(Timestamp(since)) {
            let kept = self.store.read().checkpoint_at_most(head.size)?;
            let cosigned = kept.filter(|kept| kept.size == head.size);
            return Ok(cosigned.or(Some(head)));
        }
        let newest = self.store.read().checkpoint()?;
        if let Some(head) = &newest {
            self.witnesses.served(head.size);
        }
        Ok(newest)
    }

    /// The names of the witnesses that have not cosigned for long, though there was something to cosign.
    pub fn witnesses_behind(&self) -> Vec<String> {
        let patience = self.config.ledger.cosign_every * ROUNDS;
        let now = self.now();
        let seen = self.witnesses.lock();
        let late = |owing: &Option<Timestamp>| owing.is_some_and(|it| now.since(it) > patience);
        let configured = self.config.ledger.witnesses.iter().zip(&seen.owing);
        let behind = configured.filter(|(_, owing)| late(owing));
        behind
            .map(|(witness, _)| witness.key.name().to_owned())
            .collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LONG_AGO: Timestamp = Timestamp(0);

    fn witnesses() -> Witnesses {
        let seen = Seen {
            owing: vec![None; 2],
            ..Seen::default()
        };
        Witnesses(Mutex::new(seen))
    }

    fn show(witnesses: &Witnesses, sizes: &[u64]) {
        for size in sizes {
            let note = size.to_string().into_bytes();
            witnesses.show(&SignedHead { size: *size, note }, Timestamp(*size));
        }
    }

    fn served(witnesses: &Witnesses, since: Timestamp) -> Option<u64> {
        let head = witnesses.serve(since)?;
        assert_eq!(head.note, head.size.to_string().into_bytes());
        Some(head.size)
    }

    #[test]
    fn what_most_have_cosigned_is_served_then_the_newest_of_those() {
        let all = witnesses();
        assert_eq!(served(&all, LONG_AGO), None);
        show(&all, &[10]);
        assert_eq!(served(&all, LONG_AGO), Some(10));
        all.answered(0, 10);
        all.answered(1, 10);
        show(&all, &[20]);
        all.answered(0, 20);
        assert_eq!(served(&all, LONG_AGO), Some(10));
        all.answered(1, 20);
        assert_eq!(served(&all, LONG_AGO), Some(20));
    }

    #[test]
    fn a_smaller_tree_than_before_is_never_served() {
        let slow = witnesses();
        show(&slow, &[10, 20]);
        assert_eq!(served(&slow, LONG_AGO), Some(20));
        slow.answered(0, 10);
        slow.answered(1, 10);
        assert_eq!(served(&slow, LONG_AGO), Some(20));

        let started = witnesses();
        started.served(30);
        show(&started, &[20]);
        assert_eq!(served(&started, LONG_AGO), None);
        show(&started, &[30]);
        assert_eq!(served(&started, LONG_AGO), Some(30));
    }

    #[test]
    fn what_was_served_has_time_to_be_cosigned_and_not_for_ever() {
        let slow = witnesses();
        show(&slow, &[10]);
        assert_eq!(served(&slow, LONG_AGO), Some(10));
        show(&slow, &[20, 30]);
        assert_eq!(served(&slow, Timestamp(5)), Some(10));
        slow.answered(0, 10);
        assert_eq!(served(&slow, Timestamp(5)), Some(10));
        assert_eq!(served(&slow, Timestamp(11)), Some(30));
        slow.answered(0, 20);
        assert_eq!(served(&slow, Timestamp(11)), Some(30));
        assert_eq!(served(&slow, Timestamp(99)), Some(30), "there is no other");
    }
}
