//! Further attempts, while the database has no time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use events::{ConsumerConfig, Event, Handler, HandlerError};
use futures::future::try_join_all;
use storage::Transaction;
use uuid::Uuid;

use crate::world::{World, Writer};

/// A look for others that waits for the database does not count against a handler that runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_retry_goes_on_while_all_connections_are_taken() {
    let world = World::start().await;
    world.publish(&[Uuid::now_v7()]).await;
    let handler = Arc::new(Patient::default());
    handler.fails.store(true, Ordering::Relaxed);
    let config = ConsumerConfig {
        handler_timeout: Duration::from_millis(1_500),
        retry_first: Duration::from_millis(500),
        ..ConsumerConfig::default()
    };
    let consumer = world.consumer("test", config);
    let consumer = consumer.on("payments.processed", Arc::clone(&handler) as _).build();
    let relay = world.relay();
    let running = tokio::spawn(async move { tokio::join!(relay.run(), consumer.run()) });
    while world.count("SELECT count(*) FROM parked_events").await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    handler.fails.store(false, Ordering::Relaxed);
    while handler.attempts.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // All but that of the attempt.
    let others = storage::Config::default().pool_max.get() - 1;
    let taken = (0..others).map(|_| world.listener.connection());
    let taken = try_join_all(taken).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(taken);

    world.await_effects(1).await;
    assert_eq!(handler.attempts.load(Ordering::Relaxed), 1);
    running.abort();
}

/// Fails while it is told to, and then takes its time.
#[derive(Default)]
struct Patient {
    fails: AtomicBool,
    attempts: AtomicU32,
}

#[async_trait]
impl Handler for Patient {
    async fn handle(
        &self,
        transaction: &mut Transaction,
        event: &Event,
    ) -> Result<(), HandlerError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("it was told to").into());
        }
        self.attempts.fetch_add(1, Ordering::Relaxed);
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(80)).await;
        }
        Writer::default().handle(transaction, event).await
    }
}
