//! SQL about attempts.

use auth::TenantId;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use storage::Error;

use super::Store;
use crate::config::LockoutConfig;

impl Store {
    /// Counts an attempt before it is made, so that many at once are counted too.
    ///
    /// Returns until when the subject is locked, if it is; the attempt is not counted then.
    pub(crate) async fn attempt_count(
        &self,
        tenant: TenantId,
        subject: &[u8],
        lockout: &LockoutConfig,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, Error> {
        let mut tx = self.begin(tenant).await?;
        let count: Option<i32> = sqlx::query_scalar(
            "INSERT INTO attempt AS a (subject, count, last_at, locked_until)
             VALUES ($1, 1, $2, $2)
             ON CONFLICT (tenant_id, subject) DO UPDATE SET
                 count = CASE WHEN a.last_at > $3 THEN a.count + 1 ELSE 1 END, last_at = $2
             WHERE a.locked_until <= $2
             RETURNING count",
        )
        .bind(subject)
        .bind(now)
        .bind(now - lockout.forget_after)
        .fetch_optional(&mut *tx)
        .await?;
        let locked_until = match count {
            None => Some(attempt_lock_fetch_in_txn(&mut tx, subject).await?),
            Some(count) => {
                let delay = lockout.delay_after(u32::try_from(count).unwrap_or(0));
                if let Some(delay) = delay {
                    attempt_lock_in_txn(&mut tx, subject, now + delay).await?;
                }
                None
            }
        };
        tx.commit().await?;
        Ok(locked_until)
    }

    /// Forgets the attempts on a subject, and its lock.
    pub(crate) async fn attempts_clear(
        &self,
        tenant: TenantId,
        subject: &[u8],
    ) -> Result<(), Error> {
        let mut tx = self.begin(tenant).await?;
        sqlx::query("DELETE FROM attempt WHERE subject = $1")
            .bind(subject)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

async fn attempt_lock_fetch_in_txn(
    connection: &mut PgConnection,
    subject: &[u8],
) -> Result<DateTime<Utc>, Error> {
    let until = sqlx::query_scalar("SELECT locked_until FROM attempt WHERE subject = $1")
        .bind(subject)
        .fetch_one(connection)
        .await?;
    Ok(until)
}

async fn attempt_lock_in_txn(
    connection: &mut PgConnection,
    subject: &[u8],
    until: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query("UPDATE attempt SET locked_until = $2 WHERE subject = $1")
        .bind(subject)
        .bind(until)
        .execute(connection)
        .await?;
    Ok(())
}
