//! Receipts from files and from the broker.

use std::path::Path;

use anyhow::{Context, anyhow};
use quietus_ledger::note::MAX_NOTE;
use quietus_ledger::receipt;
use quietus_ledger::{Note, NoteError, Receipt, Verifier};

use super::view;
use crate::api::v1;
use crate::cli::exit::Complaint;
use crate::files;

/// A receipt that the broker sent.
pub struct Fetched {
    /// The signed note, as it is kept.
    pub note: String,
    /// The key that signed it, as the broker says.
    pub verifier: String,
    pub signed: view::Signed,
}

impl Fetched {
    /// From an answer. It must hold by the broker's own word at least.
    pub fn read(answer: Option<v1::Receipt>) -> anyhow::Result<Self> {
        let answer = answer.ok_or(Complaint::Incomplete("receipt"))?;
        let unusable = "the broker's receipt cannot be used";
        let verifier: Verifier = answer.verifier.parse().context(unusable)?;
        let receipt = checked(answer.note.as_bytes(), &[verifier]).context(unusable)?;
        let signer = receipt.issuer.clone();
        Ok(Self {
            signed: view::Signed::new(receipt, view::Signature::MatchesBroker, vec![signer]),
            note: answer.note,
            verifier: answer.verifier,
        })
    }
}

/// A file that may hold a receipt.
pub fn file(path: &Path) -> anyhow::Result<Vec<u8>> {
    files::read(path, MAX_NOTE).map_err(|problem| anyhow!("{} {problem}", path.display()))
}

/// A receipt that one of the keys signed in its own name.
pub fn checked(note: &[u8], keys: &[Verifier]) -> anyhow::Result<Receipt> {
    let receipt = match receipt::verify(note, keys) {
        Err(receipt::ReceiptError::Note(NoteError::Unverified)) => {
            return Err(unverified(&Note::parse(note)?, keys));
        }
        receipt => receipt?,
    };
    let parsed = Note::parse(note)?;
    let mut issuers = keys.iter().filter(|key| key.name() == receipt.issuer);
    match issuers.any(|key| parsed.verify(std::slice::from_ref(key)).is_ok()) {
        true => Ok(receipt),
        false => Err(anyhow!(
            "the receipt says that {} issued it, but another's key signed it",
            receipt.issuer
        )),
    }
}

/// A receipt that anybody may have written, and the names of those who are said to have signed it.
pub fn unchecked(bytes: &[u8]) -> anyhow::Result<(Receipt, Vec<String>)> {
    let note = Note::parse(bytes)?;
    let names = note.unverified_names().map(str::to_owned).collect();
    let whole = std::str::from_utf8(bytes)?;
    // The last blank line is where the signatures begin, as the note's parser has made sure.
    let end = whole.rfind("\n\n").ok_or(NoteError::Unsigned)?;
    Ok((Receipt::parse(&whole[..=end])?, names))
}

fn unverified(note: &Note<'_>, keys: &[Verifier]) -> anyhow::Error {
    let signers: Vec<_> = note.unverified_names().collect();
    let given: Vec<_> = keys.iter().map(Verifier::to_string).collect();
    anyhow!(
        "no key that was given signed it: it is said to be signed by {}, and given was {}",
        signers.join(", "),
        given.join(", ")
    )
}
