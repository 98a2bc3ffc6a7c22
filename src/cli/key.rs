//! The public half of a key that the agent made itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::api::v1::request_credential_request::Key;
use crate::files;

/// The largest file that is read: more than the broker takes, since PEM is longer than what it holds.
const MAX_FILE: usize = 64 * 1024;

#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct OwnKey {
    /// A certification request (PKCS#10, PEM or DER) for a key of your own; by default the broker makes the key
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// An SSH public key of your own; by default the broker makes the key
    #[arg(long, value_name = "FILE")]
    ssh_public_key: Option<PathBuf>,
}

impl OwnKey {
    /// For the wire.
    pub fn read(&self) -> anyhow::Result<Option<Key>> {
        if let Some(path) = &self.csr {
            return with_path(path, csr).map(Some);
        }
        let path = self.ssh_public_key.as_ref();
        path.map(|path| with_path(path, ssh)).transpose()
    }
}

fn with_path(path: &Path, read: fn(&[u8]) -> anyhow::Result<Key>) -> anyhow::Result<Key> {
    let bytes = files::read(path, MAX_FILE).map(Zeroizing::new);
    let bytes = bytes.map_err(|problem| anyhow::anyhow!("{} {problem}", path.display()))?;
    refuse_private(&bytes)
        .and_then(|()| read(&bytes))
        .with_context(|| path.display().to_string())
}

fn csr(bytes: &[u8]) -> anyhow::Result<Key> {
    if !bytes.starts_with(b"-----BEGIN ") {
        return Ok(Key::Csr(bytes.to_vec()));
    }
    let request = CertificateSigningRequestDer::from_pem_slice(bytes);
    let request = request.context("is PEM, but no certification request (PKCS#10)")?;
    Ok(Key::Csr(request.to_vec()))
}

fn ssh(bytes: &[u8]) -> anyhow::Result<Key> {
    let text = std::str::from_utf8(bytes).map(str::trim);
    match text {
        Ok(line) if !line.is_empty() && !line.contains('\n') => {
            Ok(Key::SshPublicKey(line.to_owned()))
        }
        _ => bail!("is no SSH public key: that is one line, as in a .pub file"),
    }
}

/// It must never leave this machine.
fn refuse_private(bytes: &[u8]) -> anyhow::Result<()> {
    let sign = b"PRIVATE KEY-----";
    match bytes.windows(sign.len()).any(|found| found == sign) {
        true => bail!("holds a private key: give the public half, which is all that is sent"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== me@here";

    fn read(csr: bool, content: &[u8]) -> anyhow::Result<Option<Key>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, content).unwrap();
        let (csr, ssh_public_key) = match csr {
            true => (Some(path), None),
            false => (None, Some(path)),
        };
        OwnKey {
            csr,
            ssh_public_key,
        }
        .read()
    }

    #[test]
    fn requests_come_as_pem_or_der() {
        let pem = "-----BEGIN CERTIFICATE REQUEST-----\nAQID\n-----END CERTIFICATE REQUEST-----\n";
        let der = Some(Key::Csr(vec![1, 2, 3]));
        assert_eq!(read(true, pem.as_bytes()).unwrap(), der);
        assert_eq!(read(true, &[1, 2, 3]).unwrap(), der);
    }

    #[test]
    fn a_public_key_is_one_line() {
        let key = Some(Key::SshPublicKey(LINE.to_owned()));
        assert_eq!(read(false, format!("{LINE}\n").as_bytes()).unwrap(), key);
        for wrong in ["", "\n", "a\nb"] {
            assert!(read(false, wrong.as_bytes()).is_err(), "{wrong:?}");
        }
        assert!(read(false, &[0xff, 0xfe]).is_err());
    }

    #[test]
    fn a_private_key_is_never_sent() {
        for label in ["OPENSSH PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY"] {
            let pem = format!("-----BEGIN {label}-----\nAQID\n-----END {label}-----\n");
            for csr in [true, false] {
                let error = read(csr, pem.as_bytes()).unwrap_err();
                assert!(format!("{error:#}").contains("private key"), "{error:#}");
            }
        }
    }

    #[test]
    fn other_files_are_refused() {
        let pem = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
        assert!(read(true, pem.as_bytes()).is_err());
        assert!(read(true, &vec![b'x'; MAX_FILE + 1]).is_err());
        let nowhere = OwnKey {
            csr: Some("nowhere/key".into()),
            ssh_public_key: None,
        };
        assert!(nowhere.read().is_err());
    }
}
