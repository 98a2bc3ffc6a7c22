//! The certificates that connections are made with.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use super::at;
use crate::config::RedisServer;
use crate::files;

const MAX_PEM: usize = 256 * 1024;

/// How to speak TLS, and the authority in PEM.
pub(super) type Tls = (Option<Arc<ClientConfig>>, String);

/// Reads what the settings name; nothing if they name no TLS.
pub(super) fn load(server: &RedisServer) -> Result<Tls, String> {
    let RedisServer::Tls {
        ca_file, identity, ..
    } = server
    else {
        return Ok((None, String::new()));
    };
    let ca_pem = files::read(ca_file, MAX_PEM).map_err(|it| at(ca_file, it))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(ca_file, &ca_pem)?);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let (chain, key) = (chain(cert)?, private_key(key)?);
            config
                .with_client_auth_cert(chain, key)
                .map_err(|error| at(cert, format_args!("does not go with its key: {error}")))?
        }
    };
    let ca_pem = String::from_utf8(ca_pem).map_err(|_| at(ca_file, "is not PEM"))?;
    Ok((Some(Arc::new(config)), ca_pem))
}

fn roots(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| at(path, "is not PEM"))?;
        roots.add(certificate).map_err(|error| at(path, error))?;
    }
    match roots.is_empty() {
        true => Err(at(path, "has no CERTIFICATE in it")),
        false => Ok(roots),
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = files::read(path, MAX_PEM).map_err(|it| at(path, it))?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(at(path, "is not a PEM file of certificates")),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = Zeroizing::new(files::read_private(path, MAX_PEM).map_err(|it| at(path, it))?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| at(path, "has no readable PRIVATE KEY in it"))
}
