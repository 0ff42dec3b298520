//! What a person can do about events: look at what was given up, have it tried again or leave it out,
//! replay.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use storage::{Database, Error, Transaction};
use uuid::Uuid;

use crate::{Bus, BusError, PARTITIONS, Partition};

/// An event that a consumer gave up, or that the relay did.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The service that could not take it up; for the relay, the one that published it.
    pub service: String,
    /// Name of the consumer.
    pub consumer: String,
    /// Id of the event.
    pub event_id: Uuid,
    /// Name of its type.
    pub kind: String,
    /// What it happened to.
    pub key: Uuid,
    /// Where it was read.
    pub topic: String,
    /// How often it was tried.
    pub attempts: i32,
    /// What the last attempt failed with.
    pub error: String,
    /// When it was put aside.
    pub parked_at: DateTime<Utc>,
    /// The event in its envelope, JSON.
    pub value: String,
}

/// Why an operator's command did not work.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] Error),
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl From<sqlx::Error> for OperatorError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Sees the events of all services, as the role `events` does.
pub struct Operator {
    database: Database,
    bus: Arc<dyn Bus>,
}

impl Operator {
    /// An operator with the database of the role `events`.
    pub fn new(database: Database, bus: Arc<dyn Bus>) -> Self {
        Self { database, bus }
    }

    /// Every consumer that ever ran, with what it reads.
    pub async fn consumers(&self) -> Result<Vec<Reading>, OperatorError> {
        let mut connection = self.database.connection().await?;
        let found =
            sqlx::query_as("SELECT DISTINCT consumer AS name, topic FROM consumer_positions")
                .fetch_all(&mut *connection)
                .await?;
        Ok(found)
    }

    /// Lists up to `max` dead letters, oldest first; of one consumer, if one is named.
    pub async fn dead(
        &self,
        consumer: Option<&str>,
        max: u32,
    ) -> Result<Vec<DeadLetter>, OperatorError> {
        let mut connection = self.database.connection().await?;
        let found = sqlx::query_as(
            "SELECT * FROM parked_events
             WHERE status = 'DEAD' AND consumer = coalesce($1, consumer)
             ORDER BY parked_at LIMIT $2",
        )
        .bind(consumer)
        .bind(i64::from(max))
        .fetch_all(&mut *connection)
        .await?;
        Ok(found)
    }

    /// The dead letters of one event: one for each consumer that gave it up.
    pub async fn dead_of(&self, event: Uuid) -> Result<Vec<DeadLetter>, OperatorError> {
        let mut connection = self.database.connection().await?;
        let found =
            sqlx::query_as("SELECT * FROM parked_events WHERE status = 'DEAD' AND event_id = $1")
                .bind(event)
                .fetch_all(&mut *connection)
                .await?;
        Ok(found)
    }

    /// Has dead letters tried again, from the first attempt on: those of one event or of one
    /// consumer, or all. What cannot be read as an event stays.
    pub async fn dead_replay(
        &self,
        event: Option<Uuid>,
        consumer: Option<&str>,
    ) -> Result<Replayed, OperatorError> {
        let mut connection = self.database.connection().await?;
        let row = sqlx::query(
            "WITH dead AS (
                 SELECT owner, consumer, event_id, event_type FROM parked_events
                 WHERE status = 'DEAD' AND event_id = coalesce($1, event_id)
                   AND consumer = coalesce($2, consumer)
             ), replayed AS (
                 UPDATE parked_events AS own
                 SET status = 'RETRYING', attempts = 0, next_attempt_at = now()
                 FROM dead
                 WHERE (own.owner, own.consumer, own.event_id)
                     = (dead.owner, dead.consumer, dead.event_id) AND dead.event_type <> ''
             )
             SELECT count(*) FILTER (WHERE event_type <> ''), count(*) FILTER (WHERE event_type = '')
             FROM dead",
        )
        .bind(event)
        .bind(consumer)
        .fetch_one(&mut *connection)
        .await?;
        let count = |column: usize| row.try_get::<i64, _>(column).map(i64::unsigned_abs);
        Ok(Replayed { again: count(0)?, unreadable: count(1)? })
    }

    /// Removes dead letters: those of one event or of one consumer, or all. Says how many. Only a
    /// [replay](Self::replay) of their topic brings them back.
    pub async fn dead_discard(
        &self,
        event: Option<Uuid>,
        consumer: Option<&str>,
    ) -> Result<u64, OperatorError> {
        let mut connection = self.database.connection().await?;
        let discarded = sqlx::query(
            "DELETE FROM parked_events
             WHERE status = 'DEAD' AND event_id = coalesce($1, event_id)
               AND consumer = coalesce($2, consumer)",
        )
        .bind(event)
        .bind(consumer)
        .execute(&mut *connection)
        .await?;
        Ok(discarded.rows_affected())
    }

    /// Has events of a topic taken up again that were appended at or after `from`, by one consumer or
    /// by all that read the topic, while they run or not. They forget that they took them up before.
    /// Returns the consumers, as `service/name`.
    pub async fn replay(
        &self,
        topic: &str,
        from: DateTime<Utc>,
        consumer: Option<&str>,
    ) -> Result<Vec<String>, OperatorError> {
        let mut starts = Vec::with_capacity(PARTITIONS.into());
        for number in 0..PARTITIONS {
            let partition = Partition { topic: topic.to_owned(), number };
            starts.push(self.bus.position_at(&partition, from).await?.cast_signed());
        }
        let mut transaction = self.database.begin_worker().await?;
        let moved = move_back_in_txn(&mut transaction, topic, &starts, consumer).await?;
        forget_in_txn(&mut transaction, topic, &starts, consumer).await?;
        transaction.commit().await?;
        Ok(moved)
    }

    /// Forgets how far consumers of this name have come that have no member left: they are not
    /// measured any more, and begin anew if they come back. Returns them, as `service/name`.
    pub async fn forget(&self, consumer: &str) -> Result<Vec<String>, OperatorError> {
        let mut connection = self.database.connection().await?;
        let forgotten = sqlx::query_scalar(
            "WITH forgotten AS (
                 DELETE FROM consumer_positions AS own
                 WHERE consumer = $1 AND NOT EXISTS (
                     SELECT FROM consumer_positions AS led
                     WHERE led.owner = own.owner AND led.consumer = own.consumer
                       AND led.member IS NOT NULL AND led.lease_until > clock_timestamp())
                 RETURNING owner || '/' || consumer AS name
             )
             SELECT DISTINCT name FROM forgotten ORDER BY name",
        )
        .bind(consumer)
        .fetch_all(&mut *connection)
        .await?;
        Ok(forgotten)
    }

    /// Lists up to `max` events that the relay gave up, oldest first. Each holds back the later ones
    /// of its aggregate.
    pub async fn failed(&self, max: u32) -> Result<Vec<DeadLetter>, OperatorError> {
        let mut connection = self.database.connection().await?;
        let found = sqlx::query_as(
            "SELECT producer AS owner, 'relay' AS consumer, id AS event_id, event_type,
                    aggregate_id AS key, topic, retry_count + 1 AS attempts, error_message,
                    created_at AS parked_at, payload::text AS value
             FROM outbox_events WHERE status = 'FAILED' ORDER BY sequence LIMIT $1",
        )
        .bind(i64::from(max))
        .fetch_all(&mut *connection)
        .await?;
        Ok(found)
    }

    /// Has events that the relay gave up tried again, from the first attempt on: one, or all. Says how
    /// many.
    pub async fn redrive(&self, event: Option<Uuid>) -> Result<u64, OperatorError> {
        let mut connection = self.database.connection().await?;
        let driven = sqlx::query(
            "UPDATE outbox_events
             SET status = 'PENDING', retry_count = 0, next_attempt_at = '-infinity'
             WHERE status = 'FAILED' AND id = coalesce($1, id)",
        )
        .bind(event)
        .execute(&mut *connection)
        .await?;
        Ok(driven.rows_affected())
    }

    /// Leaves an event out that the relay gave up: nobody hears of it, and the later ones of its
    /// aggregate go on. Returns its data, the last trace of it; `None` if it was not given up.
    pub async fn skip(&self, event: Uuid) -> Result<Option<String>, OperatorError> {
        let mut connection = self.database.connection().await?;
        let skipped = sqlx::query_scalar(
            "DELETE FROM outbox_events WHERE status = 'FAILED' AND id = $1 RETURNING payload::text",
        )
        .bind(event)
        .fetch_optional(&mut *connection)
        .await?;
        Ok(skipped)
    }
}

/// Moves consumers back to these positions of the partitions of a topic, by their order. Whoever is
/// working right now finds its place changed, and begins again from there.
async fn move_back_in_txn(
    transaction: &mut Transaction,
    topic: &str,
    starts: &[i64],
    consumer: Option<&str>,
) -> Result<Vec<String>, Error> {
    let moved = sqlx::query_scalar(
        "WITH moved AS (
             UPDATE consumer_positions AS own SET position = least(own.position, start.position)
             FROM unnest($2::bigint[]) WITH ORDINALITY AS start (position, place)
             WHERE own.topic = $1 AND own.partition = start.place - 1
               AND own.consumer = coalesce($3, own.consumer)
             RETURNING own.owner || '/' || own.consumer AS name
         )
         SELECT DISTINCT name FROM moved ORDER BY name",
    )
    .bind(topic)
    .bind(starts)
    .bind(consumer)
    .fetch_all(&mut **transaction)
    .await?;
    Ok(moved)
}

/// Has consumers forget that they took up what stands at or behind these positions.
async fn forget_in_txn(
    transaction: &mut Transaction,
    topic: &str,
    starts: &[i64],
    consumer: Option<&str>,
) -> Result<(), Error> {
    sqlx::query(
        "DELETE FROM inbox_events AS own
         USING unnest($2::bigint[]) WITH ORDINALITY AS start (position, place)
         WHERE own.topic = $1 AND own.partition = start.place - 1
           AND own.position >= start.position AND own.consumer = coalesce($3, own.consumer)",
    )
    .bind(topic)
    .bind(starts)
    .bind(consumer)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// A consumer, as often as there are topics that it reads.
#[derive(Clone, Debug, FromRow)]
pub struct Reading {
    /// Its name.
    pub name: String,
    /// What it reads.
    pub topic: String,
}

/// What became of dead letters that were to be tried again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Replayed {
    /// Those that are.
    pub again: u64,
    /// Those that are no events, and stay dead letters.
    pub unreadable: u64,
}

impl FromRow<'_, PgRow> for DeadLetter {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            service: row.try_get("owner")?,
            consumer: row.try_get("consumer")?,
            event_id: row.try_get("event_id")?,
            kind: row.try_get("event_type")?,
            key: row.try_get("key")?,
            topic: row.try_get("topic")?,
            attempts: row.try_get("attempts")?,
            error: row.try_get::<Option<String>, _>("error_message")?.unwrap_or_default(),
            parked_at: row.try_get("parked_at")?,
            value: row.try_get("value")?,
        })
    }
}
