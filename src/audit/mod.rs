//! Reading the evidence: the ledger's entries and what they name by digest, from a broker or from a copy of its log.

mod copy;
pub mod events;
pub mod export;
pub mod fetch;
mod offline;
mod remote;
pub mod replay;
pub mod report;
pub mod select;
mod served;
pub mod story;
pub mod walk;

use quietus_core::Digest;

pub use copy::{CopyError, Folder};
pub use offline::Offline;
pub use remote::{Included, Remote, Text};
pub use served::Served;

/// Where evidence is read from. Nothing that comes from there is believed before it is verified.
#[derive(Clone, Debug)]
pub enum Log {
    /// A broker.
    Broker(Box<Remote>),
    /// A copy in a folder.
    Copy(Offline),
}

impl Log {
    /// The next entries from this one on, in order and without gaps, as they were hashed; none at the end of the log.
    pub async fn entries(&mut self, from: u64) -> anyhow::Result<Vec<Vec<u8>>> {
        match self {
            Self::Broker(remote) => remote.entries(from).await,
            Self::Copy(copy) => copy.entries(from),
        }
    }

    /// The files of an archived policy set, as a JSON object; none if there is no such set.
    pub async fn policy_set(&self, digest: Digest) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Broker(remote) => remote.policy_set(digest).await,
            Self::Copy(copy) => copy.policy_set(digest),
        }
    }

    /// A list that was too large for its entry; none if it is not there.
    pub async fn attachment(&self, digest: Digest) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Broker(remote) => remote.attachment(digest).await,
            Self::Copy(copy) => copy.attachment(digest),
        }
    }

    /// The newest signed checkpoint.
    pub async fn checkpoint(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Broker(remote) => remote.checkpoint().await,
            Self::Copy(copy) => copy.checkpoint(),
        }
    }
}
