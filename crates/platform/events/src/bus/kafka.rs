//! The bus on Kafka.

mod connection;
pub(crate) mod edges;
mod search;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::try_join_all;
use parking_lot::Mutex;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use rdkafka::metadata::Metadata;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use self::connection::{Trouble, Watch};
use self::search::Search;
use super::{Bus, BusError, Delivery, PARTITIONS, Partition, Reader, Record};
use crate::KafkaConfig;

/// Longest wait for an answer of the brokers.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Wait before records are handed to a producer again whose queue is full.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// Topics and partitions as Kafka has them, under their own names.
///
/// Who reads what is settled by ourselves, as on every bus; consumers of others join groups of Kafka.
/// A record's key is that of Kafka too.
pub struct KafkaBus {
    producer: FutureProducer<Watch>,
    trouble: Trouble,
    admin: Arc<AdminClient<DefaultClientContext>>,
    client: ClientConfig,
    search: Search,
    config: KafkaConfig,
    kept: Duration,
    topics: Mutex<BTreeSet<String>>,
}

impl KafkaBus {
    /// Connects in the background. Records of topics that it makes are kept for `kept`.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn connect(config: &KafkaConfig, kept: Duration) -> Result<Self, BusError> {
        let (client, trouble) = (connection::client(config)?, Trouble::default());
        let producer = client
            .clone()
            // Keeps the order of a partition through retries, and stores a retried record once.
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            // Longer than a relay waits: what it gives up stays in line before what it sends again.
            .set("message.timeout.ms", "300000")
            .create_with_context(Watch(Arc::clone(&trouble)))
            .map_err(BusError::unavailable)?;
        let admin = Arc::new(client.create().map_err(BusError::unavailable)?);
        let search = Search::new(consumer_config(&client));
        let (config, topics) = (config.clone(), Mutex::default());
        Ok(Self { producer, trouble, admin, client, search, config, kept, topics })
    }

    pub(crate) async fn make_topic(&self, topic: &str) -> Result<(), BusError> {
        if self.topics.lock().contains(topic) {
            return Ok(());
        }
        if self.exists(topic).await? {
            // Nobody waits for it.
            tokio::spawn(compare_kept(Arc::clone(&self.admin), topic.to_owned(), self.kept));
        } else {
            self.create(topic).await?;
        }
        self.topics.lock().insert(topic.to_owned());
        Ok(())
    }

    /// Whether there is the topic. Asks for all: asking for one may make it, with as many partitions
    /// as the brokers like.
    async fn exists(&self, topic: &str) -> Result<bool, BusError> {
        let all = self.metadata().await?;
        let Some(found) = all.topics().iter().find(|found| found.name() == topic) else {
            return Ok(false);
        };
        let count = found.partitions().len();
        if count == usize::from(PARTITIONS) {
            return Ok(true);
        }
        let needed = format!("topic {topic} has {count} partitions; it needs {PARTITIONS}");
        Err(BusError::unavailable(needed))
    }

    /// Asks the brokers for all topics.
    async fn metadata(&self) -> Result<Metadata, BusError> {
        let producer = self.producer.clone();
        let ask = move || producer.client().fetch_metadata(None, TIMEOUT);
        let asked = tokio::task::spawn_blocking(ask).await.map_err(BusError::unavailable)?;
        let mut trouble = self.trouble.lock();
        match (asked, trouble.as_ref()) {
            (Ok(found), _) => {
                *trouble = None;
                Ok(found)
            }
            (Err(error), Some(reason)) => Err(BusError::unavailable(format!("{error}: {reason}"))),
            (Err(error), None) => Err(BusError::unavailable(error)),
        }
    }

    async fn create(&self, topic: &str) -> Result<(), BusError> {
        let kept = self.kept.as_millis().to_string();
        let replication = TopicReplication::Fixed(self.config.replicas.into());
        let new = NewTopic::new(topic, PARTITIONS.into(), replication).set("retention.ms", &kept);
        let options =
            AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
        let made =
            self.admin.create_topics([&new], &options).await.map_err(BusError::unavailable)?;
        for result in made {
            if let Err((_, code)) = result
                && code != RDKafkaErrorCode::TopicAlreadyExists
            {
                return Err(BusError::unavailable(KafkaError::AdminOp(code)));
            }
        }
        Ok(())
    }

    /// Appends as [`Bus::append`] does, and notes on each record what its value is.
    pub(crate) async fn append_as(
        &self,
        content_type: &str,
        records: &[Record],
    ) -> Result<(), BusError> {
        for topic in records.iter().map(|record| record.topic.as_str()).collect::<BTreeSet<_>>() {
            self.make_topic(topic).await?;
        }
        let mut sent = Vec::with_capacity(records.len());
        for record in records {
            let key = record.key.to_string();
            let header = Header { key: "content-type", value: Some(content_type) };
            let mut next = FutureRecord::to(&record.topic)
                .partition(record.partition().number.into())
                .key(&key)
                .payload(&record.value)
                .headers(OwnedHeaders::new().insert(header));
            let stored = loop {
                match self.producer.send_result(next) {
                    Ok(stored) => break stored,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        next = back;
                        tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                    }
                    Err((error, _)) => return Err(BusError::unavailable(error)),
                }
            };
            sent.push(stored);
        }
        let stored = sent.into_iter().map(|stored| async {
            match stored.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err((error, _))) => Err(BusError::unavailable(error)),
                Err(cancelled) => Err(BusError::unavailable(cancelled)),
            }
        });
        try_join_all(stored).await?;
        Ok(())
    }

    fn consumer_config(&self) -> ClientConfig {
        consumer_config(&self.client)
    }
}

#[async_trait]
impl Bus for KafkaBus {
    async fn append(&self, records: &[Record]) -> Result<(), BusError> {
        self.append_as("application/cloudevents+json", records).await
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, BusError> {
        let consumer = self.consumer_config().create().map_err(BusError::unavailable)?;
        Ok(Box::new(KafkaReader { consumer }))
    }

    async fn position_at(
        &self,
        partition: &Partition,
        time: DateTime<Utc>,
    ) -> Result<u64, BusError> {
        self.make_topic(&partition.topic).await?;
        self.search.position_at(partition, time).await
    }

    async fn unread_since(
        &self,
        from: &[(Partition, u64)],
    ) -> Result<Option<DateTime<Utc>>, BusError> {
        for topic in
            from.iter().map(|(partition, _)| partition.topic.as_str()).collect::<BTreeSet<_>>()
        {
            self.make_topic(topic).await?;
        }
        self.search.unread_since(from).await
    }

    async fn ping(&self) -> Result<(), BusError> {
        self.metadata().await.map(drop)
    }

    async fn trim(&self, _age: Duration) -> Result<u64, BusError> {
        Ok(0)
    }
}

/// Warns where a topic keeps records for another time than the settings say. It is not changed:
/// whoever runs the brokers may have set it so.
async fn compare_kept(
    admin: Arc<AdminClient<DefaultClientContext>>,
    topic: String,
    kept: Duration,
) {
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let answer = admin.describe_configs(&[ResourceSpecifier::Topic(&topic)], &options).await;
    let found = answer.and_then(|answers| {
        let answer = answers.into_iter().next().ok_or(KafkaError::Canceled)?;
        answer.map_err(KafkaError::AdminOp)
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            tracing::info!(topic, %error, "how long a topic is kept is not known");
            return;
        }
    };
    let retention = found.get("retention.ms").and_then(|retention| retention.value.as_deref());
    let (kept_ms, bus_kept_ms) = (retention.unwrap_or("unknown"), kept.as_millis());
    if kept_ms != bus_kept_ms.to_string() {
        tracing::warn!(topic, kept_ms, bus_kept_ms, "topic is not kept as the settings say");
    }
}

struct KafkaReader {
    consumer: StreamConsumer,
}

#[async_trait]
impl Reader for KafkaReader {
    async fn assign(&mut self, from: &[(Partition, u64)]) -> Result<(), BusError> {
        let mut list = TopicPartitionList::new();
        for (Partition { topic, number }, from) in from {
            let offset = Offset::Offset(from.cast_signed());
            list.add_partition_offset(topic, (*number).into(), offset)
                .map_err(BusError::unavailable)?;
        }
        self.consumer.assign(&list).map_err(BusError::unavailable)
    }

    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BusError> {
        let first = loop {
            match self.consumer.recv().await {
                Ok(message) => break delivery(&message)?,
                // A topic that nobody has appended to yet.
                Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
                )) => {}
                Err(error) => return Err(BusError::unavailable(error)),
            }
        };
        let mut found = vec![first];
        // Those that are here already. No await: dropping this future loses none.
        while found.len() < max
            && let Some(Ok(message)) = self.consumer.recv().now_or_never()
        {
            found.push(delivery(&message)?);
        }
        Ok(found)
    }
}

fn consumer_config(client: &ClientConfig) -> ClientConfig {
    let mut config = client.clone();
    config
        // Asked for by the client; we join no group.
        .set("group.id", "malha")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("fetch.wait.max.ms", "100");
    config
}

fn delivery(message: &BorrowedMessage<'_>) -> Result<Delivery, BusError> {
    let number = u16::try_from(message.partition()).map_err(BusError::unavailable)?;
    let value = message.payload_view::<str>().unwrap_or(Ok("")).map_err(BusError::unavailable)?;
    Ok(Delivery {
        partition: Partition { topic: message.topic().to_owned(), number },
        position: message.offset().cast_unsigned(),
        value: value.to_owned(),
    })
}
