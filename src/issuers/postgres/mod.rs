//! PostgreSQL: a role per lease.
//!
//! `can_revoke`: yes. `confirms_by`: the role is dropped, looked up and found absent, and so are its sessions.
//! `expires_at_target`: yes, `VALID UNTIL`, after which the server lets nobody log in with the password.
//!
//! A role is made in one transaction, which first takes an advisory lock that stands for its lease and is committed
//! only by whoever saw it succeed. What unmakes it takes the same lock. So once it was found absent nothing that was
//! begun before can still bring it about.
//!
//! Revoking first commits that nobody can log in any more, then ends the role's sessions and waits until they are
//! gone, then drops or reassigns what it owns, takes its rights away and drops it; at last it looks that it is gone.
//!
//! PostgreSQL keeps all rights on a table in one row of 8 kB: about 2,400 roles can have rights on it at once (a server
//! that is full says so, and the next one is refused). For more, let a template grant a group's rights.

mod by_hand;
mod connect;
mod password;
mod revoke;
mod scopes;
mod sql;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use quietus_core::{Confirmation, Digest, Enforced, IssueOrder, Lease, LeaseId};
use ring::digest::{SHA256, digest};
use tokio_postgres::SimpleQueryRow;
use tokio_postgres::error::SqlState;

use self::connect::{Connection, Leased, Pool, failure};
use self::scopes::Wanted;
use self::sql::{Attributes, Names};
use super::{
    Abilities, Credential, Doing, Doomed, Failure, Found, Issuer, KeyRequest, Made, Prepared,
    Secret, Shared, Unfit,
};
use crate::config::{PostgresSettings, Target};

/// How often the same is tried when another transaction was in the way.
const TRIES: usize = 3;

/// Makes roles in one database.
pub struct PostgresIssuer {
    site: Arc<Site>,
}

/// The database, and how it is reached.
struct Site {
    pool: Pool,
    settings: PostgresSettings,
    names: Names,
    timeout: Duration,
    ca_pem: String,
}

impl PostgresIssuer {
    /// Opens the files that the settings name, and no connection.
    ///
    /// # Errors
    /// If a file is missing, can be read by others, or does not hold what it should.
    pub fn new(
        target: &Target,
        settings: &PostgresSettings,
        shared: &Shared,
    ) -> Result<Self, String> {
        let (pool, ca_pem) = Pool::new(target, settings)?;
        Ok(Self {
            site: Arc::new(Site {
                pool,
                settings: settings.clone(),
                names: Names::new(&shared.broker, target.name.as_str()),
                timeout: target.timeout,
                ca_pem,
            }),
        })
    }

    /// What the role of a lease is called.
    pub fn role(&self, lease: LeaseId) -> String {
        self.site.names.role(lease)
    }

    /// The lease of a role that this issuer made.
    pub fn lease(&self, role: &str) -> Option<LeaseId> {
        self.site.names.lease(role)
    }
}

impl Issuer for PostgresIssuer {
    fn abilities(&self) -> Abilities {
        Abilities {
            can_revoke: true,
            confirms_by: Some(Confirmation::DeletedAtTarget),
            expires_at_target: true,
            renewable: true,
            enforced: Enforced::AtTarget,
        }
    }

    fn issue(&self, order: &IssueOrder, key: Option<&KeyRequest>) -> Result<Prepared, Unfit> {
        if key.is_some() {
            return Err(Unfit::new(
                "key",
                "a role has a password: leave the key out",
            ));
        }
        let lease = order.lease().clone();
        let wanted = scopes::read(&lease.scopes, &self.site.settings.templates)?;
        let fingerprint = Some(fingerprint(&self.role(lease.id)));
        let site = Arc::clone(&self.site);
        Ok(Prepared::new(fingerprint, async move {
            let password = site.within(site.make(&lease, &wanted)).await?;
            Ok(site.made(&lease, password))
        }))
    }

    /// The password stays as it is, so it is left empty.
    fn renew(&self, order: &IssueOrder) -> Result<Prepared, Unfit> {
        let lease = order.lease().clone();
        let site = Arc::clone(&self.site);
        let fingerprint = Some(fingerprint(&self.role(lease.id)));
        Ok(Prepared::new(fingerprint, async move {
            site.within(site.renew(&lease)).await?;
            Ok(site.made(&lease, Secret::new("")))
        }))
    }

    fn revoke<'a>(&'a self, doomed: &'a Doomed) -> Doing<'a, Result<Confirmation, Failure>> {
        Box::pin(async {
            self.site.within(self.site.unmake(doomed.id)).await?;
            Ok(Confirmation::DeletedAtTarget)
        })
    }

    fn list(&self) -> Doing<'_, Result<Option<Vec<Found>>, Failure>> {
        Box::pin(async { self.site.within(self.site.list()).await.map(Some) })
    }

    fn check(&self) -> Doing<'_, Result<String, Failure>> {
        Box::pin(self.site.within(self.site.check()))
    }
}

impl Site {
    /// What has begun is broken off, and with that undone, when the target's time is up.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(Failure::away(format_args!(
                "not done within {}",
                humantime::format_duration(self.timeout)
            ))),
        }
    }

    /// Runs statements of which the last ends the work.
    async fn run(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, Failure> {
        let connection = self.pool.get().await?;
        let done = connection.run(sql).await;
        self.pool.done(connection, done).await
    }

    async fn make(&self, lease: &Lease, wanted: &Wanted) -> Result<Secret, Failure> {
        let (password, verifier) = new_password().await?;
        let role = self.names.role(lease.id);
        let attributes = Attributes {
            connection_limit: self.settings.connection_limit,
            verifier: &verifier,
            until: lease.expires_at,
        };
        let create = sql::create(lease.id, &role, &attributes, wanted);
        for _ in 1..TRIES {
            if self.try_to_make(lease.id, &role, &create, wanted).await? == Tried::Done {
                return Ok(password);
            }
        }
        match self.try_to_make(lease.id, &role, &create, wanted).await? {
            Tried::Done => Ok(password),
            Tried::Again => Err(Failure::said(
                "others kept changing the same rights: try again",
            )),
        }
    }

    async fn try_to_make(
        &self,
        lease: LeaseId,
        role: &str,
        create: &str,
        wanted: &Wanted,
    ) -> Result<Tried, Failure> {
        let connection = self.pool.get().await?;
        let rows = match connection.try_run(create).await {
            Ok(rows) => rows,
            Err(error) => {
                let refused = self.pool.done::<()>(connection, Err(failure(&error))).await;
                return self.clear_the_way(lease, &error, refused).await;
            }
        };
        let done = self.finish(&connection, role, &rows, wanted).await;
        self.pool.done(connection, done).await.map(|()| Tried::Done)
    }

    /// A role of that name is left from before: nobody has its password. Other transactions come and go.
    async fn clear_the_way(
        &self,
        lease: LeaseId,
        error: &tokio_postgres::Error,
        refused: Result<(), Failure>,
    ) -> Result<Tried, Failure> {
        if error.code() == Some(&SqlState::DUPLICATE_OBJECT) {
            self.unmake(lease).await?;
            return Ok(Tried::Again);
        }
        match is_passing(error) {
            true => Ok(Tried::Again),
            false => refused.map(|()| Tried::Again),
        }
    }

    /// Looks that the rights were given, adds the templates', and commits.
    async fn finish(
        &self,
        connection: &Connection,
        role: &str,
        rows: &[SimpleQueryRow],
        wanted: &Wanted,
    ) -> Result<(), Failure> {
        let has = |at| rows.last().and_then(|row| row.get(at)) == Some("t");
        if !has(0) {
            self.let_connect(connection, role).await?;
        }
        let missing = wanted
            .rights
            .iter()
            .enumerate()
            .find(|(at, _)| !has(at + 1));
        if let Some((_, right)) = missing {
            let (privilege, thing) = (right.privilege, sql::thing(right));
            return Err(Failure::said(format_args!(
                "the broker's role may not grant {privilege} on {thing}"
            )));
        }
        for template in &wanted.templates {
            let template = self.settings.templates.get(template);
            let grant = template.map(|it| it.grant.as_slice()).unwrap_or_default();
            for statement in sql::fill(grant, role) {
                connection.run_one(&statement).await?;
            }
        }
        if !wanted.templates.is_empty() {
            connection
                .run(&sql::remember(role, &wanted.templates))
                .await?;
        }
        connection.run("COMMIT").await.map(|_| ())
    }

    async fn let_connect(&self, connection: &Connection, role: &str) -> Result<(), Failure> {
        let database = &self.settings.database;
        let rows = connection.run(&sql::grant_connect(role, database)).await?;
        match rows.last().and_then(|row| row.get(0)) == Some("t") {
            true => Ok(()),
            false => Err(Failure::said(
                "the broker's role may not grant CONNECT on the database",
            )),
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Failure> {
        let role = self.names.role(lease.id);
        self.run(&sql::renew(lease.id, &role, lease.expires_at))
            .await
            .map(|_| ())
    }

    async fn list(&self) -> Result<Vec<Found>, Failure> {
        let rows = self.run(&self.names.list()).await?;
        let found = rows.iter().filter_map(|row| {
            let name = row.get(0)?.to_owned();
            let id = self.names.lease(&name)?;
            Some(Found { id, name })
        });
        Ok(found.collect())
    }

    async fn check(&self) -> Result<String, Failure> {
        let rows = self.run(sql::CHECK).await?;
        let row = rows
            .first()
            .ok_or_else(|| Failure::said("the server does not say who we are"))?;
        let user = &self.settings.user;
        if row.get(3) == Some("t") {
            return Err(Failure::away("the server is a standby: name the primary"));
        }
        if row.get(1) != Some("t") {
            let message = format!(
                "{user} may not make roles: run ALTER ROLE {} CREATEROLE",
                sql::name(user)
            );
            return Err(Failure::said(message));
        }
        Ok(format!(
            "PostgreSQL {}, as {user}",
            row.get(0).unwrap_or("of no version")
        ))
    }

    fn made(&self, lease: &Lease, password: Secret) -> Made {
        let agents = &self.settings.agents;
        Made {
            credential: Credential::Postgres {
                host: agents.host.clone(),
                port: agents.port,
                database: self.settings.database.clone(),
                user: self.names.role(lease.id),
                password,
                sslmode: agents.sslmode.as_str().to_owned(),
                ca_pem: self.ca_pem.clone(),
            },
            fingerprint: None,
        }
    }
}

/// A password and its verifier. That takes a millisecond or two, which is too long to keep others waiting.
async fn new_password() -> Result<(Secret, String), Failure> {
    let making = tokio::task::spawn_blocking(|| {
        let password = password::random()?;
        let verifier = password::verifier(&password)?;
        Ok((password, verifier))
    });
    let made = making.await.map_err(Failure::away)?;
    made.map_err(|error: String| Failure::away(error))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tried {
    Done,
    Again,
}

/// Whether it may well go the next time: a deadlock, or rights that another transaction changed at the same time.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    let Some(said) = error.as_db_error() else {
        return false;
    };
    let concurrently = said.message().contains("concurrently");
    let code = said.code();
    *code == SqlState::T_R_DEADLOCK_DETECTED
        || *code == SqlState::T_R_SERIALIZATION_FAILURE
        || (*code == SqlState::INTERNAL_ERROR && concurrently)
}

fn fingerprint(role: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, role.as_bytes()).as_ref());
    Digest(bytes)
}
