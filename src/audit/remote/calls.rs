//! The calls that fetching, showing and following need.

use anyhow::{Context, bail};
use quietus_core::{Digest, TaskId};
use quietus_ledger::merkle::{self, Hash};
use quietus_ledger::tiles::Tile;
use ring::hmac;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

use super::{Remote, found};
use crate::api::v1;

/// Checkpoints asked for at once.
const PAGE: u32 = 500;

/// A proof that an entry is in the tree, as the broker gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// The size of the tree.
    pub size: u64,
    /// The hash next to the leaf first.
    pub hashes: Vec<Hash>,
}

/// What is known of a text that an entry commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// It is what the entry commits to.
    Kept(String),
    /// It is not there any more.
    Erased,
}

impl Remote {
    /// The newest checkpoint of a tree that is not larger; the newest of all for 0.
    pub async fn checkpoint_at_most(&self, size: u64) -> anyhow::Result<Vec<u8>> {
        let request = v1::GetCheckpointRequest { at_most: size };
        let answer = self.client.clone().get_checkpoint(request).await?;
        Ok(answer.into_inner().note.into_bytes())
    }

    /// Some of the kept checkpoints of larger trees, the smallest first; none at the end.
    pub async fn checkpoints(&self, after: u64) -> anyhow::Result<Vec<(u64, Vec<u8>)>> {
        let request = v1::ListCheckpointsRequest {
            after,
            page_size: PAGE,
        };
        let answer = self.client.clone().list_checkpoints(request).await?;
        let heads = answer.into_inner().checkpoints.into_iter();
        Ok(heads
            .map(|head| (head.size, head.note.into_bytes()))
            .collect())
    }

    /// A tile or a bundle; none if there is none, or its entries were pruned.
    pub async fn tile(&self, tile: Tile) -> anyhow::Result<Option<Vec<u8>>> {
        let mut client = self.client.clone();
        let request = v1::GetTileRequest {
            path: tile.to_string(),
        };
        match found(client.get_tile(request)).await {
            Ok(answer) => Ok(answer.map(|answer| answer.content)),
            Err(status) if is_pruned(&status) => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// A proof that the tree of `new` entries begins with that of `old`.
    pub async fn consistency(&self, old: u64, new: u64) -> anyhow::Result<Vec<Hash>> {
        let request = v1::ProveConsistencyRequest { old, new };
        let answer = self.client.clone().prove_consistency(request).await?;
        hashes(answer.into_inner().hashes)
    }

    /// A proof that an entry is in the tree of so many.
    pub async fn inclusion(&self, entry: u64, size: u64) -> anyhow::Result<Included> {
        let request = v1::ProveInclusionRequest { entry, size };
        let answer = self.client.clone().prove_inclusion(request).await?;
        let answer = answer.into_inner();
        Ok(Included {
            size: answer.size,
            hashes: hashes(answer.hashes)?,
        })
    }

    /// The text that an entry commits to.
    ///
    /// # Errors
    /// If the text is not the one that it commits to, or the broker does not tell it.
    pub async fn text(&self, commitment: Digest) -> anyhow::Result<Text> {
        let mut client = self.client.clone();
        let request = v1::GetTextRequest {
            commitment: commitment.to_string(),
        };
        let answer = found(client.get_text(request)).await?;
        let Some(v1::GetTextResponse { salt, text }) = answer else {
            return Ok(Text::Erased);
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salt);
        match hmac::verify(&key, text.as_bytes(), &commitment.0) {
            Ok(()) => Ok(Text::Kept(text)),
            Err(_) => bail!("the text is not the one that the entry commits to"),
        }
    }

    /// A stream of entries: from one on, to another if it is not 0, of one task if one is named, and those to come.
    pub async fn stream(
        &self,
        from: u64,
        to: u64,
        task: Option<TaskId>,
        follow: bool,
    ) -> Result<Streaming<v1::ReadEntriesResponse>, Status> {
        let request = v1::ReadEntriesRequest {
            from,
            to,
            follow,
            task_id: task.map(|task| task.to_string()).unwrap_or_default(),
        };
        Ok(self
            .client
            .clone()
            .read_entries(request)
            .await?
            .into_inner())
    }

    /// Whether the broker says that this entry was pruned.
    pub async fn is_pruned(&self, entry: u64) -> anyhow::Result<bool> {
        match self.stream(entry, entry, None, false).await {
            Ok(_) => Ok(false),
            Err(status) if is_pruned(&status) => Ok(true),
            Err(status) => Err(status.into()),
        }
    }
}

impl Included {
    /// That the tree of so many entries with this root has this entry, as it was hashed, at this place.
    ///
    /// # Errors
    /// If the proof does not lead there.
    pub fn verify(&self, seq: u64, entry: &[u8], size: u64, root: &Hash) -> anyhow::Result<()> {
        let index = seq.checked_sub(1).context("entries are counted from 1")?;
        merkle::verify_inclusion(&self.hashes, &merkle::leaf(entry), index, size, root)?;
        Ok(())
    }
}

fn is_pruned(status: &Status) -> bool {
    let info = status.get_details_error_info();
    let pruned = info.is_some_and(|info| info.reason == "PRUNED");
    pruned && status.code() != Code::Ok
}

fn hashes(answer: Vec<Vec<u8>>) -> anyhow::Result<Vec<Hash>> {
    let hash = |bytes: Vec<u8>| bytes.try_into().ok();
    let hashes: Option<Vec<Hash>> = answer.into_iter().map(hash).collect();
    hashes.context("the broker's proof has something in it that is not a hash")
}
