//! `quietus receipt verify`

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use quietus_ledger::Verifier;

use super::read;
use super::view::{Signature, Signed};
use crate::cli::exit::{Complaint, Exit};
use crate::cli::session::Globals;
use crate::files;

/// The largest file of keys that is read.
const MAX_KEYS: usize = 64 * 1024;

/// Verifies a receipt without a broker: who signed it, and that it says nothing that cannot be
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  quietus receipt verify task.receipt --key @evidence.vkey
  quietus receipt verify task.receipt --key \"$(cat evidence.vkey)\" -o json

The broker leaves its verifier key in evidence.vkey in its key directory: get it on a way that you trust, not with the \
receipt.

Exits with 0 if the signature and the contents hold and the death of every credential is confirmed, with 7 if they \
hold and some death is not confirmed, and with 1 if it is not to be believed.")]
pub struct VerifyArgs {
    /// The signed note
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A verifier key (name+hash+key) of the broker's, or @FILE with one a line; any of them will do
    #[arg(long = "key", value_name = "VKEY|@FILE", required = true)]
    keys: Vec<String>,
}

pub fn run(globals: &Globals, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let mut keys = Vec::new();
    for text in &args.keys {
        match text.strip_prefix('@') {
            Some(path) => keys.extend(keys_of(Path::new(path))?),
            None => keys.push(key(text)?),
        }
    }
    let bytes = read::file(&args.file)?;
    let receipt = read::checked(&bytes, &keys);
    let receipt = receipt.with_context(|| format!("{} does not hold", args.file.display()))?;
    let signer = receipt.issuer.clone();
    let signed = Signed::new(receipt, Signature::Verified, vec![signer]);
    globals.out().print(&signed)?;
    Ok(match signed.is_complete() {
        true => Exit::Done,
        false => Exit::Unconfirmed,
    })
}

fn key(text: &str) -> Result<Verifier, Complaint> {
    let read = text.parse();
    read.map_err(|error| Complaint::Usage(format!("--key {text}: {error}")))
}

fn keys_of(path: &Path) -> anyhow::Result<Vec<Verifier>> {
    let shown = path.display();
    let bytes = files::read(path, MAX_KEYS).map_err(|problem| anyhow!("{shown} {problem}"))?;
    let text = String::from_utf8(bytes).with_context(|| format!("{shown} is not text"))?;
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys = keys.map(str::parse).collect::<Result<Vec<_>, _>>();
    let keys = keys.with_context(|| shown.to_string())?;
    if keys.is_empty() {
        bail!("{shown} holds no verifier key");
    }
    Ok(keys)
}
