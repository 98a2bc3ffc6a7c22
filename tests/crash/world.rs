//! A database, the network to it, and a broker that issues for it.

use std::collections::BTreeSet;
use std::time::Duration;

use quietus::dev::{DevPostgres, DevPostgresOptions, POSTGRES_ADMIN};
use quietus::store::{Options, Store};
use quietus_core::{LeaseId, TaskId};
use tokio_postgres::{Client, Config, NoTls};

use crate::inside::Inside;
use crate::process;
use crate::proxy::Proxy;

pub const TARGET: &str = "db";
pub const READ: &str = "db:read:public.orders";
const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    pub inside: Inside,
    pub server: DevPostgres,
    pub proxy: Proxy,
}

impl World {
    /// The broker gives a call to the database so long.
    pub async fn new(timeout: &str) -> Self {
        let server = tokio::task::block_in_place(|| {
            // A killed process loses nothing by that.
            let options = DevPostgresOptions {
                fsync: false,
                ..DevPostgresOptions::default()
            };
            DevPostgres::launch(&options).unwrap()
        });
        let admin = admin(&server).await;
        admin
            .batch_execute("CREATE TABLE public.orders (id int)")
            .await
            .unwrap();
        let inside = Inside::new();
        process::listen_anywhere(&inside);
        let proxy = Proxy::start(server.port()).await;
        let world = Self {
            inside,
            server,
            proxy,
        };
        world.add_target(timeout);
        world
    }

    fn add_target(&self, timeout: &str) {
        let file = self.inside.world.domain.config();
        let mut config: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        let mut settings: toml::Table = self.server.target_settings("postgres").parse().unwrap();
        settings.insert("port".to_owned(), i64::from(self.proxy.port).into());
        settings.insert(
            "agent_port".to_owned(),
            i64::from(self.server.port()).into(),
        );
        let mut target: toml::Table = format!(
            "name = \"{TARGET}\"\nkind = \"postgres\"\nenvironment = \"dev\"\nsensitivity = 1\n\
             timeout = \"{timeout}\"\nconcurrency = 4\nresource_servers = []"
        )
        .parse()
        .unwrap();
        target.insert("postgres".to_owned(), settings.into());
        let targets = config.get_mut("target").unwrap().as_array_mut().unwrap();
        targets.push(target.into());
        std::fs::write(file, config.to_string()).unwrap();
    }

    /// The store of a broker that does not run.
    pub fn store(&self) -> Store {
        let options = Options {
            path: self.inside.config.store.path.clone(),
            cache_bytes: 8 << 20,
            min_free_bytes: 1 << 20,
            accept_restored: false,
            without_tree: false,
        };
        Store::open(&options).unwrap()
    }

    /// As the database has them, not by way of the network that breaks.
    pub async fn roles(&self) -> BTreeSet<LeaseId> {
        let admin = admin(&self.server).await;
        let sql = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'quietus\\_%'";
        let rows = admin.query(sql, &[]).await.unwrap();
        let leases: BTreeSet<_> = rows.iter().map(|row| lease_of(row.get(0))).collect();
        assert_eq!(leases.len(), rows.len(), "two roles for one lease");
        leases
    }

    pub async fn logs_in(&self, user: &str, password: &str) -> bool {
        let connected = connect(&self.server, user, password).await;
        connected.is_ok()
    }
}

/// `quietus_<tag>_<task>_<number>`
pub fn lease_of(role: &str) -> LeaseId {
    let mut parts = role.rsplit('_');
    let number = parts.next().unwrap().parse().unwrap();
    let task = parts.next().unwrap().parse::<uuid::Uuid>().unwrap();
    LeaseId {
        task: TaskId(task),
        number,
    }
}

async fn admin(server: &DevPostgres) -> Client {
    let password = std::fs::read_to_string(server.password_file()).unwrap();
    let connected = connect(server, POSTGRES_ADMIN, &password).await;
    connected.unwrap()
}

async fn connect(
    server: &DevPostgres,
    user: &str,
    password: &str,
) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(server.port())
        .dbname("postgres")
        .user(user)
        .password(password);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// What must happen sooner or later.
pub async fn soon<T>(what: &str, happening: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(PATIENCE, happening).await;
    happened.unwrap_or_else(|_| panic!("never: {what}"))
}
