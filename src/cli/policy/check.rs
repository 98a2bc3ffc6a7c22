//! `quietus policy check`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use quietus_core::Digest;
use quietus_policy::{MAX_FILE_BYTES, PolicyError, PolicyFile, PolicySet};
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::{Page, Show};
use crate::cli::session::Globals;
use crate::cli::style::Tone;
use crate::cli::text::count;

/// Compiles a folder of policies as the broker would, without one
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Example:
  quietus policy check config/policies

Reports the first error of each file, by file, line and column.")]
pub struct CheckArgs {
    /// The folder of .cedar files
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Serialize)]
struct Checked {
    files: usize,
    policies: Option<usize>,
    digest: Option<String>,
    errors: Vec<String>,
}

pub fn run(globals: &Globals, args: &CheckArgs) -> anyhow::Result<Exit> {
    let checked = Checked::of(read(&args.dir)?);
    globals.out().print(&checked)?;
    Ok(match checked.errors.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

impl Checked {
    fn of(files: Vec<PolicyFile>) -> Self {
        let count = files.len();
        let compiled = PolicySet::compile(files.clone());
        let set = compiled.as_ref().ok();
        Self {
            files: count,
            policies: set.map(PolicySet::len),
            digest: set.map(|set| Digest(set.digest()).to_string()),
            errors: compiled
                .err()
                .map_or_else(Vec::new, |error| errors(files, &error)),
        }
    }
}

impl Show for Checked {
    fn show(&self, page: &mut Page) {
        self.errors.iter().for_each(|error| page.line(error));
        let files = count(self.files as u64, "file");
        match (&self.digest, self.policies) {
            (Some(digest), Some(policies)) => page.facts([
                ("policies", Some(format!("{policies} in {files}").into())),
                ("digest", Some(digest.into())),
                (
                    "note",
                    (policies == 0).then(|| "without a policy everything is denied".into()),
                ),
            ]),
            _ => {
                let errors = count(self.errors.len() as u64, "error");
                page.toned(Tone::Bad, format!("{errors} in {files}"));
            }
        }
    }
}

/// Compilation stops at the first error, so each file is compiled by itself as well.
fn errors(files: Vec<PolicyFile>, first: &PolicyError) -> Vec<String> {
    let alone = files
        .into_iter()
        .filter_map(|file| PolicySet::compile(vec![file]).err());
    let mut errors: Vec<String> = alone.map(|error| error.to_string()).collect();
    // What is wrong only between files shows in none of them.
    if errors.is_empty() {
        errors.push(first.to_string());
    }
    errors
}

fn read(dir: &Path) -> anyhow::Result<Vec<PolicyFile>> {
    let unreadable = || format!("cannot read {}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "cedar")
        {
            files.push(read_file(&path)?);
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn read_file(path: &Path) -> anyhow::Result<PolicyFile> {
    let unreadable = || format!("cannot read {}", path.display());
    let size = fs::metadata(path).with_context(unreadable)?.len();
    if size > MAX_FILE_BYTES as u64 {
        anyhow::bail!(
            "{}: {size} bytes: at most {MAX_FILE_BYTES} are allowed in a file; split it",
            path.display()
        );
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(PolicyFile {
        name: name.into_owned(),
        text: fs::read_to_string(path).with_context(unreadable)?,
    })
}
