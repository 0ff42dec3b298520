//! Further attempts at events that were put aside.

use std::collections::{BTreeSet, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures::future::{Fuse, FusedFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use metrics::counter;
use tokio::time::Instant;

use super::store::{Parked, Verdict};
use super::{Consumer, HandlerError, Parts, handle};

/// Time between two looks for events whose time has come.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Wait after a failure of the database.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Events that are found by one look.
const BATCH: i64 = 64;

/// Events that are tried at the same time: they are of different keys, and one that hangs must not
/// hold up the others.
const AT_ONCE: usize = 8;

impl Consumer {
    /// Tries what was put aside again, for ever.
    pub(super) async fn retry(&self) {
        let (mut due, mut tried) = (VecDeque::<Parked>::new(), BTreeSet::new());
        let mut running = FuturesUnordered::new();
        let mut look_at = Instant::now();
        // Beside those that run: they go on while the database keeps it waiting.
        let mut looking = pin!(Fuse::terminated());
        loop {
            if due.is_empty() && looking.is_terminated() && look_at <= Instant::now() {
                look_at = Instant::now() + LOOK_EVERY;
                looking.set(self.due().fuse());
            }
            while running.len() < AT_ONCE
                && let Some(parked) = due.pop_front()
            {
                let id = parked.item.event.id;
                if tried.insert(id) {
                    running.push(async move { (id, self.try_again(&parked).await) });
                }
            }
            let pause = tokio::time::sleep_until(look_at.max(Instant::now()));
            tokio::select! {
                Some((id, is_end)) = running.next() => {
                    tried.remove(&id);
                    // There may be others behind one that was taken up.
                    look_at = if is_end { Instant::now() } else { look_at };
                }
                found = &mut looking => due = found,
                () = pause, if due.is_empty() && looking.is_terminated() => {}
            }
        }
    }

    async fn due(&self) -> VecDeque<Parked> {
        match self.parts.store.parked_due(BATCH).await {
            Ok(due) => due.into(),
            Err(error) => {
                tracing::warn!(%error, "events that were put aside wait");
                tokio::time::sleep(FAILURE_PAUSE).await;
                VecDeque::new()
            }
        }
    }

    /// Says whether the event was taken up or given up.
    async fn try_again(&self, parked: &Parked) -> bool {
        match self.retry_one(parked).await {
            Ok(is_end) => is_end,
            Err(error) => {
                tracing::warn!(%error, "an event that was put aside waits");
                tokio::time::sleep(FAILURE_PAUSE).await;
                false
            }
        }
    }

    async fn retry_one(&self, parked: &Parked) -> Result<bool, storage::Error> {
        let Parts { store, config, handlers, .. } = &*self.parts;
        let event = &parked.item.event;
        let mut transaction = store.begin(event.tenant).await?;
        if !store.unpark_in_txn(&mut transaction, parked).await? {
            return Ok(false);
        }
        let fresh =
            !store.receive_in_txn(&mut transaction, &[parked.item.received()]).await?.is_empty();
        let handler = handlers.find(&parked.item.delivery.partition.topic, event);
        let outcome = match handler.filter(|_| fresh) {
            Some(handler) => handle(config, &**handler, &mut transaction, event).await,
            None => Ok(()),
        };
        let Err(error) = outcome else {
            transaction.commit().await?;
            if fresh {
                self.parts.count(event);
            }
            return Ok(true);
        };
        drop(transaction);
        let reason = error.reason();
        let attempts = parked.attempts + 1;
        let is_last = matches!(error, HandlerError::Reject(_)) || attempts >= config.attempts_max;
        if !is_last {
            let after = config.delay(attempts);
            store.parked_failed(parked, Verdict::Retry { after, reason: &reason }).await?;
            return Ok(false);
        }
        let consumer = store.consumer();
        tracing::error!(consumer, eventId = %event.id, reason, "an event is a dead letter");
        counter!("events_dead_letters_total", "consumer" => consumer.to_owned()).increment(1);
        store.parked_failed(parked, Verdict::Dead { reason: &reason }).await?;
        Ok(true)
    }
}
