//! A server that tests share while any of them runs, and a database in it for each.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use quietus::config::PostgresSettings;
use quietus::dev::{DevPostgres, DevPostgresOptions, POSTGRES_ADMIN};
use quietus::issuers::postgres::PostgresIssuer;
use quietus::issuers::{Credential, Doomed, Failure, Issuer};
use quietus_core::{Confirmation, IssueOrder, LeaseId};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error, NoTls};

use crate::order::{issuer, settings};

/// The tables and functions that tests ask rights on.
const SCHEMA: &str = r#"
    CREATE TABLE public.orders (id int PRIMARY KEY, note text);
    INSERT INTO public.orders VALUES (1, 'first');
    CREATE TABLE public.other (id int);
    CREATE TABLE public."Orders" (id int);
    CREATE SCHEMA hidden;
    CREATE TABLE hidden.orders (id int);
    CREATE FUNCTION public.total(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION public.total(text) RETURNS int LANGUAGE sql AS 'SELECT 0';
    CREATE FUNCTION public.single() RETURNS int LANGUAGE sql AS 'SELECT 7';
    REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
"#;

static SHARED: Mutex<Weak<DevPostgres>> = Mutex::new(Weak::new());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A database of one test's own.
pub struct Db {
    pub server: Arc<DevPostgres>,
    pub name: String,
    pub admin: Client,
}

impl Db {
    pub async fn new() -> Self {
        Self::at(shared()).await
    }

    pub async fn at(server: Arc<DevPostgres>) -> Self {
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let first = admin(&server, "postgres").await;
        first
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let admin = admin(&server, &name).await;
        admin.batch_execute(SCHEMA).await.unwrap();
        Self {
            server,
            name,
            admin,
        }
    }

    pub fn settings(&self) -> PostgresSettings {
        settings(&self.server, &self.name)
    }

    pub fn issuer(&self) -> PostgresIssuer {
        issuer(&self.settings())
    }

    pub async fn exists(&self, role: &str) -> bool {
        let sql = "SELECT 1 FROM pg_roles WHERE rolname = $1";
        self.admin.query_opt(sql, &[&role]).await.unwrap().is_some()
    }

    /// How many sessions of that role there are.
    pub async fn sessions(&self, role: &str) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        self.admin.query_one(sql, &[&role]).await.unwrap().get(0)
    }

    pub async fn login(&self, credential: &Credential) -> Result<Client, Error> {
        let Credential::Postgres { database, .. } = credential else {
            panic!("{credential:?}");
        };
        login_to(credential, database).await
    }
}

pub fn launch(options: &DevPostgresOptions) -> DevPostgres {
    DevPostgres::launch(options).unwrap()
}

pub fn shared() -> Arc<DevPostgres> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return server;
    }
    let server = Arc::new(launch(&DevPostgresOptions::default()));
    *shared = Arc::downgrade(&server);
    server
}

pub async fn admin(server: &DevPostgres, database: &str) -> Client {
    let password = std::fs::read_to_string(server.password_file()).unwrap();
    connect(server.port(), database, POSTGRES_ADMIN, &password)
        .await
        .unwrap()
}

pub async fn connect(
    port: u16,
    database: &str,
    user: &str,
    password: &str,
) -> Result<Client, Error> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .dbname(database)
        .user(user)
        .password(password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

pub async fn login_to(credential: &Credential, database: &str) -> Result<Client, Error> {
    let Credential::Postgres {
        port,
        user,
        password,
        ..
    } = credential
    else {
        panic!("{credential:?}");
    };
    connect(*port, database, user, password.expose()).await
}

pub async fn make(issuer: &PostgresIssuer, order: &IssueOrder) -> Result<Credential, Failure> {
    let prepared = issuer.issue(order, None).unwrap();
    prepared.run().await.map(|made| made.credential)
}

pub async fn revoke(issuer: &PostgresIssuer, id: LeaseId) -> Result<Confirmation, Failure> {
    issuer.revoke(&Doomed::stray(id)).await
}

pub fn code(error: &Error) -> &SqlState {
    error.code().unwrap_or_else(|| panic!("{error:?}"))
}

pub fn denied<T: std::fmt::Debug>(outcome: Result<T, Error>) -> bool {
    *code(&outcome.unwrap_err()) == SqlState::INSUFFICIENT_PRIVILEGE
}

/// Looks until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, look: impl Fn() -> F) {
    let looking = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(60), looking).await;
    looked.unwrap_or_else(|_| panic!("never: {what}"));
}
