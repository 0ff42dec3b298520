//! Deleting what is old.

use std::collections::BTreeSet;

use auth::TenantId;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Store;
use crate::error::WebhookError;

/// Rows that one statement deletes.
const BATCH: i64 = 1_000;

impl Store {
    /// All tenants that send or receive.
    pub(crate) async fn tenants(&self) -> Result<BTreeSet<TenantId>, WebhookError> {
        let mut txn = self.database.begin_worker().await?;
        let tenants: Vec<Uuid> = sqlx::query_scalar(
            "SELECT tenant_id FROM endpoint UNION SELECT tenant_id FROM provider",
        )
        .fetch_all(&mut *txn)
        .await?;
        Ok(tenants.into_iter().map(TenantId::from).collect())
    }

    /// Deletes a batch of what is older than `before`: messages with their deliveries and log, and what
    /// was received. What still waits for an attempt stays. Says whether there may be more.
    pub(crate) async fn old_delete(
        &self,
        tenant: TenantId,
        before: DateTime<Utc>,
    ) -> Result<bool, WebhookError> {
        let mut txn = self.database.begin(tenant).await?;
        let messages = sqlx::query(
            "DELETE FROM message WHERE id IN (
                 SELECT id FROM message AS m
                 WHERE m.tenant_id = current_tenant() AND m.created_at < $1
                   AND NOT EXISTS (SELECT FROM delivery AS d JOIN endpoint AS e ON e.id = d.endpoint_id
                                   WHERE d.message_id = m.id AND d.state = 'PENDING'
                                     AND e.state <> 'DELETED')
                 LIMIT $2)",
        )
        .bind(before)
        .bind(BATCH)
        .execute(&mut *txn)
        .await?;
        let received = sqlx::query(
            "DELETE FROM inbound_message WHERE id IN (
                 SELECT id FROM inbound_message
                 WHERE tenant_id = current_tenant() AND received_at < $1 LIMIT $2)",
        )
        .bind(before)
        .bind(BATCH)
        .execute(&mut *txn)
        .await?;
        txn.commit().await?;
        let full = BATCH.unsigned_abs();
        Ok(messages.rows_affected() == full || received.rows_affected() == full)
    }
}
