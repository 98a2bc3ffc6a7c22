//! Credentials in files: `--out`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use zeroize::Zeroizing;

use super::{Credential, Postgres, Redis, Secret, joined, uri};

const PRIVATE_FOLDER: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Every name that a file of some kind may have.
const NAMES: [&str; 9] = [
    "token",
    "url",
    "pgpass",
    "cert.pem",
    "key.pem",
    "ca.pem",
    "id",
    "id-cert.pub",
    "secret.json",
];

/// A folder with room for a credential, looked at before the credential is asked for: it is handed out only once.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// A name, and what is in it.
type File = (&'static str, Zeroizing<String>);

impl Folder {
    /// Makes the folder, with those above it, or uses one that is there if only its owner may write in it and no
    /// file is in the way.
    pub fn prepare(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(PRIVATE_FOLDER);
        builder
            .create(path)
            .with_context(|| format!("cannot create the folder {shown}"))?;
        let metadata = fs::metadata(path).with_context(|| format!("cannot look at {shown}"))?;
        if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            bail!("others may write in {shown}: `chmod 700` it, or name another folder");
        }
        let taken = |name: &&str| fs::symlink_metadata(path.join(name)).is_ok();
        if let Some(name) = NAMES.into_iter().find(taken) {
            bail!("{name} is in {shown} already, and nothing is overwritten: name another folder");
        }
        // Clients that read a URI may be started elsewhere.
        let path = path.canonicalize();
        Ok(Self(path.with_context(|| format!("cannot find {shown}"))?))
    }

    /// Writes the credential's files, for the owner's eyes only; all of them or none. Returns their paths.
    pub fn write(&self, credential: &Credential) -> anyhow::Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for (name, text) in credential.files(&self.0) {
            let path = self.0.join(name);
            if let Err(error) = create(&path, &text) {
                // What is half written is worth nothing.
                written.iter().for_each(remove);
                return Err(error).with_context(|| format!("cannot write {}", path.display()));
            }
            written.push(path);
        }
        Ok(written)
    }
}

impl Credential {
    fn files(&self, folder: &Path) -> Vec<File> {
        match self {
            Self::Jwt { token } => vec![("token", line(token.expose()))],
            Self::Postgres(role) => postgres(role, folder),
            Self::Redis(user) => redis(user),
            Self::X509 {
                certificate_pem,
                ca_pem,
                key_pem,
            } => {
                let key = key_pem.as_ref().map(Secret::expose);
                let ca = ca_pem.as_deref();
                some([
                    ("key.pem", key),
                    ("cert.pem", Some(certificate_pem)),
                    ("ca.pem", ca),
                ])
            }
            Self::Ssh {
                certificate,
                private_key,
                ..
            } => {
                let key = private_key.as_ref().map(Secret::expose);
                some([("id", key), ("id-cert.pub", Some(certificate)), ("", None)])
            }
            Self::Static { .. } | Self::External { .. } => {
                let json = serde_json::to_string_pretty(self).expect("strings are JSON");
                vec![("secret.json", line(&Zeroizing::new(json)))]
            }
        }
    }
}

/// A password file and a service's URI, as libpq reads them.
fn postgres(role: &Postgres, folder: &Path) -> Vec<File> {
    let ca = folder.join("ca.pem");
    let ca = role.ca_pem.as_ref().map(|_| ca.to_string_lossy());
    let uri = uri::postgres(role, ca.as_deref());
    some([
        ("ca.pem", role.ca_pem.as_deref()),
        ("pgpass", Some(&pgpass(role))),
        ("url", Some(&uri)),
    ])
}

fn redis(user: &Redis) -> Vec<File> {
    let uri = uri::redis(user);
    some([
        ("ca.pem", user.ca_pem.as_deref()),
        ("url", Some(&uri)),
        ("", None),
    ])
}

/// A line of a libpq password file.
fn pgpass(role: &Postgres) -> Zeroizing<String> {
    let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let password = Zeroizing::new(escape(role.password.expose()));
    let [host, database, user] = [&role.host, &role.database, &role.user].map(|text| escape(text));
    let port = role.port;
    Zeroizing::new(format!("{host}:{port}:{database}:{user}:{}", *password))
}

fn some(files: [(&'static str, Option<&str>); 3]) -> Vec<File> {
    let files = files.into_iter();
    files
        .filter_map(|(name, text)| Some((name, line(text?))))
        .collect()
}

fn line(text: &str) -> Zeroizing<String> {
    joined([Some(text), None, None])
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(PRIVATE_FILE);
    let written = options.open(path)?.write_all(text.as_bytes());
    if written.is_err() {
        remove(&path.to_owned());
    }
    written
}

fn remove(path: &PathBuf) {
    // Why it cannot be written is what is told; this would say the same.
    let _ = fs::remove_file(path);
}
