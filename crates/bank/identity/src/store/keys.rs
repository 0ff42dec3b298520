//! SQL about signing keys, which belong to no tenant.

use auth::{Jwk, TenantId};
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection, Row};
use storage::{Error, Transaction};

use super::Store;

/// The key that signs.
#[derive(FromRow)]
pub(crate) struct ActiveKey {
    pub(crate) kid: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// A key as stored.
pub(crate) struct StoredKey {
    pub(crate) public: Jwk,
    /// The private key, until the key retires.
    pub(crate) sealed: Option<Vec<u8>>,
}

impl Store {
    /// Reads all keys, newest first.
    pub(crate) async fn keys_fetch(&self) -> Result<Vec<StoredKey>, Error> {
        let mut tx = self.begin(TenantId::DEFAULT).await?;
        let rows = sqlx::query(
            "SELECT public_key, sealed FROM signing_key
             ORDER BY retired_at IS NOT NULL, created_at DESC",
        )
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        rows.iter()
            .map(|row| {
                let Json(public) = row.try_get("public_key")?;
                Ok(StoredKey { public, sealed: row.try_get("sealed")? })
            })
            .collect()
    }

    /// Begins a change of the keys: replicas take turns until the transaction ends, readers do
    /// not wait. Returns the key that signs so far.
    pub(crate) async fn keys_lock(&self) -> Result<(Transaction, Option<ActiveKey>), Error> {
        let mut tx = self.begin(TenantId::DEFAULT).await?;
        sqlx::query("LOCK TABLE signing_key IN EXCLUSIVE MODE").execute(&mut *tx).await?;
        let active =
            sqlx::query_as("SELECT kid, created_at FROM signing_key WHERE retired_at IS NULL")
                .fetch_optional(&mut *tx)
                .await?;
        Ok((tx, active))
    }

    /// Removes keys that retired before `until`.
    pub(crate) async fn keys_delete_retired(&self, until: DateTime<Utc>) -> Result<(), Error> {
        let mut tx = self.begin(TenantId::DEFAULT).await?;
        sqlx::query("DELETE FROM signing_key WHERE retired_at <= $1")
            .bind(until)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

/// Lets `new` sign from now on, in place of any other. Erases the other's private key.
pub(crate) async fn key_replace_in_txn(
    connection: &mut PgConnection,
    new: &Jwk,
    sealed: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query("UPDATE signing_key SET retired_at = $1, sealed = NULL WHERE retired_at IS NULL")
        .bind(now)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO signing_key (kid, public_key, sealed, created_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(&new.kid)
    .bind(Json(new))
    .bind(sealed)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
