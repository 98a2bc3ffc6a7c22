//! Plain HTTP/1.1 for machines that only read: metrics, and files.
//!
//! Connections are strangers': bounded in number, in time and in what they may send. Request bodies are never read.

pub mod client;
mod guest;
mod metrics;
mod tiles;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

pub use guest::{Greeted, Greeter, Guest};
pub use metrics::Metrics;
pub use tiles::Tiles;

/// An answer.
pub type Answer = Response<Full<Bytes>>;

/// How much a server takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. One more is closed as it comes.
    pub connections: usize,
    /// How long a connection may take to become a stream (its TLS handshake, where there is one).
    pub greeting: Duration,
    /// How long the head of a request may take, from the first or the last answer on.
    pub head: Duration,
    /// How long a connection lasts, whatever it does.
    pub lasts: Duration,
    /// The most bytes in the head of a request; 8192 at least.
    pub head_bytes: usize,
    /// The most headers in it.
    pub headers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            greeting: Duration::from_secs(10),
            head: Duration::from_secs(30),
            lasts: Duration::from_secs(300),
            head_bytes: 16 * 1024,
            headers: 64,
        }
    }
}

/// What is served, and how a connection becomes a stream to serve it on.
pub struct Service<G, H> {
    /// Makes a stream of a connection: itself, or TLS over it.
    pub greet: G,
    /// Answers a request.
    pub answer: H,
    /// How much of it.
    pub limits: Limits,
}

/// A stream that can say who is on it.
pub trait Introduce {
    /// Puts it into the extensions of every request that comes on the stream.
    fn introduce(&self, _extensions: &mut http::Extensions) {}
}

/// Nobody in particular.
impl Introduce for TcpStream {}

/// Serves until `stop` is ready; then connections are cut off.
pub async fn serve<G, Greeting, S, H, Answering>(
    socket: TcpListener,
    service: Service<G, H>,
    stop: impl Future<Output = ()>,
) where
    G: Fn(TcpStream) -> Greeting,
    Greeting: Future<Output = io::Result<S>> + Send + 'static,
    S: AsyncRead + AsyncWrite + Introduce + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Answer> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(service.limits.connections));
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return,
            accepted = socket.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                let greeting = (service.greet)(stream);
                let (answer, limits) = (service.answer.clone(), service.limits);
                connections.spawn(keep(greeting, answer, limits, place));
            }
            // As many as may be are there: this one is closed.
            (Ok(_), Err(_)) => {}
            (Err(error), _) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, from its first byte to its last.
async fn keep<S, H, Answering>(
    greeting: impl Future<Output = io::Result<S>>,
    answer: H,
    limits: Limits,
    _place: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Introduce + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> Answering,
    Answering: Future<Output = Answer>,
{
    let Ok(Ok(stream)) = tokio::time::timeout(limits.greeting, greeting).await else {
        return;
    };
    let mut who = http::Extensions::new();
    stream.introduce(&mut who);
    let answering = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().extend(who.clone());
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(limits.headers)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), answering);
    // Whoever breaks off, or sends what is not HTTP, is nobody to tell.
    let _ = tokio::time::timeout(limits.lasts, connection).await;
}

/// A connection as it is: plain HTTP.
pub async fn plain(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An answer of a few words.
pub fn words(status: StatusCode, words: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(words.as_bytes())));
    *answer.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// What is said to a request that does not only read; none if it does. A HEAD is answered like a GET: without the body,
/// which the server leaves out by itself.
pub fn refuse_method(method: &Method) -> Option<Answer> {
    if [Method::GET, Method::HEAD].contains(method) {
        return None;
    }
    let mut answer = words(
        StatusCode::METHOD_NOT_ALLOWED,
        "only GET is answered here\n",
    );
    let allowed = header::HeaderValue::from_static("GET, HEAD");
    answer.headers_mut().insert(header::ALLOW, allowed);
    Some(answer)
}
