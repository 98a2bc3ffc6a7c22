//! Credentials, and the keys that agents bring for them. The only place where a secret becomes part of a message.

use std::collections::BTreeMap;
use std::fmt;

use super::v1;
use crate::engine::Error;
use crate::issuers::{Credential, KeyRequest, Secret};

/// The largest key that an agent may bring, in bytes.
const MAX_KEY: usize = 16 * 1024;

/// A credential as it is handed over.
pub fn credential(credential: &Credential) -> v1::Credential {
    v1::Credential {
        kind: Some(kind(credential)),
    }
}

fn kind(credential: &Credential) -> v1::credential::Kind {
    use v1::credential::Kind;
    match credential {
        Credential::Jwt(token) => Kind::Jwt(token.expose().to_owned()),
        Credential::Postgres {
            host,
            port,
            database,
            user,
            password,
            sslmode,
            ca_pem,
        } => Kind::Postgres(v1::PostgresCredential {
            host: host.clone(),
            port: u32::from(*port),
            database: database.clone(),
            user: user.clone(),
            password: password.expose().to_owned(),
            sslmode: sslmode.clone(),
            ca_pem: ca_pem.clone(),
        }),
        Credential::X509 {
            certificate_pem,
            ca_pem,
            key_pem,
        } => Kind::X509(v1::X509Credential {
            certificate_pem: certificate_pem.clone(),
            ca_pem: ca_pem.clone(),
            key_pem: exposed(key_pem.as_ref()),
        }),
        Credential::Ssh {
            certificate,
            private_key,
            principals,
            host,
            port,
        } => Kind::Ssh(v1::SshCredential {
            certificate: certificate.clone(),
            private_key: exposed(private_key.as_ref()),
            principals: principals.clone(),
            host: host.clone(),
            port: u32::from(*port),
        }),
        Credential::Redis {
            host,
            port,
            user,
            password,
            tls,
            ca_pem,
        } => Kind::Redis(v1::RedisCredential {
            host: host.clone(),
            port: u32::from(*port),
            user: user.clone(),
            password: password.expose().to_owned(),
            tls: *tls,
            ca_pem: ca_pem.clone(),
        }),
        Credential::Static { version, fields } => Kind::StaticSecret(v1::StaticCredential {
            version: version.clone(),
            fields: all_exposed(fields),
        }),
        Credential::External {
            kind,
            public,
            secret,
        } => Kind::External(v1::ExternalCredential {
            kind: kind.clone(),
            public_fields: public.clone().into_iter().collect(),
            secret_fields: all_exposed(secret),
        }),
    }
}

/// The key that an agent brings, within bounds; whether it is one is the issuer's to say.
pub fn key_request(
    key: Option<v1::request_credential_request::Key>,
) -> Result<Option<KeyRequest>, Error> {
    use v1::request_credential_request::Key;
    let (field, length) = match &key {
        None => return Ok(None),
        Some(Key::Csr(der)) => ("csr", der.len()),
        Some(Key::SshPublicKey(line)) => ("ssh_public_key", line.len()),
    };
    if length == 0 || length > MAX_KEY {
        return Err(Error::Invalid {
            field,
            message: format!("send 1 to {MAX_KEY} bytes, or leave it out"),
        });
    }
    Ok(key.map(|key| match key {
        Key::Csr(der) => KeyRequest::Csr(der),
        Key::SshPublicKey(line) => KeyRequest::SshPublicKey(line),
    }))
}

fn exposed(secret: Option<&Secret>) -> String {
    secret
        .map(|secret| secret.expose().to_owned())
        .unwrap_or_default()
}

fn all_exposed<M: FromIterator<(String, String)>>(fields: &BTreeMap<String, Secret>) -> M {
    fields
        .iter()
        .map(|(name, secret)| (name.clone(), secret.expose().to_owned()))
        .collect()
}

/// Stands for a secret in `Debug`, and tells only whether there is one.
struct Redacted<'a>(&'a str);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "-" } else { "…" })
    }
}

impl fmt::Debug for v1::Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl fmt::Debug for v1::credential::Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jwt(token) => f.debug_tuple("Jwt").field(&Redacted(token)).finish(),
            Self::Postgres(it) => it.fmt(f),
            Self::X509(it) => it.fmt(f),
            Self::Ssh(it) => it.fmt(f),
            Self::Redis(it) => it.fmt(f),
            Self::StaticSecret(it) => it.fmt(f),
            Self::External(it) => it.fmt(f),
        }
    }
}

impl fmt::Debug for v1::PostgresCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresCredential")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("password", &Redacted(&self.password))
            .field("sslmode", &self.sslmode)
            .field("ca_pem", &self.ca_pem)
            .finish()
    }
}

impl fmt::Debug for v1::X509Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Credential")
            .field("certificate_pem", &self.certificate_pem)
            .field("ca_pem", &self.ca_pem)
            .field("key_pem", &Redacted(&self.key_pem))
            .finish()
    }
}

impl fmt::Debug for v1::SshCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshCredential")
            .field("certificate", &self.certificate)
            .field("private_key", &Redacted(&self.private_key))
            .field("principals", &self.principals)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish()
    }
}

impl fmt::Debug for v1::RedisCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCredential")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &Redacted(&self.password))
            .field("tls", &self.tls)
            .field("ca_pem", &self.ca_pem)
            .finish()
    }
}

impl fmt::Debug for v1::StaticCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCredential")
            .field("version", &self.version)
            .field("fields", &redacted(&self.fields))
            .finish()
    }
}

impl fmt::Debug for v1::ExternalCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalCredential")
            .field("kind", &self.kind)
            .field("public_fields", &self.public_fields)
            .field("secret_fields", &redacted(&self.secret_fields))
            .finish()
    }
}

impl fmt::Debug for v1::RecordActionRequest {
    /// Without the text, which may have to be erased one day.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordActionRequest")
            .field("task_id", &self.task_id)
            .field("tool", &self.tool)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::GetTextResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetTextResponse").finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::IntrospectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let presenter = &self.presenter_certificate_sha256;
        f.debug_struct("IntrospectRequest")
            .field("token", &Redacted(&self.token))
            .field("presenter_certificate_sha256", presenter)
            .finish()
    }
}

/// The names of fields, without what is in them.
fn redacted(fields: &BTreeMap<String, String>) -> BTreeMap<&str, Redacted<'_>> {
    let fields = fields.iter();
    fields
        .map(|(name, secret)| (name.as_str(), Redacted(secret)))
        .collect()
}

#[cfg(test)]
mod tests;
