//! `quietus audit copy`

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::audit::Remote;
use crate::audit::fetch::{self, Fetched, Options};
use crate::cli::exit::Exit;
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;
use crate::cli::style::Tone;
use crate::cli::text::{bytes, count};
use crate::cli::vkeys;

/// Copies the ledger into a folder, or brings a copy up to date
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus audit copy copy/ --key ledger.vkey
  quietus audit copy copy/ && quietus audit verify copy/ --key ledger.vkey

The folder has the files of c2sp.org/tlog-tiles, and can be put on any web server. Only what is new is fetched, and \
only what belongs to the tree of the broker's newest checkpoint is kept, policy sets excepted. If the broker's ledger does not go on from \
the copy, nothing is changed: keep the copy, it is evidence.

Exits with 1 as well if entries name files that the broker does not have; everything else is copied then.")]
pub struct CopyArgs {
    /// The folder; it is made if there is none
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Copy no more than so many entries, up to a checkpoint that is kept
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    to: Option<u64>,
    /// A verifier key (name+hash+key) of the log's, or a file with one a line: it must have signed every checkpoint
    #[arg(long = "key", value_name = "VKEY|FILE")]
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Copied {
    origin: String,
    entries: u64,
    entries_before: Option<u64>,
    bundles_fetched: u64,
    bytes_fetched: u64,
    objects_fetched: u64,
    checkpoints_saved: u64,
    pruned_through: u64,
    signature: &'static str,
    missing: Vec<String>,
}

pub async fn run(globals: &Globals, args: &CopyArgs) -> anyhow::Result<Exit> {
    let keys = vkeys::read("--key", &args.keys)?;
    let remote = Remote::new(globals.connect().await?.audit());
    let options = Options {
        keys: &keys,
        at_most: args.to,
    };
    let bar = bar();
    let mut tell = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let fetched = fetch::fetch(&remote, &args.dir, options, &mut tell).await;
    bar.finish_and_clear();
    let copied = Copied::from(fetched?);
    globals.out().print(&copied)?;
    Ok(match copied.missing.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

/// Nothing unless standard error is a terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} files");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

impl From<Fetched> for Copied {
    fn from(fetched: Fetched) -> Self {
        Self {
            origin: fetched.origin,
            entries: fetched.size,
            entries_before: fetched.before,
            bundles_fetched: fetched.bundles,
            bytes_fetched: fetched.bytes,
            objects_fetched: fetched.objects,
            checkpoints_saved: fetched.checkpoints,
            pruned_through: fetched.pruned,
            signature: if fetched.verified {
                "verified"
            } else {
                "unchecked"
            },
            missing: fetched.missing,
        }
    }
}

impl Show for Copied {
    fn show(&self, page: &mut Page) {
        let new = self.entries - self.entries_before.unwrap_or(0);
        let entries = match (self.entries_before, new) {
            (None, _) => self.entries.to_string(),
            (_, 0) => format!("{}, none of them new", self.entries),
            _ => format!("{}, {new} of them new", self.entries),
        };
        let fetched = format!(
            "{} ({}), {}, {}",
            count(self.bundles_fetched, "bundle"),
            bytes(self.bytes_fetched),
            count(self.objects_fetched, "attachment or policy set"),
            count(self.checkpoints_saved, "checkpoint"),
        );
        let signature = match self.signature {
            "verified" => "verified with the key given",
            _ => "not checked: no --key was given",
        };
        let pruned = (self.pruned_through > 0).then(|| {
            format!(
                "entries up to {} are not in it: the broker has pruned them",
                self.pruned_through
            )
        });
        page.facts([
            ("log", Some(self.origin.as_str().into())),
            ("entries", Some(entries.into())),
            ("fetched", Some(fetched.into())),
            (
                "hashes",
                Some("every tile, entry and list belongs to the checkpoint's tree".into()),
            ),
            ("signature", Some(signature.into())),
            ("pruned", pruned.map(Into::into)),
        ]);
        for name in &self.missing {
            page.toned(
                Tone::Bad,
                format!("missing: {name}, which an entry names and the broker does not have"),
            );
        }
    }
}
