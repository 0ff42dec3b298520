//! Where the partitions of a topic begin and end.

use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::{KafkaBus, TIMEOUT};
use crate::consumer::store::Positions;
use crate::{BusError, PARTITIONS, Partition};

/// Asks the brokers, once for all partitions.
pub(crate) struct Edges {
    consumer: Arc<BaseConsumer>,
}

impl Edges {
    pub(crate) fn of(bus: &KafkaBus) -> Result<Self, BusError> {
        let consumer = bus.consumer_config().create().map_err(BusError::unavailable)?;
        Ok(Self { consumer: Arc::new(consumer) })
    }

    /// The positions of the oldest records that are left.
    pub(crate) async fn starts(&self, topic: &str) -> Result<Positions, BusError> {
        self.ask(topic, Offset::Beginning).await
    }

    /// The positions of what is appended next.
    pub(crate) async fn ends(&self, topic: &str) -> Result<Positions, BusError> {
        self.ask(topic, Offset::End).await
    }

    async fn ask(&self, topic: &str, edge: Offset) -> Result<Positions, BusError> {
        let (consumer, topic) = (Arc::clone(&self.consumer), topic.to_owned());
        // The client blocks its thread.
        let asked = tokio::task::spawn_blocking(move || edges(&consumer, &topic, edge));
        asked.await.map_err(BusError::unavailable)?.map_err(BusError::unavailable)
    }
}

/// The positions at one edge of a topic.
pub(super) fn edges(consumer: &BaseConsumer, topic: &str, edge: Offset) -> KafkaResult<Positions> {
    let mut list = TopicPartitionList::new();
    for number in 0..PARTITIONS {
        list.add_partition_offset(topic, number.into(), edge)?;
    }
    // The edges stand in the places of the times before the first and after the last record.
    let answer = consumer.offsets_for_times(list, TIMEOUT)?;
    let found = (0..PARTITIONS).map(|number| {
        let element = answer.find_partition(topic, number.into());
        match element.map(|element| element.offset()) {
            Some(Offset::Offset(position)) => {
                let partition = Partition { topic: topic.to_owned(), number };
                Ok((partition, position.cast_unsigned()))
            }
            _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetNotAvailable)),
        }
    });
    found.collect()
}
