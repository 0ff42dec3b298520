//! Events that were put aside.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use storage::{Error, Transaction};
use uuid::Uuid;

use super::{Item, Store, partition};
use crate::{Delivery, Event};

/// An event that waits for its next attempt.
pub(crate) struct Parked {
    pub(crate) item: Item,
    pub(crate) attempts: u32,
}

/// What becomes of an event that was not taken up.
pub(crate) enum Verdict<'a> {
    /// It waits behind others of its key.
    Behind,
    /// It is tried again after a while.
    Retry { after: Duration, reason: &'a str },
    /// It is a dead letter.
    Dead { reason: &'a str },
}

impl Store {
    /// Those of these keys that have events parked which will be tried again.
    pub(crate) async fn parked_keys_in_txn(
        &self,
        transaction: &mut Transaction,
        keys: &[Uuid],
    ) -> Result<BTreeSet<Uuid>, Error> {
        let parked = sqlx::query_scalar(
            "SELECT DISTINCT key FROM event_sourcing.parked_events
             WHERE owner = current_user AND consumer = $1 AND key = ANY($2) AND status = 'RETRYING'",
        )
        .bind(&self.consumer)
        .bind(keys)
        .fetch_all(&mut **transaction)
        .await?;
        Ok(parked.into_iter().collect())
    }

    /// Puts an event aside, so that those of other keys can go on. Nothing happens to one that is
    /// there already.
    pub(crate) async fn park(
        &self,
        delivery: &Delivery,
        event: Option<&Event>,
        verdict: Verdict<'_>,
    ) -> Result<(), Error> {
        let (status, attempts, after, reason) = match verdict {
            Verdict::Behind => ("RETRYING", 0, Duration::ZERO, None),
            Verdict::Retry { after, reason } => ("RETRYING", 1, after, Some(reason)),
            Verdict::Dead { reason } => ("DEAD", 1, Duration::ZERO, Some(reason)),
        };
        let mut transaction = self.database.begin_worker().await?;
        sqlx::query(
            "INSERT INTO event_sourcing.parked_events (consumer, event_id, topic, partition, position,
                 key, event_type, value, status, attempts, next_attempt_at, error_message)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
                     clock_timestamp() + make_interval(secs => $11), $12)
             ON CONFLICT DO NOTHING",
        )
        .bind(&self.consumer)
        .bind(event.map_or_else(Uuid::now_v7, |event| event.id))
        .bind(&delivery.partition.topic)
        .bind(delivery.partition.number.cast_signed())
        .bind(delivery.position.cast_signed())
        .bind(event.map_or_else(Uuid::nil, |event| event.subject))
        .bind(event.map_or("", |event| event.kind.as_str()))
        .bind(&delivery.value)
        .bind(status)
        .bind(attempts)
        .bind(after.as_secs_f64())
        .bind(reason)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The first parked event of each key whose time has come, up to `max`.
    pub(crate) async fn parked_due(&self, max: i64) -> Result<Vec<Parked>, Error> {
        let mut transaction = self.database.begin_worker().await?;
        // From key to key along the index: what waits behind the first of a key is not looked at.
        let due = sqlx::query_as(
            "WITH RECURSIVE head AS (
                 (SELECT * FROM event_sourcing.parked_events
                  WHERE owner = current_user AND consumer = $1 AND status = 'RETRYING'
                  ORDER BY key, sequence LIMIT 1)
                 UNION ALL
                 SELECT next.* FROM head CROSS JOIN LATERAL (
                     SELECT * FROM event_sourcing.parked_events
                     WHERE owner = current_user AND consumer = $1 AND status = 'RETRYING'
                       AND key > head.key
                     ORDER BY key, sequence LIMIT 1
                 ) AS next
             )
             SELECT * FROM head
             WHERE next_attempt_at <= clock_timestamp() ORDER BY next_attempt_at LIMIT $2",
        )
        .bind(&self.consumer)
        .bind(max)
        .fetch_all(&mut *transaction)
        .await?;
        Ok(due)
    }

    /// Takes a parked event out, unless somebody else is at it or it has been tried since.
    pub(crate) async fn unpark_in_txn(
        &self,
        transaction: &mut Transaction,
        parked: &Parked,
    ) -> Result<bool, Error> {
        let unparked = sqlx::query(
            "DELETE FROM event_sourcing.parked_events WHERE (owner, consumer, event_id) IN (
                 SELECT owner, consumer, event_id FROM event_sourcing.parked_events
                 WHERE owner = current_user AND consumer = $1 AND event_id = $2
                   AND status = 'RETRYING' AND attempts = $3
                 FOR UPDATE SKIP LOCKED)",
        )
        .bind(&self.consumer)
        .bind(parked.item.event.id)
        .bind(parked.attempts.cast_signed())
        .execute(&mut **transaction)
        .await?;
        Ok(unparked.rows_affected() == 1)
    }

    /// Notes a failed attempt at a parked event, unless somebody else has noted one since.
    pub(crate) async fn parked_failed(
        &self,
        parked: &Parked,
        verdict: Verdict<'_>,
    ) -> Result<(), Error> {
        let (status, after, reason) = match verdict {
            Verdict::Behind => return Ok(()),
            Verdict::Retry { after, reason } => ("RETRYING", after, reason),
            Verdict::Dead { reason } => ("DEAD", Duration::ZERO, reason),
        };
        let mut transaction = self.database.begin_worker().await?;
        sqlx::query(
            "UPDATE event_sourcing.parked_events
             SET status = $4, attempts = attempts + 1, error_message = $5,
                 next_attempt_at = clock_timestamp() + make_interval(secs => $6)
             WHERE owner = current_user AND consumer = $1 AND event_id = $2 AND attempts = $3",
        )
        .bind(&self.consumer)
        .bind(parked.item.event.id)
        .bind(parked.attempts.cast_signed())
        .bind(status)
        .bind(reason)
        .bind(after.as_secs_f64())
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}

impl FromRow<'_, PgRow> for Parked {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let value: String = row.try_get("value")?;
        let event = Event::from_json(&value).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let position = row.try_get::<i64, _>("position")?.cast_unsigned();
        let delivery = Delivery { partition: partition(row)?, position, value };
        let attempts = row.try_get::<i32, _>("attempts")?.unsigned_abs();
        Ok(Self { item: Item { delivery, event }, attempts })
    }
}
