//! Providers, and what they sent.

use auth::TenantId;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use storage::named;
use uuid::Uuid;

use super::Store;
use crate::domain::inbound::{Encoding, Provider, ProviderScheme};
use crate::error::WebhookError;
use crate::events;

/// A message as it came.
pub(crate) struct Received<'a> {
    pub(crate) id: Uuid,
    pub(crate) provider: &'a str,
    /// The id that the provider gave it.
    pub(crate) provider_id: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) at: DateTime<Utc>,
}

/// A message as it is kept.
#[derive(Debug, FromRow)]
pub(crate) struct Kept {
    pub(crate) id: Uuid,
    pub(crate) provider: String,
    pub(crate) provider_id: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    pub(crate) received_at: DateTime<Utc>,
}

impl Store {
    /// Inserts a provider, or replaces the one of its name.
    pub(crate) async fn provider_set(
        &self,
        tenant: TenantId,
        provider: &Provider,
        sealed_secrets: &[u8],
    ) -> Result<(), WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        sqlx::query(
            "INSERT INTO provider (name, scheme, header, prefix, encoding, id_pointer,
                 sealed_secrets, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant_id, name) DO UPDATE
                 SET scheme = $2, header = $3, prefix = $4, encoding = $5, id_pointer = $6,
                     sealed_secrets = $7, updated_at = $8",
        )
        .bind(&provider.name)
        .bind(provider.scheme.as_str())
        .bind(&provider.header)
        .bind(&provider.prefix)
        .bind(provider.encoding.as_str())
        .bind(&provider.id_pointer)
        .bind(sealed_secrets)
        .bind(provider.updated_at)
        .execute(&mut *txn)
        .await?;
        Ok(txn.commit().await?)
    }

    /// A provider with its secrets, encrypted.
    pub(crate) async fn provider_fetch(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<(Provider, Vec<u8>), WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let found =
            sqlx::query("SELECT * FROM provider WHERE tenant_id = current_tenant() AND name = $1")
                .bind(name)
                .fetch_optional(&mut *txn)
                .await?;
        let row = found.ok_or(WebhookError::ProviderNotFound)?;
        Ok((Provider::from_row(&row)?, row.try_get("sealed_secrets")?))
    }

    /// All providers, by name.
    pub(crate) async fn provider_list(
        &self,
        tenant: TenantId,
    ) -> Result<Vec<Provider>, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let query = "SELECT * FROM provider WHERE tenant_id = current_tenant() ORDER BY name";
        Ok(sqlx::query_as(query).fetch_all(&mut *txn).await?)
    }

    /// Deletes a provider; nothing happens when there is none.
    pub(crate) async fn provider_delete(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<(), WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        sqlx::query("DELETE FROM provider WHERE tenant_id = current_tenant() AND name = $1")
            .bind(name)
            .execute(&mut *txn)
            .await?;
        Ok(txn.commit().await?)
    }

    /// Finds a message that was received, while its body is kept.
    pub(crate) async fn inbound_fetch(
        &self,
        tenant: TenantId,
        id: Uuid,
    ) -> Result<Kept, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let found = sqlx::query_as(
            "SELECT * FROM inbound_message
             WHERE tenant_id = current_tenant() AND id = $1 AND body IS NOT NULL",
        )
        .bind(id)
        .fetch_optional(&mut *txn)
        .await?;
        found.ok_or(WebhookError::MessageNotFound)
    }

    /// Keeps a message and publishes it, or returns the id of the one that was received before.
    pub(crate) async fn inbound_insert(
        &self,
        tenant: TenantId,
        received: &Received<'_>,
    ) -> Result<Option<Uuid>, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        // Waits for another one of the same id that is being kept.
        let inserted = sqlx::query(
            "INSERT INTO inbound_message (id, provider, provider_id, content_type, body, received_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (tenant_id, provider, provider_id) DO NOTHING",
        )
        .bind(received.id)
        .bind(received.provider)
        .bind(received.provider_id)
        .bind(received.content_type)
        .bind(received.body)
        .bind(received.at)
        .execute(&mut *txn)
        .await?;
        if inserted.rows_affected() == 1 {
            let event = events::received(tenant, received)?;
            self.outbox.publish(&mut txn, &[event]).await?;
            txn.commit().await?;
            return Ok(None);
        }
        let first = sqlx::query_scalar(
            "SELECT id FROM inbound_message
             WHERE tenant_id = current_tenant() AND provider = $1 AND provider_id = $2",
        )
        .bind(received.provider)
        .bind(received.provider_id)
        .fetch_one(&mut *txn)
        .await?;
        Ok(Some(first))
    }
}

impl FromRow<'_, PgRow> for Provider {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            scheme: named(row, "scheme", &ProviderScheme::ALL, ProviderScheme::as_str)?,
            header: row.try_get("header")?,
            prefix: row.try_get("prefix")?,
            encoding: named(row, "encoding", &Encoding::ALL, Encoding::as_str)?,
            id_pointer: row.try_get("id_pointer")?,
            updated_at: row.try_get("updated_at")?,
        })
    }
}
