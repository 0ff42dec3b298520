//! Work queues over Kafka. It has no word for a lease, a delay or a single dead letter: it carries a
//! job to the side of the worker, whose database holds it from then on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use clock::Clock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{Database, Transaction};
use uuid::Uuid;

use super::postgres::{Arrival, PostgresQueue};
use super::{Job, WorkQueue, count_buried};
use crate::bus::RECORD_BYTES_MAX;
use crate::bus::kafka::KafkaBus;
use crate::bus::kafka::edges::Edges;
use crate::consumer::store::{Positions, Store};
use crate::{Bus, BusError, Delivery, PARTITIONS, Partition, Reader, Record};

/// Jobs that are moved at once.
const MOVED_MAX: usize = 256;

/// Longest wait for jobs that the brokers say they have.
const PATIENCE: Duration = Duration::from_secs(2);

/// Queues as topics `jobs.<queue>` beside those of a bus, and behind them as rows of whoever works.
///
/// `take` first moves what is new on the topic into rows, in one transaction with the positions up to
/// which it did; one worker at a time, while others go on without waiting. What is there already is
/// done also while Kafka is away. A job that no worker has moved is kept for as long as the bus keeps
/// records. An id that was moved is known until the relay removes it from the inbox: a job pushed
/// again before that is not done again.
pub struct KafkaQueue {
    bus: Arc<KafkaBus>,
    edges: Edges,
    database: Database,
    rows: PostgresQueue,
    /// Of the queues that are worked off here; none while somebody reads with it.
    places: Mutex<BTreeMap<String, Option<Place>>>,
}

/// A job on its way.
#[derive(Deserialize, Serialize)]
struct Carried {
    id: Uuid,
    due: DateTime<Utc>,
    body: String,
}

impl KafkaQueue {
    /// The queues beside the topics of a bus. The database is that of the service itself, and is asked
    /// only for queues that it works off: who pushes need not reach the worker's.
    ///
    /// # Errors
    /// When the settings of the bus cannot be used.
    pub fn beside(bus: Arc<KafkaBus>, database: Database) -> Result<Self, BusError> {
        let (edges, rows) = (Edges::of(&bus)?, PostgresQueue::new(database.clone()));
        Ok(Self { bus, edges, database, rows, places: Mutex::default() })
    }

    /// Moves what is new on the topic into rows, unless another worker is at it.
    async fn move_new(&self, queue: &str) -> Result<(), BusError> {
        let (topic, store) = (topic(queue), Store::new(self.database.clone(), queue));
        if !self.places.lock().contains_key(queue) {
            self.bus.make_topic(&topic).await?;
            store.positions_insert(&beginning(&topic)).await.map_err(BusError::unavailable)?;
            self.places.lock().entry(queue.to_owned()).or_default();
        }
        let mut transaction = self.database.begin_worker().await.map_err(BusError::unavailable)?;
        let locked = store.positions_lock_in_txn(&mut transaction, &topic).await;
        let from = locked.map_err(BusError::unavailable)?;
        let ends = if from.is_empty() { Positions::new() } else { self.edges.ends(&topic).await? };
        if !behind(&from, &ends) {
            return Ok(());
        }
        let starts = self.edges.starts(&topic).await?;
        // Kept only when all is done: a reader whose move did not come to its end has read too far.
        let mut place = self.place(queue, left(queue, &from, &starts)).await?;
        let deliveries = place.read(&ends).await?;
        let moved = arrive(&store, transaction, &deliveries, (&from, &place.next)).await;
        moved.map_err(BusError::unavailable)?;
        self.places.lock().insert(queue.to_owned(), Some(place));
        Ok(())
    }

    /// A reader that is at these positions.
    async fn place(&self, queue: &str, next: Positions) -> Result<Place, BusError> {
        let kept = self.places.lock().get_mut(queue).and_then(Option::take);
        let mut place = match kept {
            Some(place) => place,
            None => Place { reader: self.bus.reader().await?, next: Positions::new() },
        };
        if place.next != next {
            let from: Vec<_> = next.iter().map(|(key, from)| (key.clone(), *from)).collect();
            place.reader.assign(&from).await?;
            place.next = next;
        }
        Ok(place)
    }
}

#[async_trait]
impl WorkQueue for KafkaQueue {
    async fn push(
        &self,
        queue: &str,
        id: Uuid,
        body: &str,
        delay: Duration,
    ) -> Result<(), BusError> {
        let refused = |reason: String| BusError::Refused { index: 0, reason };
        let delay = TimeDelta::from_std(delay).ok();
        let due = delay.and_then(|delay| Clock::system().now().checked_add_signed(delay));
        let due = due.ok_or_else(|| refused("its delay is longer than time".into()))?;
        let carried = Carried { id, due, body: body.to_owned() };
        if let Err(reason) = check(&carried) {
            return Err(refused(reason.into()));
        }
        let value = serde_json::to_string(&carried).map_err(BusError::unavailable)?;
        if value.len() > RECORD_BYTES_MAX {
            return Err(refused(format!(
                "it has {} bytes, of at most {RECORD_BYTES_MAX}",
                value.len()
            )));
        }
        let record = Record { topic: topic(queue), key: id, id, value };
        self.bus.append_as("application/json", &[record]).await
    }

    async fn take(&self, queue: &str, max: usize, lease: Duration) -> Result<Vec<Job>, BusError> {
        let moved = self.move_new(queue).await;
        let jobs = self.rows.take(queue, max, lease).await?;
        if jobs.is_empty() {
            moved?;
        }
        Ok(jobs)
    }

    async fn ack(&self, job: Job) -> Result<(), BusError> {
        self.rows.ack(job).await
    }

    async fn nack(&self, job: Job, delay: Duration) -> Result<(), BusError> {
        self.rows.nack(job, delay).await
    }

    async fn bury(&self, job: Job, reason: &str) -> Result<(), BusError> {
        self.rows.bury(job, reason).await
    }

    async fn buried(
        &self,
        queue: &str,
        max: usize,
    ) -> Result<Vec<(Uuid, String, String)>, BusError> {
        self.rows.buried(queue, max).await
    }

    async fn retry(&self, queue: &str, id: Option<Uuid>) -> Result<u64, BusError> {
        self.rows.retry(queue, id).await
    }

    async fn discard(&self, queue: &str, id: Option<Uuid>) -> Result<u64, BusError> {
        self.rows.discard(queue, id).await
    }
}

/// A reader, and where it reads next.
struct Place {
    reader: Box<dyn Reader>,
    next: Positions,
}

impl Place {
    /// Reads up to these ends, or as much as is moved at once.
    async fn read(&mut self, ends: &Positions) -> Result<Vec<Delivery>, BusError> {
        let mut found = Vec::new();
        while found.len() < MOVED_MAX && behind(&self.next, ends) {
            let next = self.reader.next(MOVED_MAX - found.len());
            match tokio::time::timeout(PATIENCE, next).await {
                Ok(deliveries) => found.extend(deliveries?.into_iter().filter(|it| self.pass(it))),
                Err(elapsed) if found.is_empty() => return Err(BusError::unavailable(elapsed)),
                // A partition is away: what came from others is moved.
                Err(_) => break,
            }
        }
        Ok(found)
    }

    /// Moves on behind a delivery. Says whether it is new: a bus may deliver again what it did before.
    fn pass(&mut self, delivery: &Delivery) -> bool {
        let Some(next) = self.next.get_mut(&delivery.partition) else { return false };
        let new = delivery.position >= *next;
        if new {
            *next = delivery.position + 1;
        }
        new
    }
}

/// Makes rows of what was read, with the positions behind it.
async fn arrive(
    store: &Store,
    mut transaction: Transaction,
    deliveries: &[Delivery],
    (from, to): (&Positions, &Positions),
) -> Result<(), storage::Error> {
    let arrivals: Vec<_> = deliveries.iter().map(arrival).collect();
    let received: Vec<_> = arrivals.iter().map(|arrival| arrival.id).zip(deliveries).collect();
    let mut fresh = store.receive_in_txn(&mut transaction, &received).await?;
    // Once, also when it was read twice.
    let new: Vec<_> = arrivals.iter().filter(|arrival| fresh.remove(&arrival.id)).collect();
    PostgresQueue::arrive_in_txn(&mut transaction, store.consumer(), &new).await?;
    let advanced = store.advance_in_txn(&mut transaction, None, from, to).await?;
    debug_assert!(advanced, "the positions are locked");
    transaction.commit().await?;
    let dead = new.iter().filter(|arrival| arrival.failure.is_some());
    dead.for_each(|_| count_buried(store.consumer()));
    Ok(())
}

/// What is written down of a delivery: the job, or a dead letter of what is none.
fn arrival(delivery: &Delivery) -> Arrival {
    let carried = serde_json::from_str::<Carried>(&delivery.value);
    let carried = carried.map_err(|error| error.to_string());
    match carried.and_then(|carried| check(&carried).map(|()| carried).map_err(str::to_owned)) {
        Ok(Carried { id, due, body }) => Arrival { id, due, body, failure: None },
        Err(reason) => Arrival {
            id: Uuid::now_v7(),
            due: Clock::system().now(),
            body: delivery.value.replace('\0', "\u{fffd}"),
            failure: Some(reason),
        },
    }
}

/// Whether a row can hold the job.
fn check(carried: &Carried) -> Result<(), &'static str> {
    if carried.body.contains('\0') {
        return Err("its body has a character that no row can hold: U+0000");
    }
    if carried.due < DateTime::UNIX_EPOCH {
        return Err("it was due before 1970");
    }
    Ok(())
}

/// The positions, moved to the oldest records that are left.
fn left(queue: &str, from: &Positions, starts: &Positions) -> Positions {
    let mut left = from.clone();
    for (partition, position) in &mut left {
        let start = starts.get(partition).copied().unwrap_or(0);
        if start > *position {
            let jobs = start - *position;
            tracing::error!(queue, jobs, "jobs were no longer kept when a worker came");
            *position = start;
        }
    }
    left
}

/// Whether something is to be read in a partition of these.
fn behind(positions: &Positions, ends: &Positions) -> bool {
    positions.iter().any(|(partition, position)| ends.get(partition) > Some(position))
}

fn beginning(topic: &str) -> Positions {
    (0..PARTITIONS).map(|number| (Partition { topic: topic.to_owned(), number }, 0)).collect()
}

/// A name of its own: a topic of events may be called as a queue is.
fn topic(queue: &str) -> String {
    format!("jobs.{queue}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_that_are_no_longer_kept_are_passed_over_and_the_others_are_not() {
        let at = |positions: [u64; 3]| -> Positions {
            beginning("t").into_keys().zip(positions).collect()
        };
        let (from, starts, ends) = (at([3, 3, 3]), at([7, 0, 5]), at([7, 3, 9]));

        let left = left("t", &from, &starts);

        assert_eq!(left, at([7, 3, 5]));
        assert!(behind(&left, &ends));
        assert!(!behind(&left, &at([7, 3, 5])), "it would wait for what is gone");
    }
}
