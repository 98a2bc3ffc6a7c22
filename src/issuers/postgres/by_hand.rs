//! The same statements without a broker around them: what `quietus bench` measures itself against.

use quietus_core::{LeaseId, Scope, Timestamp};

use super::password;
use super::revoke::standing;
use super::scopes;
use super::sql::{self, Attributes};
use super::{Failure, Leased, PostgresIssuer};

impl PostgresIssuer {
    /// Makes a role and drops it again, over one connection of the pool: every statement that a lease takes, one after
    /// the other, and nothing else. The password is the same each time.
    ///
    /// # Errors
    /// [`Failure`] as with any lease.
    pub async fn by_hand(
        &self,
        lease: LeaseId,
        scopes: &[Scope],
        until: Timestamp,
    ) -> Result<(), Failure> {
        let connection = self.site.pool.get().await?;
        let done = self.send(&connection, lease, scopes, until).await;
        self.site.pool.done(connection, done).await
    }

    async fn send(
        &self,
        connection: &Leased,
        lease: LeaseId,
        scopes: &[Scope],
        until: Timestamp,
    ) -> Result<(), Failure> {
        let site = &self.site;
        let wanted = scopes::read(scopes, &site.settings.templates).map_err(Failure::said)?;
        let role = site.names.role(lease);
        let attributes = Attributes {
            connection_limit: site.settings.connection_limit,
            verifier: password::SAMPLE,
            until,
        };
        let create = sql::create(lease, &role, &attributes, &wanted);
        connection.run(&create).await?;
        connection.run("COMMIT").await?;
        let rows = connection.run(&sql::find_locked(lease, &role)).await?;
        let found = rows.get(1).map(standing);
        let found = found.ok_or_else(|| Failure::said("the role is not there"))?;
        connection.run(&sql::shut(&found)).await?;
        let begin = sql::begin_drop(lease);
        let drop = sql::drop(&found.role, &site.settings.on_owned);
        connection.run(&format!("{begin}; {drop}")).await?;
        connection.run(&sql::leftovers(&found)).await?;
        Ok(())
    }
}
