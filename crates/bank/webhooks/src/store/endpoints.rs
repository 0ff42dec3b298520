//! Endpoints and their secrets.

use auth::TenantId;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Row};
use storage::named;
use uuid::Uuid;

use super::Store;
use crate::domain::endpoint::{Changes, DisabledReason, Endpoint, SigningKey, Target};
use crate::domain::signature::Scheme;
use crate::error::WebhookError;

/// A secret to keep.
pub(crate) struct NewSecret {
    pub(crate) id: Uuid,
    pub(crate) scheme: Scheme,
    pub(crate) sealed: Vec<u8>,
    pub(crate) public_key: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl Store {
    /// Inserts an endpoint with its first secret.
    pub(crate) async fn endpoint_insert(
        &self,
        tenant: TenantId,
        endpoint: &Endpoint,
        secret: &NewSecret,
    ) -> Result<Endpoint, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        sqlx::query(
            "INSERT INTO endpoint (id, url, description, event_types, rate_per_second, state,
                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, 'ENABLED', $6, $6)",
        )
        .bind(endpoint.id)
        .bind(&endpoint.url)
        .bind(&endpoint.description)
        .bind(&endpoint.event_types)
        .bind(endpoint.rate_per_second)
        .bind(endpoint.created_at)
        .execute(&mut *txn)
        .await?;
        secret_insert_in_txn(&mut txn, endpoint.id, secret).await?;
        let inserted = fetch_in_txn(&mut txn, endpoint.id, endpoint.created_at).await?;
        txn.commit().await?;
        Ok(inserted)
    }

    /// Finds an endpoint.
    pub(crate) async fn endpoint_fetch(
        &self,
        tenant: TenantId,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Endpoint, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        fetch_in_txn(&mut txn, id, now).await
    }

    /// Up to `limit` endpoints that are older than `before`, newest first.
    pub(crate) async fn endpoint_list(
        &self,
        tenant: TenantId,
        before: Option<Uuid>,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<Endpoint>, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let mut endpoints: Vec<Endpoint> = sqlx::query_as(
            "SELECT * FROM endpoint
             WHERE tenant_id = current_tenant() AND state <> 'DELETED'
               AND ($1::uuid IS NULL OR id < $1)
             ORDER BY id DESC LIMIT $2",
        )
        .bind(before)
        .bind(limit)
        .fetch_all(&mut *txn)
        .await?;
        add_keys_in_txn(&mut txn, &mut endpoints, now).await?;
        Ok(endpoints)
    }

    /// Changes an endpoint. The last write wins.
    pub(crate) async fn endpoint_update(
        &self,
        tenant: TenantId,
        id: Uuid,
        changes: &Changes,
        now: DateTime<Utc>,
    ) -> Result<Endpoint, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        sqlx::query(
            "UPDATE endpoint
             SET url = coalesce($2, url),
                 description = coalesce($3, description),
                 event_types = coalesce($4, event_types),
                 rate_per_second = coalesce($5, rate_per_second),
                 paced_until = CASE WHEN $5 IS NULL THEN paced_until END,
                 updated_at = $6
             WHERE id = $1 AND state <> 'DELETED'",
        )
        .bind(id)
        .bind(changes.target.as_ref().map(Target::as_str))
        .bind(&changes.description)
        .bind(&changes.event_types)
        .bind(changes.rate_per_second)
        .bind(now)
        .execute(&mut *txn)
        .await?;
        let updated = fetch_in_txn(&mut txn, id, now).await?;
        txn.commit().await?;
        Ok(updated)
    }

    /// Enables an endpoint whose `disabled` is `None`, as one that never failed; else disables it.
    pub(crate) async fn endpoint_set_state(
        &self,
        tenant: TenantId,
        id: Uuid,
        disabled: Option<DisabledReason>,
        now: DateTime<Utc>,
    ) -> Result<Endpoint, WebhookError> {
        let state = if disabled.is_none() { "ENABLED" } else { "DISABLED" };
        let mut txn = self.database.begin(tenant).await?;
        sqlx::query(
            "UPDATE endpoint
             SET state = $2, disabled_reason = $3, updated_at = $4, failures = 0,
                 failing_since = NULL, paused_until = NULL
             WHERE id = $1 AND state NOT IN ($2, 'DELETED')",
        )
        .bind(id)
        .bind(state)
        .bind(disabled.map(DisabledReason::as_str))
        .bind(now)
        .execute(&mut *txn)
        .await?;
        let endpoint = fetch_in_txn(&mut txn, id, now).await?;
        txn.commit().await?;
        Ok(endpoint)
    }

    /// Deletes an endpoint: its secrets are gone, its log stays.
    pub(crate) async fn endpoint_delete(
        &self,
        tenant: TenantId,
        id: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        sqlx::query(
            "UPDATE endpoint SET state = 'DELETED', disabled_reason = NULL, updated_at = $2
             WHERE id = $1 AND state <> 'DELETED'",
        )
        .bind(id)
        .bind(now)
        .execute(&mut *txn)
        .await?;
        sqlx::query("DELETE FROM endpoint_secret WHERE endpoint_id = $1")
            .bind(id)
            .execute(&mut *txn)
            .await?;
        Ok(txn.commit().await?)
    }

    /// Adds a secret; those before it end at `old_until`, unless they end earlier.
    pub(crate) async fn secret_rotate(
        &self,
        tenant: TenantId,
        id: Uuid,
        secret: &NewSecret,
        old_until: DateTime<Utc>,
    ) -> Result<Endpoint, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        // One at a time: else two could both be the newest.
        let locked =
            sqlx::query("SELECT FROM endpoint WHERE id = $1 AND state <> 'DELETED' FOR UPDATE")
                .bind(id)
                .fetch_optional(&mut *txn)
                .await?;
        locked.ok_or(WebhookError::EndpointNotFound)?;
        sqlx::query(
            "UPDATE endpoint_secret SET expires_at = least(expires_at, $2) WHERE endpoint_id = $1",
        )
        .bind(id)
        .bind(old_until)
        .execute(&mut *txn)
        .await?;
        secret_insert_in_txn(&mut txn, id, secret).await?;
        let endpoint = fetch_in_txn(&mut txn, id, secret.created_at).await?;
        txn.commit().await?;
        Ok(endpoint)
    }
}

async fn secret_insert_in_txn(
    connection: &mut PgConnection,
    endpoint: Uuid,
    secret: &NewSecret,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO endpoint_secret (id, endpoint_id, scheme, sealed, public_key, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(secret.id)
    .bind(endpoint)
    .bind(secret.scheme.as_str())
    .bind(&secret.sealed)
    .bind(&secret.public_key)
    .bind(secret.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

async fn fetch_in_txn(
    connection: &mut PgConnection,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Endpoint, WebhookError> {
    let found = sqlx::query_as("SELECT * FROM endpoint WHERE id = $1 AND state <> 'DELETED'")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let mut endpoints: Vec<Endpoint> = found.into_iter().collect();
    add_keys_in_txn(connection, &mut endpoints, now).await?;
    endpoints.pop().ok_or(WebhookError::EndpointNotFound)
}

async fn add_keys_in_txn(
    connection: &mut PgConnection,
    endpoints: &mut [Endpoint],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = endpoints.iter().map(|endpoint| endpoint.id).collect();
    let keys: Vec<SigningKey> = sqlx::query_as(
        "SELECT * FROM endpoint_secret
         WHERE endpoint_id = ANY($1) AND (expires_at IS NULL OR expires_at > $2) ORDER BY id DESC",
    )
    .bind(&ids)
    .bind(now)
    .fetch_all(connection)
    .await?;
    for key in keys {
        let owner = endpoints.iter_mut().find(|endpoint| endpoint.id == key.endpoint);
        if let Some(endpoint) = owner {
            endpoint.keys.push(key);
        }
    }
    Ok(())
}

impl FromRow<'_, PgRow> for Endpoint {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let is_disabled = row.try_get::<Option<&str>, _>("disabled_reason")?.is_some();
        let reason = || named(row, "disabled_reason", &DisabledReason::ALL, DisabledReason::as_str);
        Ok(Self {
            id: row.try_get("id")?,
            url: row.try_get("url")?,
            description: row.try_get("description")?,
            event_types: row.try_get("event_types")?,
            rate_per_second: row.try_get("rate_per_second")?,
            disabled: is_disabled.then(reason).transpose()?,
            paused_until: row.try_get("paused_until")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            keys: Vec::new(),
        })
    }
}

impl FromRow<'_, PgRow> for SigningKey {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            endpoint: row.try_get("endpoint_id")?,
            scheme: named(row, "scheme", &Scheme::ALL, Scheme::as_str)?,
            public_key: row.try_get("public_key")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
        })
    }
}
