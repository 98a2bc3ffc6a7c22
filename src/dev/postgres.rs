//! A PostgreSQL server of its own, in a folder of its own, for tests, demonstrations and measurements.

mod binaries;
mod processes;
mod setup;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use binaries::Binaries;
use setup::Owner;

/// How long starting and stopping may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);
/// How many free ports are tried: another process may take one before the server does.
const PORTS: usize = 5;

/// The superuser of every such server.
pub const ADMIN: &str = "postgres";

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct DevPostgresOptions {
    /// Whether it speaks TLS, with a certificate for localhost and 127.0.0.1 from an authority of its own.
    pub tls: bool,
    /// Whether what it commits survives a power failure. Without, it is faster; a killed process loses nothing.
    pub fsync: bool,
    /// More of postgresql.conf: names and values.
    pub settings: Vec<(String, String)>,
}

/// A PostgreSQL server on a free port of 127.0.0.1. Dropping it kills it and removes its folder.
#[derive(Debug)]
pub struct DevPostgres {
    folder: PathBuf,
    binaries: Binaries,
    owner: Owner,
    port: u16,
    tls: bool,
    server: Option<Child>,
}

impl DevPostgres {
    /// Makes a server and starts it; returns once it lets clients in. Blocks: a few seconds.
    ///
    /// # Errors
    /// [`DevPostgresError::NotInstalled`] if there is no PostgreSQL on this machine; others if it does not start.
    pub fn launch(options: &DevPostgresOptions) -> Result<Self, DevPostgresError> {
        let binaries = Binaries::find()?;
        let owner = Owner::find()?;
        let mut server = Self {
            folder: setup::folder()?,
            binaries,
            owner,
            port: 0,
            tls: options.tls,
            server: None,
        };
        server.set_up(options)?;
        server.start_on_a_free_port()?;
        Ok(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A file with the password of [`ADMIN`], for its owner alone.
    pub fn password_file(&self) -> PathBuf {
        self.folder.join("admin.password")
    }

    /// The authority of its certificate in PEM, if it speaks TLS.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.tls.then(|| self.folder.join("ca.pem"))
    }

    /// Where it logs to.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// The settings of a target for one of its databases: what belongs below `[target.postgres]`.
    pub fn target_settings(&self, database: &str) -> String {
        let tls = match self.ca_file() {
            Some(file) => format!(
                "tls = \"verify-full\"\nca_file = {:?}",
                file.display().to_string()
            ),
            None => "tls = \"disable\"".to_owned(),
        };
        let password = self.password_file().display().to_string();
        let port = self.port;
        format!(
            "host = \"127.0.0.1\"\nport = {port}\ndatabase = {database:?}\nuser = {ADMIN:?}\n\
             password_file = {password:?}\n{tls}\n"
        )
    }

    /// Runs statements in one of its databases as [`ADMIN`]; the first column of every row, in order.
    ///
    /// # Errors
    /// [`DevPostgresError::Sql`] with what the server said.
    #[cfg(feature = "postgres")]
    pub async fn run(&self, database: &str, sql: &str) -> Result<Vec<String>, DevPostgresError> {
        let path = self.password_file();
        let password = fs::read_to_string(&path).map_err(io("read", &path))?;
        let mut config = tokio_postgres::Config::new();
        config
            .host("127.0.0.1")
            .port(self.port)
            .dbname(database)
            .user(ADMIN)
            .password(password.trim_end());
        let said = |error: tokio_postgres::Error| DevPostgresError::Sql(error.to_string());
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.map_err(said)?;
        let connection = tokio::spawn(connection);
        let done = client.simple_query(sql).await.map_err(said);
        connection.abort();
        let first = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        Ok(done?.into_iter().filter_map(first).collect())
    }

    /// Starts it again on the same port, with all that it had.
    ///
    /// # Errors
    /// [`DevPostgresError`] if it does not let clients in within a minute.
    pub fn start(&mut self) -> Result<(), DevPostgresError> {
        if self.server.is_some() {
            return Ok(());
        }
        // Of a server that was killed: it would be taken for one that is starting.
        let _ = fs::remove_file(self.pid_file());
        self.server = Some(self.spawn()?);
        self.await_ready().inspect_err(|_| self.kill())
    }

    /// Stops it in good order: sessions are ended, what was not committed is undone.
    ///
    /// # Errors
    /// [`DevPostgresError`] if it has not ended within a minute; it is killed then.
    pub fn stop(&mut self) -> Result<(), DevPostgresError> {
        match self.end(Signal::INT) {
            true => Ok(()),
            false => Err(DevPostgresError::Silent("stop")),
        }
    }

    /// Kills it and all its processes at once, as a power failure would.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            processes::kill_with_children(server.id());
            let _ = server.wait();
        }
    }

    /// Whether it ended by itself; it is killed if not.
    fn end(&mut self, signal: Signal) -> bool {
        let Some(server) = &mut self.server else {
            return true;
        };
        processes::send(server.id(), signal);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !matches!(server.try_wait(), Ok(None)) {
                self.server = None;
                return true;
            }
            std::thread::sleep(LOOK);
        }
        self.kill();
        false
    }

    fn set_up(&self, options: &DevPostgresOptions) -> Result<(), DevPostgresError> {
        setup::password(&self.password_file())?;
        let data = self.data();
        setup::own_folder(&data, &self.owner)?;
        let passed_on = data.with_file_name("initdb.password");
        setup::copy_for(&self.password_file(), &passed_on, &self.owner)?;
        self.initdb(&passed_on)?;
        let _ = fs::remove_file(&passed_on);
        if options.tls {
            setup::certificates(&self.folder, &data, &self.owner)?;
        }
        setup::configure(&data, options)
    }

    fn initdb(&self, password: &Path) -> Result<(), DevPostgresError> {
        let mut command = self.owner.command(&self.binaries.initdb);
        command
            .args([
                "--no-sync",
                "--no-instructions",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .args(["--auth=scram-sha-256", "--username", ADMIN])
            .arg("--pwfile")
            .arg(password)
            .arg("--pgdata")
            .arg(self.data())
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        let output = command.output().map_err(io("run", &self.binaries.initdb))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(DevPostgresError::Initdb(
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )),
        }
    }

    fn start_on_a_free_port(&mut self) -> Result<(), DevPostgresError> {
        for _ in 1..PORTS {
            self.port = free_port()?;
            match self.start() {
                Err(DevPostgresError::Ended(log)) if log.contains("Address already in use") => {}
                other => return other,
            }
        }
        self.port = free_port()?;
        self.start()
    }

    fn spawn(&self) -> Result<Child, DevPostgresError> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file());
        let log = log.map_err(io("write", &self.log_file()))?;
        let mut command = self.owner.command(&self.binaries.postgres);
        command
            .arg("-D")
            .arg(self.data())
            .arg("-p")
            .arg(self.port.to_string())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // A Ctrl-C at the terminal is for whoever started it.
            .process_group(0);
        command.spawn().map_err(io("run", &self.binaries.postgres))
    }

    /// The eighth line of its pid file says how far it is.
    fn await_ready(&mut self) -> Result<(), DevPostgresError> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let text = fs::read_to_string(self.pid_file()).unwrap_or_default();
            if text
                .lines()
                .nth(7)
                .is_some_and(|line| line.trim() == "ready")
            {
                return Ok(());
            }
            let ended = self.server.as_mut().map(Child::try_wait);
            if !matches!(ended, Some(Ok(None))) {
                self.server = None;
                let log = fs::read_to_string(self.log_file()).unwrap_or_default();
                return Err(DevPostgresError::Ended(log));
            }
            std::thread::sleep(LOOK);
        }
        Err(DevPostgresError::Silent("start"))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }
}

impl Drop for DevPostgres {
    fn drop(&mut self) {
        // At once, but so that it still takes its children's ends in.
        self.end(Signal::QUIT);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> Result<u16, DevPostgresError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    let address = address.map_err(io("listen on", Path::new("127.0.0.1")))?;
    Ok(address.port())
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum DevPostgresError {
    /// No `initdb` and `postgres` on this machine.
    #[error(
        "PostgreSQL is not installed: neither PATH nor /usr/lib/postgresql has its initdb and postgres (on Debian: apt install postgresql)"
    )]
    NotInstalled,
    /// The server did not do what it was told.
    #[error("PostgreSQL said: {0}")]
    Sql(String),
    /// It refuses to run as root, and there is no other user.
    #[error(
        "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as"
    )]
    NoUser,
    /// A file, folder or program cannot be used.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No certificate could be made for it.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// No random bytes.
    #[error("the system has no random numbers")]
    Random,
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// The server ended by itself.
    #[error("the server ended; its log: {0}")]
    Ended(String),
    /// The server does not do what it was told.
    #[error("the server did not {0} within a minute")]
    Silent(&'static str),
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DevPostgresError {
    let path = path.to_owned();
    move |source| DevPostgresError::Io {
        action,
        path,
        source,
    }
}
