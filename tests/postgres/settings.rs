//! Files that settings name.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::fixture::shared;
use crate::order::{settings, try_issuer};

const BROKER: &str = "spiffe://dev.example/broker";

/// A file for its owner alone.
pub fn secret(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("secret");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn password_files_are_private_and_hold_something() {
    let server = shared();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&server, "postgres");
    let mut refusal = |path: PathBuf| {
        settings.password_file = Some(path);
        let built = try_issuer(&settings, Duration::from_secs(1), BROKER);
        built.map(|_| ()).unwrap_err()
    };
    assert!(refusal(secret(&folder, "\n")).contains("empty"));
    assert!(refusal(secret(&folder, &"x".repeat(5000))).contains("4096"));
    assert!(refusal(folder.path().join("none")).contains("cannot be read"));
    assert!(refusal(folder.path().to_owned()).contains("others") || folder.path().exists());
    let open = secret(&folder, "p");
    fs::set_permissions(&open, Permissions::from_mode(0o640)).unwrap();
    assert!(refusal(open).contains("chmod 600"));
}
