//! Work queues on NATS JetStream: a stream from which a job is gone when it is settled, and one of
//! those that were given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    self, ConsumerError, ConsumerErrorKind, DiscardPolicy, RetentionPolicy,
};
use async_nats::jetstream::{self, AckKind, ErrorCode, Message};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use uuid::Uuid;

use super::{Hold, Job, WorkQueue, count_buried};
use crate::BusError;
use crate::bus::nats::NatsBus;

/// Milliseconds of the Unix epoch before which a job is not to be taken.
const NOT_BEFORE: &str = "malha-not-before";
/// Why a job was given up.
const REASON: &str = "malha-reason";
/// Id of a job that was moved; of others it is that of their message.
const JOB: &str = "malha-job";
const ID: &str = "Nats-Msg-Id";

/// Dead letters that the server sends in one go.
const LOOKED_AT_ONCE: usize = 1_000;

/// Jobs that a queue holds at most; then it takes no more. The server remembers each one that is
/// delayed or worked on.
const JOBS_MAX: i64 = 1_000_000;

/// How long a job is away that was sent to a worker and did not arrive.
const RESENT_AFTER: Duration = Duration::from_secs(30);

/// Queues as streams `malha_queue_<name>` and `malha_dead_<name>`, on the servers of a bus.
pub struct NatsQueue {
    context: jetstream::Context,
    replicas: usize,
    /// Streams that are there.
    streams: Mutex<BTreeSet<String>>,
    workers: Mutex<BTreeMap<String, PullConsumer>>,
}

impl NatsQueue {
    /// The queues beside the topics of a bus.
    pub fn beside(bus: &NatsBus) -> Self {
        let (context, replicas) = bus.parts();
        Self { context, replicas, streams: Mutex::default(), workers: Mutex::default() }
    }

    /// Sees to it that there is the stream of a queue's jobs.
    async fn make_jobs(&self, queue: &str) -> Result<(), BusError> {
        self.make(stream::Config {
            name: name("queue", queue),
            subjects: vec![subject("queue", queue)],
            retention: RetentionPolicy::WorkQueue,
            max_messages: JOBS_MAX,
            discard: DiscardPolicy::New,
            ..stream::Config::default()
        })
        .await
    }

    /// Sees to it that there is the stream of a queue's dead letters.
    async fn make_dead(&self, queue: &str) -> Result<(), BusError> {
        let (name, subjects) = (name("dead", queue), vec![subject("dead", queue)]);
        self.make(stream::Config { name, subjects, ..stream::Config::default() }).await
    }

    /// Makes a stream, if there is none. Of one that is there, only the limit of jobs is set, which
    /// streams of earlier programs lack: the rest is that of whoever runs the servers.
    async fn make(&self, config: stream::Config) -> Result<(), BusError> {
        let (name, max_messages, discard) =
            (config.name.clone(), config.max_messages, config.discard);
        if self.streams.lock().contains(&name) {
            return Ok(());
        }
        let config = stream::Config { num_replicas: self.replicas, ..config };
        let stream = self.context.get_or_create_stream(config).await;
        let stream = stream.map_err(BusError::unavailable)?;
        let found = &stream.cached_info().config;
        let differs = (found.max_messages, found.discard) != (max_messages, discard);
        if max_messages > 0 && differs {
            let config = stream::Config { max_messages, discard, ..found.clone() };
            self.context.update_stream(config).await.map_err(BusError::unavailable)?;
        }
        self.streams.lock().insert(name);
        Ok(())
    }

    async fn worker(&self, queue: &str) -> Result<PullConsumer, BusError> {
        if let Some(worker) = self.workers.lock().get(queue) {
            return Ok(worker.clone());
        }
        self.make_jobs(queue).await?;
        let config = pull::Config {
            durable_name: Some("workers".into()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: RESENT_AFTER,
            // Any number may be delayed: they hold up none that is due.
            max_ack_pending: -1,
            ..pull::Config::default()
        };
        let made = self.context.create_consumer_on_stream(config, name("queue", queue)).await;
        let worker: PullConsumer = made.map_err(BusError::unavailable)?;
        self.workers.lock().insert(queue.to_owned(), worker.clone());
        Ok(worker)
    }

    /// Forgets what was there: it may be gone, and is made again.
    fn forget(&self, queue: &str) {
        self.workers.lock().remove(queue);
        let mut streams = self.streams.lock();
        streams.remove(&name("queue", queue));
        streams.remove(&name("dead", queue));
    }

    async fn publish(
        &self,
        what: &str,
        queue: &str,
        message: PublishMessage,
    ) -> Result<(), BusError> {
        let sent = self.context.send_publish(subject(what, queue), message).await;
        let stored = sent.map_err(BusError::unavailable)?.await;
        stored.map(drop).inspect_err(|_| self.forget(queue)).map_err(BusError::unavailable)
    }

    /// Has the server send up to `max` jobs, due or not.
    async fn fetch(&self, queue: &str, max: usize) -> Result<Vec<Message>, BusError> {
        let worker = self.worker(queue).await?;
        let fetched = worker.fetch().max_messages(max).messages().await;
        let found: Result<Vec<_>, _> = match fetched {
            Ok(messages) => messages.try_collect().await,
            Err(error) => Err(error.into()),
        };
        found.inspect_err(|_| self.forget(queue)).map_err(BusError::unavailable)
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
        self.make_jobs(queue).await?;
        let mut message =
            PublishMessage::build().message_id(id.to_string()).payload(body.to_owned().into());
        if !delay.is_zero() {
            message = message.header(NOT_BEFORE, millis(SystemTime::now() + delay).to_string());
        }
        self.publish("queue", queue, message).await
    }

    async fn take(&self, queue: &str, max: usize, lease: Duration) -> Result<Vec<Job>, BusError> {
        let mut jobs = Vec::new();
        loop {
            let messages = self.fetch(queue, max).await?;
            let none_left = messages.is_empty();
            for message in messages {
                let early = early(&message);
                // Sent again after that time, unless it is settled before: so each lease is its own.
                ack(&message, AckKind::Nak(Some(early.unwrap_or(lease)))).await?;
                if early.is_none() {
                    jobs.push(job(queue, message)?);
                }
            }
            // Behind those that are early, some may be due.
            if none_left || !jobs.is_empty() {
                return Ok(jobs);
            }
        }
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
        let place = message.info().map_err(BusError::unavailable)?.stream_sequence;
        // First there, then no longer here: a job may be buried twice, not lost.
        let dead =
            moved(job.id, place, &job.body).header(REASON, reason.replace(['\r', '\n'], " "));
        self.make_dead(queue).await?;
        self.publish("dead", queue, dead).await?;
        count_buried(queue);
        ack(message, AckKind::Term).await
    }

    async fn buried(
        &self,
        queue: &str,
        max: usize,
    ) -> Result<Vec<(Uuid, String, String)>, BusError> {
        let dead = self.dead(queue, 1, max).await?;
        Ok(dead.into_iter().map(|dead| (dead.id, dead.body, dead.reason)).collect())
    }

    async fn retry(&self, queue: &str, id: Option<Uuid>) -> Result<u64, BusError> {
        let mut retried = 0;
        for dead in self.dead_of(queue, id).await? {
            self.make_jobs(queue).await?;
            self.publish("queue", queue, moved(dead.id, dead.place, &dead.body)).await?;
            retried += self.remove(queue, dead.place).await?;
        }
        Ok(retried)
    }

    async fn discard(&self, queue: &str, id: Option<Uuid>) -> Result<u64, BusError> {
        let mut discarded = 0;
        for dead in self.dead_of(queue, id).await? {
            discarded += self.remove(queue, dead.place).await?;
        }
        Ok(discarded)
    }
}

/// A job that was given up.
struct Dead {
    /// Its place in the stream of those.
    place: u64,
    id: Uuid,
    body: String,
    reason: String,
}

impl NatsQueue {
    /// Looks at dead letters from a place of their stream on.
    async fn dead(&self, queue: &str, from: u64, max: usize) -> Result<Vec<Dead>, BusError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
            ack_policy: AckPolicy::None,
            ..pull::Config::default()
        };
        let looking = self.context.create_consumer_on_stream(config, name("dead", queue)).await;
        let looking: PullConsumer = match looking {
            // There is no such stream: nobody has given up any job.
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            looking => looking.map_err(BusError::unavailable)?,
        };
        let fetched = looking.fetch().max_messages(max).messages().await;
        let mut fetched = fetched.map_err(BusError::unavailable)?;
        let mut dead = Vec::new();
        while let Some(message) = fetched.next().await {
            let message = message.map_err(BusError::unavailable)?;
            dead.push(Dead {
                place: message.info().map_err(BusError::unavailable)?.stream_sequence,
                id: id(&message)?,
                body: body(&message)?,
                reason: header(&message, REASON).unwrap_or_default(),
            });
        }
        Ok(dead)
    }

    /// The dead letters of one job, or all.
    async fn dead_of(&self, queue: &str, id: Option<Uuid>) -> Result<Vec<Dead>, BusError> {
        let (mut found, mut from) = (Vec::new(), 1);
        loop {
            let dead = self.dead(queue, from, LOOKED_AT_ONCE).await?;
            let Some(last) = dead.last() else { return Ok(found) };
            from = last.place + 1;
            found.extend(dead.into_iter().filter(|dead| id.is_none_or(|id| id == dead.id)));
        }
    }

    /// Removes a dead letter. Says whether it was there, as a number.
    async fn remove(&self, queue: &str, place: u64) -> Result<u64, BusError> {
        let stream = self.context.get_stream_no_info(name("dead", queue)).await;
        let removed = stream.map_err(BusError::unavailable)?.delete_message(place).await;
        removed.map(u64::from).map_err(BusError::unavailable)
    }
}

/// A job that comes from another stream: moved from one place it is stored once, from two twice.
fn moved(id: Uuid, place: u64, body: &str) -> PublishMessage {
    PublishMessage::build()
        .message_id(format!("{id}/{place}"))
        .header(JOB, id.to_string())
        .payload(body.to_owned().into())
}

/// Whether it failed because there is no such stream.
fn is_missing(error: &ConsumerError) -> bool {
    let ConsumerErrorKind::JetStream(error) = error.kind() else { return false };
    error.error_code() == ErrorCode::STREAM_NOT_FOUND
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
    let id = header(message, JOB)
        .or_else(|| header(message, ID))
        .ok_or_else(|| BusError::unavailable("a job without an id"))?;
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
