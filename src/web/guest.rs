//! HTTPS for those who read the ledger: how a connection becomes a stream, and who is on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use http::Extensions;
use quietus_identity::SvidError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Introduce;
use crate::config::LedgerClients;
use crate::server::Peer;
use crate::tls::ServerTls;

/// Turns connections into TLS streams.
#[derive(Clone, Debug)]
pub struct Greeter {
    tls: Arc<ServerTls>,
    clients: LedgerClients,
}

/// Whoever is on a connection.
#[derive(Clone, Debug)]
pub enum Guest {
    /// Anybody: no certificate was asked for.
    Anybody,
    /// A caller with an SVID.
    Known(Box<Peer>, Arc<AtomicBool>),
}

/// A TLS stream, and who is on it.
#[derive(Debug)]
pub struct Greeted {
    stream: TlsStream<TcpStream>,
    guest: Guest,
}

impl Greeter {
    /// Greets with this certificate, and asks callers for theirs if they have to be known.
    pub fn new(tls: ServerTls, clients: LedgerClients) -> Self {
        let tls = Arc::new(tls);
        Self { tls, clients }
    }

    /// One handshake.
    ///
    /// # Errors
    /// That of the connection, or of the handshake: a caller without a trusted SVID, where one is asked for.
    pub async fn greet(self, stream: TcpStream) -> io::Result<Greeted> {
        stream.set_nodelay(true)?;
        let remote = stream.peer_addr()?;
        if self.clients == LedgerClients::Any {
            let acceptor = TlsAcceptor::from(self.tls.web_handshake_with_anybody());
            return Ok(Greeted {
                stream: acceptor.accept(stream).await?,
                guest: Guest::Anybody,
            });
        }
        let (config, caller) = self.tls.web_handshake();
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let svid = caller.verdict().cloned();
        let svid = svid.unwrap_or(Err(SvidError::ChainEmpty));
        let svid = svid.map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
        let peer = Peer::new(remote, svid, caller.bundles());
        Ok(Greeted {
            stream,
            guest: Guest::Known(Box::new(peer), Arc::default()),
        })
    }
}

impl Guest {
    /// Whether this is the first time that they are told off on this connection.
    pub(super) fn first_refusal(&self) -> bool {
        match self {
            Self::Anybody => false,
            Self::Known(_, refused) => !refused.swap(true, Ordering::Relaxed),
        }
    }
}

impl Introduce for Greeted {
    fn introduce(&self, extensions: &mut Extensions) {
        extensions.insert(self.guest.clone());
    }
}

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
