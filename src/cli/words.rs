//! From what was typed to what is sent.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use ring::digest::{Context as Hashing, SHA256};

use super::exit::Complaint;
use crate::api::wire;

/// A duration for the wire.
pub fn wire_duration(duration: Option<Duration>) -> Result<Option<wire::Duration>, Complaint> {
    let too_long =
        |_| Complaint::Usage("that is longer than any task: give a shorter time".to_owned());
    duration
        .map(|time| time.try_into().map_err(too_long))
        .transpose()
}

/// SHA-256 of a file's bytes; nothing if no file was named. What is in it stays here.
pub fn sha256_of(path: Option<&Path>) -> anyhow::Result<Vec<u8>> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let hashed = hash(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hashed.as_ref().to_vec())
}

fn hash(path: &Path) -> std::io::Result<ring::digest::Digest> {
    let mut file = File::open(path)?;
    let mut hashing = Hashing::new(&SHA256);
    let mut portion = [0; 8192];
    loop {
        match file.read(&mut portion)? {
            0 => return Ok(hashing.finish()),
            read => hashing.update(&portion[..read]),
        }
    }
}
