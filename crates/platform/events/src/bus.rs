//! The port behind which a bus stands: topics of partitioned logs.

#[cfg(feature = "kafka")]
pub(crate) mod kafka;
pub(crate) mod nats;
pub(crate) mod postgres;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Partitions of every topic, and lanes of the outbox. A part of the format: with another number,
/// records of one key would be in two places.
pub const PARTITIONS: u16 = 16;

/// Largest record. Every bus takes it with its default settings.
pub(crate) const RECORD_BYTES_MAX: usize = 900 << 10;

/// One partition of a topic.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Partition {
    /// Name of the topic.
    pub topic: String,
    /// Below [`PARTITIONS`].
    pub number: u16,
}

/// What is appended to a topic.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Name of the topic; one that does not exist yet is made.
    pub topic: String,
    /// Records of one key are in one partition, in the order in which they were appended.
    pub key: Uuid,
    /// Id of the event.
    pub id: Uuid,
    /// The event, as JSON.
    pub value: String,
}

impl Record {
    /// The partition that the key belongs to: the last byte of a UUID is random in every version
    /// that we make.
    pub fn partition(&self) -> Partition {
        let number = u16::from(self.key.as_bytes()[15]) % PARTITIONS;
        Partition { topic: self.topic.clone(), number }
    }
}

/// A record, read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delivery {
    /// Where it was read.
    pub partition: Partition,
    /// Its place there: ascending, without gaps if the bus [says so](Bus::leaves_gaps).
    pub position: u64,
    /// The event, as JSON.
    pub value: String,
}

/// Why a bus did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It cannot be reached, or did not answer in time. What was appended may be there or not.
    #[error("the bus is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not take this record of the batch, by its index, and none after it.
    #[error("the bus does not take a record: {reason}")]
    Refused {
        /// Which of the records.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A setting cannot be used.
    #[error("`{name}` is wrong: {rule}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// What it has to be.
        rule: String,
    },
}

impl BusError {
    pub(crate) fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }
}

/// A bus: topics, each of [`PARTITIONS`] logs of records, kept for a time.
///
/// It knows nothing of consumers: who reads what, and how far each has come, stands in the
/// consumers' own database, where it changes with their effects.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Appends records, those of one key in their order. When it fails, some may have been
    /// appended: whoever tries again begins with the same record of each key, and readers see a
    /// record twice rather than never.
    async fn append(&self, records: &[Record]) -> Result<(), BusError>;

    /// Makes a reader, which reads nothing yet.
    async fn reader(&self) -> Result<Box<dyn Reader>, BusError>;

    /// The position of the first record appended at or after `time`, or of the one appended next.
    async fn position_at(
        &self,
        partition: &Partition,
        time: DateTime<Utc>,
    ) -> Result<u64, BusError>;

    /// When the oldest record was appended that stands at or behind the position of its partition;
    /// `None` if there is none.
    async fn unread_since(
        &self,
        from: &[(Partition, u64)],
    ) -> Result<Option<DateTime<Utc>>, BusError>;

    /// Whether the positions of a partition leave numbers out, so that a reader cannot tell from them
    /// that records were removed.
    fn leaves_gaps(&self) -> bool {
        false
    }

    /// Asks for a sign of life.
    async fn ping(&self) -> Result<(), BusError>;

    /// Removes records that were appended longer ago than `age`. A bus that does so by itself does
    /// nothing.
    async fn trim(&self, age: Duration) -> Result<u64, BusError>;
}

/// Reads partitions.
#[async_trait]
pub trait Reader: Send {
    /// Reads these partitions from now on, each from its position; one before the oldest record
    /// that is left means that one. Replaces what was read before.
    async fn assign(&mut self, from: &[(Partition, u64)]) -> Result<(), BusError>;

    /// Waits for the next records, at least one and at most `max`, each partition's in their order.
    /// Dropping the future loses no record.
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BusError>;
}
