//! What is wrong with a recorded decision.

use quietus_ledger::{Decision, Sealed};
use serde::Serialize;

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The entry.
    pub entry: u64,
    /// Its agent.
    pub agent: Option<String>,
    /// Its task.
    pub task: Option<String>,
    /// What it is.
    #[serde(flatten)]
    pub problem: Problem,
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Problem {
    /// The bytes are not an entry in this place.
    #[error("{problem}")]
    Malformed {
        /// Why not.
        problem: String,
    },
    /// A list that was too large for the entry is not there, or is another.
    #[error("{problem}")]
    Attachment {
        /// What of it.
        problem: String,
    },
    /// It cannot be decided again.
    #[error("{problem}")]
    Unanswerable {
        /// Why not.
        problem: String,
    },
    /// It is decided otherwise.
    #[error("{scope} was recorded as {recorded}, and is {replayed}")]
    Decision {
        /// For which scope.
        scope: String,
        /// As the entry has it.
        recorded: Answer,
        /// As it is now.
        replayed: Answer,
    },
    /// What came of it does not follow from the decisions.
    #[error("{problem}")]
    Unfounded {
        /// What does not follow.
        problem: String,
    },
}

/// An outcome, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `permit`, `deny` or `approval_needed`
    pub outcome: String,
    /// The policies that it rests on.
    pub deciding: Vec<String>,
}

impl Finding {
    pub(super) fn bare(entry: u64, problem: Problem) -> Self {
        Self {
            entry,
            agent: None,
            task: None,
            problem,
        }
    }

    pub(super) fn of(sealed: &Sealed, problem: Problem) -> Self {
        let entry = &sealed.entry;
        Self {
            entry: sealed.seq,
            agent: entry.agent.clone(),
            task: entry.task.as_ref().map(|task| task.id.clone()),
            problem,
        }
    }
}

impl Problem {
    pub(super) fn decision(recorded: &Decision, replayed: &Decision) -> Self {
        Self::Decision {
            scope: recorded.scope.clone(),
            recorded: recorded.into(),
            replayed: replayed.into(),
        }
    }
}

impl From<&Decision> for Answer {
    fn from(decision: &Decision) -> Self {
        Self {
            outcome: decision.outcome.clone(),
            deciding: decision.deciding.clone(),
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.deciding.is_empty() {
            true => write!(f, "{} by no policy", self.outcome),
            false => write!(f, "{} by {}", self.outcome, self.deciding.join(", ")),
        }
    }
}
