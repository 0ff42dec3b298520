//! One membership of a consumer: from joining its group to the first thing that goes wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use auth::TenantId;
use chrono::DateTime;
use clock::Clock;
use metrics::counter;
use tokio::time::Instant;
use uuid::Uuid;

use super::store::{Item, Positions, Verdict};
use super::{HandlerError, Parts, Start, handle};
use crate::{BusError, Delivery, Event, Partition, Reader};

/// Why a membership ended. What was not committed is read again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Store(#[from] storage::Error),
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error("another member reads what this one read, or it was sent elsewhere")]
    Lost,
}

impl From<sqlx::Error> for SessionError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What stopped several events from being taken up together.
enum Together {
    /// One of them: they are taken up one by one. Says which, if its attempt was too long to make
    /// another at once.
    Event(Option<Slow>),
    Session(SessionError),
}

/// An event whose handler took too long, by its place among others.
struct Slow {
    place: usize,
    error: HandlerError,
}

impl<E: Into<SessionError>> From<E> for Together {
    fn from(error: E) -> Self {
        Self::Session(error.into())
    }
}

/// What was read at once.
#[derive(Default)]
struct Batch {
    /// The place behind it.
    next: Positions,
    items: BTreeMap<TenantId, Vec<Item>>,
    /// How many records before some of it are not kept any more.
    lost: Vec<(Partition, u64)>,
}

pub(crate) struct Session {
    parts: Arc<Parts>,
    member: Uuid,
    /// Where it reads next, in the partitions that are its own.
    positions: Positions,
}

impl Session {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        Self { parts, member: Uuid::now_v7(), positions: Positions::new() }
    }

    /// Reads and takes up until something goes wrong. Forgets earlier failures once it works.
    pub(crate) async fn run(&mut self, failures: &mut u32) -> SessionError {
        let Err(error) = self.try_run(failures).await;
        error
    }

    async fn try_run(
        &mut self,
        failures: &mut u32,
    ) -> Result<std::convert::Infallible, SessionError> {
        let config = self.parts.config.clone();
        self.begin().await?;
        let mut reader = self.parts.bus.reader().await?;
        let mut heartbeat_at = Instant::now();
        loop {
            if Instant::now() >= heartbeat_at {
                self.heartbeat(&mut *reader).await?;
                heartbeat_at = Instant::now() + config.heartbeat;
                *failures = 0;
            }
            let next = async {
                if self.positions.is_empty() {
                    std::future::pending::<()>().await;
                }
                reader.next(config.batch_max).await
            };
            if let Ok(deliveries) = tokio::time::timeout_at(heartbeat_at, next).await {
                self.take_up(deliveries?).await?;
            }
        }
    }

    /// Notes where the consumer begins in partitions that it never read.
    async fn begin(&self) -> Result<(), SessionError> {
        let Parts { store, bus, config, handlers } = &*self.parts;
        let mut from = Positions::new();
        for partition in store.positions_missing(&handlers.topics).await? {
            let position = match config.start {
                // The first time; from then on a gap is a loss.
                Start::Oldest if bus.leaves_gaps() => 0,
                Start::Oldest => bus.position_at(&partition, DateTime::UNIX_EPOCH).await?,
                Start::Newest => bus.position_at(&partition, Clock::system().now()).await?,
            };
            from.insert(partition, position);
        }
        if !from.is_empty() {
            store.positions_insert(&from).await?;
        }
        Ok(())
    }

    async fn heartbeat(&mut self, reader: &mut dyn Reader) -> Result<(), SessionError> {
        let Parts { store, config, handlers, .. } = &*self.parts;
        let mine = store.heartbeat(self.member, &handlers.topics, config.lease).await?;
        if mine != self.positions {
            let from: Vec<_> = mine.iter().map(|(key, from)| (key.clone(), *from)).collect();
            reader.assign(&from).await?;
            self.positions = mine;
        }
        Ok(())
    }

    /// Takes up what was read, and moves on behind it.
    async fn take_up(&mut self, deliveries: Vec<Delivery>) -> Result<(), SessionError> {
        let Batch { next, items, lost } = self.sort(deliveries).await?;
        if let [(tenant, items)] = &items.iter().collect::<Vec<_>>()[..] {
            // The usual case: the effects and the new place in one transaction.
            match self.together_in_time(**tenant, items, Some(&next)).await {
                Ok(()) => self.positions.extend(next),
                Err(Together::Session(error)) => return Err(error),
                Err(Together::Event(slow)) => {
                    self.singly(**tenant, items, slow).await?;
                    self.advance(next).await?;
                }
            }
        } else {
            for (tenant, items) in &items {
                match self.together_in_time(*tenant, items, None).await {
                    Ok(()) => {}
                    Err(Together::Session(error)) => return Err(error),
                    Err(Together::Event(slow)) => self.singly(*tenant, items, slow).await?,
                }
            }
            self.advance(next).await?;
        }
        for (partition, records) in &lost {
            self.tell_of_loss(partition, *records);
        }
        Ok(())
    }

    /// Sorts what was read by tenant. What is no event becomes a dead letter.
    async fn sort(&self, deliveries: Vec<Delivery>) -> Result<Batch, SessionError> {
        let Parts { store, bus, .. } = &*self.parts;
        let mut batch = Batch::default();
        for delivery in deliveries {
            let Delivery { partition, position, .. } = &delivery;
            let known = batch.next.get(partition).or(self.positions.get(partition));
            // A bus may deliver again what it delivered before.
            let Some(expected) = known.copied().filter(|expected| expected <= position) else {
                continue;
            };
            // From 0 on, nobody knows where it began: consumers of earlier programs began there,
            // wherever the oldest record was.
            if *position > expected && expected > 0 && !bus.leaves_gaps() {
                batch.lost.push((partition.clone(), position - expected));
            }
            batch.next.insert(partition.clone(), position + 1);
            match Event::from_json(&delivery.value) {
                Ok(event) if self.handles(&delivery, &event) => {
                    batch.items.entry(event.tenant).or_default().push(Item { delivery, event });
                }
                Ok(_) => {}
                Err(error) => {
                    let reason = error.to_string();
                    store.park(&delivery, None, Verdict::Dead { reason: &reason }).await?;
                }
            }
        }
        Ok(batch)
    }

    /// Records were removed from the bus before this consumer came to them.
    fn tell_of_loss(&self, Partition { topic, number }: &Partition, records: u64) {
        let consumer = self.parts.store.consumer();
        tracing::error!(
            consumer,
            topic,
            partition = number,
            records,
            "events are lost to a consumer"
        );
        counter!("events_consumer_lost_total", "consumer" => consumer.to_owned())
            .increment(records);
    }

    fn handles(&self, delivery: &Delivery, event: &Event) -> bool {
        self.parts.handlers.find(&delivery.partition.topic, event).is_some()
    }

    async fn advance(&mut self, next: Positions) -> Result<(), SessionError> {
        let mut transaction = self.parts.store.begin(TenantId::DEFAULT).await?;
        let store = &self.parts.store;
        if !store.advance_in_txn(&mut transaction, self.member, &self.positions, &next).await? {
            return Err(SessionError::Lost);
        }
        transaction.commit().await?;
        self.positions.extend(next);
        Ok(())
    }

    /// As [`together`](Self::together), within the lease: each by itself leaves a mark of how far they
    /// have come, all together none.
    async fn together_in_time(
        &self,
        tenant: TenantId,
        items: &[Item],
        next: Option<&Positions>,
    ) -> Result<(), Together> {
        let together = self.together(tenant, items, next);
        let taken_up = tokio::time::timeout(self.parts.config.lease / 2, together).await;
        taken_up.unwrap_or(Err(Together::Event(None)))
    }

    /// Takes events of one tenant up in one transaction, if none of them fails or has to wait.
    async fn together(
        &self,
        tenant: TenantId,
        items: &[Item],
        next: Option<&Positions>,
    ) -> Result<(), Together> {
        let store = &self.parts.store;
        let mut transaction = store.begin(tenant).await?;
        let keys: BTreeSet<_> = items.iter().map(|item| item.event.subject).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        if !store.parked_keys_in_txn(&mut transaction, &keys).await?.is_empty() {
            return Err(Together::Event(None));
        }
        let all: Vec<_> = items.iter().map(Item::received).collect();
        let mut fresh = store.receive_in_txn(&mut transaction, &all).await?;
        let mut done = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            // Once, also when it was read twice.
            if !fresh.remove(&item.event.id) {
                continue;
            }
            if let Err(error) = self.handle(&mut transaction, item).await {
                return Err(Together::Event(error.is_slow().then_some(Slow { place, error })));
            }
            done.push(&item.event);
        }
        if let Some(next) = next
            && !store.advance_in_txn(&mut transaction, self.member, &self.positions, next).await?
        {
            return Err(Together::Session(SessionError::Lost));
        }
        transaction.commit().await?;
        for event in done {
            self.parts.count(event);
        }
        Ok(())
    }

    /// Takes events of one tenant up one by one. One that fails is put aside, and later ones of its
    /// key behind it. A slow one has had its attempt: others do not wait for it twice.
    async fn singly(
        &self,
        tenant: TenantId,
        items: &[Item],
        mut slow: Option<Slow>,
    ) -> Result<(), SessionError> {
        let store = &self.parts.store;
        for (place, item) in items.iter().enumerate() {
            let mut transaction = store.begin(tenant).await?;
            let parked = store.parked_keys_in_txn(&mut transaction, &[item.event.subject]).await?;
            if !parked.is_empty() {
                drop(transaction);
                store.park(&item.delivery, Some(&item.event), Verdict::Behind).await?;
                continue;
            }
            let fresh =
                !store.receive_in_txn(&mut transaction, &[item.received()]).await?.is_empty();
            let handled = match slow.take_if(|slow| slow.place == place) {
                Some(slow) => Err(slow.error),
                None if fresh => self.handle(&mut transaction, item).await,
                None => Ok(()),
            };
            if let Err(error) = handled {
                drop(transaction);
                self.put_aside(item, &error).await?;
                continue;
            }
            transaction.commit().await?;
            if fresh {
                self.parts.count(&item.event);
            }
        }
        Ok(())
    }

    async fn put_aside(&self, item: &Item, error: &HandlerError) -> Result<(), SessionError> {
        let Parts { store, config, .. } = &*self.parts;
        let consumer = store.consumer();
        let reason = error.reason();
        tracing::warn!(consumer, eventId = %item.event.id, reason, "an event was not taken up");
        counter!("events_consumer_failures_total", "consumer" => consumer.to_owned()).increment(1);
        let verdict = match error {
            HandlerError::Reject(_) => Verdict::Dead { reason: &reason },
            HandlerError::Retry(_) if config.attempts_max <= 1 => Verdict::Dead { reason: &reason },
            HandlerError::Retry(_) => Verdict::Retry { after: config.delay(1), reason: &reason },
        };
        Ok(store.park(&item.delivery, Some(&item.event), verdict).await?)
    }

    async fn handle(
        &self,
        transaction: &mut storage::Transaction,
        item: &Item,
    ) -> Result<(), HandlerError> {
        let topic = &item.delivery.partition.topic;
        match self.parts.handlers.find(topic, &item.event) {
            Some(handler) => handle(&self.parts.config, &**handler, transaction, &item.event).await,
            None => Ok(()),
        }
    }
}

impl Drop for Session {
    /// Lets go of its partitions, so that others need not wait until its lease is over.
    fn drop(&mut self) {
        let (parts, member) = (Arc::clone(&self.parts), self.member);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = parts.store.leave(member).await {
                    tracing::debug!(%error, "partitions stay leased for a while");
                }
            });
        }
    }
}
