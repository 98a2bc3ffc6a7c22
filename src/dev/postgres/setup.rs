//! A server's folder, user, certificates and configuration.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{DevPostgresError, DevPostgresOptions, io};

/// Who the server runs as, if not as ourselves.
#[derive(Clone, Debug)]
pub(super) struct Owner(Option<(u32, u32)>);

impl Owner {
    /// Ourselves; or, since the server does not run as root, `postgres` or `nobody`.
    pub(super) fn find() -> Result<Self, DevPostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = ["postgres", "nobody"]
            .iter()
            .find_map(|name| look_up(&users, name));
        found
            .map(|ids| Self(Some(ids)))
            .ok_or(DevPostgresError::NoUser)
    }

    /// A command that is run as this user, with nothing of our environment but what programs need.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
        command
    }

    fn give(&self, path: &Path) -> Result<(), DevPostgresError> {
        match self.0 {
            Some((user, group)) => {
                chown(path, Some(user), Some(group)).map_err(io("give away", path))
            }
            None => Ok(()),
        }
    }
}

fn look_up(users: &str, name: &str) -> Option<(u32, u32)> {
    let mut lines = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let fields = lines.find(|fields| fields.first() == Some(&name))?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// A new folder, which others may pass through but not look into.
pub(super) fn folder() -> Result<PathBuf, DevPostgresError> {
    let path = std::env::temp_dir().join(format!("quietus-postgres-{}", random()?));
    let made = DirBuilder::new().mode(0o711).create(&path);
    made.map_err(io("create", &path))?;
    Ok(path)
}

/// A new folder for the server alone.
pub(super) fn own_folder(path: &Path, owner: &Owner) -> Result<(), DevPostgresError> {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(io("create", path))?;
    owner.give(path)
}

/// Writes a random password.
pub(super) fn password(path: &Path) -> Result<(), DevPostgresError> {
    write(path, &Zeroizing::new(random()?))
}

/// A copy that the server's user can read.
pub(super) fn copy_for(from: &Path, to: &Path, owner: &Owner) -> Result<(), DevPostgresError> {
    let text = Zeroizing::new(fs::read_to_string(from).map_err(io("read", from))?);
    write(to, &text)?;
    owner.give(to)
}

/// An authority's certificate in `folder`; in `data` a certificate from it for localhost, and its key.
pub(super) fn certificates(
    folder: &Path,
    data: &Path,
    owner: &Owner,
) -> Result<(), DevPostgresError> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name
        .push(DnType::CommonName, "Quietus development database CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    write(&folder.join("ca.pem"), &ca.self_signed(&ca_key)?.pem())?;
    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = server.signed_by(&key, &Issuer::from_params(&ca, &ca_key))?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    for (name, text) in [
        ("server.crt", certificate.pem()),
        ("server.key", key_pem.to_string()),
    ] {
        let path = data.join(name);
        write(&path, &Zeroizing::new(text))?;
        owner.give(&path)?;
    }
    Ok(())
}

/// Adds to `postgresql.conf`: loopback only, its socket in its own folder.
pub(super) fn configure(data: &Path, options: &DevPostgresOptions) -> Result<(), DevPostgresError> {
    let on = |yes: bool| if yes { "on" } else { "off" };
    let mut text = format!(
        "\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = {0}\n\
         full_page_writes = {0}\nssl = {1}\nmax_connections = 100\nshared_buffers = '32MB'\n",
        on(options.fsync),
        on(options.tls),
    );
    for (name, value) in &options.settings {
        text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    let path = data.join("postgresql.conf");
    let mut file = File::options()
        .append(true)
        .open(&path)
        .map_err(io("write", &path))?;
    file.write_all(text.as_bytes()).map_err(io("write", &path))
}

fn write(path: &Path, text: &str) -> Result<(), DevPostgresError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(io("write", path))
}

fn random() -> Result<String, DevPostgresError> {
    let mut bytes = Zeroizing::new([0; 16]);
    let filled = SystemRandom::new().fill(&mut *bytes);
    filled.map_err(|_| DevPostgresError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
