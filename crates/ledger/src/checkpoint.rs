//! Checkpoints (c2sp.org/tlog-checkpoint): what the log signs about its tree, as a [`note`].
//!
//! ```text
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::{self, Hash};
use crate::note::{self, Note, NoteError, Signer, Verifier};

/// Longest text of a checkpoint, in bytes.
pub const MAX_CHECKPOINT: usize = 64 * 1024;

/// The head of a log's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name of the log.
    pub origin: String,
    /// How many entries there are.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// Lines that mean nothing here. We write none; others' are kept, because they are signed too.
    pub extensions: Vec<String>,
}

/// Why a checkpoint cannot be made, read or believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The note around it is not good.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Larger than [`MAX_CHECKPOINT`].
    #[error("a checkpoint of {0} bytes is over the limit of {MAX_CHECKPOINT}")]
    TooLarge(usize),
    /// Not three or more lines, each with something in it.
    #[error("a checkpoint has three lines or more, none empty, each ended by a newline")]
    Lines,
    /// The tree size is not a number in its one spelling.
    #[error("the checkpoint's second line is not a tree size in decimal digits")]
    Size,
    /// The root is not a SHA-256 hash.
    #[error("the checkpoint's third line is not a SHA-256 hash in base64")]
    Root,
    /// A tree without entries has one root only.
    #[error("the checkpoint is of an empty tree, but its root is not that of an empty tree")]
    Empty,
    /// It is of another log.
    #[error("the checkpoint is of the log {actual:?}, not of {expected:?}")]
    Origin {
        /// The log it is of.
        actual: String,
        /// The log that was asked about.
        expected: String,
    },
}

/// Reads the signed checkpoint of the log with this origin. Give the log's own keys only: any of them counts.
pub fn verify(
    note: &[u8],
    origin: &str,
    verifiers: &[Verifier],
) -> Result<Checkpoint, CheckpointError> {
    let checkpoint = Checkpoint::parse(Note::parse(note)?.verify(verifiers)?)?;
    match checkpoint.origin == origin {
        true => Ok(checkpoint),
        false => Err(CheckpointError::Origin {
            actual: checkpoint.origin,
            expected: origin.to_owned(),
        }),
    }
}

impl Checkpoint {
    /// The head of this log, without extension lines.
    pub fn new(origin: &str, size: u64, root: Hash) -> Self {
        Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// The text that is signed.
    pub fn text(&self) -> Result<String, CheckpointError> {
        let (size, root) = (self.size.to_string(), STANDARD.encode(self.root));
        let head = [&self.origin, &size, &root];
        let lines = head.into_iter().chain(&self.extensions);
        let text: String = lines.flat_map(|line| [line.as_str(), "\n"]).collect();
        // What cannot be read back is not signed.
        match Self::parse(&text)? == *self {
            true => Ok(text),
            false => Err(CheckpointError::Lines),
        }
    }

    /// The signed note.
    pub fn sign(&self, signers: &[Signer<'_>]) -> Result<String, CheckpointError> {
        Ok(note::sign(&self.text()?, signers)?)
    }

    /// Reads the text of a checkpoint. Whether anybody signed it is for [`verify`] to say.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        if text.len() > MAX_CHECKPOINT {
            return Err(CheckpointError::TooLarge(text.len()));
        }
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let lines: Vec<_> = lines.split('\n').collect();
        let [origin, size, root, extensions @ ..] = lines.as_slice() else {
            return Err(CheckpointError::Lines);
        };
        if lines.contains(&"") || text.contains('\r') {
            return Err(CheckpointError::Lines);
        }
        let (size, root) = (number(size)?, hash(root)?);
        if size == 0 && root != merkle::empty() {
            return Err(CheckpointError::Empty);
        }
        let extensions = extensions.iter().map(|line| (*line).to_owned()).collect();
        Ok(Self {
            extensions,
            ..Self::new(origin, size, root)
        })
    }
}

fn number(line: &str) -> Result<u64, CheckpointError> {
    let size: u64 = line.parse().map_err(|_| CheckpointError::Size)?;
    match size.to_string() == line {
        true => Ok(size),
        false => Err(CheckpointError::Size),
    }
}

fn hash(line: &str) -> Result<Hash, CheckpointError> {
    let bytes = STANDARD.decode(line).map_err(|_| CheckpointError::Root)?;
    bytes.try_into().map_err(|_| CheckpointError::Root)
}

#[cfg(test)]
mod tests;
