//! Deleting what is old.

use auth::TenantId;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{CHANGES, Store};
use crate::error::NotificationError;

/// Notifications that one transaction deletes.
const BATCH: i64 = 1_000;

impl Store {
    /// All tenants whose users were told anything.
    pub(crate) async fn tenants(&self) -> Result<Vec<TenantId>, NotificationError> {
        let mut transaction = self.database.begin_worker().await?;
        // From tenant to tenant along the primary key: there are few, with many rows each.
        let tenants: Vec<Uuid> = sqlx::query_scalar(
            "WITH RECURSIVE told (tenant_id) AS (
                 (SELECT tenant_id FROM delivery ORDER BY tenant_id LIMIT 1)
                 UNION ALL
                 SELECT (SELECT tenant_id FROM delivery WHERE tenant_id > told.tenant_id
                         ORDER BY tenant_id LIMIT 1)
                 FROM told WHERE told.tenant_id IS NOT NULL
             )
             SELECT tenant_id FROM told WHERE tenant_id IS NOT NULL",
        )
        .fetch_all(&mut *transaction)
        .await?;
        Ok(tenants.into_iter().map(TenantId::from).collect())
    }

    /// Deletes a batch of the notifications from before `before` whose deliveries have all ended. Says
    /// whether there may be more.
    pub(crate) async fn old_delete(
        &self,
        tenant: TenantId,
        before: DateTime<Utc>,
    ) -> Result<bool, NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        let old = old_find_in_txn(&mut transaction, before).await?;
        let deleted = delete_in_txn(&mut transaction, &old).await?;
        transaction.commit().await?;
        Ok(old.len() as u64 == BATCH.unsigned_abs() && deleted > 0)
    }
}

async fn old_find_in_txn(
    connection: &mut PgConnection,
    before: DateTime<Utc>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT id FROM notification AS old
         WHERE tenant_id = current_tenant() AND created_at < $1 AND NOT EXISTS (
             SELECT FROM delivery
             WHERE delivery.tenant_id = current_tenant() AND notification_id = old.id
               AND status IN ('PENDING', 'HELD', 'STANDBY'))
         ORDER BY created_at LIMIT $2",
    )
    .bind(before)
    .bind(BATCH)
    .fetch_all(connection)
    .await
}

/// Deletes these, and takes those that nobody read from the count of their user. Returns their number.
///
/// Users take turns, as with all that counts; whoever is at it now is passed over until the next time.
async fn delete_in_txn(connection: &mut PgConnection, old: &[Uuid]) -> Result<u64, sqlx::Error> {
    let users: Vec<Uuid> = sqlx::query_scalar(
        "SELECT user_id FROM inbox
         WHERE tenant_id = current_tenant() AND user_id IN (
             SELECT user_id FROM notification WHERE tenant_id = current_tenant() AND id = ANY($1))
         ORDER BY user_id FOR UPDATE SKIP LOCKED",
    )
    .bind(old)
    .fetch_all(&mut *connection)
    .await?;
    let deleted: Vec<(Uuid, bool)> = sqlx::query_as(
        "DELETE FROM notification WHERE tenant_id = current_tenant() AND id IN (
             SELECT id FROM notification
             WHERE tenant_id = current_tenant() AND id = ANY($1)
               AND (sequence IS NULL OR user_id = ANY($2))
             FOR UPDATE SKIP LOCKED)
         RETURNING user_id, sequence IS NOT NULL AND read_at IS NULL",
    )
    .bind(old)
    .bind(&users)
    .fetch_all(&mut *connection)
    .await?;
    let unread = deleted.iter().filter(|(_, is_unread)| *is_unread).map(|(user, _)| *user);
    sqlx::query(
        "WITH less AS (
             UPDATE inbox SET unread = unread - gone.count
             FROM (SELECT user_id, count(*) FROM unnest($1::uuid[]) AS user_id GROUP BY 1) AS gone
             WHERE inbox.tenant_id = current_tenant() AND inbox.user_id = gone.user_id
             RETURNING inbox.user_id
         )
         SELECT pg_notify($2, current_tenant() || ' ' || user_id) FROM less",
    )
    .bind(unread.collect::<Vec<_>>())
    .bind(CHANGES)
    .execute(connection)
    .await?;
    Ok(deleted.len() as u64)
}
