//! How each kind of credential is handed to a program: its fields by name, the variables that its tools read, and
//! the files that these name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use quietus_core::TargetName;

use super::template::{encoded, joined};
use crate::api::v1;
use crate::api::v1::credential::Kind;
use crate::cli::exit::Complaint;
use crate::issuers::Secret;

/// The field that holds the path of an SSH agent's socket.
pub const AGENT: &str = "agent_socket";
/// The field that holds the path of an SSH key.
pub const KEY_FILE: &str = "key_file";

/// What the user chose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// PostgreSQL's password in a file.
    pub pgpass: bool,
    /// Tokens in files.
    pub token_file: bool,
}

/// One credential, ready to be handed over.
#[derive(Debug)]
pub struct Kit {
    pub kind: &'static str,
    fields: BTreeMap<String, Secret>,
    /// By the field that holds the path.
    files: BTreeMap<&'static str, PrivateFile>,
    variables: Vec<(String, String)>,
    unset: &'static [&'static str],
    /// A field that is of no use without the other.
    implied: Vec<(&'static str, &'static str)>,
}

/// A file that is to be written.
#[derive(Debug, PartialEq, Eq)]
pub struct PrivateFile {
    pub name: String,
    pub content: Secret,
}

/// Where files of a target go.
pub struct Place<'a> {
    pub target: &'a TargetName,
    pub path: &'a dyn Fn(&str) -> PathBuf,
}

impl Kit {
    /// From a broker's answer. A renewed credential comes without the secret that it shares with the one before: the
    /// broker does not keep it.
    pub fn new(
        credential: v1::Credential,
        before: Option<&Self>,
        place: &Place<'_>,
        style: Style,
    ) -> Result<Self, Complaint> {
        let mut kind = credential.kind.ok_or(Complaint::Incomplete("credential"))?;
        if let Some(secret) = shared_secret(&mut kind).filter(|secret| secret.is_empty()) {
            let known = before.and_then(|kit| kit.field("password").or(kit.field("key")));
            let known = known.ok_or(Complaint::Incomplete("secret"))?;
            secret.push_str(known.expose());
        }
        let kit = match kind {
            Kind::Jwt(token) => jwt(token, place, style),
            Kind::Postgres(role) => postgres(role, place, style),
            Kind::X509(certificate) => x509(certificate, place),
            Kind::Ssh(certificate) => ssh(certificate, place),
            Kind::Redis(user) => redis(user, place),
            Kind::StaticSecret(secret) => static_secret(secret),
            Kind::External(credential) => external(credential),
        };
        Ok(kit)
    }

    pub fn field(&self, name: &str) -> Option<&Secret> {
        self.fields.get(name)
    }

    /// The fields that there are, for people.
    pub fn field_names(&self) -> String {
        let names: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        names.join(", ")
    }

    /// What this kind's tools read: variables, and the field that each holds.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.variables.iter();
        variables.map(|(name, field)| (name.as_str(), field.as_str()))
    }

    /// What would make this kind's tools look elsewhere.
    pub fn unset(&self) -> &'static [&'static str] {
        self.unset
    }

    /// The files behind these fields.
    pub fn files(&self, used: &BTreeSet<&str>) -> impl Iterator<Item = &PrivateFile> {
        let implied = self
            .implied
            .iter()
            .filter(|(field, _)| used.contains(field));
        let needed: BTreeSet<&str> = implied
            .map(|(_, other)| *other)
            .chain(used.iter().copied())
            .collect();
        let files = self.files.iter();
        files.filter_map(move |(field, file)| needed.contains(field).then_some(file))
    }

    /// No agent could be started.
    pub fn forget_agent(&mut self) {
        self.fields.remove(AGENT);
        self.variables.retain(|(_, field)| field != AGENT);
    }

    fn of(kind: &'static str) -> Self {
        Self {
            kind,
            fields: BTreeMap::new(),
            files: BTreeMap::new(),
            variables: Vec::new(),
            unset: &[],
            implied: Vec::new(),
        }
    }

    fn with(mut self, field: &str, value: impl Into<String>) -> Self {
        self.fields.insert(field.to_owned(), Secret::new(value));
        self
    }

    fn secret(mut self, field: &str, value: Secret) -> Self {
        self.fields.insert(field.to_owned(), value);
        self
    }

    /// A file, unless it would be empty; the field holds its path.
    fn file(mut self, field: &'static str, end: &str, content: Secret, place: &Place<'_>) -> Self {
        if content.expose().is_empty() {
            return self;
        }
        let name = format!("{}.{end}", place.target.as_str());
        let path = (place.path)(&name).to_string_lossy().into_owned();
        self.files.insert(field, PrivateFile { name, content });
        self.with(field, path)
    }

    /// The authority to trust, as a field and as a file.
    fn authority(self, pem: String, sslmode: &str, place: &Place<'_>) -> Self {
        // Told nothing, libpq looks in the user's home and not at the system's authorities.
        let system = pem.is_empty() && sslmode == "verify-full";
        let kit = self.with("ca", pem.as_str());
        match system {
            true => kit.with("ca_file", "system"),
            false => kit.file("ca_file", "ca.pem", Secret::new(pem), place),
        }
    }

    /// A variable, if there is such a field and it says anything.
    fn sets(mut self, variable: &str, field: &str) -> Self {
        let says = |value: &Secret| !value.expose().is_empty();
        if self.fields.get(field).is_some_and(says) {
            self.variables.push((variable.to_owned(), field.to_owned()));
        }
        self
    }

    fn implies(mut self, field: &'static str, other: &'static str) -> Self {
        self.implied.push((field, other));
        self
    }
}

/// What stays the same when a credential gets another life.
fn shared_secret(kind: &mut Kind) -> Option<&mut String> {
    match kind {
        Kind::Postgres(role) => Some(&mut role.password),
        Kind::Redis(user) => Some(&mut user.password),
        Kind::X509(certificate) => Some(&mut certificate.key_pem),
        Kind::Ssh(certificate) => Some(&mut certificate.private_key),
        Kind::Jwt(_) | Kind::StaticSecret(_) | Kind::External(_) => None,
    }
}

fn jwt(token: String, place: &Place<'_>, style: Style) -> Kit {
    let token = Secret::new(token);
    let kit = Kit::of("jwt")
        .secret("token", token.clone())
        .file("token_file", "jwt", token, place);
    match style.token_file {
        true => kit.sets("QUIETUS_TOKEN_FILE", "token_file"),
        false => kit.sets("QUIETUS_TOKEN", "token"),
    }
}

fn postgres(role: v1::PostgresCredential, place: &Place<'_>, style: Style) -> Kit {
    let port = role.port.to_string();
    let password = Secret::new(role.password);
    let line = pgpass([&role.host, &port, &role.database, &role.user], &password);
    let url = postgres_url(&role.host, &port, &role.database, &role.user, &password);
    let kit = Kit::of("postgres")
        .with("host", role.host)
        .with("port", port)
        .with("database", role.database)
        .with("user", role.user)
        .secret("password", password)
        .secret("url", url)
        .file("pgpass_file", "pgpass", line, place)
        .authority(role.ca_pem, &role.sslmode, place)
        .with("sslmode", role.sslmode)
        .sets("PGHOST", "host")
        .sets("PGPORT", "port")
        .sets("PGDATABASE", "database")
        .sets("PGUSER", "user")
        .sets("PGSSLMODE", "sslmode")
        .sets("PGSSLROOTCERT", "ca_file");
    // Each of these outranks or redirects what is set here (libpq's environment variables).
    let unset = &[
        "PGHOSTADDR",
        "PGSERVICE",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGSSLROOTCERT",
        "PGSSLMODE",
    ];
    let kit = Kit { unset, ..kit };
    match style.pgpass {
        true => kit.sets("PGPASSFILE", "pgpass_file"),
        false => kit.sets("PGPASSWORD", "password"),
    }
}

/// A line of a password file, as libpq reads it.
fn pgpass(parts: [&str; 4], password: &Secret) -> Secret {
    let mut line = Vec::new();
    for part in parts {
        line.push(escaped(part));
        line.push(Secret::new(":"));
    }
    line.push(escaped(password.expose()));
    line.push(Secret::new("\n"));
    joined(&line)
}

fn escaped(part: &str) -> Secret {
    let mut text = String::with_capacity(part.len() * 2);
    for c in part.chars() {
        if matches!(c, ':' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    Secret::new(text)
}

fn postgres_url(hosts: &str, port: &str, database: &str, user: &str, password: &Secret) -> Secret {
    let hosts: Vec<String> = hosts.split(',').map(|host| address(host, port)).collect();
    joined(&[
        Secret::new("postgres://"),
        encoded(user),
        Secret::new(":"),
        encoded(password.expose()),
        Secret::new(format!("@{}/", hosts.join(","))),
        encoded(database),
    ])
}

fn redis(user: v1::RedisCredential, place: &Place<'_>) -> Kit {
    let port = user.port.to_string();
    let password = Secret::new(user.password);
    let url = joined(&[
        Secret::new(if user.tls { "rediss://" } else { "redis://" }),
        encoded(&user.user),
        Secret::new(":"),
        encoded(password.expose()),
        Secret::new(format!("@{}", address(&user.host, &port))),
    ]);
    Kit::of("redis")
        .with("host", user.host)
        .with("port", port)
        .with("user", user.user)
        .secret("password", password)
        .secret("url", url)
        .with("tls", user.tls.to_string())
        .authority(user.ca_pem, "", place)
        .sets("REDISCLI_AUTH", "password")
        .sets("REDIS_HOST", "host")
        .sets("REDIS_PORT", "port")
        .sets("REDIS_USER", "user")
        .sets("REDIS_URL", "url")
        .sets("REDIS_CA_FILE", "ca_file")
}

fn x509(certificate: v1::X509Credential, place: &Place<'_>) -> Kit {
    let key = Secret::new(certificate.key_pem);
    let leaf = certificate.certificate_pem;
    Kit::of("x509")
        .with("certificate", leaf.as_str())
        .file("certificate_file", "cert.pem", Secret::new(leaf), place)
        .secret("key", key.clone())
        .file(KEY_FILE, "key.pem", key, place)
        .authority(certificate.ca_pem, "", place)
        .sets("QUIETUS_CERT_FILE", "certificate_file")
        .sets("QUIETUS_KEY_FILE", KEY_FILE)
        .sets("QUIETUS_CA_FILE", "ca_file")
}

fn ssh(certificate: v1::SshCredential, place: &Place<'_>) -> Kit {
    let key = Secret::new(certificate.private_key);
    let line = format!("{}\n", certificate.certificate.trim_end());
    let socket = (place.path)("agent.sock").to_string_lossy().into_owned();
    // ssh and ssh-add look for KEY-cert.pub beside KEY.
    Kit::of("ssh")
        .with("certificate", certificate.certificate)
        .file("certificate_file", "id-cert.pub", Secret::new(line), place)
        .secret("key", key.clone())
        .file(KEY_FILE, "id", key, place)
        .with("principals", certificate.principals.join(","))
        .with("host", certificate.host)
        .with("port", certificate.port.to_string())
        .with(AGENT, socket)
        .implies(KEY_FILE, "certificate_file")
        .implies(AGENT, KEY_FILE)
        .implies(AGENT, "certificate_file")
        .sets("SSH_AUTH_SOCK", AGENT)
        .sets("SSH_IDENTITY_FILE", KEY_FILE)
        .sets("SSH_CERTIFICATE_FILE", "certificate_file")
}

fn static_secret(secret: v1::StaticCredential) -> Kit {
    let kit = secret.fields.into_iter().fold(Kit::of("static"), own_field);
    kit.with("version", secret.version)
}

fn external(credential: v1::ExternalCredential) -> Kit {
    let fields = credential
        .public_fields
        .into_iter()
        .chain(credential.secret_fields);
    fields.fold(Kit::of("external"), own_field)
}

/// A field of a kind that no tool knows: `QUIETUS_` and its name.
fn own_field(kit: Kit, (name, value): (String, String)) -> Kit {
    let plain = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    let shouted: String = name.chars().map(plain).collect();
    kit.with(&name, value)
        .sets(&format!("QUIETUS_{shouted}"), &name)
}

/// Host and port as a URL has them; an IPv6 address goes in brackets, and a socket's folder is encoded.
fn address(host: &str, port: &str) -> String {
    match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"),
        false if host.starts_with('/') => format!("{}:{port}", encoded(host).expose()),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests;
