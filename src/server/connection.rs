use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use quietus_identity::SpiffeId;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::peer::Peer;

/// A TLS connection whose caller is known.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    /// When its caller's SVID has expired: then it ends, whatever is under way on it.
    over: Pin<Box<Sleep>>,
    _places: Places,
}

/// What a connection takes up, of all places and of its caller's.
pub(super) type Places = (OwnedSemaphorePermit, PlaceOfOne);

/// How many connections each caller has.
#[derive(Debug)]
pub(super) struct PlacesOfOne {
    limit: usize,
    taken: Mutex<HashMap<SpiffeId, usize>>,
}

/// One of a caller's places; given back when dropped.
#[derive(Debug)]
pub(super) struct PlaceOfOne {
    places: Arc<PlacesOfOne>,
    caller: SpiffeId,
}

impl PlacesOfOne {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: Mutex::default(),
        }
    }

    pub(super) fn take(places: &Arc<Self>, caller: SpiffeId) -> Option<PlaceOfOne> {
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(caller.clone()).or_default();
        if *count >= places.limit {
            return None;
        }
        *count += 1;
        let places = Arc::clone(places);
        Some(PlaceOfOne { places, caller })
    }
}

impl Drop for PlaceOfOne {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.caller);
            }
        }
    }
}

impl Connection {
    /// `places` are given back when the connection is dropped, which is after `lasts` at the latest.
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        lasts: Duration,
        places: Places,
    ) -> Self {
        Self {
            stream,
            peer,
            over: Box::pin(tokio::time::sleep(lasts)),
            _places: places,
        }
    }

    /// Who is calling.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over.as_mut().poll(cx).is_ready() {
            let expired = "the caller's SVID has expired";
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                expired,
            )));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
