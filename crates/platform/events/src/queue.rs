//! The port behind which work queues stand: jobs that one of many workers does (T-06, T-41).
//!
//! An event tells everybody what happened; a job asks somebody to do something. Jobs have no order.

#[cfg(feature = "kafka")]
pub(crate) mod kafka;
pub(crate) mod nats;
pub(crate) mod postgres;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use storage::Database;
use uuid::Uuid;

#[cfg(feature = "kafka")]
use self::kafka::KafkaQueue;
use self::nats::NatsQueue;
use self::postgres::PostgresQueue;
#[cfg(feature = "kafka")]
use crate::KafkaBus;
use crate::{BusError, BusKind, Config, NatsBus};

/// A job that a worker holds until it is settled or its lease ends; then another gets it.
#[derive(Debug)]
pub struct Job {
    /// Its id: a job that was taken before comes with the same one.
    pub id: Uuid,
    /// What is to be done, as JSON.
    pub body: String,
    /// How often it was taken, this time included.
    pub attempts: u32,
    pub(crate) hold: Hold,
}

/// By what the queue knows who holds a job.
#[derive(Debug)]
pub(crate) enum Hold {
    Postgres { queue: String, lease: Uuid },
    Nats { queue: String, message: Box<async_nats::jetstream::Message> },
}

impl Hold {
    fn queue(&self) -> &str {
        match self {
            Self::Postgres { queue, .. } | Self::Nats { queue, .. } => queue,
        }
    }
}

/// Queues of jobs. A queue is named `<service that works>.<what>`, such as `maintenance.inspect`.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Puts a job into a queue, to be taken after `delay`. Nothing happens when one with this id is
    /// there, or was there a moment ago.
    async fn push(
        &self,
        queue: &str,
        id: Uuid,
        body: &str,
        delay: Duration,
    ) -> Result<(), BusError>;

    /// Takes up to `max` jobs that are due, none if there are none. Whoever does not settle a job
    /// within `lease` loses it to another.
    async fn take(&self, queue: &str, max: usize, lease: Duration) -> Result<Vec<Job>, BusError>;

    /// The job is done.
    async fn ack(&self, job: Job) -> Result<(), BusError>;

    /// The job failed, and is to be tried again after `delay`.
    async fn nack(&self, job: Job, delay: Duration) -> Result<(), BusError>;

    /// The job is given up: a dead letter, with the reason.
    async fn bury(&self, job: Job, reason: &str) -> Result<(), BusError>;

    /// Jobs that were given up: id, body and reason, up to `max`.
    async fn buried(
        &self,
        queue: &str,
        max: usize,
    ) -> Result<Vec<(Uuid, String, String)>, BusError>;

    /// Has jobs that were given up done after all, from the first attempt on: one, or all of the
    /// queue. Says how many.
    async fn retry(&self, queue: &str, id: Option<Uuid>) -> Result<u64, BusError>;

    /// Removes jobs that were given up: one, or all of the queue. Says how many.
    async fn discard(&self, queue: &str, id: Option<Uuid>) -> Result<u64, BusError>;
}

impl Config {
    /// Opens the work queues that go with the bus, for whoever has this database.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub async fn queues(&self, database: &Database) -> Result<Arc<dyn WorkQueue>, BusError> {
        Ok(match self.bus {
            BusKind::Postgres => Arc::new(PostgresQueue::new(database.clone())),
            BusKind::Nats => {
                let bus = NatsBus::connect(&self.nats, self.relay.bus_kept).await?;
                Arc::new(NatsQueue::beside(&bus))
            }
            #[cfg(feature = "kafka")]
            BusKind::Kafka => {
                let bus = KafkaBus::connect(&self.kafka, self.relay.bus_kept)?;
                Arc::new(KafkaQueue::beside(Arc::new(bus), database.clone())?)
            }
            #[cfg(not(feature = "kafka"))]
            BusKind::Kafka => return Err(crate::config::without_kafka()),
        })
    }
}

/// Counts a job that was given up.
fn count_buried(queue: &str) {
    metrics::counter!("events_jobs_buried_total", "queue" => queue.to_owned()).increment(1);
}
