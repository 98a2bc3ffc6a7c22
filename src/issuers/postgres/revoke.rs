//! The end of a role.

use std::time::Duration;

use quietus_core::LeaseId;
use tokio_postgres::SimpleQueryRow;
use tokio_postgres::error::SqlState;

use super::sql::{self, Standing};
use super::{Connection, Failure, Leased, Site, TRIES, failure, is_passing};

/// How often it is looked whether the role's sessions are gone, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LONGEST_LOOK: Duration = Duration::from_millis(200);

impl Site {
    /// Ends the role of a lease. One that is not there is gone.
    pub(super) async fn unmake(&self, lease: LeaseId) -> Result<(), Failure> {
        let connection = self.pool.get().await?;
        let done = self.unmake_with(&connection, lease).await;
        self.pool.done(connection, done).await
    }

    async fn unmake_with(&self, connection: &Leased, lease: LeaseId) -> Result<(), Failure> {
        // Once, and again as long as something is left.
        while let Some(found) = self.find(connection, lease).await? {
            if !connection.run(&sql::shut(&found)).await?.is_empty() {
                end_sessions(connection, found.oid).await?;
            }
            self.drop_role(connection, lease, &found).await?;
            let left = connection.run(&sql::leftovers(&found)).await?;
            if left.is_empty() {
                return Ok(());
            }
            // Who was let in while the role was being shut shows only now.
            end_sessions(connection, found.oid).await?;
        }
        Ok(())
    }

    /// Waits for whoever may be making it. Leaves a transaction open if it is there.
    async fn find(
        &self,
        connection: &Connection,
        lease: LeaseId,
    ) -> Result<Option<Standing>, Failure> {
        let sql = sql::find_locked(lease, &self.names.role(lease));
        let rows = connection.run(&sql).await?;
        // The first row is the lock's.
        if let Some(row) = rows.get(1) {
            return Ok(Some(standing(row)));
        }
        let rows = connection.run(&sql::find_renamed(lease)).await?;
        if rows.is_empty() {
            connection.run("COMMIT").await?;
        }
        Ok(rows.first().map(standing))
    }

    async fn drop_role(
        &self,
        connection: &Connection,
        lease: LeaseId,
        found: &Standing,
    ) -> Result<(), Failure> {
        let mut elsewhere_done = false;
        let mut tried = 0;
        loop {
            let Err(error) = self.try_to_drop(connection, lease, found).await? else {
                return Ok(());
            };
            tried += 1;
            connection.run("ROLLBACK").await?;
            let owns = error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
            if owns && !elsewhere_done {
                self.drop_owned(connection, lease, found).await?;
                elsewhere_done = true;
            } else if !is_passing(&error) || tried >= TRIES {
                return Err(failure(&error));
            }
        }
    }

    async fn try_to_drop(
        &self,
        connection: &Connection,
        lease: LeaseId,
        found: &Standing,
    ) -> Result<Result<(), tokio_postgres::Error>, Failure> {
        let undo = sql::undo(found, &self.settings.templates).map_err(|template| {
            Failure::said(format_args!(
                "made with the template {template:?}, which is not in the configuration any more: put it back"
            ))
        })?;
        let begin = sql::begin_drop(lease);
        let drop = sql::drop(&found.role, &self.settings.on_owned);
        if undo.is_empty() {
            let all = format!("{begin}; {drop}");
            return Ok(connection.try_run(&all).await.map(|_| ()));
        }
        if let Err(error) = connection.try_run(&begin).await {
            return Ok(Err(error));
        }
        for statement in undo {
            connection.run_one(&statement).await?;
        }
        Ok(connection.try_run(&drop).await.map(|_| ()))
    }

    /// Everybody may make large objects in every database that lets them in, and would keep the role by that. And what
    /// can be dropped here goes even if the role cannot, since that may be all that keeps another one.
    async fn drop_owned(
        &self,
        connection: &Connection,
        lease: LeaseId,
        found: &Standing,
    ) -> Result<(), Failure> {
        let begin = sql::begin_drop(lease);
        let owned = sql::drop_owned(&found.role, &self.settings.on_owned);
        connection.run(&format!("{begin}; {owned}; COMMIT")).await?;
        for row in connection.run(&sql::elsewhere(found.oid)).await? {
            if let Some(database) = row.get(0) {
                let there = self.pool.elsewhere(database).await?;
                there
                    .run(&sql::drop_owned(&found.role, &self.settings.on_owned))
                    .await?;
            }
        }
        Ok(())
    }
}

/// Until none is left, or the target's time is up.
async fn end_sessions(connection: &Connection, oid: u32) -> Result<(), Failure> {
    let mut wait = FIRST_LOOK;
    while !connection.run(&sql::terminate(oid)).await?.is_empty() {
        tokio::time::sleep(wait).await;
        wait = LONGEST_LOOK.min(wait * 2);
    }
    Ok(())
}

pub(super) fn standing(row: &SimpleQueryRow) -> Standing {
    let text = |at| row.get(at).unwrap_or_default();
    Standing {
        role: text(0).to_owned(),
        oid: text(1).parse().unwrap_or_default(),
        by_superuser: text(2) == "t",
        templates: text(3).split_whitespace().map(str::to_owned).collect(),
    }
}
