//! The way through a log, one entry after the other.

use std::collections::BTreeMap;

use super::claims::Claims;
use super::finding::{Finding, Findings};
use super::heads::Heads;
use super::{Report, Trust};
use crate::checkpoint::Checkpoint;
use crate::entry::skim::{Skimmed, skim};
use crate::entry::{Entry, Sealed, sha256};
use crate::merkle::{Frontier, Hash, leaf};
use crate::note::Note;
use crate::receipt::{self, Receipt};

/// The event that announces that entries were pruned.
const PRUNED: &str = "ledger.pruned";
/// Its detail that names the last of them.
const THROUGH: &str = "through";
/// The event that a policy set came into force.
const LOADED: &str = "policy.loaded";
/// Its detail with the SHA-256 of the set as it is archived.
const ARCHIVE: &str = "archive";

/// Takes the entries of a log in order and compares them with what is signed.
///
/// First the checkpoints and receipts that are known, then every entry, and what entries refer to as it is asked for;
/// then [`Walk::finish`] tells what was found. Memory is needed for the checkpoints, not for the entries.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    trust: Trust,
    tree: Frontier,
    /// Whether every leaf's hash is known.
    is_whole: bool,
    heads: Heads,
    newest: Option<u64>,
    claims: Claims,
    /// Runs of entries that are not there, and how far prunings are announced.
    absent: Vec<(u64, u64)>,
    pruned: u64,
    /// Policy sets, with the first entry that names each.
    policies: BTreeMap<String, Policy>,
    report: Report,
    findings: Findings,
}

/// A list that an entry refers to: give it to [`Walk::attachment`].
#[derive(Clone, Debug)]
pub struct Wanted {
    seq: u64,
    name: String,
    entry: Entry,
}

/// A policy set that entries name.
#[derive(Clone, Debug)]
struct Policy {
    /// The first entry that names it.
    seq: u64,
    /// What its archive may be, by the entries that brought it into force.
    archives: Vec<Hash>,
}

impl Walk {
    /// A walk from the first entry on.
    pub fn new(trust: Trust) -> Self {
        Self {
            trust,
            is_whole: true,
            ..Self::default()
        }
    }

    /// A signed checkpoint of this log. It can be compared only if it comes before the entries that follow it, so
    /// give it as soon as it is there.
    pub fn checkpoint(&mut self, name: &str, note: &[u8]) -> Option<Checkpoint> {
        let read = self
            .heads
            .read(&mut self.trust, name, note, &mut self.findings);
        if let Some(checkpoint) = &read {
            self.newest = self.newest.max(Some(checkpoint.size));
            self.compare();
        }
        read
    }

    /// A receipt whose claims the entries must bear out. Its signature is checked; like checkpoints it comes before
    /// the entries.
    pub fn receipt(&mut self, name: &str, note: &[u8]) -> Option<Receipt> {
        match self.opened(note) {
            Ok(receipt) => {
                // Its head is one that the broker has shown to somebody: the log must have had it.
                if let Some(root) = super::digest(&receipt.ledger.root) {
                    self.claim(name, receipt.ledger.size, root);
                }
                self.claims.add(name, receipt.clone());
                Some(receipt)
            }
            Err(problem) => {
                let name = name.to_owned();
                self.found(Finding::Receipt { name, problem });
                None
            }
        }
    }

    /// A tree that somebody says the log had: a receipt that pins the log, a proof that was kept. Like checkpoints it
    /// comes before the entries.
    pub fn claim(&mut self, name: &str, size: u64, root: Hash) {
        self.heads.add(name, size, root, &mut self.findings);
        self.compare();
    }

    /// The next entry. Whatever lists it refers to are wanted.
    pub fn entry(&mut self, bytes: &[u8]) -> Vec<Wanted> {
        self.entry_telling(bytes, leaf(bytes), |_, _, _| ())
    }

    /// The next entry is not there; this is its hash.
    pub fn absent(&mut self, leaf: Hash) {
        self.absent_telling(Some(leaf), |_, _, _| ());
    }

    /// A list that an entry refers to; none if it is missing.
    pub fn attachment(&mut self, wanted: &Wanted, bytes: Option<&[u8]>) {
        let mut entry = wanted.entry.clone();
        let restored = match bytes {
            Some(bytes) => wanted.fits(bytes) && entry.restore(&wanted.name, bytes).is_ok(),
            None => return self.found(wanted.missing()),
        };
        match restored {
            true => {
                self.report.attachments += 1;
                self.claims.tell(&entry);
            }
            false => self.found(wanted.other()),
        }
    }

    /// The policy sets that entries named so far.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.policies.keys().map(String::as_str)
    }

    /// An archived policy set, as its file has it; none if it is missing. It must be the one that came into force, as
    /// far as the entry that says so was not pruned.
    pub fn policy(&mut self, digest: &str, bytes: Option<&[u8]>) {
        let Some(policy) = self.policies.get(digest) else {
            return;
        };
        let (seq, digest) = (policy.seq, digest.to_owned());
        match bytes.map(sha256) {
            None => self.found(Finding::NoPolicy { seq, digest }),
            Some(hash) if policy.archives.is_empty() || policy.archives.contains(&hash) => {}
            Some(_) => self.found(Finding::Policy { seq, digest }),
        }
    }

    /// How many entries there were.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Adds what somebody else found.
    pub fn found(&mut self, finding: Finding) {
        self.findings.add(finding);
    }

    /// The end of the log.
    pub fn finish(mut self) -> Report {
        let size = self.tree.size();
        match self.newest {
            None => self.found(Finding::NoCheckpoint),
            Some(newest) if newest < size => self.found(Finding::Uncovered {
                first: newest + 1,
                last: size,
            }),
            Some(_) => {}
        }
        self.account_for_absent();
        self.findings.extend(self.heads.clone().left(size));
        self.report.receipts = self.claims.judge(self.pruned, &mut self.findings);
        Report {
            origin: self.trust.origin,
            size,
            root: self.tree.root(),
            checkpoints: self.heads.right,
            cosignatures: self.heads.cosignatures,
            policies: self.policies.len() as u64,
            findings: self.findings.list,
            more: self.findings.more,
            ..self.report
        }
    }

    /// The next entry, where the tree has this hash. Tells of every node that comes into being.
    pub(super) fn entry_telling(
        &mut self,
        bytes: &[u8],
        leaf: Hash,
        tell: impl FnMut(u32, u64, &Hash),
    ) -> Vec<Wanted> {
        let seq = self.tree.size() + 1;
        let wanted = match skim(bytes) {
            Ok(skimmed) => self.look(seq, &skimmed, bytes),
            Err(error) => {
                let problem = error.to_string();
                self.found(Finding::Entry { seq, problem });
                Vec::new()
            }
        };
        self.push(leaf, tell);
        wanted
    }

    /// The next entry is not there. If not even its hash is known, no head after it can be compared.
    pub(super) fn absent_telling(&mut self, leaf: Option<Hash>, tell: impl FnMut(u32, u64, &Hash)) {
        let seq = self.tree.size() + 1;
        match self.absent.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => self.absent.push((seq, seq)),
        }
        self.is_whole &= leaf.is_some();
        self.push(leaf.unwrap_or_default(), tell);
    }

    pub(super) fn found_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.findings.extend(findings);
    }

    /// Whether the tree gets the root of the newest checkpoint by these leaves.
    pub(super) fn would_arrive(&self, leaves: &[Hash]) -> bool {
        let mut tree = self.tree.clone();
        leaves
            .iter()
            .for_each(|leaf| tree.push(*leaf, |_, _, _| ()));
        self.heads.expect(tree.size(), &tree.root())
    }

    pub(super) fn has_checkpoint(&self) -> bool {
        self.newest.is_some()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// A receipt that the log's key signed in the name of the receipt's issuer.
    fn opened(&self, note: &[u8]) -> Result<Receipt, String> {
        let noted = Note::parse(note).map_err(|error| error.to_string())?;
        let names = noted.unverified_names();
        let keys: Vec<_> = names.flat_map(|name| self.trust.named(name)).collect();
        let receipt = receipt::verify(note, &keys).map_err(|error| error.to_string())?;
        match noted.verify(&self.trust.named(&receipt.issuer)) {
            Ok(_) => Ok(receipt),
            Err(_) => Err(format!(
                "it says that {} issued it, but it is signed in another name",
                receipt.issuer
            )),
        }
    }

    fn look(&mut self, seq: u64, skimmed: &Skimmed<'_>, bytes: &[u8]) -> Vec<Wanted> {
        self.report.entries += 1;
        self.report.first.get_or_insert(skimmed.time);
        self.report.last = Some(skimmed.time);
        if skimmed.seq != seq {
            let says = skimmed.seq;
            self.found(Finding::OutOfPlace { seq, says });
        }
        if let Some(digest) = &skimmed.policy
            && !self.policies.contains_key(digest.as_ref())
        {
            let archives = Vec::new();
            self.policies
                .insert(digest.to_string(), Policy { seq, archives });
        }
        let is_claimed = skimmed
            .task
            .as_ref()
            .is_some_and(|task| self.claims.about(task));
        let is_telling = [PRUNED, LOADED].contains(&skimmed.event.as_ref());
        match is_claimed || skimmed.attached || is_telling {
            true => self.look_closer(seq, bytes),
            false => Vec::new(),
        }
    }

    fn look_closer(&mut self, seq: u64, bytes: &[u8]) -> Vec<Wanted> {
        let Ok(Sealed { entry, .. }) = Sealed::parse(bytes) else {
            return Vec::new();
        };
        if entry.event == PRUNED {
            self.announce(seq, &entry);
        }
        if entry.event == LOADED {
            self.archived(&entry);
        }
        self.claims.tell(&entry);
        let wanted = entry.attached.keys().map(|name| Wanted {
            seq,
            name: name.clone(),
            entry: entry.clone(),
        });
        wanted.collect()
    }

    fn archived(&mut self, entry: &Entry) {
        let policy = entry.policy.as_ref();
        let policy = policy.and_then(|digest| self.policies.get_mut(digest));
        let archive = entry.detail.get(ARCHIVE);
        let archive = archive.and_then(|text| super::digest(text));
        if let (Some(policy), Some(archive)) = (policy, archive)
            && !policy.archives.contains(&archive)
        {
            policy.archives.push(archive);
        }
    }

    fn announce(&mut self, seq: u64, entry: &Entry) {
        let through = entry.detail.get(THROUGH).and_then(|text| text.parse().ok());
        match through.filter(|through| *through < seq) {
            Some(through) => self.pruned = self.pruned.max(through),
            None => self.found(Finding::Pruning { seq }),
        }
    }

    fn push(&mut self, leaf: Hash, tell: impl FnMut(u32, u64, &Hash)) {
        self.tree.push(leaf, tell);
        self.compare();
    }

    fn compare(&mut self) {
        self.heads
            .check(&self.tree, self.is_whole, &mut self.findings);
    }

    fn account_for_absent(&mut self) {
        for (first, last) in std::mem::take(&mut self.absent) {
            let announced = last.min(self.pruned);
            self.report.pruned += (announced + 1).saturating_sub(first);
            let first = first.max(announced + 1);
            if first <= last {
                self.found(Finding::Missing { first, last });
            }
        }
    }
}

impl Wanted {
    /// The list's SHA-256, in lower-case hex.
    pub fn sha256(&self) -> &str {
        let attached = self.entry.attached.get(&self.name);
        attached.map_or("", |attached| &attached.sha256)
    }

    /// The same as a hash; none if it is not one.
    pub fn digest(&self) -> Option<Hash> {
        super::digest(self.sha256())
    }

    /// How long the list is, in bytes.
    pub fn bytes(&self) -> u64 {
        let attached = self.entry.attached.get(&self.name);
        attached.map_or(0, |attached| attached.bytes)
    }

    fn fits(&self, bytes: &[u8]) -> bool {
        self.bytes() == bytes.len() as u64
    }

    fn missing(&self) -> Finding {
        Finding::NoAttachment {
            seq: self.seq,
            name: self.name.clone(),
            sha256: self.sha256().to_owned(),
        }
    }

    fn other(&self) -> Finding {
        Finding::Attachment {
            seq: self.seq,
            name: self.name.clone(),
            sha256: self.sha256().to_owned(),
        }
    }
}
