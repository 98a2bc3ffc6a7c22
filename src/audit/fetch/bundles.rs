//! Bundles of entries, from the newest down to where the broker has pruned them, and what their entries name by digest.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use quietus_core::Digest;
use quietus_ledger::tiles::{self, Kind, MAX_BUNDLED, Tile, WIDTH};
use quietus_ledger::{MAX_ATTACHMENT, Sealed, merkle};

use super::tree::Tree;
use super::{Fetched, Progress};

/// The largest bundle.
const BUNDLE: usize = WIDTH as usize * (MAX_BUNDLED + 2);

/// Fetches every bundle that is not there, each after what its entries name.
pub(super) async fn fetch(
    tree: &Tree<'_>,
    told: &mut Fetched,
    progress: &mut Progress<'_>,
) -> anyhow::Result<()> {
    let mut known = BTreeSet::new();
    for index in (0..tree.size.div_ceil(WIDTH.into())).rev() {
        let tile = Tile::of(Kind::Entries, index, tree.size).context("no such bundle")?;
        progress.step();
        if is_there(tree, tile)? {
            continue;
        }
        let Some(bytes) = tree.remote.tile(tile).await? else {
            told.pruned = pruned(tree, tile).await?;
            return Ok(());
        };
        for object in named(tree, tile, &bytes)? {
            if known.insert(object.clone()) {
                object.fetch(tree, told).await?;
            }
        }
        tree.folder.write(&tile.to_string(), &bytes)?;
        told.bundles += 1;
        told.bytes += bytes.len() as u64;
    }
    Ok(())
}

/// Whether a bundle needs no fetching: the last copy had it, or one that was not finished left it.
fn is_there(tree: &Tree<'_>, tile: Tile) -> anyhow::Result<bool> {
    let name = tile.to_string();
    let had = Tile::of(Kind::Entries, tile.index(), tree.had) == Some(tile);
    if had {
        return Ok(tree.folder.has(&name));
    }
    let there = tree.folder.read(&name, BUNDLE)?;
    Ok(there.is_some_and(|bytes| check(tree, tile, &bytes).is_ok()))
}

/// The last entry that the copy lacks, provided that the broker says that it was pruned.
async fn pruned(tree: &Tree<'_>, tile: Tile) -> anyhow::Result<u64> {
    match tree.remote.is_pruned(tile.start() + 1).await? {
        true => Ok(tile.start() + u64::from(tile.width())),
        false => bail!("the broker withholds {tile}, which it has not pruned"),
    }
}

/// The entries of a bundle, if they are those of the tree.
fn check<'b>(tree: &Tree<'_>, tile: Tile, bytes: &'b [u8]) -> anyhow::Result<Vec<&'b [u8]>> {
    let entries = tiles::entries(bytes, tile.width())?;
    let leaves = tree.hashes(0, tile.index())?;
    let wrong = entries
        .iter()
        .zip(&leaves)
        .position(|(entry, leaf)| merkle::leaf(entry) != *leaf);
    match wrong {
        None => Ok(entries),
        Some(place) => bail!(
            "entry {} in {tile} is not the one that was hashed",
            tile.start() + place as u64 + 1
        ),
    }
}

/// Something that an entry names by its digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    policy: bool,
    digest: Digest,
}

fn named(tree: &Tree<'_>, tile: Tile, bytes: &[u8]) -> anyhow::Result<BTreeSet<Object>> {
    let mut objects = BTreeSet::new();
    for (entry, seq) in check(tree, tile, bytes)?
        .into_iter()
        .zip(tile.start() + 1..)
    {
        let sealed = Sealed::parse(entry).with_context(|| format!("entry {seq}"))?;
        let attached = sealed
            .entry
            .attached
            .values()
            .map(|list| (false, &list.sha256));
        let policy = sealed.entry.policy.iter().map(|digest| (true, digest));
        for (policy, digest) in attached.chain(policy) {
            let digest = digest.parse().with_context(|| format!("entry {seq}"))?;
            objects.insert(Object { policy, digest });
        }
    }
    Ok(objects)
}

impl Object {
    fn name(&self) -> String {
        match self.policy {
            true => format!("policies/{}", self.digest),
            false => format!("attachments/{}", self.digest),
        }
    }

    /// A policy set is checked by whoever decides with it: its digest covers the schema it was compiled with.
    async fn fetch(&self, tree: &Tree<'_>, told: &mut Fetched) -> anyhow::Result<()> {
        let name = self.name();
        if tree.folder.has(&name) {
            return Ok(());
        }
        let content = match self.policy {
            true => tree.remote.policy_set(self.digest).await?,
            false => tree.remote.attachment(self.digest).await?,
        };
        match content {
            None => told.missing.push(name),
            Some(bytes) if !self.policy && !self.is_digest_of(&bytes) => {
                bail!("{name} is not what its digest says")
            }
            Some(bytes) => {
                tree.folder.write(&name, &bytes)?;
                told.objects += 1;
            }
        }
        Ok(())
    }

    fn is_digest_of(&self, bytes: &[u8]) -> bool {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        bytes.len() <= MAX_ATTACHMENT && digest.as_ref() == self.digest.0
    }
}
