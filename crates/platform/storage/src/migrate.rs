//! Migrations at start, and the check that they protect what they create.

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;

use crate::{Database, Error};

/// A schema that could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database failed outside a migration.
    #[error(transparent)]
    Storage(#[from] Error),
    /// A migration failed, or the ones applied before are not those of this program.
    #[error("the schema cannot be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Tables with a `tenant_id` column, but without row-level security that is enabled and forced.
    #[error("without forced row-level security: {}", .0.join(", "))]
    Unprotected(Vec<String>),
}

impl Database {
    /// Brings the schema up to date, once, however many replicas start together.
    ///
    /// A schema that a newer version has already taken further is left as it is: both versions run
    /// side by side while one replaces the other. Refuses a schema in which a table has a
    /// `tenant_id` column but no forced row-level security.
    pub async fn migrate(&self, migrator: &Migrator) -> Result<(), MigrateError> {
        // A connection of its own, closed at the end: the advisory lock that makes replicas take
        // turns goes with it whatever happens. Both the turn and a migration may take longer than
        // the role's limits for a request.
        let options =
            self.connect_options().options([("statement_timeout", "0"), ("lock_timeout", "0")]);
        let own = PgPoolOptions::new()
            .max_connections(1)
            .connect_with(options)
            .await
            .map_err(Error::from)?;
        let mut migrator = Migrator::with_migrations(migrator.iter().cloned().collect());
        let migrated = migrator.set_ignore_missing(true).run(&own).await;
        let unprotected = tables_unprotected(&own).await;
        own.close().await;
        migrated?;
        let unprotected = unprotected?;
        if unprotected.is_empty() { Ok(()) } else { Err(MigrateError::Unprotected(unprotected)) }
    }
}

async fn tables_unprotected(pool: &PgPool) -> Result<Vec<String>, Error> {
    let tables = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
         WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
           AND attname = 'tenant_id' AND NOT attisdropped
           AND NOT (relrowsecurity AND relforcerowsecurity)
         ORDER BY relname",
    )
    .fetch_all(pool)
    .await?;
    Ok(tables)
}
