//! What became of notifications on their channels.

use std::time::Duration;

use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{FromRow, Postgres, QueryBuilder, Row};
use storage::named;
use uuid::Uuid;

use super::Store;
use super::preferences::quiet_hours;
use crate::domain::attempts::Next;
use crate::domain::plan::NOT_NEEDED;
use crate::domain::preferences::Preferences;
use crate::domain::{Category, Channel, Recipient, Status, Variables};
use crate::error::NotificationError;

/// A delivery that is being tried by us alone, until its claim ends.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    pub(crate) notification: Uuid,
    pub(crate) user: UserId,
    pub(crate) category: Category,
    pub(crate) template: String,
    pub(crate) channel: Channel,
    /// Number of this attempt, from 1.
    pub(crate) attempt: i32,
    pub(crate) locale: String,
    pub(crate) variables: Variables,
    pub(crate) recipient: Option<Recipient>,
    /// Zone and quiet hours of the user; the rest is not read.
    pub(crate) preferences: Preferences,
}

/// One line of the log.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryRow {
    pub(crate) id: Uuid,
    pub(crate) notification: Uuid,
    pub(crate) user: UserId,
    pub(crate) category: Category,
    pub(crate) template: String,
    pub(crate) channel: Channel,
    pub(crate) status: Status,
    pub(crate) reason: String,
    pub(crate) address: String,
    pub(crate) attempts: i32,
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    pub(crate) provider_reference: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

/// Which part of the log to read: older than `before`, newest first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeliveryPage {
    pub(crate) user: UserId,
    pub(crate) notification: Option<Uuid>,
    pub(crate) before: Option<Uuid>,
    pub(crate) limit: i64,
}

impl Store {
    /// Finds up to `limit` deliveries of all tenants that are due, those that waited longest first.
    pub(crate) async fn deliveries_due(
        &self,
        channel: Channel,
        now: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<(TenantId, Uuid)>, NotificationError> {
        let mut transaction = self.database.begin_worker().await?;
        let due: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "SELECT tenant_id, id FROM delivery WHERE channel = $1 AND next_attempt_at <= $2
             ORDER BY next_attempt_at LIMIT $3",
        )
        .bind(channel.as_str())
        .bind(now)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        Ok(due.into_iter().map(|(tenant, id)| (tenant.into(), id)).collect())
    }

    /// Claims those of `ids` that are still due, until `lease` from now. Each counts as an attempt,
    /// so that what kills whoever tries it is given up too.
    pub(crate) async fn deliveries_claim(
        &self,
        tenant: TenantId,
        ids: &[Uuid],
        now: DateTime<Utc>,
        lease: Duration,
    ) -> Result<Vec<Claimed>, NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        let claimed = sqlx::query_as(
            "WITH claimed AS (
                 UPDATE delivery
                 SET status = 'PENDING', reason = '', attempts = attempts + 1, next_attempt_at = $3
                 WHERE tenant_id = current_tenant() AND id IN (
                     SELECT id FROM delivery
                     WHERE tenant_id = current_tenant() AND id = ANY($1) AND next_attempt_at <= $2
                     FOR UPDATE SKIP LOCKED)
                 RETURNING *)
             SELECT claimed.*, notification.locale, notification.variables, notification.recipient,
                    preferences.time_zone, preferences.quiet_from, preferences.quiet_until
             FROM claimed
             JOIN notification
                 ON (notification.tenant_id, notification.id) = (claimed.tenant_id, notification_id)
             LEFT JOIN preferences
                 ON (preferences.tenant_id, preferences.user_id)
                     = (claimed.tenant_id, claimed.user_id)",
        )
        .bind(ids)
        .bind(now)
        .bind(now + lease)
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(claimed)
    }

    /// Puts a claimed delivery off until the end of quiet hours. That was no attempt.
    pub(crate) async fn delivery_hold(
        &self,
        tenant: TenantId,
        claimed: &Claimed,
        until: DateTime<Utc>,
    ) -> Result<(), NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        sqlx::query(
            "UPDATE delivery SET status = 'HELD', attempts = attempts - 1, next_attempt_at = $3
             WHERE tenant_id = current_tenant() AND id = $1 AND attempts = $2
               AND status = 'PENDING'",
        )
        .bind(claimed.id)
        .bind(claimed.attempt)
        .bind(until)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Records what became of a claimed delivery, and what that means for the one that stands by.
    /// Nothing happens when the claim has ended and somebody else has tried since.
    pub(crate) async fn delivery_settle(
        &self,
        tenant: TenantId,
        claimed: &Claimed,
        next: &Next,
        address: &str,
        now: DateTime<Utc>,
    ) -> Result<(), NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        // The deliveries of a notification take turns: of two that fail, the second one sees it.
        sqlx::query(
            "SELECT FROM notification WHERE tenant_id = current_tenant() AND id = $1 FOR UPDATE",
        )
        .bind(claimed.notification)
        .execute(&mut *transaction)
        .await?;
        let settled = sqlx::query(
            "UPDATE delivery SET status = $3, reason = $4, address = $5, provider_reference = $6,
                                 next_attempt_at = $7, ended_at = $8
             WHERE tenant_id = current_tenant() AND id = $1 AND attempts = $2
               AND status = 'PENDING'",
        )
        .bind(claimed.id)
        .bind(claimed.attempt)
        .bind(next.status.as_str())
        .bind(next.reason)
        .bind(address)
        .bind(&next.reference)
        .bind(next.at)
        .bind(next.at.is_none().then_some(now))
        .execute(&mut *transaction)
        .await?;
        if settled.rows_affected() == 1 && next.at.is_none() {
            if next.status == Status::Sent {
                standby_skip_in_txn(&mut transaction, claimed.notification, now).await?;
            } else {
                standby_start_in_txn(&mut transaction, claimed.notification, now).await?;
            }
            forget_in_txn(&mut transaction, claimed.notification).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Reads a page of the log.
    pub(crate) async fn deliveries_page(
        &self,
        tenant: TenantId,
        page: DeliveryPage,
    ) -> Result<Vec<DeliveryRow>, NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        let mut query = QueryBuilder::<Postgres>::new(
            "SELECT * FROM delivery WHERE tenant_id = current_tenant() AND user_id = ",
        );
        query.push_bind(page.user.as_uuid());
        if let Some(notification) = page.notification {
            query.push(" AND notification_id = ").push_bind(notification);
        }
        if let Some(before) = page.before {
            query.push(" AND id < ").push_bind(before);
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.limit);
        Ok(query.build_query_as().fetch_all(&mut *transaction).await?)
    }
}

/// The one that stands by is not needed after a success.
async fn standby_skip_in_txn(
    connection: &mut PgConnection,
    notification: Uuid,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE delivery SET status = 'SKIPPED', reason = $2, ended_at = $3
         WHERE tenant_id = current_tenant() AND notification_id = $1 AND status = 'STANDBY'",
    )
    .bind(notification)
    .bind(NOT_NEEDED)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// The one that stands by is tried when nothing else is left.
async fn standby_start_in_txn(
    connection: &mut PgConnection,
    notification: Uuid,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE delivery SET status = 'PENDING', next_attempt_at = $2
         WHERE tenant_id = current_tenant() AND notification_id = $1 AND status = 'STANDBY'
           AND NOT EXISTS (
               SELECT FROM delivery AS other
               WHERE other.tenant_id = current_tenant() AND other.notification_id = $1
                 AND other.status IN ('PENDING', 'HELD'))",
    )
    .bind(notification)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// What a text was filled with is forgotten when no attempt needs it any more.
async fn forget_in_txn(
    connection: &mut PgConnection,
    notification: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE notification SET variables = '{}', recipient = NULL
         WHERE tenant_id = current_tenant() AND id = $1 AND NOT EXISTS (
             SELECT FROM delivery
             WHERE delivery.tenant_id = current_tenant() AND notification_id = $1
               AND status IN ('PENDING', 'HELD', 'STANDBY'))",
    )
    .bind(notification)
    .execute(connection)
    .await?;
    Ok(())
}

impl FromRow<'_, PgRow> for Claimed {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let Json(variables) = row.try_get("variables")?;
        let recipient: Option<Json<Recipient>> = row.try_get("recipient")?;
        Ok(Self {
            id: row.try_get("id")?,
            notification: row.try_get("notification_id")?,
            user: row.try_get::<Uuid, _>("user_id")?.into(),
            category: named(row, "category", Category::ALL, Category::as_str)?,
            template: row.try_get("template")?,
            channel: named(row, "channel", Channel::ALL, Channel::as_str)?,
            attempt: row.try_get("attempts")?,
            locale: row.try_get("locale")?,
            variables,
            recipient: recipient.map(|Json(recipient)| recipient),
            preferences: Preferences {
                time_zone: row.try_get("time_zone")?,
                quiet_hours: quiet_hours(row)?,
                ..Preferences::default()
            },
        })
    }
}

impl FromRow<'_, PgRow> for DeliveryRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            notification: row.try_get("notification_id")?,
            user: row.try_get::<Uuid, _>("user_id")?.into(),
            category: named(row, "category", Category::ALL, Category::as_str)?,
            template: row.try_get("template")?,
            channel: named(row, "channel", Channel::ALL, Channel::as_str)?,
            status: named(row, "status", Status::ALL, Status::as_str)?,
            reason: row.try_get("reason")?,
            address: row.try_get("address")?,
            attempts: row.try_get("attempts")?,
            next_attempt_at: row.try_get("next_attempt_at")?,
            provider_reference: row.try_get("provider_reference")?,
            created_at: row.try_get("created_at")?,
            ended_at: row.try_get("ended_at")?,
        })
    }
}
