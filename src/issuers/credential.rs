//! What is handed to whoever asked for a credential.

use std::collections::BTreeMap;
use std::fmt;

use quietus_token::Token;
use zeroize::Zeroizing;

/// A text that is wiped when it is dropped and never shows in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: only for the reply to whoever asked, and for the target.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A credential, with all that its bearer needs to use it.
#[derive(Debug)]
pub enum Credential {
    /// A signed JWT access token (RFC 9068).
    Jwt(Token),
    /// A role in a PostgreSQL database.
    Postgres {
        /// Host names or addresses, as agents reach it.
        host: String,
        /// Port.
        port: u16,
        /// The database.
        database: String,
        /// The role.
        user: String,
        /// Its password.
        password: Secret,
        /// `sslmode` that agents are to use.
        sslmode: String,
        /// The certificate authority of the server in PEM; empty if the system's are to be used.
        ca_pem: String,
    },
    /// An X.509 certificate.
    X509 {
        /// The certificate and its chain in PEM, the leaf first.
        certificate_pem: String,
        /// The authority that peers are to trust, in PEM.
        ca_pem: String,
        /// The key in PKCS#8 PEM, if the broker made it.
        key_pem: Option<Secret>,
    },
    /// An OpenSSH user certificate.
    Ssh {
        /// The certificate as OpenSSH writes it.
        certificate: String,
        /// The key in OpenSSH's format, if the broker made it.
        private_key: Option<Secret>,
        /// The names it may log in as.
        principals: Vec<String>,
        /// Host name or address, as agents reach it; may be empty.
        host: String,
        /// Port.
        port: u16,
    },
    /// A user of a Redis server.
    Redis {
        /// Host name or address, as agents reach it.
        host: String,
        /// Port.
        port: u16,
        /// The user.
        user: String,
        /// Its password.
        password: Secret,
        /// Whether agents are to use TLS.
        tls: bool,
        /// The certificate authority of the server in PEM; empty if the system's are to be used.
        ca_pem: String,
    },
    /// A static secret: fields by name.
    Static {
        /// Which version of it was handed out.
        version: String,
        /// The fields.
        fields: BTreeMap<String, Secret>,
    },
    /// A credential of a kind that an external issuer defines: fields by name.
    External {
        /// What the issuer calls it.
        kind: String,
        /// Fields that may be shown.
        public: BTreeMap<String, String>,
        /// Fields that may not.
        secret: BTreeMap<String, Secret>,
    },
}
