//! Development trust domains: a certificate authority on disk, SVIDs from it, and configuration that fits; and servers
//! to have credentials for.
//!
//! For trying out, testing and demonstrating only. In production SVIDs come from a SPIFFE implementation that
//! attests workloads; here whoever can read `ca.key` is anybody.

mod ca;
mod domain;
mod files;
mod postgres;

use std::path::PathBuf;

use quietus_identity::{BundleError, SpiffeIdError, SvidError};

pub use ca::{DevCa, Svid};
pub use domain::{DevDomain, DevDomainOptions};
pub use postgres::{ADMIN as POSTGRES_ADMIN, DevPostgres, DevPostgresError, DevPostgresOptions};

/// Why a development trust domain could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// Some of the files are there already.
    #[error(
        "{folder} already has {names}: choose another folder, or overwrite with --force",
        folder = .folder.display(),
        names = .names.join(", ")
    )]
    Exists {
        /// The folder.
        folder: PathBuf,
        /// What is there, relative to the folder.
        names: Vec<String>,
    },
    /// Something that is not a folder is where a folder should be.
    #[error("{path} is not a folder: remove it or choose another folder", path = .path.display())]
    NotFolder {
        /// Where.
        path: PathBuf,
    },
    /// Other users could replace what is written there.
    #[error(
        "others may write in {path}: run chmod go-w on it or choose another folder",
        path = .path.display()
    )]
    SharedFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No port that clients could connect to.
    #[error("port 0 cannot be written into client configuration: choose a port")]
    NoPort,
    /// The lifetime ends beyond the dates that a certificate can name.
    #[error("the certificates would end beyond the year 9999: choose a shorter lifetime")]
    Lifetime,
    /// Not the path of a SPIFFE ID.
    #[error("{path:?} cannot be the path of an SVID: {source}")]
    Path {
        /// The path.
        path: String,
        /// Why.
        source: SpiffeIdError,
    },
    /// A path that does not begin with a slash.
    #[error("{path:?} cannot be the path of an SVID: begin it with a slash")]
    PathSlash {
        /// The path.
        path: String,
    },
    /// The CA certificate is no trust anchor for its domain.
    #[error("the CA certificate cannot be used: {0}")]
    Bundle(#[from] BundleError),
    /// Making a key or a certificate failed, or a PEM text holds none.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A new SVID does not pass verification.
    #[error(
        "the SVID that was made is not valid: {0}: do the CA's key and certificate belong together?"
    )]
    Refused(#[from] SvidError),
}
