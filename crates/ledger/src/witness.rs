//! What a log and a witness say to each other (c2sp.org/tlog-witness): the body of `add-checkpoint`, and the answers.
//!
//! ```text
//! old 20852014
//! PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
//! jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
//!
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
//! ```
//!
//! A witness answers 200 with its signature lines, which [`add_cosignatures`](crate::note::add_cosignatures) takes,
//! or 409 with the size that it knows ([`known_size`]).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{self, Checkpoint, CheckpointError, MAX_CHECKPOINT};
use crate::merkle::{Hash, ProofError, empty, verify_consistency};
use crate::note::Verifier;

/// Most hashes in a proof.
pub const MAX_PROOF: usize = 63;
/// Longest body, in bytes: the proof, and a checkpoint with its signatures.
pub const MAX_BODY: usize = 64 * 1024 + MAX_CHECKPOINT;

/// What a log asks a witness to cosign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The size of the tree that the witness knows, 0 if it knows none.
    pub old: u64,
    /// That the new tree begins with the old one.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub note: String,
}

/// Why a submission cannot be read, or is not to be cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// Not what a submission looks like.
    #[error("not `old <size>`, lines of hashes in base64, a blank line and a checkpoint")]
    Malformed,
    /// Larger than [`MAX_BODY`].
    #[error("a submission of {0} bytes is over the limit of {MAX_BODY}")]
    TooLarge(usize),
    /// More than [`MAX_PROOF`] hashes.
    #[error("a proof has at most {MAX_PROOF} hashes")]
    Proof,
    /// The checkpoint is not to be believed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The witness knows another size.
    #[error("the witness knows the log with {known} entries, not with {old}")]
    Conflict {
        /// What it knows.
        known: u64,
        /// What was submitted.
        old: u64,
    },
    /// The new tree is not the old one grown.
    #[error(transparent)]
    Inconsistent(#[from] ProofError),
}

impl Submission {
    /// The body of the request.
    ///
    /// # Errors
    /// [`SubmissionError`] if it would not be read back as it is.
    pub fn body(&self) -> Result<String, SubmissionError> {
        let mut body = format!("old {}\n", self.old);
        for hash in &self.proof {
            body.push_str(&STANDARD.encode(hash));
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&self.note);
        match Self::parse(body.as_bytes())? == *self {
            true => Ok(body),
            false => Err(SubmissionError::Malformed),
        }
    }

    /// Reads the body of a request. Whether it is to be cosigned is for [`Submission::verify`] to say.
    ///
    /// # Errors
    /// [`SubmissionError`] if it is not one.
    pub fn parse(body: &[u8]) -> Result<Self, SubmissionError> {
        if body.len() > MAX_BODY {
            return Err(SubmissionError::TooLarge(body.len()));
        }
        let text = std::str::from_utf8(body).map_err(|_| SubmissionError::Malformed)?;
        let (head, note) = text.split_once("\n\n").ok_or(SubmissionError::Malformed)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = old.and_then(number).ok_or(SubmissionError::Malformed)?;
        let proof: Option<Vec<Hash>> = lines.take(MAX_PROOF + 1).map(hash).collect();
        let proof = proof.ok_or(SubmissionError::Malformed)?;
        if proof.len() > MAX_PROOF {
            return Err(SubmissionError::Proof);
        }
        Ok(Self {
            old,
            proof,
            note: note.to_owned(),
        })
    }

    /// The checkpoint, if a witness that knows the log with this size and root may cosign it; none if it never saw
    /// the log.
    ///
    /// # Errors
    /// [`SubmissionError`] that says why not.
    pub fn verify(
        &self,
        origin: &str,
        verifiers: &[Verifier],
        known: Option<(u64, Hash)>,
    ) -> Result<Checkpoint, SubmissionError> {
        let checkpoint = checkpoint::verify(self.note.as_bytes(), origin, verifiers)?;
        let (known, root) = known.unwrap_or((0, empty()));
        if known != self.old {
            let old = self.old;
            return Err(SubmissionError::Conflict { known, old });
        }
        let new = (checkpoint.size, &checkpoint.root);
        verify_consistency(&self.proof, (known, &root), new)?;
        Ok(checkpoint)
    }
}

/// The size in a witness's answer 409, which is where the next proof has to start.
pub fn known_size(body: &[u8]) -> Option<u64> {
    number(std::str::from_utf8(body).ok()?.strip_suffix('\n')?)
}

fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn hash(line: &str) -> Option<Hash> {
    STANDARD.decode(line).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests;
