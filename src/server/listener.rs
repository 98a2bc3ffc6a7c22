//! Accepts TCP connections, makes them TLS connections, and hands on those whose caller is known.
//!
//! Before its handshake is done a connection is a stranger's: strangers are bounded in number and in time, and when
//! they become too many the one who has dawdled longest goes. So those who say nothing keep nobody else out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quietus_identity::{SvidError, VerifiedSvid};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};

use super::connection::{Connection, PlacesOfOne};
use super::peer::Peer;
use crate::tls::{ALPN, CallerVerifier, ServerTls};

/// Connections that wait for the server to take them.
const HANDED_ON: usize = 64;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const MAX_DOUBLINGS: u32 = 7;
/// No connection outlives this: a year, in seconds.
const LONGEST: u64 = 31_536_000;

/// How much a listener takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections whose caller is known.
    pub connections: usize,
    /// Those of them that one caller may have: nobody can take all places.
    pub connections_of_one: usize,
    /// Handshakes in flight. One more, and the oldest is given up.
    pub handshakes: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_of_one: 256,
            handshakes: 256,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// A socket that listens for callers.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    strangers: usize,
    door: Door,
}

impl Listener {
    /// Takes callers from `socket`, as far as `tls` vouches for them.
    pub fn new(socket: TcpListener, tls: ServerTls, limits: Limits) -> Self {
        let door = Door {
            tls: Arc::new(tls),
            observer: Observer(Arc::new(log)),
            places: Arc::new(Semaphore::new(
                limits.connections.min(Semaphore::MAX_PERMITS),
            )),
            places_of_one: Arc::new(PlacesOfOne::new(limits.connections_of_one)),
            patience: limits.handshake_timeout,
        };
        Self {
            socket,
            strangers: limits.handshakes,
            door,
        }
    }

    /// Tells `observer` of every connection that is not handed on, in place of the log.
    pub fn on_refusal(
        mut self,
        observer: impl Fn(SocketAddr, &Refusal) + Send + Sync + 'static,
    ) -> Self {
        self.door.observer = Observer(Arc::new(observer));
        self
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Starts to accept. Dropping the stream stops that and closes the socket, not the connections handed on.
    ///
    /// Needs a tokio runtime.
    pub fn incoming(self) -> impl Stream<Item = Result<Connection, Infallible>> + Send {
        let (handed_on, incoming) = mpsc::channel(HANDED_ON);
        let strangers = Strangers::new(self.strangers);
        tokio::spawn(self.door.keep(self.socket, strangers, handed_on));
        ReceiverStream::new(incoming).map(Ok)
    }
}

/// Why a connection is not handed on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The caller's certificates are not an SVID that is trusted.
    #[error("the caller's SVID is refused: {0}")]
    Svid(SvidError),
    /// The handshake failed for another reason: no certificate, no TLS 1.3, no TLS at all.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// The caller did not ask for HTTP/2 (ALPN `h2`).
    #[error("the caller did not ask for HTTP/2")]
    NotHttp2,
    /// The handshake took too long.
    #[error("the TLS handshake took too long")]
    TimedOut,
    /// The handshake had been going on for longest when there were too many.
    #[error("too many TLS handshakes were in flight, and this was the oldest")]
    GivenUp,
    /// As many connections as are allowed were up.
    #[error("the broker has as many connections as it may have")]
    TooManyConnections,
    /// This caller had as many connections as one may have.
    #[error("the caller has as many connections as one may have")]
    TooManyOfOne,
}

impl Refusal {
    /// A stable name for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Svid(refusal) => refusal.reason(),
            Self::Handshake(_) => "TLS_HANDSHAKE",
            Self::NotHttp2 => "TLS_NOT_HTTP2",
            Self::TimedOut => "TLS_TIMED_OUT",
            Self::GivenUp => "TLS_GIVEN_UP",
            Self::TooManyConnections => "TOO_MANY_CONNECTIONS",
            Self::TooManyOfOne => "TOO_MANY_CONNECTIONS_OF_ONE",
        }
    }
}

/// What turns strangers into callers.
#[derive(Clone, Debug)]
struct Door {
    tls: Arc<ServerTls>,
    observer: Observer,
    places: Arc<Semaphore>,
    places_of_one: Arc<PlacesOfOne>,
    patience: Duration,
}

impl Door {
    /// Accepts for as long as there is somebody to hand connections on to.
    async fn keep(
        self,
        socket: impl Accept,
        mut strangers: Strangers,
        handed_on: mpsc::Sender<Connection>,
    ) {
        let mut failures: u32 = 0;
        loop {
            let accepted = tokio::select! {
                () = handed_on.closed() => return,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, remote)) => {
                    failures = 0;
                    self.make_room(&mut strangers);
                    let greeting = self.clone().greet(stream, remote, handed_on.clone());
                    strangers.add(remote, greeting);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(pause(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    fn make_room(&self, strangers: &mut Strangers) {
        if let Some(given_up) = strangers.make_room() {
            self.observer.tell(given_up, &Refusal::GivenUp);
        }
    }

    async fn greet(
        self,
        stream: TcpStream,
        remote: SocketAddr,
        handed_on: mpsc::Sender<Connection>,
    ) {
        let connection = tokio::time::timeout(self.patience, self.admit(stream, remote)).await;
        match connection.unwrap_or(Err(Refusal::TimedOut)) {
            // Nobody is left to take it when the server is shutting down.
            Ok(connection) => drop(handed_on.send(connection).await),
            Err(refusal) => self.observer.tell(remote, &refusal),
        }
    }

    async fn admit(&self, stream: TcpStream, remote: SocketAddr) -> Result<Connection, Refusal> {
        stream.set_nodelay(true).map_err(Refusal::Handshake)?;
        let (config, caller) = self.tls.handshake();
        let handshake = TlsAcceptor::from(config).accept(stream).await;
        let stream = handshake.map_err(|error| explain(&caller, error))?;
        check_protocol(&stream)?;
        let svid = identity(&caller)?;
        let peer = Peer::new(remote, svid.clone(), caller.bundles());
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Refusal::TooManyConnections)?;
        let own = PlacesOfOne::take(&self.places_of_one, svid.id().clone());
        let own = own.ok_or(Refusal::TooManyOfOne)?;
        let lasts = svid.trusted_until().saturating_sub(self.tls.now());
        let lasts = Duration::from_secs(lasts.saturating_add(1).min(LONGEST));
        Ok(Connection::new(stream, peer, lasts, (place, own)))
    }
}

/// Where connections come from.
trait Accept: Send + 'static {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

/// Handshakes in flight, the oldest first. Dropping it ends them.
struct Strangers {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<(SocketAddr, AbortHandle)>,
    limit: usize,
}

impl Strangers {
    fn new(limit: usize) -> Self {
        Self {
            tasks: JoinSet::new(),
            oldest_first: VecDeque::new(),
            limit: limit.max(1),
        }
    }

    /// Makes room for one more, and says whose handshake had to be given up for that.
    fn make_room(&mut self) -> Option<SocketAddr> {
        while self.tasks.try_join_next().is_some() {}
        self.oldest_first.retain(|(_, task)| !task.is_finished());
        if self.oldest_first.len() < self.limit {
            return None;
        }
        let (remote, task) = self.oldest_first.pop_front()?;
        task.abort();
        Some(remote)
    }

    fn add(&mut self, remote: SocketAddr, greeting: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(greeting);
        self.oldest_first.push_back((remote, task));
    }
}

#[derive(Clone)]
struct Observer(Arc<Tell>);

type Tell = dyn Fn(SocketAddr, &Refusal) + Send + Sync;

impl Observer {
    fn tell(&self, remote: SocketAddr, refusal: &Refusal) {
        (self.0)(remote, refusal)
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

fn identity(caller: &CallerVerifier) -> Result<VerifiedSvid, Refusal> {
    let verdict = caller.verdict().cloned();
    verdict
        .unwrap_or(Err(SvidError::ChainEmpty))
        .map_err(Refusal::Svid)
}

fn check_protocol(stream: &TlsStream<TcpStream>) -> Result<(), Refusal> {
    match stream.get_ref().1.alpn_protocol() {
        Some(protocol) if protocol == ALPN => Ok(()),
        _ => Err(Refusal::NotHttp2),
    }
}

/// The verifier knows better than the error what was wrong with the caller's SVID.
fn explain(caller: &CallerVerifier, error: io::Error) -> Refusal {
    match caller.verdict() {
        Some(Err(refusal)) => Refusal::Svid(refusal.clone()),
        _ => Refusal::Handshake(error),
    }
}

/// How long to wait after an accept has failed `failures` times before: when file descriptors run out, trying again
/// at once finds none either.
fn pause(failures: u32) -> Duration {
    SHORTEST_PAUSE * 2u32.pow(failures.min(MAX_DOUBLINGS))
}

/// Strangers can cause any number of these: they are worth a line only to who asks for it.
fn log(remote: SocketAddr, refusal: &Refusal) {
    tracing::debug!(%remote, reason = refusal.reason(), %refusal, "a connection is refused");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::tls::{ServerSvid, SvidFiles};
    use crate::trust::Trust;

    const TOO_MANY_OPEN_FILES: i32 = 24;

    /// Fails a few times before it accepts.
    struct Exhausted {
        failures: AtomicU32,
        socket: TcpListener,
    }

    impl Accept for Exhausted {
        async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let left = |failures: u32| failures.checked_sub(1);
            match self
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, left)
            {
                Ok(_) => Err(io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES)),
                Err(_) => self.socket.accept().await,
            }
        }
    }

    #[tokio::test]
    async fn accepting_goes_on_after_file_descriptors_ran_out() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("socket");
        let mut caller = TcpStream::connect(socket.local_addr().expect("address"))
            .await
            .expect("TCP");
        let (refused, mut refusals) = mpsc::unbounded_channel();
        let door = door(move |_, refusal| {
            let _ = refused.send(refusal.reason());
        });
        let exhausted = Exhausted {
            failures: AtomicU32::new(3),
            socket,
        };
        let (handed_on, _incoming) = mpsc::channel(1);
        let keeping = tokio::spawn(door.keep(exhausted, Strangers::new(1), handed_on));
        caller.write_all(b"not TLS").await.expect("sent");
        assert_eq!(refusals.recv().await, Some("TLS_HANDSHAKE"));
        keeping.abort();
    }

    #[tokio::test]
    async fn accepting_ends_when_nobody_takes_connections() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("socket");
        let (handed_on, incoming) = mpsc::channel(1);
        drop(incoming);
        door(|_, _| {})
            .keep(socket, Strangers::new(1), handed_on)
            .await;
    }

    #[test]
    fn pauses_grow_to_little_more_than_a_second() {
        assert_eq!(pause(0), Duration::from_millis(10));
        assert_eq!(pause(1), Duration::from_millis(20));
        assert_eq!(pause(u32::MAX), Duration::from_millis(1280));
    }

    fn door(observer: impl Fn(SocketAddr, &Refusal) + Send + Sync + 'static) -> Door {
        Door {
            tls: Arc::new(tls()),
            observer: Observer(Arc::new(observer)),
            places: Arc::new(Semaphore::new(1)),
            places_of_one: Arc::new(PlacesOfOne::new(1)),
            patience: Duration::MAX,
        }
    }

    fn tls() -> ServerTls {
        let folder = tempfile::tempdir().expect("folder");
        let files = SvidFiles {
            chain: folder.path().join("svid.pem"),
            key: folder.path().join("svid.key"),
        };
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([]).expect("certificate");
        fs::write(&files.chain, cert.pem()).expect("certificate file");
        fs::write(&files.key, signing_key.serialize_pem()).expect("key file");
        let svid = ServerSvid::load(files, 0).expect("SVID");
        let trust = Trust::load(Vec::new(), 0).expect("trust");
        ServerTls::new(Arc::new(svid), Arc::new(trust), Arc::new(|| 0)).expect("TLS")
    }
}
