//! The way through a copy of a log, with its tiles.

use std::collections::BTreeSet;

use super::finding::Finding;
use super::rows::Rows;
use super::walk::{Walk, Wanted};
use super::{Files, Report, Trust};
use crate::entry::skim::skim;
use crate::entry::{MAX_ATTACHMENT, sha256_hex};
use crate::merkle::{Hash, complete, leaf};
use crate::tiles::{self, Kind, MAX_BUNDLED, Tile, WIDTH};

/// Largest file of a copy, in bytes: a full bundle of the largest entries.
pub const MAX_FILE: usize = WIDTH as usize * (MAX_BUNDLED + 2);

const NEWEST: &str = "checkpoint";
const KEPT: &str = "checkpoints/";
const ATTACHMENTS: &str = "attachments/";
const POLICIES: &str = "policies/";

/// What somebody holds beside the copy, each with a name for it.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Signed checkpoints of the log.
    pub checkpoints: Vec<(String, Vec<u8>)>,
    /// Signed receipts.
    pub receipts: Vec<(String, Vec<u8>)>,
}

impl Beside {
    /// Gives all of it to a walk.
    pub fn give(&self, walk: &mut Walk) {
        for (name, note) in &self.checkpoints {
            walk.checkpoint(name, note);
        }
        for (name, note) in &self.receipts {
            walk.receipt(name, note);
        }
    }
}

/// The digest that 64 lower-case hex digits spell, as files and members of entries are named.
pub fn digest(text: &str) -> Option<Hash> {
    let fits = text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut hash = [0; 32];
    for (byte, place) in hash.iter_mut().zip(0..) {
        let digits = text.get(2 * place..2 * place + 2).filter(|_| fits)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(hash)
}

/// Verifies a copy. `progress` is told how many entries of how many are done.
///
/// # Errors
/// That of the copy when it cannot be read; whatever it holds is no error but a [`Finding`].
pub fn verify<F: Files>(
    files: &F,
    trust: Trust,
    beside: &Beside,
    progress: impl FnMut(u64, u64),
) -> Result<Report, F::Error> {
    let paths = files.paths()?;
    let mut walk = Walk::new(trust);
    let size = heads(files, &mut walk, &paths, beside)?;
    let mut verification = Verification {
        files,
        size,
        walk,
        rows: Rows::default(),
        seen: BTreeSet::new(),
    };
    verification.entries(progress)?;
    verification.tops()?;
    verification.others(&paths)?;
    verification.policies()?;
    Ok(verification.walk.finish())
}

/// Checks one entry by itself: that it is in canonical form, in its place, and has this hash.
pub fn verify_entry(seq: u64, bytes: &[u8], hash: &Hash) -> Vec<Finding> {
    let mut findings = Vec::new();
    match skim(bytes) {
        Ok(skimmed) if skimmed.seq == seq => {}
        Ok(skimmed) => findings.push(Finding::OutOfPlace {
            seq,
            says: skimmed.seq,
        }),
        Err(error) => findings.push(Finding::Entry {
            seq,
            problem: error.to_string(),
        }),
    }
    if leaf(bytes) != *hash {
        findings.push(Finding::Altered { seq });
    }
    findings
}

/// Checks a hash tile against the hashes that it should hold.
pub fn verify_hashes(tile: Tile, bytes: Option<&[u8]>, hashes: &[Hash]) -> Vec<Finding> {
    let stored = match bytes.map(|bytes| tile.hashes(bytes)) {
        None => return vec![Finding::NoTile { tile }],
        Some(Err(error)) => return vec![Finding::Malformed { tile, error }],
        Some(Ok(stored)) => stored,
    };
    let places = stored.iter().zip(hashes).enumerate();
    let differ = places.filter(|(_, (stored, right))| stored != right);
    differ
        .map(|(place, _)| Finding::Hash { tile, place })
        .collect()
}

/// Reads every checkpoint and receipt, and says how many entries there are to read.
fn heads<F: Files>(
    files: &F,
    walk: &mut Walk,
    paths: &[String],
    beside: &Beside,
) -> Result<u64, F::Error> {
    let newest = files.read(NEWEST)?;
    let is_absent = newest.is_none();
    let newest = newest.and_then(|note| walk.checkpoint(NEWEST, &note));
    let mut largest = 0;
    for path in paths.iter().filter(|path| path.starts_with(KEPT)) {
        let note = files.read(path)?.unwrap_or_default();
        let Some(kept) = walk.checkpoint(path, &note) else {
            continue;
        };
        largest = kept.size.max(largest);
        if path[KEPT.len()..] != kept.size.to_string() {
            let (name, size) = (path.clone(), kept.size);
            walk.found(Finding::Misplaced { name, size });
        }
    }
    beside.give(walk);
    // With no checkpoint at all, the walk says so at its end.
    if is_absent && walk.has_checkpoint() {
        walk.found(Finding::NoCheckpoint);
    }
    Ok(newest.map_or(largest, |newest| newest.size))
}

struct Verification<'a, F> {
    files: &'a F,
    size: u64,
    walk: Walk,
    rows: Rows,
    /// Attachments that were looked at.
    seen: BTreeSet<String>,
}

impl<F: Files> Verification<'_, F> {
    fn entries(&mut self, mut progress: impl FnMut(u64, u64)) -> Result<(), F::Error> {
        let mut index = 0;
        while let (Some(bundle), Some(hashes)) = (
            Tile::of(Kind::Entries, index, self.size),
            Tile::of(Kind::Hashes(0), index, self.size),
        ) {
            self.bundle(bundle, hashes)?;
            progress(self.walk.size(), self.size);
            index += 1;
        }
        Ok(())
    }

    /// A bundle of entries, and the tile of their hashes.
    fn bundle(&mut self, bundle: Tile, tile: Tile) -> Result<(), F::Error> {
        let bytes = self.files.read(&bundle.to_string())?;
        let stored = self.hashes(tile)?;
        let entries = bytes
            .as_ref()
            .map(|bytes| tiles::entries(bytes, bundle.width()));
        match entries.transpose() {
            Ok(Some(entries)) => self.together(tile, &entries, stored),
            Ok(None) => self.hashes_only(tile, stored),
            Err(error) => {
                self.walk.found(Finding::Malformed {
                    tile: bundle,
                    error,
                });
                self.hashes_only(tile, stored)?;
                Ok(())
            }
        }
    }

    fn together(
        &mut self,
        tile: Tile,
        entries: &[&[u8]],
        stored: Option<Vec<Hash>>,
    ) -> Result<(), F::Error> {
        let computed: Vec<Hash> = entries.iter().map(|entry| leaf(entry)).collect();
        let tree = match stored {
            Some(stored) if stored != computed => self.choose(tile, stored, &computed)?,
            _ => computed,
        };
        for (entry, leaf) in entries.iter().zip(tree) {
            let mut full = Vec::new();
            let rows = &mut self.rows;
            let wanted = self.walk.entry_telling(entry, leaf, |level, index, hash| {
                full.extend(rows.take(level, index, hash));
            });
            self.full(full)?;
            self.attached(wanted)?;
        }
        Ok(())
    }

    /// Which are right, the hashes in the tile or those of the entries: what was signed over them tells.
    fn choose(
        &mut self,
        tile: Tile,
        stored: Vec<Hash>,
        computed: &[Hash],
    ) -> Result<Vec<Hash>, F::Error> {
        if self.leads_up(tile, computed)? {
            self.walk.found_all(
                differences(&stored, computed).map(|place| Finding::Hash { tile, place }),
            );
            return Ok(computed.to_vec());
        }
        let first = tile.start() + 1;
        let altered = differences(&stored, computed);
        self.walk.found_all(altered.map(|place| Finding::Altered {
            seq: first + place as u64,
        }));
        Ok(stored)
    }

    /// Whether the next tile upwards, or the root, follows from these hashes.
    fn leads_up(&self, tile: Tile, hashes: &[Hash]) -> Result<bool, F::Error> {
        if tile.is_partial() {
            return Ok(self.walk.would_arrive(hashes));
        }
        let width = u64::from(WIDTH);
        let Some(above) = Tile::of(Kind::Hashes(1), tile.index() / width, self.size) else {
            return Ok(false);
        };
        let bytes = self.files.read(&above.to_string())?.unwrap_or_default();
        let place = usize::try_from(tile.index() % width).unwrap_or(usize::MAX);
        let above = above.hashes(&bytes).unwrap_or_default();
        Ok(above.get(place) == Some(&complete(hashes)))
    }

    /// The entries are not there.
    fn hashes_only(&mut self, tile: Tile, stored: Option<Vec<Hash>>) -> Result<(), F::Error> {
        for place in 0..usize::from(tile.width()) {
            let hash = stored.as_ref().and_then(|stored| stored.get(place));
            let mut full = Vec::new();
            let rows = &mut self.rows;
            self.walk
                .absent_telling(hash.copied(), |level, index, hash| {
                    full.extend(rows.take(level, index, hash));
                });
            self.full(full)?;
        }
        Ok(())
    }

    /// The tile's hashes; none, with a finding, if it has none.
    fn hashes(&mut self, tile: Tile) -> Result<Option<Vec<Hash>>, F::Error> {
        let bytes = self.files.read(&tile.to_string())?;
        let hashes = bytes.map(|bytes| tile.hashes(&bytes));
        match hashes {
            Some(Ok(hashes)) => return Ok(Some(hashes)),
            Some(Err(error)) => self.walk.found(Finding::Malformed { tile, error }),
            None => self.walk.found(Finding::NoTile { tile }),
        }
        Ok(None)
    }

    /// Tiles above the leaves that are complete.
    fn full(&mut self, full: Vec<(Tile, Vec<Hash>)>) -> Result<(), F::Error> {
        for (tile, hashes) in full {
            self.upper(tile, &hashes)?;
        }
        Ok(())
    }

    /// The last tile of each level.
    fn tops(&mut self) -> Result<(), F::Error> {
        let size = self.walk.size();
        for (tile, hashes) in std::mem::take(&mut self.rows).rest(size) {
            self.upper(tile, &hashes)?;
        }
        Ok(())
    }

    fn upper(&mut self, tile: Tile, hashes: &[Hash]) -> Result<(), F::Error> {
        // The leaves' own tiles were compared with the entries; without all leaves nothing above them is known.
        if tile.kind() == Kind::Hashes(0) || !self.walk.is_whole() {
            return Ok(());
        }
        let bytes = self.files.read(&tile.to_string())?;
        self.walk
            .found_all(verify_hashes(tile, bytes.as_deref(), hashes));
        Ok(())
    }

    fn attached(&mut self, wanted: Vec<Wanted>) -> Result<(), F::Error> {
        for wanted in wanted {
            let bytes = match wanted.digest().is_some() {
                true => self
                    .files
                    .read(&format!("{ATTACHMENTS}{}", wanted.sha256()))?,
                false => None,
            };
            self.walk.attachment(&wanted, bytes.as_deref());
            self.seen.insert(wanted.sha256().to_owned());
        }
        Ok(())
    }

    /// Files that nothing led to.
    fn others(&mut self, paths: &[String]) -> Result<(), F::Error> {
        for path in paths {
            if let Ok(tile) = path.parse() {
                self.other_tile(path, tile)?;
            }
            if let Some(name) = path.strip_prefix(ATTACHMENTS)
                && !self.seen.contains(name)
            {
                let bytes = self.files.read(path)?.unwrap_or_default();
                let fits = bytes.len() <= MAX_ATTACHMENT && sha256_hex(&bytes) == name;
                if !fits {
                    self.walk.found(Finding::Misnamed { path: path.clone() });
                }
            }
        }
        Ok(())
    }

    /// A tile may be there in an older form as well, which must be how the later one begins.
    fn other_tile(&mut self, path: &str, tile: Tile) -> Result<(), F::Error> {
        let path = path.to_owned();
        let current = Tile::of(tile.kind(), tile.index(), self.size);
        let Some(current) = current.filter(|current| current.width() >= tile.width()) else {
            self.walk.found(Finding::Beyond { path });
            return Ok(());
        };
        if current == tile {
            return Ok(());
        }
        let [old, new] = [tile, current].map(|tile| self.files.read(&tile.to_string()));
        let (old, new) = (old?.unwrap_or_default(), new?.unwrap_or_default());
        let is_whole = match tile.kind() {
            Kind::Hashes(_) => tile.hashes(&old).is_ok(),
            Kind::Entries => tiles::entries(&old, tile.width()).is_ok(),
        };
        if !is_whole || !new.starts_with(&old) {
            self.walk.found(Finding::Stale { path });
        }
        Ok(())
    }

    fn policies(&mut self) -> Result<(), F::Error> {
        let named = self.walk.policies();
        let named: Vec<_> = named.map(str::to_owned).collect();
        for digest in named {
            let bytes = match self::digest(&digest) {
                Some(_) => self.files.read(&format!("{POLICIES}{digest}"))?,
                None => None,
            };
            self.walk.policy(&digest, bytes.as_deref());
        }
        Ok(())
    }
}

/// The places at which two tiles differ.
fn differences(a: &[Hash], b: &[Hash]) -> impl Iterator<Item = usize> {
    let pairs = a.iter().zip(b).enumerate();
    let differ = pairs.filter(|(_, (a, b))| a != b).map(|(place, _)| place);
    differ.collect::<Vec<_>>().into_iter()
}
