//! Looks for records by their times, for others than readers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::TIMEOUT;
use super::edges::edges;
use crate::consumer::store::Positions;
use crate::{BusError, Partition};

/// Asks the brokers one question at a time, on a client that is made for the first and kept.
pub(super) struct Search {
    config: ClientConfig,
    consumer: Arc<Mutex<Option<BaseConsumer>>>,
}

impl Search {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self { config, consumer: Arc::default() }
    }

    /// As [`Bus::position_at`](crate::Bus::position_at), of a topic that there is.
    pub(super) async fn position_at(
        &self,
        partition: &Partition,
        time: DateTime<Utc>,
    ) -> Result<u64, BusError> {
        let (partition, millis) = (partition.clone(), time.timestamp_millis());
        let found = self.ask(move |consumer| position_at(consumer, &partition, millis)).await?;
        Ok(found.cast_unsigned())
    }

    /// As [`Bus::unread_since`](crate::Bus::unread_since), of topics that there are.
    pub(super) async fn unread_since(
        &self,
        from: &[(Partition, u64)],
    ) -> Result<Option<DateTime<Utc>>, BusError> {
        let from = from.to_vec();
        let found = self.ask(move |consumer| unread_since(consumer, &from)).await?;
        Ok(found.and_then(DateTime::from_timestamp_millis))
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&BaseConsumer) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, BusError> {
        let (config, kept) = (self.config.clone(), Arc::clone(&self.consumer));
        // The client blocks its thread.
        let asked = tokio::task::spawn_blocking(move || {
            let mut kept = kept.lock();
            let consumer = match &mut *kept {
                Some(consumer) => consumer,
                none => none.insert(config.create()?),
            };
            // Troubles since the last question are none of this one.
            while consumer.poll(Duration::ZERO).is_some() {}
            let answer = question(consumer);
            consumer.unassign()?;
            answer
        });
        asked.await.map_err(BusError::unavailable)?.map_err(BusError::unavailable)
    }
}

/// Looks for the first record of a partition that is as late as `millis`: its times ascend.
fn position_at(consumer: &BaseConsumer, partition: &Partition, millis: i64) -> KafkaResult<i64> {
    let number = partition.number.into();
    let (mut low, mut high) = consumer.fetch_watermarks(&partition.topic, number, TIMEOUT)?;
    if millis <= 0 {
        return Ok(low);
    }
    while low < high {
        let middle = i64::midpoint(low, high);
        let (position, time) = first_from(consumer, partition, middle)?;
        if time.is_some_and(|at| at < millis) {
            low = position + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The time of the oldest record at or behind these positions, in milliseconds.
fn unread_since(consumer: &BaseConsumer, from: &[(Partition, u64)]) -> KafkaResult<Option<i64>> {
    let topics: BTreeSet<_> = from.iter().map(|(partition, _)| partition.topic.as_str()).collect();
    let (mut starts, mut ends) = (Positions::new(), Positions::new());
    for topic in topics {
        starts.extend(edges(consumer, topic, Offset::Beginning)?);
        ends.extend(edges(consumer, topic, Offset::End)?);
    }
    let mut oldest: Option<i64> = None;
    for (partition, from) in from {
        let from = starts.get(partition).map_or(*from, |start| *start.max(from));
        if ends.get(partition).is_some_and(|end| from < *end) {
            let (_, time) = first_from(consumer, partition, from.cast_signed())?;
            oldest = oldest.into_iter().chain(time).min();
        }
    }
    Ok(oldest)
}

/// The position of the first record at or behind one before the end, and its time in milliseconds.
fn first_from(
    consumer: &BaseConsumer,
    Partition { topic, number }: &Partition,
    position: i64,
) -> KafkaResult<(i64, Option<i64>)> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, (*number).into(), Offset::Offset(position))?;
    consumer.assign(&list)?;
    let silence = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
    let message = consumer.poll(TIMEOUT).ok_or(silence)??;
    Ok((message.offset(), message.timestamp().to_millis()))
}
