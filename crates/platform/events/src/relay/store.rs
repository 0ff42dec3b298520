//! All SQL of the relay.

use std::time::Duration;

use auth::TenantId;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};
use storage::{Database, Error, Transaction};
use uuid::Uuid;

use crate::event::{Metadata, Parts};
use crate::{Event, PARTITIONS, Partition, Record};

/// Rows removed in one statement: short enough to be in nobody's way.
const TRIM_BATCH: i64 = 5_000;

/// Rows counted at most.
const COUNT_MAX: i64 = 100_000;

/// How long members of a consumer are remembered that are no more.
const MEMBERS_KEPT: Duration = Duration::from_hours(1);

/// The outbox, as the role `events` sees it.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
}

/// An event that is to be published.
pub(crate) struct Pending {
    pub(crate) id: Uuid,
    pub(crate) subject: Uuid,
    pub(crate) retry_count: u32,
    topic: String,
    value: String,
}

impl Pending {
    pub(crate) fn record(&self) -> Record {
        Record {
            topic: self.topic.clone(),
            key: self.subject,
            id: self.id,
            value: self.value.clone(),
        }
    }
}

/// Events of lanes that are ours until it is finished or dropped.
pub(crate) struct Claim {
    transaction: Transaction,
    /// In the order in which they were published.
    pub(crate) events: Vec<Pending>,
}

/// What waits in the outbox, and what was given up.
pub(crate) struct Backlog {
    pub(crate) pending: f64,
    pub(crate) failed: f64,
    /// Of the oldest that nothing of its aggregate holds back.
    pub(crate) age_seconds: f64,
    pub(crate) dead: f64,
}

/// The members of one consumer, all together.
pub(crate) struct Group {
    pub(crate) service: String,
    pub(crate) consumer: String,
    pub(crate) positions: Vec<(Partition, u64)>,
    pub(crate) retrying: f64,
}

impl Store {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Claims up to `lanes` lanes that nobody works on, `first` and those after it before others,
    /// with their first `max` events.
    pub(crate) async fn claim(&self, first: u16, lanes: u16, max: u16) -> Result<Claim, Error> {
        let mut transaction = self.database.begin_worker().await?;
        let lanes = lanes_lock_in_txn(&mut transaction, first, lanes).await?;
        // A statement of its own: its snapshot shows what others committed before they let go of the
        // lanes.
        let events = pending_in_txn(&mut transaction, &lanes, max).await?;
        Ok(Claim { transaction, events })
    }

    /// Counts what waits and what was given up.
    pub(crate) async fn measure(&self) -> Result<Backlog, Error> {
        let mut transaction = self.database.begin_worker().await?;
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM (SELECT FROM outbox_events WHERE status = 'PENDING'
                                           LIMIT $1) AS pending)::float8,
                    (SELECT count(*) FROM outbox_events WHERE status = 'FAILED')::float8,
                    coalesce((SELECT extract(epoch FROM now() - created_at)
                              FROM outbox_events AS event
                              WHERE status = 'PENDING' AND NOT EXISTS (
                                  SELECT FROM outbox_events AS held
                                  WHERE held.aggregate_id = event.aggregate_id
                                    AND held.sequence < event.sequence AND held.status = 'FAILED')
                              ORDER BY sequence LIMIT 1), 0)::float8,
                    (SELECT count(*) FROM parked_events WHERE status = 'DEAD')::float8",
        )
        .bind(COUNT_MAX)
        .fetch_one(&mut *transaction)
        .await?;
        Ok(Backlog {
            pending: row.try_get(0)?,
            failed: row.try_get(1)?,
            age_seconds: row.try_get(2)?,
            dead: row.try_get(3)?,
        })
    }

    /// Every consumer that ever ran: how far it has come, and what waits for another attempt.
    pub(crate) async fn groups(&self) -> Result<Vec<Group>, Error> {
        let mut connection = self.database.connection().await?;
        let rows = sqlx::query(
            "SELECT owner::text, consumer, array_agg(topic::text), array_agg(partition), array_agg(position),
                    (SELECT count(*) FROM parked_events AS parked
                     WHERE parked.owner = own.owner AND parked.consumer = own.consumer
                       AND status = 'RETRYING')::float8
             FROM consumer_positions AS own GROUP BY owner, consumer",
        )
        .fetch_all(&mut *connection)
        .await?;
        Ok(rows.iter().map(Group::from_row).collect::<Result<_, _>>()?)
    }

    /// Removes what was published or taken up longer ago than it is kept, some at a time. What is in
    /// the inbox outlives what is on the bus.
    pub(crate) async fn trim(&self, outbox: Duration, bus: Duration) -> Result<(), Error> {
        let mut connection = self.database.connection().await?;
        for (statement, age) in [
            (
                "DELETE FROM outbox_events WHERE ctid = ANY(ARRAY(
                     SELECT ctid FROM outbox_events
                     WHERE status = 'PUBLISHED' AND published_at < now() - make_interval(secs => $1)
                     LIMIT $2))",
                outbox,
            ),
            (
                "DELETE FROM inbox_events WHERE ctid = ANY(ARRAY(
                     SELECT ctid FROM inbox_events
                     WHERE received_at < now() - make_interval(secs => $1) LIMIT $2))",
                bus * 2,
            ),
            (
                "DELETE FROM consumer_members WHERE ctid = ANY(ARRAY(
                     SELECT ctid FROM consumer_members
                     WHERE seen_at < now() - make_interval(secs => $1) LIMIT $2))",
                MEMBERS_KEPT,
            ),
        ] {
            let mut trimmed = TRIM_BATCH.cast_unsigned();
            while trimmed == TRIM_BATCH.cast_unsigned() {
                let statement = sqlx::query(statement).bind(age.as_secs_f64()).bind(TRIM_BATCH);
                trimmed = statement.execute(&mut *connection).await?.rows_affected();
            }
        }
        Ok(())
    }
}

async fn lanes_lock_in_txn(
    transaction: &mut Transaction,
    first: u16,
    lanes: u16,
) -> Result<Vec<i16>, Error> {
    let locked = sqlx::query_scalar(
        "SELECT lane FROM outbox_lanes ORDER BY (lane - $1 + $2) % $2 LIMIT $3
         FOR UPDATE SKIP LOCKED",
    )
    .bind((first % PARTITIONS).cast_signed())
    .bind(PARTITIONS.cast_signed())
    .bind(i64::from(lanes))
    .fetch_all(&mut **transaction)
    .await?;
    Ok(locked)
}

/// The first events of these lanes that nothing holds back.
async fn pending_in_txn(
    transaction: &mut Transaction,
    lanes: &[i16],
    max: u16,
) -> Result<Vec<Pending>, Error> {
    // `held` is among the few rows of a partial index.
    let events = sqlx::query_as(
        "SELECT id, aggregate_id, event_type, payload, metadata, created_at, tenant_id, topic,
                retry_count
         FROM outbox_events AS event
         WHERE status = 'PENDING' AND lane = ANY($1) AND NOT EXISTS (
             SELECT FROM outbox_events AS held
             WHERE held.aggregate_id = event.aggregate_id AND held.sequence <= event.sequence
               AND (held.status = 'FAILED' OR (held.status = 'PENDING' AND held.retry_count > 0))
               AND (held.status = 'FAILED' OR held.next_attempt_at > clock_timestamp()))
         ORDER BY sequence LIMIT $2",
    )
    .bind(lanes)
    .bind(i64::from(max))
    .fetch_all(&mut **transaction)
    .await?;
    Ok(events)
}

impl Claim {
    /// Notes that these are on the bus.
    pub(crate) async fn publish(&mut self, ids: &[Uuid]) -> Result<(), Error> {
        sqlx::query(
            "UPDATE outbox_events SET status = 'PUBLISHED', published_at = clock_timestamp()
             WHERE id = ANY($1)",
        )
        .bind(ids)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Notes that the bus does not take this one. The failure after the last retry makes it FAILED.
    pub(crate) async fn fail(
        &mut self,
        id: Uuid,
        reason: &str,
        delay: Duration,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE outbox_events
             SET status = CASE WHEN retry_count >= max_retries THEN 'FAILED' ELSE 'PENDING' END,
                 retry_count = least(retry_count + 1, max_retries),
                 next_attempt_at = clock_timestamp() + make_interval(secs => $2),
                 error_message = $3
             WHERE id = $1",
        )
        .bind(id)
        .bind(delay.as_secs_f64())
        .bind(reason)
        .execute(&mut *self.transaction)
        .await?;
        Ok(())
    }

    /// Lets go of the lanes; nothing has happened.
    pub(crate) async fn release(self) -> Result<(), Error> {
        Ok(self.transaction.rollback().await?)
    }

    /// Commits, and lets go of the lanes.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        Ok(self.transaction.commit().await?)
    }
}

impl FromRow<'_, PgRow> for Group {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (topics, numbers): (Vec<String>, Vec<i16>) = (row.try_get(2)?, row.try_get(3)?);
        let partitions = topics.into_iter().zip(numbers);
        let partitions =
            partitions.map(|(topic, number)| Partition { topic, number: number.cast_unsigned() });
        let positions: Vec<i64> = row.try_get(4)?;
        let positions = partitions.zip(positions.into_iter().map(i64::cast_unsigned)).collect();
        let (service, consumer) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Self { service, consumer, positions, retrying: row.try_get(5)? })
    }
}

impl FromRow<'_, PgRow> for Pending {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let Json(metadata): Json<Metadata> = row.try_get("metadata")?;
        let Json(data): Json<Box<RawValue>> = row.try_get("payload")?;
        let (id, subject) = (row.try_get("id")?, row.try_get("aggregate_id")?);
        let event = Event::from_parts(Parts {
            id,
            subject,
            kind: row.try_get("event_type")?,
            time: row.try_get::<DateTime<Utc>, _>("created_at")?,
            tenant: TenantId::from(row.try_get::<Uuid, _>("tenant_id")?),
            metadata,
            data,
        });
        Ok(Self {
            id,
            subject,
            retry_count: row.try_get::<i32, _>("retry_count")?.unsigned_abs(),
            topic: row.try_get("topic")?,
            value: event.to_json(),
        })
    }
}
