//! Answers in PostgreSQL: one row each, removed some time after it has expired.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::postgres::PgQueryResult;
use storage::{Database, Error};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use uuid::Uuid;

use super::record::Record;
use super::store::{Found, NOBODY, Unavailable};

/// Between two searches for rows that have expired.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// Rows removed by one statement.
const SWEEP_ROWS_MAX: i64 = 1000;

/// Attempts on connections that turn out to have died while they were idle.
const ATTEMPTS_MAX: u32 = 32;

/// Locks and answers in PostgreSQL.
pub(super) struct PostgresStore {
    database: Database,
    sweeper: JoinHandle<()>,
}

#[derive(FromRow)]
struct Row {
    fingerprint: Vec<u8>,
    owner: Uuid,
    seconds_left: f64,
    status_code: Option<i16>,
    headers: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
    created_at: Option<DateTime<Utc>>,
}

impl PostgresStore {
    /// A store in a schema that is up to date.
    pub(super) fn new(database: Database) -> Self {
        let sweeper = tokio::spawn(sweep(database.clone()));
        Self { database, sweeper }
    }

    pub(super) async fn begin(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<Found, Unavailable> {
        // A row may expire between the statements; then there is a next turn.
        loop {
            if self.take(key, fingerprint, owner, lock_ttl).await? {
                return Ok(Found::Nothing);
            }
            let Some(row) = self.fetch(key).await? else { continue };
            return Ok(if row.fingerprint == fingerprint {
                row.into_found()
            } else {
                Found::Other
            });
        }
    }

    /// Takes the lock if there is no row, or one that has expired.
    async fn take(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<bool, Unavailable> {
        let taken = self.retry(|| async {
            sqlx::query(
                "INSERT INTO idempotency AS held (key, fingerprint, owner, expires_at)
                 VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))
                 ON CONFLICT (key) DO UPDATE SET
                     fingerprint = excluded.fingerprint, owner = excluded.owner,
                     expires_at = excluded.expires_at,
                     status_code = NULL, headers = NULL, body = NULL, created_at = NULL
                 WHERE held.expires_at <= clock_timestamp()
                    OR (held.owner = excluded.owner AND held.status_code IS NULL)",
            )
            .bind(key)
            .bind(&fingerprint[..])
            .bind(owner)
            .bind(lock_ttl.as_secs_f64())
            .execute(&mut *self.database.connection().await?)
            .await
            .map_err(Error::from)
        });
        taken.await.map(|taken| is_one(&taken))
    }

    async fn fetch(&self, key: &str) -> Result<Option<Row>, Unavailable> {
        let row = self.retry(|| async {
            sqlx::query_as(
                "SELECT fingerprint, owner, status_code, headers, body, created_at,
                     extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
                 FROM idempotency WHERE key = $1 AND expires_at > clock_timestamp()",
            )
            .bind(key)
            .fetch_optional(&mut *self.database.connection().await?)
            .await
            .map_err(Error::from)
        });
        row.await
    }

    pub(super) async fn renew(
        &self,
        key: &str,
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<bool, Unavailable> {
        let renewed = self.retry(|| async {
            sqlx::query(
                "UPDATE idempotency SET expires_at = clock_timestamp() + make_interval(secs => $3)
                 WHERE key = $1 AND owner = $2 AND status_code IS NULL
                   AND expires_at > clock_timestamp()",
            )
            .bind(key)
            .bind(owner)
            .bind(lock_ttl.as_secs_f64())
            .execute(&mut *self.database.connection().await?)
            .await
            .map_err(Error::from)
        });
        renewed.await.map(|renewed| is_one(&renewed))
    }

    pub(super) async fn abandon(
        &self,
        key: &str,
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<(), Unavailable> {
        let abandoned = self.retry(|| async {
            sqlx::query(
                "UPDATE idempotency SET owner = $3,
                     expires_at = clock_timestamp() + make_interval(secs => $4)
                 WHERE key = $1 AND owner = $2 AND status_code IS NULL
                   AND expires_at > clock_timestamp()",
            )
            .bind(key)
            .bind(owner)
            .bind(NOBODY)
            .bind(lock_ttl.as_secs_f64())
            .execute(&mut *self.database.connection().await?)
            .await
            .map_err(Error::from)
        });
        abandoned.await.map(drop)
    }

    pub(super) async fn complete(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        record: &Record,
        retention: Duration,
    ) -> Result<bool, Unavailable> {
        let status_code = i16::try_from(record.status_code).map_err(Unavailable::new)?;
        let completed = self.retry(|| async {
            sqlx::query(
                "INSERT INTO idempotency AS held
                     (key, fingerprint, owner, status_code, headers, body, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + make_interval(secs => $8))
                 ON CONFLICT (key) DO UPDATE SET
                     fingerprint = excluded.fingerprint, owner = excluded.owner,
                     status_code = excluded.status_code, headers = excluded.headers,
                     body = excluded.body, created_at = excluded.created_at,
                     expires_at = excluded.expires_at
                 WHERE held.owner = excluded.owner OR held.expires_at <= clock_timestamp()",
            )
            .bind(key)
            .bind(&fingerprint[..])
            .bind(owner)
            .bind(status_code)
            .bind(&record.headers[..])
            .bind(record.body.as_deref())
            .bind(record.created_at)
            .bind(retention.as_secs_f64())
            .execute(&mut *self.database.connection().await?)
            .await
            .map_err(Error::from)
        });
        completed.await.map(|completed| is_one(&completed))
    }

    pub(super) async fn release(&self, key: &str, owner: Uuid) -> Result<(), Unavailable> {
        let released = self.retry(|| async {
            sqlx::query(
                "DELETE FROM idempotency WHERE key = $1 AND owner = $2 AND status_code IS NULL",
            )
            .bind(key)
            .bind(owner)
            .execute(&mut *self.database.connection().await?)
            .await
            .map_err(Error::from)
        });
        released.await.map(drop)
    }

    /// Repeats a statement whose connection was dead. All of them may be repeated.
    async fn retry<T, F>(&self, statement: impl Fn() -> F) -> Result<T, Unavailable>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut attempts_left = ATTEMPTS_MAX;
        loop {
            match statement().await {
                Err(Error::Unavailable(_) | Error::Conflict(_)) if attempts_left > 0 => {
                    attempts_left -= 1;
                }
                done => return done.map_err(Unavailable::new),
            }
        }
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

impl Row {
    fn into_found(self) -> Found {
        let is_abandoned = self.owner == NOBODY;
        let left = Duration::try_from_secs_f64(self.seconds_left).unwrap_or_default();
        match self.into_record() {
            Some(record) => Found::Done(record),
            None if is_abandoned => Found::Abandoned(left),
            None => Found::Running,
        }
    }

    /// The answer, once there is one.
    fn into_record(self) -> Option<Record> {
        Some(Record {
            status_code: u16::try_from(self.status_code?).ok()?,
            headers: self.headers?.into(),
            body: self.body.map(Bytes::from),
            created_at: self.created_at?,
        })
    }
}

fn is_one(result: &PgQueryResult) -> bool {
    result.rows_affected() == 1
}

/// Removes rows that have expired, for as long as the store is used. Gateways may do it at a time.
async fn sweep(database: Database) {
    loop {
        match sweep_once(&database).await {
            Ok(SWEEP_ROWS_MAX..) => continue,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(error = ?error, "expired idempotency keys were not removed");
            }
        }
        sleep(SWEEP_INTERVAL).await;
    }
}

async fn sweep_once(database: &Database) -> Result<i64, Error> {
    let removed = sqlx::query(
        "DELETE FROM idempotency WHERE key IN (
             SELECT key FROM idempotency WHERE expires_at <= clock_timestamp()
             ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
    )
    .bind(SWEEP_ROWS_MAX)
    .execute(&mut *database.connection().await?)
    .await?;
    Ok(i64::try_from(removed.rows_affected()).unwrap_or(i64::MAX))
}
