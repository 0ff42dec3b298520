//! Further attempts at events that were put aside.

use std::time::Duration;

use metrics::counter;

use super::store::{Parked, Verdict};
use super::{Consumer, HandlerError, Parts, handle};

/// Time between two looks for events whose time has come.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Events that are tried after one look.
const BATCH: i64 = 64;

impl Consumer {
    /// Tries what was put aside again, for ever.
    pub(super) async fn retry(&self) {
        loop {
            match self.retry_due().await {
                // There may be others behind those that were taken up.
                Ok(taken_up) if taken_up > 0 => {}
                Ok(_) => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => {
                    tracing::warn!(%error, "events that were put aside wait");
                    tokio::time::sleep(LOOK_EVERY * 4).await;
                }
            }
        }
    }

    /// Tries each that is due once. Says how many were taken up or given up.
    async fn retry_due(&self) -> Result<usize, storage::Error> {
        let mut ended = 0;
        for parked in self.parts.store.parked_due(BATCH).await? {
            ended += usize::from(self.retry_one(&parked).await?);
        }
        Ok(ended)
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
