//! The canonical form of RFC 8785, for types that are made for it.
//!
//! Such a type names its members in alphabetical order, has only whole numbers below 2^53, and no map whose keys are
//! outside the Basic Multilingual Plane. `serde_json` writes strings and whole numbers as RFC 8785 wants them.

use std::io::{Error, Write};

use serde::Serialize;

/// The largest whole number that every reader of JSON understands.
pub(crate) const MAX_NUMBER: u64 = (1 << 53) - 1;

/// Writes a value in its canonical form at the end of a buffer.
pub(crate) fn append(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), serde_json::Error> {
    serde_json::to_writer(out, value)
}

/// Whether these bytes are the value's canonical form.
pub(crate) fn is(value: &impl Serialize, bytes: &[u8]) -> bool {
    let mut expected = Expected(bytes);
    serde_json::to_writer(&mut expected, value).is_ok() && expected.0.is_empty()
}

/// Compares instead of writing: fails at the first byte that differs.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write(&mut self, written: &[u8]) -> Result<usize, Error> {
        let rest = self.0.strip_prefix(written);
        self.0 = rest.ok_or_else(|| Error::other("not canonical"))?;
        Ok(written.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod by_hand;
