//! The key that signs evidence: receipts and checkpoints, which outsiders verify without asking the broker.
//!
//! One Ed25519 key for the life of a broker, in the key directory: `evidence.key` (PKCS#8, readable by its owner
//! alone) and, for handing out, `evidence.vkey` for receipts and `ledger.vkey` for checkpoints: the public key
//! as C2SP signed notes write it. Whoever is to believe them is given it beforehand.

use std::fs;
use std::path::{Path, PathBuf};

use quietus_ledger::merkle::Hash;
use quietus_ledger::note::{self, NoteError, Signer};
use quietus_ledger::{Checkpoint, CheckpointError};
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

use crate::keys::{KeysError, malformed, read_private, write_private};

/// The name of the file with the public key, in the broker's name: for receipts.
pub const VERIFIER_FILE: &str = "evidence.vkey";
/// The name of the file with the public key, in the log's name: for checkpoints.
pub const LOG_VERIFIER_FILE: &str = "ledger.vkey";
const KEY_FILE: &str = "evidence.key";

/// Signs in the broker's name.
pub struct Evidence {
    name: String,
    origin: String,
    pair: Ed25519KeyPair,
    verifier: String,
}

impl Evidence {
    /// Reads the key of this directory, or makes one if there is none. It signs receipts in the name of the broker, which
    /// is its SPIFFE ID, and checkpoints in the name of the log, which is its origin.
    ///
    /// # Errors
    /// [`KeysError`] if the key cannot be read, can be read by others, or is not one.
    pub fn open(dir: &Path, broker: &str, origin: &str) -> Result<Self, KeysError> {
        let path = dir.join(KEY_FILE);
        if !path.exists() {
            write_private(&path, &generate()?)?;
        }
        let bytes = read_private(&path)?;
        let pair = Ed25519KeyPair::from_pkcs8(&bytes)
            .map_err(|error| malformed(&path, &error.to_string()))?;
        let signer =
            Signer::new(broker, &pair).map_err(|error| malformed(&path, &error.to_string()))?;
        let verifier = signer.verifier().to_string();
        publish(&dir.join(VERIFIER_FILE), &verifier)?;
        let log =
            Signer::new(origin, &pair).map_err(|error| malformed(&path, &error.to_string()))?;
        publish(&dir.join(LOG_VERIFIER_FILE), &log.verifier().to_string())?;
        Ok(Self {
            name: broker.to_owned(),
            origin: origin.to_owned(),
            verifier,
            pair,
        })
    }

    /// A signed note of this text.
    ///
    /// # Errors
    /// [`NoteError`] if the text is not one that a note may have.
    pub fn sign(&self, text: &str) -> Result<String, NoteError> {
        note::sign(text, &[Signer::new(&self.name, &self.pair)?])
    }

    /// A signed checkpoint of the log's tree.
    ///
    /// # Errors
    /// [`CheckpointError`] if the log's name is not one that a checkpoint may have.
    pub fn sign_head(&self, size: u64, root: Hash) -> Result<String, CheckpointError> {
        let signer = Signer::new(&self.origin, &self.pair)?;
        Checkpoint::new(&self.origin, size, root).sign(&[signer])
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public key, `name+hash+key`.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }
}

fn generate() -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let document = document.map_err(|error| KeysError::Generate(error.to_string()))?;
    Ok(Zeroizing::new(document.as_ref().to_vec()))
}

/// For people to copy; the key is the truth.
fn publish(path: &PathBuf, verifier: &str) -> Result<(), KeysError> {
    let line = format!("{verifier}\n");
    if fs::read(path).is_ok_and(|there| there == line.as_bytes()) {
        return Ok(());
    }
    fs::write(path, line).map_err(|error| KeysError::File {
        path: path.clone(),
        error,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use quietus_ledger::note::{Note, Verifier};

    use super::*;

    const BROKER: &str = "spiffe://dev.example/broker";
    const ORIGIN: &str = "dev.example/broker";

    #[test]
    fn it_is_the_same_key_after_a_restart_and_its_public_half_lies_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let signed = Evidence::open(dir.path(), BROKER, ORIGIN)
            .unwrap()
            .sign("hello\n")
            .unwrap();
        let again = Evidence::open(dir.path(), BROKER, ORIGIN).unwrap();
        assert_eq!(again.sign("hello\n").unwrap(), signed);
        let published = fs::read_to_string(dir.path().join(VERIFIER_FILE)).unwrap();
        let verifier: Verifier = published.trim_end().parse().unwrap();
        let note = Note::parse(signed.as_bytes()).unwrap();
        assert_eq!(note.verify(&[verifier]).unwrap(), "hello\n");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Evidence::open(dir.path(), BROKER, ORIGIN).unwrap();
        let path = dir.path().join(KEY_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            Evidence::open(dir.path(), BROKER, ORIGIN),
            Err(KeysError::Mode { .. })
        ));
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        write_private(&path, b"not a key").unwrap();
        assert!(matches!(
            Evidence::open(dir.path(), BROKER, ORIGIN),
            Err(KeysError::Malformed { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"not a key");
    }
}
