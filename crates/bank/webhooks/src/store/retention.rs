//! Deleting what is old, and sealing what is under an old key.

use std::collections::BTreeSet;

use auth::TenantId;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::Store;
use crate::error::WebhookError;

/// Rows that one statement deletes.
const BATCH: i64 = 1_000;

/// What is from before these times is old.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Old {
    pub(crate) now: DateTime<Utc>,
    /// Of messages, their log, and bodies that were received.
    pub(crate) before: DateTime<Utc>,
    /// Of the ids of what was received.
    pub(crate) ids_before: DateTime<Utc>,
}

/// Secrets as they are kept, of endpoints by id and of providers by name.
pub(crate) struct Sealed {
    pub(crate) endpoints: Vec<(Uuid, Vec<u8>)>,
    pub(crate) providers: Vec<(String, Vec<u8>)>,
}

impl Store {
    /// All tenants that send or receive, or did.
    pub(crate) async fn tenants(&self) -> Result<BTreeSet<TenantId>, WebhookError> {
        let mut txn = self.database.begin_worker().await?;
        // Of what was received, from tenant to tenant along the index: each may have many.
        let tenants: Vec<Uuid> = sqlx::query_scalar(
            "WITH RECURSIVE received (tenant_id) AS (
                 (SELECT tenant_id FROM inbound_message ORDER BY tenant_id LIMIT 1)
                 UNION ALL
                 SELECT (SELECT tenant_id FROM inbound_message
                         WHERE tenant_id > received.tenant_id ORDER BY tenant_id LIMIT 1)
                 FROM received WHERE received.tenant_id IS NOT NULL
             )
             SELECT tenant_id FROM endpoint UNION SELECT tenant_id FROM provider
             UNION SELECT tenant_id FROM received WHERE tenant_id IS NOT NULL",
        )
        .fetch_all(&mut *txn)
        .await?;
        Ok(tenants.into_iter().map(TenantId::from).collect())
    }

    /// Deletes a batch of what is old: messages with their deliveries and log, what was received, and
    /// secrets that sign no more. What waits for an attempt stays, unless its endpoint is disabled.
    /// Says whether there may be more.
    pub(crate) async fn old_delete(
        &self,
        tenant: TenantId,
        old: Old,
    ) -> Result<bool, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let deleted = [
            messages_delete_in_txn(&mut txn, old.before).await?,
            bodies_delete_in_txn(&mut txn, old.before).await?,
            ids_delete_in_txn(&mut txn, old.ids_before).await?,
        ];
        sqlx::query(
            "DELETE FROM endpoint_secret WHERE tenant_id = current_tenant() AND expires_at <= $1",
        )
        .bind(old.now)
        .execute(&mut *txn)
        .await?;
        txn.commit().await?;
        Ok(deleted.contains(&BATCH.unsigned_abs()))
    }

    /// All secrets of a tenant.
    pub(crate) async fn sealed_list(&self, tenant: TenantId) -> Result<Sealed, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let endpoints = sqlx::query_as(
            "SELECT id, sealed FROM endpoint_secret WHERE tenant_id = current_tenant()",
        )
        .fetch_all(&mut *txn)
        .await?;
        let providers = sqlx::query_as(
            "SELECT name, sealed_secrets FROM provider WHERE tenant_id = current_tenant()",
        )
        .fetch_all(&mut *txn)
        .await?;
        Ok(Sealed { endpoints, providers })
    }

    /// Replaces what is kept of an endpoint's secret, unless somebody else did. Returns
    /// the number of rows.
    pub(crate) async fn secret_reseal(
        &self,
        tenant: TenantId,
        id: Uuid,
        (old, new): (&[u8], &[u8]),
    ) -> Result<u64, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let replaced = sqlx::query(
            "UPDATE endpoint_secret SET sealed = $3
             WHERE tenant_id = current_tenant() AND id = $1 AND sealed = $2",
        )
        .bind(id)
        .bind(old)
        .bind(new)
        .execute(&mut *txn)
        .await?;
        txn.commit().await?;
        Ok(replaced.rows_affected())
    }

    /// Replaces what is kept of a provider's secrets, unless somebody else did. Returns
    /// the number of rows.
    pub(crate) async fn provider_reseal(
        &self,
        tenant: TenantId,
        name: &str,
        (old, new): (&[u8], &[u8]),
    ) -> Result<u64, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let replaced = sqlx::query(
            "UPDATE provider SET sealed_secrets = $3
             WHERE tenant_id = current_tenant() AND name = $1 AND sealed_secrets = $2",
        )
        .bind(name)
        .bind(old)
        .bind(new)
        .execute(&mut *txn)
        .await?;
        txn.commit().await?;
        Ok(replaced.rows_affected())
    }
}

async fn messages_delete_in_txn(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "DELETE FROM message WHERE tenant_id = current_tenant() AND id IN (
             SELECT id FROM message AS m
             WHERE m.tenant_id = current_tenant() AND m.created_at < $1
               AND NOT EXISTS (SELECT FROM delivery AS d JOIN endpoint AS e ON e.id = d.endpoint_id
                               WHERE d.message_id = m.id AND d.state = 'PENDING'
                                 AND e.state = 'ENABLED')
             LIMIT $2 FOR UPDATE OF m SKIP LOCKED)",
    )
    .bind(before)
    .bind(BATCH)
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

async fn bodies_delete_in_txn(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "UPDATE inbound_message SET body = NULL WHERE tenant_id = current_tenant() AND id IN (
             SELECT id FROM inbound_message
             WHERE tenant_id = current_tenant() AND received_at < $1 AND body IS NOT NULL
             LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(before)
    .bind(BATCH)
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

async fn ids_delete_in_txn(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query(
        "DELETE FROM inbound_message WHERE tenant_id = current_tenant() AND id IN (
             SELECT id FROM inbound_message
             WHERE tenant_id = current_tenant() AND received_at < $1
             LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(before)
    .bind(BATCH)
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
