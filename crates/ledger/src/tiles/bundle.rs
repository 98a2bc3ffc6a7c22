//! Bundles: entries one after the other, each after its length.

use super::{TileError, WIDTH};

/// Longest entry that a bundle can hold, in bytes: its length is written in 16 bits.
pub const MAX_BUNDLED: usize = u16::MAX as usize;

/// The bundle of these entries.
pub fn bundle(entries: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, TileError> {
    if entries.is_empty() || entries.len() > usize::from(WIDTH) {
        return Err(TileError::Count(entries.len()));
    }
    let mut bytes = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::Entry(entry.len()))?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Ok(bytes)
}

/// The entries of a bundle that is named for so many.
pub fn entries(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let wrong = TileError::Bundle(width);
    let mut rest = bytes;
    let mut entries = Vec::with_capacity(width.min(WIDTH).into());
    for _ in 0..width {
        let (length, after) = rest.split_first_chunk().ok_or_else(|| wrong.clone())?;
        let length = u16::from_be_bytes(*length).into();
        let (entry, after) = after
            .split_at_checked(length)
            .ok_or_else(|| wrong.clone())?;
        entries.push(entry);
        rest = after;
    }
    rest.is_empty().then_some(entries).ok_or(wrong)
}
