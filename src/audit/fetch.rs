//! A copy of a broker's log in a folder: fetched piece by piece, verified on the way, and never half-written.
//!
//! Nothing that the broker says is kept before it is known to belong to the tree of its newest checkpoint, and that
//! checkpoint not before it is known to go on from the one that the folder has. It is written last, so a copy that
//! was interrupted is still the one that it was before, with more in it.

mod bundles;
mod folder;
mod tree;

use std::path::Path;

use anyhow::{Context, bail};
use quietus_ledger::note::MAX_NOTE;
use quietus_ledger::tiles::{Kind, Tile, WIDTH, grown};
use quietus_ledger::{Checkpoint, Note, Verifier, checkpoint, merkle};

use super::Remote;
use folder::Folder;
use tree::Tree;

const NEWEST: &str = "checkpoint";

/// What a copy is made of, and how far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Who must have signed the checkpoints; their signatures are not looked at if nobody is named.
    pub keys: &'a [Verifier],
    /// The largest tree to copy; the newest if none.
    pub at_most: Option<u64>,
}

/// What was fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The log's name.
    pub origin: String,
    /// How many entries the copy's checkpoint covers.
    pub size: u64,
    /// How many the one before covered, if there was one.
    pub before: Option<u64>,
    /// How many bundles of entries were fetched.
    pub bundles: u64,
    /// How many bytes of them.
    pub bytes: u64,
    /// How many attachments and policy sets were fetched.
    pub objects: u64,
    /// How many checkpoints besides the newest were saved.
    pub checkpoints: u64,
    /// The last entry of those that the broker has pruned and that were not copied before; 0 if none.
    pub pruned: u64,
    /// Files that entries name and that the broker does not have.
    pub missing: Vec<String>,
    /// Whether the signatures were verified.
    pub verified: bool,
}

/// Told how many files have been looked at, and how many there are.
pub struct Progress<'a> {
    done: u64,
    all: u64,
    tell: &'a mut (dyn FnMut(u64, u64) + Send),
}

/// Brings the copy in this folder up to date, or makes one.
///
/// # Errors
/// If the broker's log is not the one that the folder has a copy of, or does not go on from it; if anything that it
/// sends does not belong to its tree; and if the folder cannot be written.
pub async fn fetch(
    remote: &Remote,
    dir: &Path,
    options: Options<'_>,
    tell: &mut (dyn FnMut(u64, u64) + Send),
) -> anyhow::Result<Fetched> {
    let note = remote
        .checkpoint_at_most(options.at_most.unwrap_or(0))
        .await?;
    let newest = read(&note, options.keys).context("the broker's checkpoint")?;
    let folder = Folder::open(dir)?;
    let old = folder.read(NEWEST, MAX_NOTE)?;
    let old = old.map(|old| Ok::<_, anyhow::Error>((read(&old, &[])?, old)));
    let old = old
        .transpose()
        .with_context(|| format!("the checkpoint in {}", dir.display()))?;
    if let Some((old, _)) = &old {
        goes_on(remote, old, &newest).await?;
    }
    let had = old.as_ref().map(|(old, _)| old.size);
    let tree = Tree {
        remote,
        folder: &folder,
        size: newest.size,
        root: newest.root,
        had: had.unwrap_or(0),
    };
    let mut told = Fetched {
        origin: newest.origin.clone(),
        size: newest.size,
        before: had,
        verified: !options.keys.is_empty(),
        ..Fetched::default()
    };
    let all = grown(0, newest.size).count() as u64;
    let mut progress = Progress { done: 0, all, tell };
    tree.fetch(&mut progress).await?;
    bundles::fetch(&tree, &mut told, &mut progress).await?;
    save_checkpoints(&tree, &newest, options, &mut told).await?;
    if let Some((old, note)) = old.filter(|(old, _)| old.size < newest.size)
        && !folder.has(&saved(old.size))
    {
        folder.write(&saved(old.size), &note)?;
    }
    // Everything else is on the disk before the checkpoint says that it is there.
    folder.sync()?;
    folder.write(NEWEST, &note)?;
    folder.sync()?;
    drop_narrower(&folder, had.unwrap_or(0), newest.size)?;
    Ok(told)
}

/// A checkpoint, signed by one of these keys in the log's own name; if there are none, one that anybody may have written.
///
/// # Errors
/// If it is no checkpoint, or none of them signed it.
pub fn read(note: &[u8], keys: &[Verifier]) -> anyhow::Result<Checkpoint> {
    let unchecked = unverified(note)?;
    if keys.is_empty() {
        return Ok(unchecked);
    }
    let own = keys
        .iter()
        .filter_map(|key| in_the_name_of(&unchecked.origin, key));
    let own: Vec<_> = own.collect();
    if own.is_empty() {
        let names: Vec<_> = keys.iter().map(Verifier::name).collect();
        bail!(
            "is of the log {:?}, and the keys given are of {}",
            unchecked.origin,
            names.join(", ")
        );
    }
    Ok(checkpoint::verify(note, &unchecked.origin, &own)?)
}

/// The log's key under the log's name. A broker signs with one key in its own name and in its log's.
fn in_the_name_of(origin: &str, key: &Verifier) -> Option<Verifier> {
    match key.name() {
        name if name == origin => Some(key.clone()),
        name if name.starts_with("spiffe://") => Verifier::new(origin, *key.public_key()).ok(),
        _ => None,
    }
}

/// A checkpoint that anybody may have written.
fn unverified(note: &[u8]) -> anyhow::Result<Checkpoint> {
    Note::parse(note)?;
    let whole = std::str::from_utf8(note)?;
    // The last blank line is where the signatures begin, as the note's parser has made sure.
    let end = whole.rfind("\n\n").context("no signatures")?;
    Ok(Checkpoint::parse(&whole[..=end])?)
}

/// That the log of the new checkpoint begins with that of the old one.
async fn goes_on(remote: &Remote, old: &Checkpoint, new: &Checkpoint) -> anyhow::Result<()> {
    if old.origin != new.origin {
        bail!(
            "the copy is of the log {:?}, but the broker's is {:?}: nothing was changed. Copy it into a folder of its own",
            old.origin,
            new.origin
        );
    }
    if new.size < old.size {
        bail!(
            "the copy has {} entries, but the broker's log is given up to {}: it was cut, or an older one was put in its place. Nothing was changed: keep the copy as evidence",
            old.size,
            new.size
        );
    }
    let proof = match old.size == 0 || old.size == new.size {
        true => Vec::new(),
        false => remote.consistency(old.size, new.size).await?,
    };
    let held = merkle::verify_consistency(&proof, (old.size, &old.root), (new.size, &new.root));
    held.with_context(|| {
        format!(
            "the broker's log of {} entries does not go on from the {} that were copied: it was rewritten. Nothing was changed: keep the copy as evidence",
            new.size, old.size
        )
    })
}

/// Saves the checkpoints since the last copy, each of which must be of the same tree.
async fn save_checkpoints(
    tree: &Tree<'_>,
    newest: &Checkpoint,
    options: Options<'_>,
    told: &mut Fetched,
) -> anyhow::Result<()> {
    let mut after = tree.had.saturating_sub(1);
    loop {
        let page = tree.remote.checkpoints(after).await?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        let last = *last;
        for (size, note) in page.into_iter().filter(|(size, _)| *size < newest.size) {
            belongs(tree, newest, size, &note, options.keys)
                .with_context(|| format!("the broker's checkpoint of {size} entries"))?;
            tree.folder.write(&saved(size), &note)?;
            told.checkpoints += 1;
        }
        if last >= newest.size || last <= after {
            return Ok(());
        }
        after = last;
    }
}

fn belongs(
    tree: &Tree<'_>,
    newest: &Checkpoint,
    size: u64,
    note: &[u8],
    keys: &[Verifier],
) -> anyhow::Result<()> {
    let checkpoint = read(note, keys)?;
    if checkpoint.origin != newest.origin || checkpoint.size != size {
        bail!("is another one");
    }
    match tree.root_at(size)? == checkpoint.root {
        true => Ok(()),
        false => bail!("is not of the tree of the newest: the broker has signed two histories"),
    }
}

/// Partial tiles that wider ones have taken the place of.
fn drop_narrower(folder: &Folder, old: u64, new: u64) -> anyhow::Result<()> {
    let last = Tile::of(Kind::Entries, old / u64::from(WIDTH), old);
    for tile in tree::edge_of(old).chain(last.filter(Tile::is_partial)) {
        if Tile::of(tile.kind(), tile.index(), new) != Some(tile) {
            folder.remove(&tile.to_string())?;
        }
    }
    Ok(())
}

fn saved(size: u64) -> String {
    format!("checkpoints/{size}")
}

impl Progress<'_> {
    fn step(&mut self) {
        self.done += 1;
        (self.tell)(self.done, self.all);
    }
}
