//! All SQL of consumers: who reads what, how far it has come, the inbox.

mod parked;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use auth::TenantId;
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Database, Error, Transaction};
use uuid::Uuid;

use crate::{Delivery, Event, PARTITIONS, Partition};

pub(crate) use parked::{Parked, Verdict};

/// The rows of one consumer.
#[derive(Clone)]
pub(crate) struct Store {
    database: Database,
    consumer: String,
}

/// How far the consumer came in the partitions of one member.
pub(crate) type Positions = BTreeMap<Partition, u64>;

/// A delivery with what could be read of it.
pub(crate) struct Item {
    pub(crate) delivery: Delivery,
    pub(crate) event: Event,
}

impl Item {
    /// What the inbox notes of it.
    pub(crate) fn received(&self) -> (Uuid, &Delivery) {
        (self.event.id, &self.delivery)
    }
}

impl Store {
    pub(crate) fn new(database: Database, consumer: &str) -> Self {
        Self { database, consumer: consumer.to_owned() }
    }

    pub(crate) fn consumer(&self) -> &str {
        &self.consumer
    }

    pub(crate) async fn begin(&self, tenant: TenantId) -> Result<Transaction, Error> {
        self.database.begin(tenant).await
    }

    /// The partitions of these topics that nobody has read yet.
    pub(crate) async fn positions_missing(
        &self,
        topics: &BTreeSet<String>,
    ) -> Result<Vec<Partition>, Error> {
        let mut transaction = self.database.begin_worker().await?;
        let known: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM event_sourcing.consumer_positions
             WHERE owner = current_user AND consumer = $1 AND topic = ANY($2)",
        )
        .bind(&self.consumer)
        .bind(topics.iter().collect::<Vec<_>>())
        .fetch_one(&mut *transaction)
        .await?;
        if known.unsigned_abs() >= topics.len() as u64 * u64::from(PARTITIONS) {
            return Ok(Vec::new());
        }
        let of_topic = |topic: &String| -> Vec<_> {
            (0..PARTITIONS).map(|number| Partition { topic: topic.clone(), number }).collect()
        };
        Ok(topics.iter().flat_map(of_topic).collect())
    }

    /// Notes where the consumer begins, in partitions that it never read.
    pub(crate) async fn positions_insert(&self, from: &Positions) -> Result<(), Error> {
        let mut transaction = self.database.begin_worker().await?;
        sqlx::query(
            "INSERT INTO event_sourcing.consumer_positions (consumer, topic, partition, position)
             SELECT $1, * FROM unnest($2::text[], $3::smallint[], $4::bigint[])
             ON CONFLICT DO NOTHING",
        )
        .bind(&self.consumer)
        .bind(topics(from))
        .bind(numbers(from))
        .bind(positions(from))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Where the consumer is in the partitions of a topic that no other transaction moves; they are
    /// this transaction's until its end.
    #[cfg(feature = "kafka")]
    pub(crate) async fn positions_lock_in_txn(
        &self,
        transaction: &mut Transaction,
        topic: &str,
    ) -> Result<Positions, Error> {
        let locked = sqlx::query(
            "SELECT topic, partition, position FROM event_sourcing.consumer_positions
             WHERE owner = current_user AND consumer = $1 AND topic = $2
             ORDER BY partition FOR UPDATE SKIP LOCKED",
        )
        .bind(&self.consumer)
        .bind(topic)
        .try_map(position)
        .fetch_all(&mut **transaction)
        .await?;
        Ok(locked.into_iter().collect())
    }

    /// Gives a sign of life, and settles which partitions are this member's: its share, if all that
    /// are alive take theirs. Those it keeps come first; then those that nobody has.
    pub(crate) async fn heartbeat(
        &self,
        member: Uuid,
        topics: &BTreeSet<String>,
        lease: Duration,
    ) -> Result<Positions, Error> {
        let mut transaction = self.database.begin_worker().await?;
        let members = self.member_seen_in_txn(&mut transaction, member, lease).await?;
        let all = topics.len() as u64 * u64::from(PARTITIONS);
        let share = all.div_ceil(members.max(1));
        let mine = self.lease_in_txn(&mut transaction, member, topics, lease, share).await?;
        self.let_go_in_txn(&mut transaction, member, &mine).await?;
        self.retire_in_txn(&mut transaction, topics).await?;
        transaction.commit().await?;
        Ok(mine)
    }

    /// Forgets where the consumer was in topics that it handles no more, unless a member of an earlier
    /// program still reads them.
    async fn retire_in_txn(
        &self,
        transaction: &mut Transaction,
        topics: &BTreeSet<String>,
    ) -> Result<(), Error> {
        sqlx::query(
            "DELETE FROM event_sourcing.consumer_positions
             WHERE owner = current_user AND consumer = $1 AND topic <> ALL($2)
               AND (member IS NULL OR lease_until < clock_timestamp())",
        )
        .bind(&self.consumer)
        .bind(topics.iter().collect::<Vec<_>>())
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// Notes that a member is alive. Says how many are.
    async fn member_seen_in_txn(
        &self,
        transaction: &mut Transaction,
        member: Uuid,
        lease: Duration,
    ) -> Result<u64, Error> {
        let members: i64 = sqlx::query_scalar(
            "WITH seen AS (
                 INSERT INTO event_sourcing.consumer_members (consumer, member, seen_at)
                 VALUES ($1, $2, clock_timestamp())
                 ON CONFLICT (owner, consumer, member) DO UPDATE SET seen_at = excluded.seen_at
             )
             SELECT count(*) + 1 FROM event_sourcing.consumer_members
             WHERE owner = current_user AND consumer = $1 AND member <> $2
               AND seen_at > clock_timestamp() - make_interval(secs => $3)",
        )
        .bind(&self.consumer)
        .bind(member)
        .bind(lease.as_secs_f64())
        .fetch_one(&mut **transaction)
        .await?;
        Ok(members.unsigned_abs())
    }

    /// Leases up to `share` partitions to a member: its own first, then those that nobody has.
    async fn lease_in_txn(
        &self,
        transaction: &mut Transaction,
        member: Uuid,
        topics: &BTreeSet<String>,
        lease: Duration,
        share: u64,
    ) -> Result<Positions, Error> {
        // Others are passed over while they are locked: they are being taken.
        let mine = sqlx::query(
            "WITH mine AS (
                 SELECT topic, partition FROM event_sourcing.consumer_positions
                 WHERE owner = current_user AND consumer = $1 AND topic = ANY($2)
                   AND (member = $3 OR member IS NULL OR lease_until < clock_timestamp())
                 ORDER BY member IS DISTINCT FROM $3, topic, partition
                 LIMIT $4 FOR UPDATE SKIP LOCKED
             )
             UPDATE event_sourcing.consumer_positions AS own
             SET member = $3, lease_until = clock_timestamp() + make_interval(secs => $5)
             FROM mine
             WHERE own.owner = current_user AND own.consumer = $1
               AND own.topic = mine.topic AND own.partition = mine.partition
             RETURNING own.topic, own.partition, own.position",
        )
        .bind(&self.consumer)
        .bind(topics.iter().collect::<Vec<_>>())
        .bind(member)
        .bind(share.cast_signed())
        .bind(lease.as_secs_f64())
        .try_map(position)
        .fetch_all(&mut **transaction)
        .await?;
        Ok(mine.into_iter().collect())
    }

    /// Lets go of all partitions of a member that stops.
    pub(crate) async fn leave(&self, member: Uuid) -> Result<(), Error> {
        let mut transaction = self.database.begin_worker().await?;
        self.let_go_in_txn(&mut transaction, member, &Positions::new()).await?;
        sqlx::query(
            "DELETE FROM event_sourcing.consumer_members
             WHERE owner = current_user AND consumer = $1 AND member = $2",
        )
        .bind(&self.consumer)
        .bind(member)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    async fn let_go_in_txn(
        &self,
        transaction: &mut Transaction,
        member: Uuid,
        kept: &Positions,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE event_sourcing.consumer_positions SET member = NULL
             WHERE owner = current_user AND consumer = $1 AND member = $2
               AND (topic, partition) NOT IN (SELECT * FROM unnest($3::text[], $4::smallint[]))",
        )
        .bind(&self.consumer)
        .bind(member)
        .bind(topics(kept))
        .bind(numbers(kept))
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }

    /// Moves the consumer from one place to the next, if it still is there and still is the
    /// member's, or nobody's. Says whether it was, in every partition.
    pub(crate) async fn advance_in_txn(
        &self,
        transaction: &mut Transaction,
        member: impl Into<Option<Uuid>>,
        from: &Positions,
        to: &Positions,
    ) -> Result<bool, Error> {
        let member: Option<Uuid> = member.into();
        let expected: Vec<_> =
            to.keys().map(|partition| from.get(partition).copied().unwrap_or(0)).collect();
        let moved = sqlx::query(
            "UPDATE event_sourcing.consumer_positions AS own SET position = wanted.position
             FROM unnest($3::text[], $4::smallint[], $5::bigint[], $6::bigint[])
                 AS wanted (topic, partition, position, expected)
             WHERE own.owner = current_user AND own.consumer = $1
               AND own.member IS NOT DISTINCT FROM $2
               AND own.topic = wanted.topic AND own.partition = wanted.partition
               AND own.position = wanted.expected",
        )
        .bind(&self.consumer)
        .bind(member)
        .bind(topics(to))
        .bind(numbers(to))
        .bind(positions(to))
        .bind(expected.into_iter().map(u64::cast_signed).collect::<Vec<_>>())
        .execute(&mut **transaction)
        .await?;
        Ok(moved.rows_affected() == to.len() as u64)
    }

    /// Notes that these events, by their ids, take effect with this transaction. Returns those that
    /// have not taken effect before.
    pub(crate) async fn receive_in_txn(
        &self,
        transaction: &mut Transaction,
        received: &[(Uuid, &Delivery)],
    ) -> Result<BTreeSet<Uuid>, Error> {
        let (mut ids, mut topics) = (Vec::new(), Vec::new());
        let (mut numbers, mut positions) = (Vec::new(), Vec::new());
        for (id, delivery) in received {
            ids.push(*id);
            topics.push(delivery.partition.topic.as_str());
            numbers.push(delivery.partition.number.cast_signed());
            positions.push(delivery.position.cast_signed());
        }
        // In one order, whoever else takes up the same events: nobody waits in a circle.
        let fresh = sqlx::query_scalar(
            "INSERT INTO event_sourcing.inbox_events (consumer, event_id, topic, partition, position)
             SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::smallint[], $5::bigint[]) AS event (id)
             ORDER BY id
             ON CONFLICT DO NOTHING RETURNING event_id",
        )
        .bind(&self.consumer)
        .bind(ids)
        .bind(topics)
        .bind(numbers)
        .bind(positions)
        .fetch_all(&mut **transaction)
        .await?;
        Ok(fresh.into_iter().collect())
    }
}

fn topics(positions: &Positions) -> Vec<&str> {
    positions.keys().map(|partition| partition.topic.as_str()).collect()
}

fn numbers(positions: &Positions) -> Vec<i16> {
    positions.keys().map(|partition| partition.number.cast_signed()).collect()
}

fn positions(positions: &Positions) -> Vec<i64> {
    positions.values().map(|position| position.cast_signed()).collect()
}

fn partition(row: &PgRow) -> Result<Partition, sqlx::Error> {
    let number = row.try_get::<i16, _>("partition")?.cast_unsigned();
    Ok(Partition { topic: row.try_get("topic")?, number })
}

fn position(row: PgRow) -> Result<(Partition, u64), sqlx::Error> {
    Ok((partition(&row)?, row.try_get::<i64, _>("position")?.cast_unsigned()))
}
