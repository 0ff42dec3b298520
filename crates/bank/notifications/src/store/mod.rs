//! All SQL. Row-level security picks the tenant.

mod deliveries;
mod inbox;
mod notifications;
mod preferences;
mod retention;

use auth::{TenantId, UserId};
use sqlx::postgres::PgConnection;
use storage::Database;

pub(crate) use deliveries::{Claimed, DeliveryPage, DeliveryRow};
pub(crate) use inbox::{InboxRow, Page};
pub(crate) use notifications::{New, Recorded, notification_insert_in_txn};
pub(crate) use preferences::preferences_fetch_in_txn;

/// The channel of PostgreSQL on which is told whose notifications changed: `<tenant> <user>`.
pub(crate) const CHANGES: &str = "notifications";

/// Everything that notifications keep in PostgreSQL.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
}

impl Store {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Begins a transaction of one tenant.
    pub(crate) async fn begin(
        &self,
        tenant: TenantId,
    ) -> Result<storage::Transaction, storage::Error> {
        self.database.begin(tenant).await
    }
}

/// Tells every process, when the transaction commits, that something of `user` changed.
async fn tell_in_txn(connection: &mut PgConnection, user: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify($1, current_tenant() || ' ' || $2)")
        .bind(CHANGES)
        .bind(user.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
