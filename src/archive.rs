//! Policy sets as they are kept for replay: the files as a JSON object, in the order of their names.

use std::collections::BTreeMap;

use quietus_core::Digest;
use quietus_policy::{PolicyError, PolicyFile, PolicySet};
use ring::digest::SHA256;

/// The largest archive that is read: the largest policy set, every character of it escaped.
pub const MAX_ARCHIVE: usize = 8 * quietus_policy::MAX_TOTAL_BYTES;

/// Why an archived policy set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Larger than [`MAX_ARCHIVE`].
    #[error("{0} bytes are more than the {MAX_ARCHIVE} that an archived policy set may have")]
    TooLarge(usize),
    /// Not files by their names.
    #[error("not an archived policy set: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It does not compile.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Packs a policy set.
///
/// # Errors
/// If JSON cannot say it, which does not happen.
pub fn pack(set: &PolicySet) -> Result<Vec<u8>, serde_json::Error> {
    let files = set.files().iter();
    let files = files.map(|file| (&*file.name, &*file.text));
    serde_json::to_vec(&files.collect::<BTreeMap<&str, &str>>())
}

/// The digest of a packed policy set's bytes, by which whoever cannot compile it knows it.
pub fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&SHA256, bytes).as_ref());
    Digest(digest)
}

/// Compiles a packed policy set. Its digest is what it is, whatever name it was kept under.
///
/// # Errors
/// [`ArchiveError`] if it is not one.
pub fn unpack(bytes: &[u8]) -> Result<PolicySet, ArchiveError> {
    if bytes.len() > MAX_ARCHIVE {
        return Err(ArchiveError::TooLarge(bytes.len()));
    }
    let files: BTreeMap<String, String> = serde_json::from_slice(bytes)?;
    let files = files.into_iter();
    let files = files.map(|(name, text)| PolicyFile { name, text });
    Ok(PolicySet::compile(files.collect())?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> PolicyFile {
        PolicyFile {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn what_comes_back_is_the_same_set() {
        let text = "@id(\"u\")\npermit (principal, action, resource)\n// ü \"quoted\" \\ \u{7f}\n;";
        let set = PolicySet::compile(vec![file("b.cedar", text), file("a.cedar", "")]).unwrap();
        let back = unpack(&pack(&set).unwrap()).unwrap();
        assert_eq!(back.digest(), set.digest());
        assert_eq!(back.files(), set.files());
    }

    #[test]
    fn what_is_not_a_set_is_refused() {
        for bytes in [
            &b""[..],
            b"[]",
            b"{\"a.cedar\":1}",
            b"{\"a.cedar\":\"permit\"}",
            b"{\"\":\"permit(principal, action, resource);\"}",
        ] {
            assert!(unpack(bytes).is_err(), "{bytes:?}");
        }
        let large = vec![b' '; MAX_ARCHIVE + 1];
        assert!(matches!(unpack(&large), Err(ArchiveError::TooLarge(_))));
    }
}
