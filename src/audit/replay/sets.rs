//! Archived policy sets, compiled: the last few that were used.

use std::sync::Arc;

use quietus_core::Digest;
use quietus_policy::PolicySet;

use super::one::Unanswerable;
use crate::archive;

/// How many are kept. Entries are replayed in order, so that one is used for long before the next.
const KEPT: usize = 8;

/// Or why one cannot be used. The last one used is the last one here.
#[derive(Default)]
pub(super) struct Sets(Vec<(Digest, Result<Arc<PolicySet>, Unanswerable>)>);

impl Sets {
    pub(super) fn has(&self, digest: Digest) -> bool {
        self.0.iter().any(|(kept, _)| *kept == digest)
    }

    pub(super) fn supply(&mut self, digest: Digest, archive: Option<&[u8]>) {
        self.0.retain(|(kept, _)| *kept != digest);
        if self.0.len() == KEPT {
            drop(self.0.remove(0));
        }
        self.0.push((digest, compiled(digest, archive)));
    }

    pub(super) fn get(&mut self, digest: Digest) -> Result<Arc<PolicySet>, Unanswerable> {
        let place = self.0.iter().position(|(kept, _)| *kept == digest);
        let place = place.ok_or(Unanswerable::NoSet(digest))?;
        self.0[place..].rotate_left(1);
        let (_, set) = self.0.last().ok_or(Unanswerable::NoSet(digest))?;
        set.clone()
    }
}

fn compiled(digest: Digest, archive: Option<&[u8]>) -> Result<Arc<PolicySet>, Unanswerable> {
    let archive = archive.ok_or(Unanswerable::NoSet(digest))?;
    let set = archive::unpack(archive).map_err(|error| Unanswerable::BrokenSet {
        digest,
        problem: error.to_string(),
    })?;
    match Digest(set.digest()) {
        is if is == digest => Ok(Arc::new(set)),
        is => Err(Unanswerable::OtherSet { named: digest, is }),
    }
}
