//! Work queues on NATS JetStream: a stream from which a job is gone when it is settled, and one of
//! those that were given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, RetentionPolicy};
use async_nats::jetstream::{self, AckKind, Message};
use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{Hold, Job, WorkQueue};
use crate::BusError;
use crate::bus::nats::NatsBus;

/// Milliseconds of the Unix epoch before which a job is not to be taken.
const NOT_BEFORE: &str = "malha-not-before";
/// Why a job was given up.
const REASON: &str = "malha-reason";
const ID: &str = "Nats-Msg-Id";

/// Queues as streams `malha_queue_<name>` and `malha_dead_<name>`, on the servers of a bus. The lease
/// is that of the first who takes from a queue.
pub struct NatsQueue {
    context: jetstream::Context,
    replicas: usize,
    workers: Arc<Mutex<BTreeMap<String, PullConsumer>>>,
}

impl NatsQueue {
    /// The queues beside the topics of a bus.
    pub fn beside(bus: &NatsBus) -> Self {
        let (context, replicas) = bus.parts();
        Self { context, replicas, workers: Arc::default() }
    }

    async fn make(&self, queue: &str) -> Result<stream::Stream, BusError> {
        let dead = stream::Config {
            name: name("dead", queue),
            subjects: vec![subject("dead", queue)],
            num_replicas: self.replicas,
            ..stream::Config::default()
        };
        self.context.get_or_create_stream(dead).await.map_err(BusError::unavailable)?;
        let jobs = stream::Config {
            name: name("queue", queue),
            subjects: vec![subject("queue", queue)],
            retention: RetentionPolicy::WorkQueue,
            num_replicas: self.replicas,
            ..stream::Config::default()
        };
        self.context.get_or_create_stream(jobs).await.map_err(BusError::unavailable)
    }

    async fn worker(&self, queue: &str, lease: Duration) -> Result<PullConsumer, BusError> {
        if let Some(worker) = self.workers.lock().get(queue) {
            return Ok(worker.clone());
        }
        let config = pull::Config {
            durable_name: Some("workers".into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: lease,
            max_ack_pending: 10_000,
            ..pull::Config::default()
        };
        let made = self.make(queue).await?.get_or_create_consumer("workers", config).await;
        let worker: PullConsumer = made.map_err(BusError::unavailable)?;
        self.workers.lock().insert(queue.to_owned(), worker.clone());
        Ok(worker)
    }

    async fn publish(&self, subject: String, message: PublishMessage) -> Result<(), BusError> {
        let sent = self.context.send_publish(subject, message).await;
        sent.map_err(BusError::unavailable)?.await.map_err(BusError::unavailable)?;
        Ok(())
    }
}

#[async_trait]
impl WorkQueue for NatsQueue {
    async fn push(
        &self,
        queue: &str,
        id: Uuid,
        body: &str,
        delay: Duration,
    ) -> Result<(), BusError> {
        self.make(queue).await?;
        let mut message =
            PublishMessage::build().message_id(id.to_string()).payload(body.to_owned().into());
        if !delay.is_zero() {
            message = message.header(NOT_BEFORE, millis(SystemTime::now() + delay).to_string());
        }
        self.publish(subject("queue", queue), message).await
    }

    async fn take(&self, queue: &str, max: usize, lease: Duration) -> Result<Vec<Job>, BusError> {
        let worker = self.worker(queue, lease).await?;
        let fetched = worker.fetch().max_messages(max).messages().await;
        let mut fetched = fetched.map_err(BusError::unavailable)?;
        let mut jobs = Vec::new();
        while let Some(message) = fetched.next().await {
            let message = message.map_err(BusError::unavailable)?;
            match early(&message) {
                Some(delay) => ack(&message, AckKind::Nak(Some(delay))).await?,
                None => jobs.push(job(queue, message)?),
            }
        }
        Ok(jobs)
    }

    async fn ack(&self, job: Job) -> Result<(), BusError> {
        let Hold::Nats { message, .. } = &job.hold else { return Ok(()) };
        message.double_ack().await.map_err(BusError::unavailable)
    }

    async fn nack(&self, job: Job, delay: Duration) -> Result<(), BusError> {
        let Hold::Nats { message, .. } = &job.hold else { return Ok(()) };
        ack(message, AckKind::Nak(Some(delay))).await
    }

    async fn bury(&self, job: Job, reason: &str) -> Result<(), BusError> {
        let Hold::Nats { queue, message } = &job.hold else { return Ok(()) };
        // First there, then no longer here: a job may be buried twice, not lost.
        let dead = PublishMessage::build()
            .message_id(job.id.to_string())
            .header(REASON, reason.replace(['\r', '\n'], " "))
            .payload(job.body.clone().into());
        self.publish(subject("dead", queue), dead).await?;
        ack(message, AckKind::Term).await
    }

    async fn buried(
        &self,
        queue: &str,
        max: usize,
    ) -> Result<Vec<(Uuid, String, String)>, BusError> {
        self.make(queue).await?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            ..pull::Config::default()
        };
        let looking = self.context.create_consumer_on_stream(config, name("dead", queue)).await;
        let looking: PullConsumer = looking.map_err(BusError::unavailable)?;
        let fetched = looking.fetch().max_messages(max).messages().await;
        let mut fetched = fetched.map_err(BusError::unavailable)?;
        let mut buried = Vec::new();
        while let Some(message) = fetched.next().await {
            let message = message.map_err(BusError::unavailable)?;
            let reason = header(&message, REASON).unwrap_or_default();
            buried.push((id(&message)?, body(&message)?, reason));
        }
        Ok(buried)
    }
}

async fn ack(message: &Message, kind: AckKind) -> Result<(), BusError> {
    message.ack_with(kind).await.map_err(BusError::unavailable)
}

fn job(queue: &str, message: Message) -> Result<Job, BusError> {
    let delivered = message.info().map_err(BusError::unavailable)?.delivered;
    // A job that came early was delivered once for nothing.
    let early = i64::from(header(&message, NOT_BEFORE).is_some());
    let attempts = u32::try_from((delivered - early).max(1)).unwrap_or(u32::MAX);
    let (id, body) = (id(&message)?, body(&message)?);
    let hold = Hold::Nats { queue: queue.to_owned(), message: Box::new(message) };
    Ok(Job { id, body, attempts, hold })
}

/// How much too early a job is.
fn early(message: &Message) -> Option<Duration> {
    let not_before: u128 = header(message, NOT_BEFORE)?.parse().ok()?;
    let early = not_before.checked_sub(millis(SystemTime::now())).filter(|early| *early > 0)?;
    Some(Duration::from_millis(u64::try_from(early).unwrap_or(u64::MAX)))
}

fn header(message: &Message, name: &str) -> Option<String> {
    Some(message.headers.as_ref()?.get(name)?.as_str().to_owned())
}

fn id(message: &Message) -> Result<Uuid, BusError> {
    let id = header(message, ID).ok_or_else(|| BusError::unavailable("a job without an id"))?;
    Uuid::try_parse(&id).map_err(BusError::unavailable)
}

fn body(message: &Message) -> Result<String, BusError> {
    let body = std::str::from_utf8(&message.payload).map_err(BusError::unavailable)?;
    Ok(body.to_owned())
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()
}

fn name(what: &str, queue: &str) -> String {
    format!("malha_{what}_{}", queue.replace('.', "_"))
}

fn subject(what: &str, queue: &str) -> String {
    format!("malha.{what}.{queue}")
}
