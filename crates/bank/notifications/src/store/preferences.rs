//! How users want to be told.

use auth::{TenantId, UserId};
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::Store;
use crate::domain::preferences::Preferences;
use crate::domain::quiet::QuietHours;
use crate::error::NotificationError;

impl Store {
    /// Reads the preferences of `user`; the defaults when it never chose.
    pub(crate) async fn preferences_fetch(
        &self,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Preferences, NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        Ok(preferences_fetch_in_txn(&mut transaction, user).await?)
    }

    /// Changes the preferences of `user`, and has looked at again what waits for the end of its quiet
    /// hours.
    pub(crate) async fn preferences_update(
        &self,
        tenant: TenantId,
        user: UserId,
        now: DateTime<Utc>,
        change: impl FnOnce(&mut Preferences) -> Result<(), NotificationError> + Send,
    ) -> Result<Preferences, NotificationError> {
        let mut transaction = self.database.begin(tenant).await?;
        sqlx::query(
            "INSERT INTO preferences (user_id, updated_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(user.as_uuid())
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        let mut preferences: Preferences = sqlx::query_as(
            "SELECT * FROM preferences WHERE tenant_id = current_tenant() AND user_id = $1 FOR UPDATE",
        )
        .bind(user.as_uuid())
        .fetch_one(&mut *transaction)
        .await?;
        change(&mut preferences)?;
        write_in_txn(&mut transaction, user, &preferences, now).await?;
        sqlx::query(
            "UPDATE delivery SET next_attempt_at = $2
             WHERE tenant_id = current_tenant() AND user_id = $1 AND status = 'HELD'",
        )
        .bind(user.as_uuid())
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(preferences)
    }
}

/// Reads the preferences of `user`; the defaults when it never chose.
pub(crate) async fn preferences_fetch_in_txn(
    connection: &mut PgConnection,
    user: UserId,
) -> Result<Preferences, sqlx::Error> {
    let preferences = sqlx::query_as(
        "SELECT * FROM preferences WHERE tenant_id = current_tenant() AND user_id = $1",
    )
    .bind(user.as_uuid())
    .fetch_optional(connection)
    .await?;
    Ok(preferences.unwrap_or_default())
}

async fn write_in_txn(
    connection: &mut PgConnection,
    user: UserId,
    preferences: &Preferences,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE preferences SET locale = $2, time_zone = $3, quiet_from = $4, quiet_until = $5,
                                switches = $6, updated_at = $7
         WHERE tenant_id = current_tenant() AND user_id = $1",
    )
    .bind(user.as_uuid())
    .bind(&preferences.locale)
    .bind(&preferences.time_zone)
    .bind(preferences.quiet_hours.map(|hours| hours.from))
    .bind(preferences.quiet_hours.map(|hours| hours.until))
    .bind(Json(&preferences.switches))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

impl FromRow<'_, PgRow> for Preferences {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let Json(switches) = row.try_get("switches")?;
        Ok(Self {
            locale: row.try_get("locale")?,
            time_zone: row.try_get("time_zone")?,
            quiet_hours: quiet_hours(row)?,
            switches,
        })
    }
}

/// The quiet hours of a row, if it has any.
pub(super) fn quiet_hours(row: &PgRow) -> Result<Option<QuietHours>, sqlx::Error> {
    let from: Option<i16> = row.try_get("quiet_from")?;
    let until: Option<i16> = row.try_get("quiet_until")?;
    Ok(from.zip(until).map(|(from, until)| QuietHours { from, until }))
}
