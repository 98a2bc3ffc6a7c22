//! Connections: a few, kept and used again.

use std::error::Error as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls, SimpleQueryMessage, SimpleQueryRow};
use zeroize::Zeroizing;

use super::tls::Tls;
use crate::config::{PostgresSettings, PostgresTls, Target};
use crate::files;
use crate::issuers::Failure;

const MAX_PASSWORD: usize = 4096;
const MAX_CA: usize = 256 * 1024;

/// Connections to one server as its administrator.
pub(super) struct Pool {
    config: Config,
    password_file: Option<PathBuf>,
    tls: Option<Tls>,
    patience: Duration,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Pool {
    /// Opens the files that the settings name, and no connection. Returns the authority, too, for agents.
    pub(super) fn new(
        target: &Target,
        settings: &PostgresSettings,
    ) -> Result<(Self, String), String> {
        let (tls, ca_pem) = match &settings.tls {
            PostgresTls::Disable => (None, String::new()),
            PostgresTls::VerifyFull { ca_file } => authority(ca_file)?,
        };
        if let Some(file) = &settings.password_file {
            password(file)?;
        }
        let pool = Self {
            config: config(settings, target.timeout),
            password_file: settings.password_file.clone(),
            tls,
            patience: target.timeout / 2,
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(target.concurrency.get() as usize)),
        };
        Ok((pool, ca_pem))
    }

    /// A connection for one piece of work: one that is idle, or a new one.
    pub(super) async fn get(&self) -> Result<Leased, Failure> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Failure::away("the broker is stopping"))?;
        let connection = match self.idle() {
            Some(connection) => connection,
            None => self.connect(None).await?,
        };
        Ok(Leased {
            connection,
            _permit: permit,
        })
    }

    /// A connection to another database of the same server, used once.
    pub(super) async fn elsewhere(&self, database: &str) -> Result<Connection, Failure> {
        self.connect(Some(database)).await
    }

    /// Takes a connection back once its work is done. What is in doubt is closed, and what was begun undone by that.
    pub(super) async fn done<T>(
        &self,
        leased: Leased,
        outcome: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let sound = match &outcome {
            Ok(_) => true,
            Err(Failure::Said(_)) => leased.run("ROLLBACK").await.is_ok(),
            Err(Failure::Away(_)) => false,
        };
        if sound && !leased.connection.client.is_closed() {
            self.lock().push(leased.connection);
        }
        outcome
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.lock();
        idle.retain(|connection| !connection.client.is_closed());
        idle.pop()
    }

    async fn connect(&self, database: Option<&str>) -> Result<Connection, Failure> {
        let mut config = self.config.clone();
        if let Some(file) = &self.password_file {
            config.password(password(file).map_err(Failure::away)?.as_slice());
        }
        if let Some(database) = database {
            config.dbname(database);
        }
        let connecting = async {
            match &self.tls {
                Some(tls) => open(&config, tls.clone()).await,
                None => open(&config, NoTls).await,
            }
        };
        match tokio::time::timeout(self.patience, connecting).await {
            Ok(connected) => connected.map_err(|error| Failure::away(words(&error))),
            Err(_) => Err(Failure::away("no connection within half the time limit")),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that somebody works with.
pub(super) struct Leased {
    connection: Connection,
    _permit: OwnedSemaphorePermit,
}

impl std::ops::Deref for Leased {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// A connection. Dropping it closes it at once, and the server undoes what was not committed.
pub(super) struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Runs statements, in order, up to the first that fails; returns the rows of all.
    pub(super) async fn run(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
        self.try_run(sql).await.map_err(|error| failure(&error))
    }

    /// The same, with the error as it is.
    pub(super) async fn try_run(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, Error> {
        let messages = self.client.simple_query(sql).await?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Runs one statement of the operator's, which cannot be several.
    pub(super) async fn run_one(&self, sql: &str) -> Result<(), Failure> {
        let ran = self.client.execute(sql, &[]).await;
        ran.map(|_| ()).map_err(|error| failure(&error))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What an error means for the lease. Never the statement: only what the server says of it.
pub(super) fn failure(error: &Error) -> Failure {
    let Some(said) = error.as_db_error() else {
        return Failure::away(words(error));
    };
    let message = said.message();
    match said.detail() {
        _ if is_away(said.code()) => Failure::away(message),
        // It names what depends on the role; no value of anybody's is in it.
        Some(detail) if *said.code() == SqlState::DEPENDENT_OBJECTS_STILL_EXIST => {
            Failure::said(format_args!("{message}: {detail}"))
        }
        _ => Failure::said(message),
    }
}

/// Whether it would be the same for every lease: no connection, no rights, no room, shutting down, a standby.
fn is_away(code: &SqlState) -> bool {
    const CLASSES: [&str; 5] = ["08", "28", "53", "58", "57P"];
    let code = code.code();
    CLASSES.iter().any(|class| code.starts_with(class)) || ["3D000", "25006"].contains(&code)
}

async fn open<T>(config: &Config, tls: T) -> Result<Connection, Error>
where
    T: tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>,
    T::Stream: Send + 'static,
{
    let (client, connection) = config.connect(tls).await?;
    let driver = tokio::spawn(async move {
        // Whoever uses the client learns of it there.
        let _ = connection.await;
    });
    Ok(Connection { client, driver })
}

/// The session's own time limits lie below the target's, so that what the broker has given up on ends there, too.
fn config(settings: &PostgresSettings, timeout: Duration) -> Config {
    let millis = timeout.as_millis();
    let mut config = Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .dbname(&settings.database)
        .user(&settings.user)
        .application_name("quietus")
        .ssl_mode(match settings.tls {
            PostgresTls::Disable => SslMode::Disable,
            PostgresTls::VerifyFull { .. } => SslMode::Require,
        })
        .options(format!(
            "-c search_path=pg_catalog -c standard_conforming_strings=on -c client_min_messages=error \
             -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={millis}",
            millis * 3 / 4,
            millis / 2,
        ))
        .connect_timeout(timeout / 2)
        .keepalives_idle(Duration::from_secs(60));
    config
}

fn authority(file: &Path) -> Result<(Option<Tls>, String), String> {
    let wrong = |problem: String| format!("ca_file {}: {problem}", file.display());
    let pem = files::read(file, MAX_CA).map_err(|problem| wrong(problem.to_string()))?;
    let tls = Tls::new(&pem).map_err(wrong)?;
    let text = String::from_utf8(pem).map_err(|_| wrong("it is no text".to_owned()))?;
    Ok((Some(tls), text))
}

/// Read anew for every connection, so that it can be changed while the broker runs.
fn password(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let wrong = |problem: String| format!("password_file {}: {problem}", file.display());
    let mode = fs::metadata(file).map(|it| it.permissions().mode() & 0o777);
    let mode = mode.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if mode & 0o077 != 0 {
        let path = file.display();
        return Err(wrong(format!(
            "can be read by others (mode {mode:o}): run `chmod 600 {path}`"
        )));
    }
    let read = files::read(file, MAX_PASSWORD).map_err(|problem| wrong(problem.to_string()))?;
    let mut bytes = Zeroizing::new(read);
    while bytes.last().is_some_and(|byte| b"\r\n".contains(byte)) {
        bytes.pop();
    }
    match bytes.is_empty() {
        true => Err(wrong("it is empty".to_owned())),
        false => Ok(bytes),
    }
}

/// An error and its causes; those of connections name hosts and certificates, and no secrets.
fn words(error: &Error) -> String {
    if let Some(said) = error.as_db_error() {
        return said.message().to_owned();
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
