//! The bus in PostgreSQL: the default. Needs nothing that is not there anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use storage::Database;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Bus, BusError, Delivery, PARTITIONS, Partition, Reader, Record};

/// Channel on which readers hear of new records.
const BUS_CHANNEL: &str = "malha_bus";

/// Longest time between two looks of a reader that hears nothing.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Wait before the listener connects again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Records removed in one statement.
const TRIM_BATCH: i64 = 10_000;

/// Topics as rows of the shared schema `event_sourcing`.
///
/// Only the role `events` appends; every service reads. A record is visible to readers in the order
/// of its partition, because a partition is locked while records are appended to it.
pub struct PostgresBus {
    database: Database,
    topics: Mutex<BTreeSet<String>>,
    appended: watch::Receiver<()>,
    _listening: DropGuard,
}

impl PostgresBus {
    /// The bus in the database of whoever uses it.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(database: Database) -> Self {
        let (heard, appended) = watch::channel(());
        let stop = CancellationToken::new();
        let listening = listen(database.clone(), heard);
        tokio::spawn(stop.clone().run_until_cancelled_owned(listening));
        Self { database, topics: Mutex::default(), appended, _listening: stop.drop_guard() }
    }

    async fn make_topics(&self, wanted: BTreeSet<&str>) -> Result<(), storage::Error> {
        let known = self.topics.lock().clone();
        for topic in wanted.into_iter().filter(|topic| !known.contains(*topic)) {
            let mut connection = self.database.connection().await?;
            sqlx::query(
                "INSERT INTO event_sourcing.bus_partitions (topic, partition)
                 SELECT $1, generate_series(0, $2 - 1) ON CONFLICT DO NOTHING",
            )
            .bind(topic)
            .bind(i32::from(PARTITIONS))
            .execute(&mut *connection)
            .await?;
            self.topics.lock().insert(topic.to_owned());
        }
        Ok(())
    }

    async fn try_append(&self, records: &[Record]) -> Result<(), storage::Error> {
        self.make_topics(records.iter().map(|record| record.topic.as_str()).collect()).await?;
        let mut transaction = self.database.begin_worker().await?;
        let places = take_places(&mut transaction, records).await?;
        insert(&mut transaction, records, &places).await?;
        Ok(transaction.commit().await?)
    }

    async fn try_position_at(
        &self,
        partition: &Partition,
        time: DateTime<Utc>,
    ) -> Result<i64, storage::Error> {
        let mut transaction = self.database.begin_worker().await?;
        let bounds = sqlx::query(
            "SELECT coalesce((SELECT min(position) FROM event_sourcing.bus_records
                              WHERE topic = $1 AND partition = $2), next_position), next_position
             FROM event_sourcing.bus_partitions WHERE topic = $1 AND partition = $2",
        )
        .bind(&partition.topic)
        .bind(partition.number.cast_signed())
        .try_map(|row: PgRow| Ok((row.try_get(0)?, row.try_get(1)?)))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some((mut low, mut high)): Option<(i64, i64)> = bounds else { return Ok(0) };
        // Positions have no gaps, and their times ascend.
        while low < high {
            let middle = i64::midpoint(low, high);
            let is_before: Option<bool> = sqlx::query_scalar(
                "SELECT appended_at < $4 FROM event_sourcing.bus_records
                 WHERE topic = $1 AND partition = $2 AND position = $3",
            )
            .bind(&partition.topic)
            .bind(partition.number.cast_signed())
            .bind(middle)
            .bind(time)
            .fetch_optional(&mut *transaction)
            .await?;
            if is_before.unwrap_or(true) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

#[async_trait]
impl Bus for PostgresBus {
    async fn append(&self, records: &[Record]) -> Result<(), BusError> {
        if records.is_empty() {
            return Ok(());
        }
        self.try_append(records).await.map_err(BusError::unavailable)
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, BusError> {
        Ok(Box::new(PostgresReader {
            database: self.database.clone(),
            from: BTreeMap::new(),
            appended: self.appended.clone(),
        }))
    }

    async fn position_at(
        &self,
        partition: &Partition,
        time: DateTime<Utc>,
    ) -> Result<u64, BusError> {
        let position = self.try_position_at(partition, time).await;
        position.map(i64::cast_unsigned).map_err(BusError::unavailable)
    }

    async fn unread_since(
        &self,
        from: &[(Partition, u64)],
    ) -> Result<Option<DateTime<Utc>>, BusError> {
        unread_since(&self.database, from).await.map_err(BusError::unavailable)
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.database.ping().await.map_err(BusError::unavailable)
    }

    async fn trim(&self, age: Duration) -> Result<u64, BusError> {
        let mut trimmed = 0;
        loop {
            let batch = trim_batch(&self.database, age).await.map_err(BusError::unavailable)?;
            trimmed += batch;
            if batch < TRIM_BATCH.cast_unsigned() {
                return Ok(trimmed);
            }
        }
    }
}

/// Takes the next places of each partition for its records: one place for each record.
async fn take_places(
    connection: &mut PgConnection,
    records: &[Record],
) -> Result<Vec<i64>, storage::Error> {
    let mut counts: BTreeMap<Partition, i64> = BTreeMap::new();
    let partitions: Vec<_> = records.iter().map(Record::partition).collect();
    for partition in &partitions {
        *counts.entry(partition.clone()).or_default() += 1;
    }
    // Locked in one order, whoever appends: nobody waits in a circle.
    let taken = sqlx::query(
        "WITH wanted AS (
             SELECT topic, partition, count
             FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS wanted (topic, partition, count)
         ), locked AS (
             SELECT topic, partition, count FROM event_sourcing.bus_partitions JOIN wanted
                 USING (topic, partition)
             ORDER BY topic, partition FOR UPDATE OF bus_partitions
         )
         UPDATE event_sourcing.bus_partitions AS own SET next_position = next_position + count
         FROM locked WHERE own.topic = locked.topic AND own.partition = locked.partition
         RETURNING own.topic, own.partition, next_position - count",
    )
    .bind(counts.keys().map(|partition| partition.topic.as_str()).collect::<Vec<_>>())
    .bind(counts.keys().map(|partition| partition.number.cast_signed()).collect::<Vec<_>>())
    .bind(counts.values().copied().collect::<Vec<_>>())
    .try_map(|row: PgRow| {
        let number = row.try_get::<i16, _>(1)?.cast_unsigned();
        Ok((Partition { topic: row.try_get(0)?, number }, row.try_get::<i64, _>(2)?))
    })
    .fetch_all(connection)
    .await?;
    let mut next: BTreeMap<_, _> = taken.into_iter().collect();
    let places = partitions.iter().map(|partition| {
        let place = next.get_mut(partition)?;
        *place += 1;
        Some(*place - 1)
    });
    let places: Option<Vec<_>> = places.collect();
    places.ok_or_else(|| sqlx::Error::RowNotFound.into())
}

async fn insert(
    connection: &mut PgConnection,
    records: &[Record],
    places: &[i64],
) -> Result<(), storage::Error> {
    let partitions = records.iter().map(|record| record.partition().number.cast_signed());
    sqlx::query(
        "WITH appended AS (
             INSERT INTO event_sourcing.bus_records (topic, partition, position, key, value)
             SELECT * FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::uuid[], $5::text[])
         )
         SELECT pg_notify($6, '')",
    )
    .bind(records.iter().map(|record| record.topic.as_str()).collect::<Vec<_>>())
    .bind(partitions.collect::<Vec<_>>())
    .bind(places)
    .bind(records.iter().map(|record| record.key).collect::<Vec<_>>())
    .bind(records.iter().map(|record| record.value.as_str()).collect::<Vec<_>>())
    .bind(BUS_CHANNEL)
    .execute(connection)
    .await?;
    Ok(())
}

async fn unread_since(
    database: &Database,
    from: &[(Partition, u64)],
) -> Result<Option<DateTime<Utc>>, storage::Error> {
    let mut transaction = database.begin_worker().await?;
    let oldest = sqlx::query_scalar(
        "SELECT min(appended_at)
         FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS wanted (topic, partition, position)
         CROSS JOIN LATERAL (
             SELECT appended_at FROM event_sourcing.bus_records AS record
             WHERE record.topic = wanted.topic AND record.partition = wanted.partition
               AND record.position >= wanted.position
             ORDER BY record.position LIMIT 1
         ) AS record",
    )
    .bind(from.iter().map(|(partition, _)| partition.topic.as_str()).collect::<Vec<_>>())
    .bind(from.iter().map(|(partition, _)| partition.number.cast_signed()).collect::<Vec<_>>())
    .bind(from.iter().map(|(_, position)| position.cast_signed()).collect::<Vec<_>>())
    .fetch_one(&mut *transaction)
    .await?;
    Ok(oldest)
}

async fn trim_batch(database: &Database, age: Duration) -> Result<u64, storage::Error> {
    let mut transaction = database.begin_worker().await?;
    let trimmed = sqlx::query(
        "DELETE FROM event_sourcing.bus_records WHERE ctid = ANY(ARRAY(
             SELECT ctid FROM event_sourcing.bus_records
             WHERE appended_at < now() - make_interval(secs => $1) LIMIT $2))",
    )
    .bind(age.as_secs_f64())
    .bind(TRIM_BATCH)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(trimmed.rows_affected())
}

/// Wakes readers when records were appended, for ever.
async fn listen(database: Database, heard: watch::Sender<()>) {
    loop {
        let listener = database.listen(BUS_CHANNEL).await;
        if let Ok(mut listener) = listener {
            while listener.recv().await.is_ok() {
                heard.send_replace(());
            }
        }
        tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
    }
}

struct PostgresReader {
    database: Database,
    from: BTreeMap<Partition, u64>,
    appended: watch::Receiver<()>,
}

#[async_trait]
impl Reader for PostgresReader {
    async fn assign(&mut self, from: &[(Partition, u64)]) -> Result<(), BusError> {
        self.from = from.iter().cloned().collect();
        Ok(())
    }

    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BusError> {
        loop {
            self.appended.mark_unchanged();
            let found = self.look(max).await.map_err(BusError::unavailable)?;
            for delivery in &found {
                self.from.insert(delivery.partition.clone(), delivery.position + 1);
            }
            if !found.is_empty() {
                return Ok(found);
            }
            let _ = tokio::time::timeout(LOOK_EVERY, self.appended.changed()).await;
        }
    }
}

impl PostgresReader {
    async fn look(&self, max: usize) -> Result<Vec<Delivery>, storage::Error> {
        let mut transaction = self.database.begin_worker().await?;
        let positions: Vec<_> = self.from.values().map(|from| from.cast_signed()).collect();
        let found = sqlx::query(
            "SELECT record.topic, record.partition, record.position, record.value
             FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS wanted (topic, partition, position)
             CROSS JOIN LATERAL (
                 SELECT * FROM event_sourcing.bus_records AS record
                 WHERE record.topic = wanted.topic AND record.partition = wanted.partition
                   AND record.position >= wanted.position
                 ORDER BY record.position LIMIT $4
             ) AS record",
        )
        .bind(self.from.keys().map(|partition| partition.topic.as_str()).collect::<Vec<_>>())
        .bind(self.from.keys().map(|key| key.number.cast_signed()).collect::<Vec<_>>())
        .bind(positions)
        // As many of each, so that one that is far behind does not keep the others waiting.
        .bind(i64::try_from((max / self.from.len().max(1)).max(1)).unwrap_or(i64::MAX))
        .try_map(|row: PgRow| {
            let number = row.try_get::<i16, _>(1)?.cast_unsigned();
            Ok(Delivery {
                partition: Partition { topic: row.try_get(0)?, number },
                position: row.try_get::<i64, _>(2)?.cast_unsigned(),
                value: row.try_get(3)?,
            })
        })
        .fetch_all(&mut *transaction)
        .await?;
        Ok(found)
    }
}
