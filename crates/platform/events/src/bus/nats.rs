//! The bus on NATS JetStream: a stream for each topic, a subject for each partition.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::RawMessageErrorKind;
use async_nats::jetstream::{self, stream};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::try_join_all;
use futures::stream::{SelectAll, Stream, StreamExt};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bus, BusError, Delivery, PARTITIONS, Partition, Reader, Record};

/// Longest wait for an answer of the server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A consumer of the server ends when its reader is not heard of for this long.
const READER_KEPT: Duration = Duration::from_mins(1);

/// A record that is appended again within this time, because its answer was lost, is stored once.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);

/// How NATS is reached.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NatsConfig {
    /// Addresses of the servers, such as `nats://nats-0:4222,nats://nats-1:4222`; `tls://` demands
    /// TLS. Default: `nats://localhost:4222`.
    pub servers: String,
    /// File with the credentials of the account (`.creds`). Default: none.
    pub credentials: Option<PathBuf>,
    /// PEM file with the authority that signed the servers' certificates. Default: that of the
    /// system.
    pub ca: Option<PathBuf>,
    /// Copies of each stream: 1 in development, 3 in production. Counts when a topic is made.
    /// Default: 1.
    pub replicas: u8,
}

impl Default for NatsConfig {
    fn default() -> Self {
        let servers = "nats://localhost:4222".into();
        Self { servers, credentials: None, ca: None, replicas: 1 }
    }
}

/// Topics as streams `malha_<topic>`, their partitions as subjects `malha.<topic>.<number>`.
///
/// The next record of a partition is sent when the last one is stored: so their order is certain,
/// whatever becomes of the connection.
#[derive(Clone)]
pub struct NatsBus {
    context: jetstream::Context,
    config: NatsConfig,
    kept: Duration,
    topics: Arc<Mutex<Topics>>,
}

/// Topics that were seen to.
#[derive(Default)]
struct Topics {
    /// They have streams.
    made: BTreeSet<String>,
    /// They keep their records for as long as the settings say.
    kept: BTreeSet<String>,
}

impl NatsBus {
    /// Connects in the background; what is asked of a server that is away fails until it is back.
    /// Records are kept for `kept`.
    ///
    /// # Errors
    /// When the settings cannot be used: no address, no such file.
    pub async fn connect(config: &NatsConfig, kept: Duration) -> Result<Self, BusError> {
        let mut options = ConnectOptions::new()
            .name("malha")
            .retry_on_initial_connect()
            .request_timeout(Some(TIMEOUT))
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(100 * u64::try_from(attempts).unwrap_or(10).min(10))
            });
        if let Some(credentials) = &config.credentials {
            let read = options.credentials_file(credentials).await;
            options = read.map_err(BusError::unavailable)?;
        }
        if let Some(ca) = &config.ca {
            options = options.add_root_certificates(ca.clone());
        }
        let servers: Vec<_> = config.servers.split(',').collect();
        let client = options.connect(servers).await.map_err(BusError::unavailable)?;
        let mut context = jetstream::new(client);
        context.set_timeout(TIMEOUT);
        let (config, topics) = (config.clone(), Arc::default());
        Ok(Self { context, config, kept, topics })
    }

    /// What queues beside the topics need.
    pub(crate) fn parts(&self) -> (jetstream::Context, usize) {
        (self.context.clone(), self.config.replicas.into())
    }

    /// Sees to it that there is the stream of a topic. One that is there stays as it is: whoever
    /// reads decides nothing about what is kept.
    async fn make_topic(&self, topic: &str) -> Result<(), BusError> {
        if self.topics.lock().made.contains(topic) {
            return Ok(());
        }
        let found = self.stream(topic).await?.max_age;
        if found != self.kept {
            let (kept, bus_kept) = (found, self.kept);
            tracing::warn!(topic, ?kept, ?bus_kept, "topic is not kept as the settings say");
        }
        self.topics.lock().made.insert(topic.to_owned());
        Ok(())
    }

    /// Sees to it that there is the stream of a topic, and that it keeps records for as long as the
    /// settings of whoever appends say.
    async fn keep_topic(&self, topic: &str) -> Result<(), BusError> {
        if self.topics.lock().kept.contains(topic) {
            return Ok(());
        }
        let found = self.stream(topic).await?;
        if found.max_age != self.kept {
            let (max_age, duplicate_window) = (self.kept, DUPLICATE_WINDOW.min(self.kept));
            let config = stream::Config { max_age, duplicate_window, ..found };
            self.context.update_stream(config).await.map_err(BusError::unavailable)?;
        }
        self.topics.lock().kept.insert(topic.to_owned());
        Ok(())
    }

    /// How the stream of a topic is set, which is made if there is none.
    async fn stream(&self, topic: &str) -> Result<stream::Config, BusError> {
        let config = stream::Config {
            name: stream_name(topic),
            subjects: (0..PARTITIONS).map(|number| subject(topic, number)).collect(),
            max_age: self.kept,
            num_replicas: self.config.replicas.into(),
            duplicate_window: DUPLICATE_WINDOW.min(self.kept),
            ..stream::Config::default()
        };
        let stream = self.context.get_or_create_stream(config).await;
        Ok(stream.map_err(BusError::unavailable)?.cached_info().config.clone())
    }

    /// Stores the records of one partition, one after the other.
    async fn append_in_order(&self, records: Vec<&Record>) -> Result<(), BusError> {
        for record in records {
            let partition = record.partition();
            let publish = PublishMessage::build()
                .message_id(record.id.to_string())
                .header("content-type", "application/cloudevents+json")
                .payload(record.value.clone().into());
            let sent = self
                .context
                .send_publish(subject(&partition.topic, partition.number), publish)
                .await
                .map_err(BusError::unavailable)?;
            if let Err(error) = sent.await {
                // The stream may be gone: it is made again.
                let mut topics = self.topics.lock();
                topics.made.remove(&record.topic);
                topics.kept.remove(&record.topic);
                return Err(BusError::unavailable(error));
            }
        }
        Ok(())
    }

    async fn consumer(
        &self,
        partition: &Partition,
        deliver_policy: DeliverPolicy,
    ) -> Result<PullConsumer, BusError> {
        self.make_topic(&partition.topic).await?;
        let config = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject: subject(&partition.topic, partition.number),
            inactive_threshold: READER_KEPT,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let stream = stream_name(&partition.topic);
        let made = self.context.create_consumer_on_stream(config, stream).await;
        made.map_err(BusError::unavailable)
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn append(&self, records: &[Record]) -> Result<(), BusError> {
        let mut of_partitions: BTreeMap<Partition, Vec<&Record>> = BTreeMap::new();
        for record in records {
            of_partitions.entry(record.partition()).or_default().push(record);
        }
        for topic in of_partitions.keys().map(|partition| &partition.topic).collect::<BTreeSet<_>>()
        {
            self.keep_topic(topic).await?;
        }
        let appends = of_partitions.into_values().map(|records| self.append_in_order(records));
        try_join_all(appends).await?;
        Ok(())
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, BusError> {
        Ok(Box::new(NatsReader { bus: self.clone(), streams: SelectAll::new() }))
    }

    async fn position_at(
        &self,
        partition: &Partition,
        time: DateTime<Utc>,
    ) -> Result<u64, BusError> {
        // What comes before the first consumer's look is not missed: the end is read before it.
        self.make_topic(&partition.topic).await?;
        let stream = self.context.get_stream(stream_name(&partition.topic)).await;
        let end = stream.map_err(BusError::unavailable)?.cached_info().state.last_sequence + 1;
        let consumer =
            self.consumer(partition, DeliverPolicy::ByStartTime { start_time: time }).await?;
        let mut found =
            consumer.fetch().max_messages(1).messages().await.map_err(BusError::unavailable)?;
        match found.next().await {
            Some(message) => {
                let message = message.map_err(BusError::unavailable)?;
                Ok(message.info().map_err(BusError::unavailable)?.stream_sequence)
            }
            None => Ok(end),
        }
    }

    async fn unread_since(
        &self,
        from: &[(Partition, u64)],
    ) -> Result<Option<DateTime<Utc>>, BusError> {
        let looks = from.iter().map(|(partition, from)| self.appended_at(partition, *from));
        Ok(try_join_all(looks).await?.into_iter().flatten().min())
    }

    /// The partitions of a topic share the numbers of its stream.
    fn leaves_gaps(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<(), BusError> {
        // What the answer says differs between versions of the server.
        let answer: Result<serde_json::Value, _> = self.context.request("INFO", b"").await;
        match answer.map_err(BusError::unavailable)?.get("error") {
            None => Ok(()),
            Some(error) => Err(BusError::unavailable(error.to_string())),
        }
    }

    async fn trim(&self, _age: Duration) -> Result<u64, BusError> {
        Ok(0)
    }
}

/// The messages of one partition.
type Deliveries = std::pin::Pin<Box<dyn Stream<Item = Result<Delivery, BusError>> + Send>>;

struct NatsReader {
    bus: NatsBus,
    streams: SelectAll<Deliveries>,
}

#[async_trait]
impl Reader for NatsReader {
    async fn assign(&mut self, from: &[(Partition, u64)]) -> Result<(), BusError> {
        self.streams.clear();
        let opened = from.iter().map(|(partition, from)| self.bus.open(partition.clone(), *from));
        for stream in try_join_all(opened).await? {
            self.streams.push(stream);
        }
        Ok(())
    }

    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BusError> {
        let Some(first) = self.streams.next().await else {
            return Err(BusError::unavailable("the server ended what was read"));
        };
        let mut found = vec![first?];
        // Those that are here already. No await: dropping this future loses none.
        while found.len() < max
            && let Some(Some(next)) = self.streams.next().now_or_never()
        {
            found.push(next?);
        }
        Ok(found)
    }
}

impl NatsBus {
    /// When the first record at or behind a position was appended, if there is one.
    async fn appended_at(
        &self,
        partition: &Partition,
        from: u64,
    ) -> Result<Option<DateTime<Utc>>, BusError> {
        self.make_topic(&partition.topic).await?;
        let stream = self.context.get_stream_no_info(stream_name(&partition.topic)).await;
        let subject = subject(&partition.topic, partition.number);
        let stream = stream.map_err(BusError::unavailable)?;
        match stream.get_first_raw_message_by_subject(subject, from.max(1)).await {
            Ok(message) => Ok(Some(message.time)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(BusError::unavailable(error)),
        }
    }

    /// Reads one partition from a position on.
    async fn open(&self, partition: Partition, from: u64) -> Result<Deliveries, BusError> {
        let start_sequence = from.max(1);
        let policy = DeliverPolicy::ByStartSequence { start_sequence };
        let consumer = self.consumer(&partition, policy).await?;
        let messages = consumer.stream().heartbeat(Duration::from_secs(2)).messages().await;
        let messages = messages.map_err(BusError::unavailable)?;
        Ok(Box::pin(messages.map(move |message| {
            let message = message.map_err(BusError::unavailable)?;
            let position = message.info().map_err(BusError::unavailable)?.stream_sequence;
            let value = std::str::from_utf8(&message.payload).map_err(BusError::unavailable)?;
            Ok(Delivery { partition: partition.clone(), position, value: value.to_owned() })
        })))
    }
}

/// Names of streams have no dots.
fn stream_name(topic: &str) -> String {
    format!("malha_{}", topic.replace('.', "_"))
}

fn subject(topic: &str, number: u16) -> String {
    format!("malha.{topic}.{number}")
}
