//! One connection to the server, which all calls share, and its replacement when it fails.
//!
//! All that we send goes through one connection at a time, in the order in which it was sent: a user that was made
//! by a call that nobody waits for any more is there before the call that removes it. Before a new connection is
//! used, the server is told to close every earlier one of ours, of this process or of one before it, so that what
//! may still be on its way there is never carried out.

use std::future::Future;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, RedisError, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::at;
use super::reply::{away_if_so, text};
use crate::config::RedisServer;
use crate::files;
use crate::issuers::{Failure, Secret};

const MAX_PASSWORD_FILE: usize = 1024;

/// How to reach the server, and the connection that there is.
pub(super) struct Connections {
    pub(super) server: RedisServer,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
    pub(super) user: String,
    /// Read anew for every connection, so that it can be changed while the broker runs.
    pub(super) password_file: PathBuf,
    /// What our connections are called at the server; no other broker's are.
    pub(super) name: String,
    pub(super) timeout: Duration,
    pub(super) current: Mutex<Option<Live>>,
}

/// A connection that is in use.
pub(super) struct Live {
    number: u64,
    connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connections {
    /// Sends a command and returns what the server says. After an error that leaves the reply open, the connection
    /// is not used again.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, Failure> {
        let (number, mut connection) = self.connection().await?;
        let answer = bounded(self.timeout, command.query_async(&mut connection)).await;
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let failure = away_if_so(&error);
                if !is_an_answer(&error) || matches!(failure, Failure::Away(_)) {
                    self.forget(number).await;
                }
                Err(failure)
            }
            Err(late) => {
                self.forget(number).await;
                Err(late)
            }
        }
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), Failure> {
        let mut current = self.current.lock().await;
        if let Some(live) = current.as_ref() {
            return Ok((live.number, live.connection.clone()));
        }
        let live = bounded(self.timeout, self.connect()).await??;
        let found = (live.number, live.connection.clone());
        *current = Some(live);
        Ok(found)
    }

    async fn forget(&self, number: u64) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|live| live.number == number) {
            *current = None;
        }
    }

    async fn connect(&self) -> Result<Live, Failure> {
        let (connection, driver) = match &self.server {
            RedisServer::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                self.greet(stream.map_err(unreachable)?).await?
            }
            RedisServer::Plain { host, port } => self.greet(local(host, *port).await?).await?,
            RedisServer::Tls { host, port, .. } => {
                let stream = tcp(host, *port).await?;
                self.greet(self.secured(host, stream).await?).await?
            }
        };
        let mut live = Live {
            number: 0,
            connection,
            driver,
        };
        live.number = self.close_earlier(&mut live.connection).await?;
        Ok(live)
    }

    async fn greet(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<(MultiplexedConnection, JoinHandle<()>), Failure> {
        let password = password(&self.password_file).map_err(Failure::away)?;
        let info = RedisConnectionInfo::default()
            .set_username(&self.user)
            .set_password(password.expose())
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeout));
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (connection, driver) = made.map_err(|error| match away_if_so(&error) {
            Failure::Said(why) | Failure::Away(why) => Failure::Away(why),
        })?;
        Ok((connection, tokio::spawn(driver)))
    }

    async fn secured(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, Failure> {
        let config = self.tls.clone().ok_or_else(|| Failure::away("no TLS"))?;
        let name = ServerName::try_from(host.to_owned()).map_err(Failure::away)?;
        let connector = TlsConnector::from(config);
        let connecting = connector.connect(name, stream).await;
        connecting.map_err(|error| Failure::away(format_args!("TLS with {host}: {error}")))
    }

    /// Names this connection, and has the server close all others of that name. Returns its number.
    async fn close_earlier(&self, connection: &mut MultiplexedConnection) -> Result<u64, Failure> {
        let mut ask = async |command: &Cmd| -> Result<Value, Failure> {
            let answer = command.query_async(connection).await;
            answer.map_err(|error| Failure::away(away_if_so(&error)))
        };
        let Value::Int(own) = ask(redis::cmd("CLIENT").arg("ID")).await? else {
            return Err(Failure::away("CLIENT ID was not answered with a number"));
        };
        ask(redis::cmd("CLIENT").arg("SETNAME").arg(&self.name)).await?;
        let list = text(ask(redis::cmd("CLIENT").arg("LIST")).await?)?;
        let earlier = list
            .lines()
            .filter(|line| is_client(line, &self.name, &self.user));
        for id in earlier.filter_map(client_id).filter(|id| *id != own) {
            let kill = ["KILL", "ID"];
            ask(redis::cmd("CLIENT").arg(&kill).arg(id)).await?;
        }
        u64::try_from(own).map_err(Failure::away)
    }
}

/// Without the line's end.
pub(super) fn password(path: &Path) -> Result<Secret, String> {
    let bytes =
        Zeroizing::new(files::read_private(path, MAX_PASSWORD_FILE).map_err(|it| at(path, it))?);
    let text = str::from_utf8(&bytes).map_err(|_| at(path, "is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.is_empty() {
        true => Err(at(
            path,
            "is empty: write the password of the broker's user into it",
        )),
        false => Ok(Secret::new(text)),
    }
}

/// Whether the server answered: an error from it is known, any other leaves open what became of the command.
fn is_an_answer(error: &RedisError) -> bool {
    error.code().is_some()
}

async fn bounded<T>(timeout: Duration, doing: impl Future<Output = T>) -> Result<T, Failure> {
    let done = tokio::time::timeout(timeout, doing).await;
    done.map_err(|_| {
        let limit = humantime::format_duration(timeout);
        Failure::away(format_args!("no answer within {limit}"))
    })
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect((host, port)).await;
    nodelay(stream.map_err(unreachable)?)
}

/// Plain text goes nowhere but to this machine, whatever a name resolves to.
async fn local(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let found = tokio::net::lookup_host((host, port)).await;
    let mut here = found
        .map_err(unreachable)?
        .filter(|it| IpAddr::is_loopback(&it.ip()));
    let address = here.next().ok_or_else(|| {
        Failure::away(format_args!(
            "{host} is not this machine: without TLS no other is spoken to"
        ))
    })?;
    nodelay(TcpStream::connect(address).await.map_err(unreachable)?)
}

fn nodelay(stream: TcpStream) -> Result<TcpStream, Failure> {
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(stream)
}

fn unreachable(error: std::io::Error) -> Failure {
    Failure::away(format_args!("cannot connect: {error}"))
}

/// Whether a line of `CLIENT LIST` is about a client of this name and user. Neither can hold a space.
fn is_client(line: &str, name: &str, user: &str) -> bool {
    field(line, "name=") == Some(name) && field(line, "user=") == Some(user)
}

fn client_id(line: &str) -> Option<i64> {
    field(line, "id=")?.parse().ok()
}

fn field<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.split(' ').find_map(|part| part.strip_prefix(start))
}
