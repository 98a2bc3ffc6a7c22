//! A real Redis server on loopback, and clients of it.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quietus::issuers::{Credential, Issuer};
use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value};
use tempfile::TempDir;

use crate::orders::{self, write_mode};

pub const ADMIN: &str = "password-of-the-admin";
pub const OURS: &str = "password-of-the-broker";

/// What the sample tells operators to give the broker's user.
const RIGHTS: &str = "resetkeys resetchannels -@all +hello +ping +acl|setuser +acl|deluser +acl|getuser +acl|users \
                      +acl|save +client|id +client|setname +client|list +client|kill";

pub struct Server {
    pub folder: TempDir,
    pub port: u16,
    extra: Vec<String>,
    process: Option<Child>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With more words for its command line.
    pub async fn with(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let users =
            format!("user default on >{ADMIN} ~* &* +@all\nuser quietus on >{OURS} {RIGHTS}\n");
        fs::write(folder.path().join("users.acl"), users).unwrap();
        write_mode(
            &folder.path().join("redis.password"),
            format!("{OURS}\n"),
            0o600,
        );
        let mut server = Self {
            folder,
            port: free_port(),
            extra: extra.iter().map(ToString::to_string).collect(),
            process: None,
        };
        server.start().await;
        server
    }

    pub async fn start(&mut self) {
        for _ in 0..20 {
            let dir = self.folder.path().to_str().unwrap().to_owned();
            let mut command = Command::new("redis-server");
            command
                .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
                .args(["--dir", &dir, "--save", "", "--appendonly", "no"])
                .args(["--aclfile", &format!("{dir}/users.acl")])
                .args(&self.extra)
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            let mut process = command.spawn().expect("redis-server is installed");
            while process.try_wait().unwrap().is_none() {
                if self.admin().await.is_ok() {
                    self.process = Some(process);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // Somebody else took the port.
            self.port = free_port();
        }
        panic!("redis-server does not start");
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub async fn restart(&mut self) {
        self.kill();
        self.start().await;
    }

    pub async fn admin(&self) -> Result<MultiplexedConnection, RedisError> {
        connect(self.port, "default", ADMIN).await
    }

    pub async fn ask(&self, words: &[&str]) -> Value {
        ask(&mut self.admin().await.unwrap(), words).await.unwrap()
    }

    pub async fn users(&self) -> Vec<String> {
        let Value::Array(users) = self.ask(&["ACL", "USERS"]).await else {
            panic!("no list");
        };
        users.into_iter().map(text).collect()
    }

    pub async fn clients(&self) -> String {
        text(self.ask(&["CLIENT", "LIST"]).await)
    }

    /// A target at a port, with more lines.
    pub fn table(&self, port: u16, more: &str) -> String {
        format!(
            r#"[[target]]
name = "cache"
kind = "redis"
environment = "dev"
sensitivity = 1
resource_servers = []
timeout = "60s"
[target.redis]
host = "127.0.0.1"
port = {port}
tls = false
user = "quietus"
password_file = "redis.password"
{more}"#
        )
    }

    pub fn issuer(&self) -> Arc<dyn Issuer> {
        self.issuer_at(self.port, "")
    }

    pub fn issuer_at(&self, port: u16, more: &str) -> Arc<dyn Issuer> {
        orders::build(&self.folder, &self.table(port, more)).unwrap()
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

pub async fn connect(
    port: u16,
    user: &str,
    password: &str,
) -> Result<MultiplexedConnection, RedisError> {
    let info = redis::RedisConnectionInfo::default()
        .set_username(user)
        .set_password(password)
        .set_skip_set_lib_name();
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let (connection, driver) = made?;
    tokio::spawn(driver);
    Ok(connection)
}

/// As the agent that got this credential.
pub async fn log_in(credential: &Credential) -> Result<MultiplexedConnection, RedisError> {
    let (port, user, password) = parts(credential);
    connect(port, user, password).await
}

pub fn parts(credential: &Credential) -> (u16, &str, &str) {
    match credential {
        Credential::Redis {
            port,
            user,
            password,
            ..
        } => (*port, user, password.expose()),
        other => panic!("{other:?}"),
    }
}

pub async fn ask(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> Result<Value, RedisError> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(connection).await
}

/// What the server says to a line of words.
pub async fn says(connection: &mut MultiplexedConnection, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match ask(connection, &words).await {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.code().unwrap_or("broken").to_owned(),
    }
}

pub fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => text,
        Value::Okay => "OK".to_owned(),
        other => panic!("{other:?}"),
    }
}
