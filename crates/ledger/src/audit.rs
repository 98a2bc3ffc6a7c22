//! Verification of a whole log: every entry, every hash, every checkpoint, and what lies beside them.
//!
//! A [`Walk`] takes the entries in order, from wherever they come, and says what does not hold. [`verify`] takes it
//! through a copy of a log ([`Files`]), whose hash tiles it checks as well. Neither stops at the first problem: each
//! is a [`Finding`] that names its place, until there are [`MAX_FINDINGS`] of them.
//!
//! A copy is laid out as c2sp.org/tlog-tiles has it, with a little more beside it:
//!
//! ```text
//! checkpoint                    the newest signed checkpoint
//! checkpoints/<size>            others that were kept
//! tile/<level>/<index>[.p/<width>], tile/entries/<index>[.p/<width>]
//! attachments/<SHA-256>         lists that are too large for their entries
//! policies/<digest>             policy sets as they were in force
//! ```
//!
//! What makes a log believable is a checkpoint that was kept elsewhere: whoever holds the log's key and all copies can
//! write another history. So give those that witnesses or auditors hold to the walk as well.

mod claims;
mod copy;
mod finding;
mod heads;
mod rows;
mod walk;

use std::collections::BTreeMap;
use std::convert::Infallible;

use crate::merkle::Hash;
use crate::note::{Cosigner, Verifier};

pub use copy::{Beside, MAX_FILE, digest, verify, verify_entry, verify_hashes};
pub use finding::{Finding, MAX_FINDINGS};
pub use walk::{Walk, Wanted};

/// Who is believed.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The log's own keys. It signs checkpoints in the log's name and receipts in the broker's, so the names of the
    /// keys given here do not matter.
    pub log: Vec<Verifier>,
    /// Witnesses whose cosignatures must be right where there are any.
    pub witnesses: Vec<Cosigner>,
    /// The log's name; none to take it from the first checkpoint.
    pub origin: Option<String>,
}

impl Trust {
    /// The log's keys under the name in which it signs.
    fn named(&self, name: &str) -> Vec<Verifier> {
        let keys = self.log.iter();
        let named = keys.map(|key| Verifier::new(name, *key.public_key()));
        named.filter_map(Result::ok).collect()
    }
}

/// A copy of a log.
pub trait Files {
    /// Why the copy cannot be read.
    type Error;

    /// The bytes of a file, none if there is no such file. Of a file with more than [`MAX_FILE`] bytes its beginning
    /// will do, if it is longer than that.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Every file there is. What is not named is not looked for beyond the newest checkpoint.
    fn paths(&self) -> Result<Vec<String>, Self::Error>;
}

/// A copy in memory, by path.
impl Files for BTreeMap<String, Vec<u8>> {
    type Error = Infallible;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.get(path).cloned())
    }

    fn paths(&self) -> Result<Vec<String>, Infallible> {
        Ok(self.keys().cloned().collect())
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The log's name; none if there was no checkpoint to take it from.
    pub origin: Option<String>,
    /// How many entries the log has.
    pub size: u64,
    /// The root of the tree over them, as it follows from what was read.
    pub root: Hash,
    /// How many entries were read and found in place. The others are pruned, or missing.
    pub entries: u64,
    /// How many entries are gone by an announced pruning.
    pub pruned: u64,
    /// How many checkpoints were compared with the tree and found right.
    pub checkpoints: u64,
    /// How many cosignatures of known witnesses were found right.
    pub cosignatures: u64,
    /// How many attached lists were found right.
    pub attachments: u64,
    /// How many policy sets the entries name.
    pub policies: u64,
    /// How many receipts were compared with the entries and found right.
    pub receipts: u64,
    /// The time of the first entry that was read, in milliseconds since the Unix epoch.
    pub first: Option<u64>,
    /// The time of the last one.
    pub last: Option<u64>,
    /// What does not hold, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// How many findings there are beside those.
    pub more: u64,
}

impl Report {
    /// Whether everything holds.
    pub fn is_good(&self) -> bool {
        self.findings.is_empty() && self.more == 0
    }
}
