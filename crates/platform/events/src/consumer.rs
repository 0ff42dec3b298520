//! Taking events up: each takes effect once, however often it is delivered.

mod retry;
mod session;
pub(crate) mod store;

use std::collections::{BTreeSet, HashMap};
use std::io::Error;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::Clock;
use futures::FutureExt;
use http::{HeaderMap, HeaderValue};
use mesh::Context;
use metrics::{counter, histogram};
use rand::RngExt;
use storage::{Database, Transaction};
use tokio::time::error::Elapsed;
use tracing::Instrument;

use crate::{Bus, Event};
use session::Session;
use store::Store;

/// Takes up events of one type.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Does what the event asks for, in a transaction of the event's tenant, which commits with the
    /// inbox row that keeps the event from taking effect again. Other events may be in the same
    /// transaction.
    ///
    /// It may be run several times before it commits once: whatever it does outside the transaction
    /// must bear a repeat. Runs in a [`Context`] of the event: calls carry its tenant and its
    /// correlation id.
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError>;
}

/// Why an event was not taken up. Any error becomes [`Retry`](Self::Retry) by `?`.
#[derive(Debug)]
pub enum HandlerError {
    /// Try again later: at most `attempts_max` times, then it is a dead letter.
    Retry(Box<dyn std::error::Error + Send + Sync>),
    /// No repeat would help: a dead letter at once. Says why.
    Reject(String),
}

impl HandlerError {
    /// Whether the handler took too long.
    fn is_slow(&self) -> bool {
        matches!(self, Self::Retry(error) if error.is::<Elapsed>())
    }

    /// Why, for those who look at dead letters.
    fn reason(&self) -> String {
        match self {
            Self::Retry(error) => error.to_string(),
            Self::Reject(reason) => reason.clone(),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::Retry(Box::new(error))
    }
}

/// Where a consumer begins that has never read before.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    /// With the oldest event that the bus has.
    Oldest,
    /// With what is published from now on.
    Newest,
}

/// How a consumer works; the defaults fit.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// Where it begins. Default: with the oldest.
    pub start: Start,
    /// Events that it takes up at once, in one transaction if none fails. Default: 256.
    pub batch_max: usize,
    /// How long a partition stays with a member that is not heard of. Default: 15 s.
    pub lease: Duration,
    /// Longest time that a handler may take for one event; less than half the lease. Default: 5 s.
    pub handler_timeout: Duration,
    /// Time between two signs of life, and two looks at who else is there. Default: 1 s.
    pub heartbeat: Duration,
    /// Attempts at an event before it is a dead letter. Default: 10.
    pub attempts_max: u32,
    /// Wait before the second attempt; doubled with each failure, and up to a quarter is left to
    /// chance. Default: 500 ms.
    pub retry_first: Duration,
    /// Longest such wait. Default: 5 min.
    pub retry_max: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            start: Start::Oldest,
            batch_max: 256,
            lease: Duration::from_secs(15),
            handler_timeout: Duration::from_secs(5),
            heartbeat: Duration::from_secs(1),
            attempts_max: 10,
            retry_first: Duration::from_millis(500),
            retry_max: Duration::from_mins(5),
        }
    }
}

impl ConsumerConfig {
    /// Wait after that many attempts.
    fn delay(&self, attempts: u32) -> Duration {
        let factor = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let delay = self.retry_first.saturating_mul(factor).min(self.retry_max);
        delay.mul_f64(rand::rng().random_range(0.75..=1.0))
    }
}

/// Reads topics for a service and hands each event to the handler of its type. Clones share it.
///
/// Consumers of one service with the same name are a group: they share the partitions, and take
/// over from each other when one stops or dies. Events of one subject are taken up one after the
/// other, in their order.
#[derive(Clone)]
pub struct Consumer {
    parts: Arc<Parts>,
}

struct Parts {
    store: Store,
    bus: Arc<dyn Bus>,
    config: ConsumerConfig,
    handlers: Handlers,
}

/// A consumer that has no handlers yet.
pub struct Builder {
    store: Store,
    bus: Arc<dyn Bus>,
    config: ConsumerConfig,
    handlers: Handlers,
}

/// Which handler takes up what.
#[derive(Default)]
struct Handlers {
    by_type: HashMap<String, Arc<dyn Handler>>,
    by_topic: HashMap<String, Arc<dyn Handler>>,
    topics: BTreeSet<String>,
}

impl Consumer {
    /// Begins a consumer of the service whose database this is. Its name tells it from others of the
    /// same service, and stays the same for ever: under it stands how far it has come.
    pub fn builder(
        name: &str,
        database: Database,
        bus: Arc<dyn Bus>,
        config: ConsumerConfig,
    ) -> Builder {
        let store = Store::new(database, name);
        Builder { store, bus, config, handlers: Handlers::default() }
    }

    /// Consumes until the future is dropped; then its partitions are free for others.
    ///
    /// `service.task("events", move || { let consumer = consumer.clone(); async move { consumer.run().await } })`
    pub async fn run(&self) {
        tokio::join!(self.read(), self.retry());
    }

    /// Reads and takes up, for ever.
    async fn read(&self) {
        let mut failures = 0;
        loop {
            let mut session = Session::new(Arc::clone(&self.parts));
            let error = session.run(&mut failures).await;
            tracing::warn!(consumer = self.parts.store.consumer(), %error, "consuming begins again");
            drop(session);
            failures += 1;
            tokio::time::sleep(self.parts.config.delay(failures).min(Duration::from_secs(5))).await;
        }
    }
}

impl Builder {
    /// Hands events of a type to `handler`. An alias of the type will do.
    ///
    /// # Panics
    /// When no contract has such a type: a mistake of the program.
    pub fn on(mut self, kind: &str, handler: Arc<dyn Handler>) -> Self {
        let registered = contracts::events::by_name(kind);
        let registered = registered.unwrap_or_else(|| panic!("no contract has an event {kind}"));
        self.handlers.topics.insert(registered.topic.clone());
        self.handlers.by_type.insert(registered.name.clone(), handler);
        self
    }

    /// Hands whatever comes on a topic to `handler`, also types that no contract of this program
    /// has. Handlers of types come first.
    pub fn on_topic(mut self, topic: &str, handler: Arc<dyn Handler>) -> Self {
        self.handlers.topics.insert(topic.to_owned());
        self.handlers.by_topic.insert(topic.to_owned(), handler);
        self
    }

    /// The consumer, ready to run.
    pub fn build(self) -> Consumer {
        let Self { store, bus, config, handlers } = self;
        Consumer { parts: Arc::new(Parts { store, bus, config, handlers }) }
    }
}

impl Parts {
    /// Counts an event that has taken effect.
    fn count(&self, event: &Event) {
        let consumer = self.store.consumer().to_owned();
        counter!("events_consumed_total", "consumer" => consumer.clone()).increment(1);
        let delay = (Clock::system().now() - event.time).to_std().unwrap_or_default();
        histogram!("events_consumer_delay_seconds", "consumer" => consumer).record(delay);
    }
}

impl Handlers {
    fn find(&self, topic: &str, event: &Event) -> Option<&Arc<dyn Handler>> {
        self.by_type.get(&event.kind).or_else(|| self.by_topic.get(topic))
    }
}

/// Runs the handler as the event's own request: with its tenant, correlation id and trace. One that
/// panics or takes too long has failed.
async fn handle(
    config: &ConsumerConfig,
    handler: &dyn Handler,
    transaction: &mut Transaction,
    event: &Event,
) -> Result<(), HandlerError> {
    let mut context = Context::system(event.tenant);
    context.correlation_id = event.correlation_id.as_str().into();
    let span = tracing::info_span!(
        "event",
        eventId = %event.id,
        kind = event.kind,
        correlationId = event.correlation_id
    );
    if let Some(parent) = &event.traceparent
        && let Ok(parent) = HeaderValue::from_str(parent)
    {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), parent)]);
        telemetry::extract(&headers, &span);
    }
    let handling = context.scope(handler.handle(transaction, event).instrument(span));
    let handling = AssertUnwindSafe(handling).catch_unwind();
    match tokio::time::timeout(config.handler_timeout, handling).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::other("the handler panicked").into()),
        Err(elapsed) => Err(elapsed.into()),
    }
}
