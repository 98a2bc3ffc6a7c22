//! `[ledger]`

use super::problems::Problems;
use super::raw;

/// Longest origin, in bytes.
const MAX_ORIGIN: usize = 256;

/// The record, as outsiders see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// The log's name in its checkpoints; if none, the broker's SPIFFE ID without its scheme.
    pub origin: Option<String>,
}

/// Checks the section.
pub(super) fn ledger(problems: &mut Problems<'_>, raw: &raw::Ledger) -> Ledger {
    let origin = raw.origin.as_ref().and_then(|origin| {
        let read = checked_origin(origin.get_ref());
        problems.accepted("ledger.origin", origin, read)
    });
    Ledger { origin }
}

/// What can be the name of a key on a signed note (c2sp.org/signed-note).
fn checked_origin(text: &str) -> Result<String, &'static str> {
    let named = (1..=MAX_ORIGIN).contains(&text.len());
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
    match named && plain {
        true => Ok(text.to_owned()),
        false => Err(
            "write a URL without its scheme, such as log.example.com/quietus: 1 to 256 ASCII characters without spaces or +",
        ),
    }
}
