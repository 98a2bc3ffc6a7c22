//! `quietus receipt verify`

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use quietus_ledger::Verifier;

use super::read;
use super::view::{Signature, Signed};
use crate::cli::exit::Exit;
use crate::cli::session::Globals;
use crate::cli::vkeys;

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
    let keys: Vec<Verifier> = vkeys::read("--key", &args.keys)?;
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
