//! `quietus audit show entry`

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use quietus_ledger::{Checkpoint, Verifier, merkle};
use serde::Serialize;
use serde_json::Value;

use crate::audit::select::{Found, Selection};
use crate::audit::{Log, Remote, events, fetch};
use crate::cli::exit::Complaint;
use crate::cli::output::{Page, Show, json};
use crate::cli::session::Globals;
use crate::cli::style::Tone;
use crate::cli::view::Time;
use crate::cli::vkeys;

/// How often, and after which pauses, a checkpoint over the entry is waited for: one comes within a second.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// Shows one entry, and verifies that it is in the tree of the newest checkpoint
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit show entry 42
  quietus audit show entry 42 --key ledger.vkey -o json

With --key the checkpoint is verified to be signed by the log; without it the broker is believed that it is. Exits with \
1 if anything does not hold.")]
pub struct EntryArgs {
    /// The entry, counted from 1
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    entry: u64,
    /// A verifier key (name+hash+key) of the log's, or a file with one a line
    #[arg(long = "key", value_name = "VKEY|FILE")]
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Shown {
    /// As it was hashed.
    #[serde(flatten)]
    sealed: Value,
    meaning: Option<&'static str>,
    proof: Proof,
}

#[derive(Serialize)]
struct Proof {
    origin: String,
    size: u64,
    leaf: String,
    root: String,
    hashes: Vec<String>,
    inclusion: &'static str,
    signature: &'static str,
}

pub async fn run(globals: &Globals, args: &EntryArgs) -> anyhow::Result<()> {
    let keys = vkeys::read("--key", &args.keys)?;
    let remote = Remote::new(globals.connect().await?.audit());
    let found = found(&remote, args.entry).await?;
    let checkpoint = covering(&remote, args.entry, &keys).await?;
    let proof = proven(&remote, &found, &checkpoint, !keys.is_empty()).await?;
    let shown = Shown {
        sealed: serde_json::from_slice(&found.bytes)?,
        meaning: events::meaning(&found.sealed.entry.event),
        proof,
    };
    Ok(globals.out().print(&shown)?)
}

async fn found(remote: &Remote, seq: u64) -> anyhow::Result<Found> {
    let asked = Selection {
        from: Some(seq),
        to: Some(seq),
        ..Selection::default()
    };
    let mut entries = Log::Broker(Box::new(remote.clone())).select(asked).await?;
    let found = entries.next().await?;
    Ok(found.ok_or(Complaint::NotFound("entry"))?)
}

/// The newest checkpoint, once it covers the entry.
async fn covering(remote: &Remote, seq: u64, keys: &[Verifier]) -> anyhow::Result<Checkpoint> {
    for _ in 0..TRIES {
        let note = remote.checkpoint_at_most(u64::MAX).await?;
        let checkpoint = fetch::read(&note, keys).context("the broker's newest checkpoint")?;
        if checkpoint.size >= seq {
            return Ok(checkpoint);
        }
        tokio::time::sleep(PAUSE).await;
    }
    bail!("no checkpoint covers entry {seq} yet: the broker should sign one within a second")
}

async fn proven(
    remote: &Remote,
    found: &Found,
    checkpoint: &Checkpoint,
    signed: bool,
) -> anyhow::Result<Proof> {
    let seq = found.sealed.seq;
    let included = remote.inclusion(seq, checkpoint.size).await?;
    included
        .verify(seq, &found.bytes, checkpoint.size, &checkpoint.root)
        .with_context(|| format!("entry {seq} is not in the tree of the newest checkpoint"))?;
    Ok(Proof {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        leaf: hex(&merkle::leaf(&found.bytes)),
        root: hex(&checkpoint.root),
        hashes: included.hashes.iter().map(|hash| hex(hash)).collect(),
        inclusion: "verified",
        signature: if signed { "verified" } else { "unchecked" },
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Show for Shown {
    fn show(&self, page: &mut Page) {
        let entry = &self.sealed["entry"];
        let event = entry["event"].as_str().unwrap_or_default();
        let meaning = self.meaning.unwrap_or("not an event that is known here");
        let time = entry["time"].as_u64().map(Time::from_millis);
        page.toned(
            Tone::Strong,
            format!("Entry {}: {event}, {meaning}", self.sealed["seq"]),
        );
        if let Some(time) = time {
            page.line(page.moment(time));
        }
        page.line("");
        // What cannot be shown is not JSON, and that it is was seen when it was read.
        let text = json(entry).unwrap_or_default();
        text.lines().for_each(|line| page.line(line));
        page.heading("Proof");
        let Proof { origin, size, .. } = &self.proof;
        let tree = format!("{size} entries of {origin}, root {}", self.proof.root);
        let included = format!(
            "verified: the hash of this entry, with {} others, leads to the root",
            self.proof.hashes.len()
        );
        let signature = match self.proof.signature {
            "verified" => "verified: the checkpoint is signed with the key given",
            _ => "not checked: no --key was given, so the broker is believed that this is its tree",
        };
        page.facts([
            ("tree", Some(tree.into())),
            ("leaf", Some(self.proof.leaf.as_str().into())),
            ("inclusion", Some(included.into())),
            ("signature", Some(signature.into())),
        ]);
    }
}
