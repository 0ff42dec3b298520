//! Work queues in PostgreSQL.

use std::time::Duration;

use async_trait::async_trait;
#[cfg(feature = "kafka")]
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
#[cfg(feature = "kafka")]
use storage::Transaction;
use storage::{Database, Error};
use uuid::Uuid;

use super::{Hold, Job, WorkQueue, count_buried};
use crate::BusError;

/// Jobs as rows of the shared schema `event_sourcing`.
#[derive(Clone)]
pub struct PostgresQueue {
    database: Database,
}

/// A job that comes from elsewhere.
#[cfg(feature = "kafka")]
pub(crate) struct Arrival {
    pub(crate) id: Uuid,
    pub(crate) due: DateTime<Utc>,
    pub(crate) body: String,
    /// Why it is a dead letter, if it is one.
    pub(crate) failure: Option<String>,
}

impl PostgresQueue {
    /// The queues in the database of the service that pushes or works.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn insert(
        &self,
        queue: &str,
        id: Uuid,
        body: &str,
        delay: Duration,
    ) -> Result<(), Error> {
        let mut transaction = self.database.begin_worker().await?;
        sqlx::query(
            "INSERT INTO event_sourcing.jobs (queue, id, body, run_at)
             VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4))",
        )
        .bind(queue)
        .bind(id)
        .bind(body)
        .bind(delay.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Adds jobs that came from elsewhere to a queue of the caller's own, except those that are there.
    #[cfg(feature = "kafka")]
    pub(crate) async fn arrive_in_txn(
        transaction: &mut Transaction,
        queue: &str,
        arrivals: &[&Arrival],
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO event_sourcing.jobs (queue, id, body, run_at, error_message, status)
             SELECT $1, *, CASE WHEN failure IS NULL THEN 'READY' ELSE 'DEAD' END
             FROM unnest($2::uuid[], $3::text[], $4::timestamptz[], $5::text[])
                 AS arrival (id, body, due, failure)
             ON CONFLICT DO NOTHING",
        )
        .bind(queue)
        .bind(arrivals.iter().map(|arrival| arrival.id).collect::<Vec<_>>())
        .bind(arrivals.iter().map(|arrival| arrival.body.as_str()).collect::<Vec<_>>())
        .bind(arrivals.iter().map(|arrival| arrival.due).collect::<Vec<_>>())
        .bind(arrivals.iter().map(|arrival| arrival.failure.as_deref()).collect::<Vec<_>>())
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    async fn hold(&self, queue: &str, max: usize, lease: Duration) -> Result<Vec<Job>, Error> {
        let mut transaction = self.database.begin_worker().await?;
        let token = Uuid::now_v7();
        let jobs = sqlx::query(
            "WITH due AS MATERIALIZED (
                 -- Once: as a condition it might be asked for each row, and pass its limit.
                 SELECT id FROM event_sourcing.jobs
                 WHERE queue = $1 AND status = 'READY' AND run_at <= clock_timestamp()
                 ORDER BY run_at LIMIT $2 FOR UPDATE SKIP LOCKED
             )
             UPDATE event_sourcing.jobs AS own SET lease = $3, attempts = attempts + 1,
                    run_at = clock_timestamp() + make_interval(secs => $4)
             FROM due WHERE own.queue = $1 AND own.id = due.id
             RETURNING own.id, body, attempts",
        )
        .bind(queue)
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .bind(token)
        .bind(lease.as_secs_f64())
        .try_map(|row: PgRow| {
            Ok(Job {
                id: row.try_get(0)?,
                body: row.try_get(1)?,
                attempts: row.try_get::<i32, _>(2)?.unsigned_abs(),
                hold: Hold::Postgres { queue: queue.to_owned(), lease: token },
            })
        })
        .fetch_all(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(jobs)
    }

    /// Ends a hold, unless the lease is over and another has the job.
    async fn settle(&self, job: &Job, statement: &'static str, with: &str) -> Result<(), Error> {
        let Hold::Postgres { queue, lease } = &job.hold else { return Ok(()) };
        let mut transaction = self.database.begin_worker().await?;
        sqlx::query(statement)
            .bind(queue)
            .bind(job.id)
            .bind(lease)
            .bind(with)
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Does something to the dead letters of a queue: to one, or to all.
    async fn to_dead(
        &self,
        statement: &'static str,
        queue: &str,
        id: Option<Uuid>,
    ) -> Result<u64, Error> {
        let mut transaction = self.database.begin_worker().await?;
        let done = sqlx::query(statement).bind(queue).bind(id).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(done.rows_affected())
    }

    async fn dead(&self, queue: &str, max: usize) -> Result<Vec<(Uuid, String, String)>, Error> {
        let mut transaction = self.database.begin_worker().await?;
        let dead = sqlx::query(
            "SELECT id, body, coalesce(error_message, '') FROM event_sourcing.jobs
             WHERE queue = $1 AND status = 'DEAD' ORDER BY created_at LIMIT $2",
        )
        .bind(queue)
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .try_map(|row: PgRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)))
        .fetch_all(&mut *transaction)
        .await?;
        Ok(dead)
    }
}

#[async_trait]
impl WorkQueue for PostgresQueue {
    async fn push(
        &self,
        queue: &str,
        id: Uuid,
        body: &str,
        delay: Duration,
    ) -> Result<(), BusError> {
        match self.insert(queue, id, body, delay).await {
            // It is there already.
            Err(Error::Unique { .. }) => Ok(()),
            inserted => inserted.map_err(BusError::unavailable),
        }
    }

    async fn take(&self, queue: &str, max: usize, lease: Duration) -> Result<Vec<Job>, BusError> {
        self.hold(queue, max, lease).await.map_err(BusError::unavailable)
    }

    async fn ack(&self, job: Job) -> Result<(), BusError> {
        let done = "DELETE FROM event_sourcing.jobs
                    WHERE queue = $1 AND id = $2 AND lease = $3 AND $4 = ''";
        self.settle(&job, done, "").await.map_err(BusError::unavailable)
    }

    async fn nack(&self, job: Job, delay: Duration) -> Result<(), BusError> {
        let again = "UPDATE event_sourcing.jobs
                     SET lease = NULL, run_at = clock_timestamp() + $4::interval
                     WHERE queue = $1 AND id = $2 AND lease = $3";
        let delay = format!("{} seconds", delay.as_secs_f64());
        self.settle(&job, again, &delay).await.map_err(BusError::unavailable)
    }

    async fn bury(&self, job: Job, reason: &str) -> Result<(), BusError> {
        let dead = "UPDATE event_sourcing.jobs SET status = 'DEAD', error_message = $4
                    WHERE queue = $1 AND id = $2 AND lease = $3";
        self.settle(&job, dead, reason).await.map_err(BusError::unavailable)?;
        count_buried(job.hold.queue());
        Ok(())
    }

    async fn buried(
        &self,
        queue: &str,
        max: usize,
    ) -> Result<Vec<(Uuid, String, String)>, BusError> {
        self.dead(queue, max).await.map_err(BusError::unavailable)
    }

    async fn retry(&self, queue: &str, id: Option<Uuid>) -> Result<u64, BusError> {
        let again = "UPDATE event_sourcing.jobs
                     SET status = 'READY', attempts = 0, run_at = clock_timestamp(), lease = NULL,
                         error_message = NULL
                     WHERE queue = $1 AND id = coalesce($2, id) AND status = 'DEAD'";
        self.to_dead(again, queue, id).await.map_err(BusError::unavailable)
    }

    async fn discard(&self, queue: &str, id: Option<Uuid>) -> Result<u64, BusError> {
        let gone = "DELETE FROM event_sourcing.jobs
                    WHERE queue = $1 AND id = coalesce($2, id) AND status = 'DEAD'";
        self.to_dead(gone, queue, id).await.map_err(BusError::unavailable)
    }
}
