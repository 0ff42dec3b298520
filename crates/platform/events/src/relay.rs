//! From the outbox to the bus.

mod store;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::Clock;
use futures::future::join_all;
use metrics::{counter, gauge, histogram};
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Database;
use tokio::sync::watch;

use crate::bus::{BusError, RECORD_BYTES_MAX};
use crate::outbox::OUTBOX_CHANNEL;
use crate::{Bus, Record};
use store::{Group, Pending, Store};

/// Wait before the database is listened to again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How often the outbox is measured, and what is old removed.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(5);

/// Settings of the relay.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelayConfig {
    /// Workers of one process, each on lanes of its own. Default: 2.
    pub workers: u16,
    /// Events that a worker brings to the bus at once. Default: 1000.
    pub batch_max: u16,
    /// Time between two looks when nobody tells of new events. Default: 100 ms.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub poll_interval: Duration,
    /// Longest time that the bus may take for a batch. Default: 10 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub append_timeout: Duration,
    /// Wait before an event that the bus did not take is tried again; doubled with each failure, and
    /// up to a quarter is left to chance. Default: 1 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retry_first: Duration,
    /// Longest such wait, and the longest between two attempts to reach a bus that is away.
    /// Default: 30 s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub retry_max: Duration,
    /// How long published events stay in the outbox. Default: 7 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub outbox_kept: Duration,
    /// How long events stay on the bus, and can be replayed; an hour or more. Default: 7 days.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub bus_kept: Duration,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            workers: 2,
            batch_max: 1_000,
            poll_interval: Duration::from_millis(100),
            append_timeout: Duration::from_secs(10),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            outbox_kept: Duration::from_hours(7 * 24),
            bus_kept: Duration::from_hours(7 * 24),
        }
    }
}

/// Brings committed events from the outbox to the bus: at least once, those of one subject in their
/// order.
///
/// Any number of relays may run: the subjects are shared out in lanes, and a lane has one worker at a
/// time. While the bus is away nothing counts as a failure of an event; the rest of the house goes on.
#[derive(Clone)]
pub struct Relay {
    store: Store,
    database: Database,
    bus: Arc<dyn Bus>,
    config: RelayConfig,
    /// Why the bus cannot be reached, if so.
    trouble: watch::Sender<Option<String>>,
}

impl Relay {
    /// A relay in the database of the role `events`.
    pub fn new(database: Database, bus: Arc<dyn Bus>, config: RelayConfig) -> Self {
        let store = Store::new(database.clone());
        Self { store, database, bus, config, trouble: watch::Sender::new(None) }
    }

    /// Relays until the future is dropped.
    pub async fn run(&self) {
        let (tell, told) = watch::channel(());
        let workers = (0..self.config.workers).map(|worker| self.work(worker, told.clone()));
        tokio::join!(join_all(workers), self.listen(&tell), self.keep_house(), self.watch());
    }

    /// Whether the bus takes events; why not, if not.
    pub fn health(&self) -> Result<(), String> {
        self.trouble.borrow().clone().map_or(Ok(()), Err)
    }

    /// Brings one batch of the lanes that are free to the bus. Says how many events it was.
    ///
    /// # Errors
    /// When the database or the bus is away. Nothing is lost.
    pub async fn round(&self, first_lane: u16) -> Result<usize, RelayError> {
        let lanes = self.config.lanes();
        let mut claim = self.store.claim(first_lane, lanes, self.config.batch_max).await?;
        let events = std::mem::take(&mut claim.events);
        if events.is_empty() {
            return Ok(0);
        }
        let started = Instant::now();
        let (records, refused) = sort(&events);
        let appended = match self.append(&records).await {
            Ok(appended) => appended,
            Err(error) => {
                // At once, so that the lanes are free for whoever is next.
                claim.release().await?;
                return Err(error);
            }
        };
        let published: Vec<_> = appended.records.iter().map(|record| record.id).collect();
        claim.publish(&published).await?;
        for Refused { event, reason } in refused.into_iter().chain(appended.refused(&events)) {
            let delay = self.config.delay(event.retry_count);
            tracing::warn!(eventId = %event.id, %reason, "the bus does not take an event");
            claim.fail(event.id, &reason, delay).await?;
        }
        claim.finish().await?;
        counter!("events_published_total").increment(published.len() as u64);
        histogram!("events_relay_batch_seconds").record(started.elapsed());
        Ok(published.len())
    }

    async fn work(&self, worker: u16, mut told: watch::Receiver<()>) {
        let lanes = self.config.lanes();
        let mut first_lane = worker.wrapping_mul(lanes);
        let mut failures = 0;
        loop {
            told.mark_unchanged();
            match self.round(first_lane).await {
                Ok(0) => {
                    failures = 0;
                    let _ = tokio::time::timeout(self.config.poll_interval, told.changed()).await;
                }
                Ok(_) => failures = 0,
                Err(error) => {
                    tracing::warn!(%error, "the relay will try again");
                    tokio::time::sleep(self.config.delay(failures)).await;
                    failures += 1;
                }
            }
            first_lane = first_lane.wrapping_add(lanes);
        }
    }

    /// Appends what the bus takes: all, or all up to the first record that it refuses.
    async fn append<'a>(&self, records: &'a [Record]) -> Result<Appended<'a>, RelayError> {
        let append = self.bus.append(records);
        let result = match tokio::time::timeout(self.config.append_timeout, append).await {
            Ok(result) => result,
            Err(elapsed) => Err(BusError::unavailable(elapsed)),
        };
        let trouble = result.as_ref().err().and_then(|error| match error {
            BusError::Unavailable(_) | BusError::Setting { .. } => Some(error.to_string()),
            BusError::Refused { .. } => None,
        });
        self.trouble.send_replace(trouble);
        match result {
            Ok(()) => Ok(Appended { records, refusal: None }),
            Err(BusError::Refused { index, reason }) => {
                let (records, rest) = records.split_at(index);
                Ok(Appended { records, refusal: rest.first().map(|record| (record, reason)) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Wakes workers when somebody tells of new events, for ever.
    async fn listen(&self, tell: &watch::Sender<()>) {
        loop {
            if let Ok(mut listener) = self.database.listen(OUTBOX_CHANNEL).await {
                while listener.recv().await.is_ok() {
                    tell.send_replace(());
                }
            }
            tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
        }
    }

    /// Measures, and removes what is old, for ever.
    async fn keep_house(&self) {
        loop {
            if let Err(error) = self.tidy().await {
                tracing::warn!(%error, "the outbox cannot be tidied");
            }
            tokio::time::sleep(HOUSEKEEPING_EVERY).await;
        }
    }

    async fn tidy(&self) -> Result<(), RelayError> {
        let backlog = self.store.measure().await?;
        gauge!("events_outbox_pending").set(backlog.pending);
        gauge!("events_outbox_failed").set(backlog.failed);
        gauge!("events_outbox_age_seconds").set(backlog.age_seconds);
        gauge!("events_dead_letters").set(backlog.dead);
        self.store.trim(self.config.outbox_kept, self.config.bus_kept).await?;
        self.bus.trim(self.config.bus_kept).await?;
        Ok(())
    }

    /// Measures the consumers, for ever. By itself: a bus may take its time to answer.
    async fn watch(&self) {
        let mut known = BTreeSet::new();
        loop {
            match self.measure_consumers().await {
                Ok(found) => {
                    // A gauge keeps its value: of one that was forgotten, nothing is late.
                    for labels in known.difference(&found) {
                        gauge!("events_consumer_retrying", labels).set(0.0);
                        gauge!("events_consumer_lag_seconds", labels).set(0.0);
                    }
                    known = found;
                }
                Err(error) => tracing::warn!(%error, "the consumers cannot be measured"),
            }
            tokio::time::sleep(HOUSEKEEPING_EVERY).await;
        }
    }

    /// Here, and not where they consume: one that is away or stands still says nothing itself. Returns
    /// which there are.
    async fn measure_consumers(&self) -> Result<BTreeSet<Labels>, RelayError> {
        let mut found = BTreeSet::new();
        for Group { service, consumer, positions, retrying } in self.store.groups().await? {
            let labels = [("service", service.clone()), ("consumer", consumer.clone())];
            gauge!("events_consumer_retrying", &labels).set(retrying);
            match self.bus.unread_since(&positions).await {
                Ok(since) => {
                    let now = Clock::system().now();
                    let lag = since.and_then(|since| (now - since).to_std().ok());
                    gauge!("events_consumer_lag_seconds", &labels).set(lag.unwrap_or_default());
                }
                // Others are measured all the same.
                Err(error) => {
                    tracing::warn!(service, consumer, %error, "the lag of a consumer is not known");
                }
            }
            found.insert(labels);
        }
        Ok(found)
    }
}

/// Of the gauges of one consumer.
type Labels = [(&'static str, String); 2];

impl RelayConfig {
    /// Lanes of one worker: as many as leave some for the others.
    fn lanes(&self) -> u16 {
        (crate::PARTITIONS / self.workers.max(1)).max(1)
    }

    /// Wait after that many failures.
    fn delay(&self, failures: u32) -> Duration {
        let delay = self.retry_first.saturating_mul(2_u32.saturating_pow(failures));
        delay.min(self.retry_max).mul_f64(rand::rng().random_range(0.75..=1.0))
    }
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] storage::Error),
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// An event that the bus does not take.
struct Refused<'a> {
    event: &'a Pending,
    reason: String,
}

/// What became of a batch.
struct Appended<'a> {
    records: &'a [Record],
    refusal: Option<(&'a Record, String)>,
}

impl Appended<'_> {
    fn refused<'e>(&self, events: &'e [Pending]) -> Option<Refused<'e>> {
        let (record, reason) = self.refusal.as_ref()?;
        let event = events.iter().find(|event| event.id == record.id)?;
        Some(Refused { event, reason: reason.clone() })
    }
}

/// The records that no bus refuses out of hand, and the events that are none. What comes after one
/// of those for the same subject waits for it.
fn sort(events: &[Pending]) -> (Vec<Record>, Vec<Refused<'_>>) {
    let mut refused: Vec<Refused<'_>> = Vec::new();
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        if refused.iter().any(|refused| refused.event.subject == event.subject) {
            continue;
        }
        let record = event.record();
        if record.value.len() > RECORD_BYTES_MAX {
            let reason =
                format!("it has {} bytes, of at most {RECORD_BYTES_MAX}", record.value.len());
            refused.push(Refused { event, reason });
        } else {
            records.push(record);
        }
    }
    (records, refused)
}
