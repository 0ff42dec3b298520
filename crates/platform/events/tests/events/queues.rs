//! What every work queue does, asked of each of them.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{NatsQueue, PostgresQueue, WorkQueue};
use storage::Database;
use testkit::Testkit;
use uuid::Uuid;

use crate::brokers::NatsServer;
#[cfg(feature = "kafka")]
use crate::carried::Way;

const QUEUE: &str = "webhooks.send";
const LEASE: Duration = Duration::from_secs(2);

macro_rules! on_every_queue {
    ($($question:ident),* $(,)?) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $question() {
                let (queue, _server) = super::postgres_queue().await;
                super::$question(queue).await;
            })*
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $question() {
                let (queue, _server) = super::nats_queue().await;
                super::$question(queue).await;
            })*
        }
        #[cfg(feature = "kafka")]
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $question() {
                let (queue, _server) = super::kafka_queue().await;
                super::$question(queue).await;
            })*
        }
    };
}

on_every_queue!(
    a_job_is_done_by_one_worker,
    a_job_that_failed_comes_again_after_its_delay,
    a_job_of_a_worker_that_died_comes_to_another,
    a_job_that_is_given_up_is_kept_with_its_reason,
    a_job_is_not_taken_before_its_time,
    a_job_that_is_pushed_twice_is_done_once,
);

async fn postgres_queue() -> (Arc<dyn WorkQueue>, Box<dyn Any>) {
    let kit = Testkit::start().await;
    let database = Database::open("webhooks", &kit.storage(&["webhooks"]).await);
    (Arc::new(PostgresQueue::new(database)), Box::new(kit))
}

async fn nats_queue() -> (Arc<dyn WorkQueue>, Box<dyn Any>) {
    let server = NatsServer::start();
    let queue = NatsQueue::beside(&server.nats_bus().await);
    (Arc::new(queue), Box::new(server))
}

#[cfg(feature = "kafka")]
async fn kafka_queue() -> (Arc<dyn WorkQueue>, Box<dyn Any>) {
    let way = Way::start().await;
    (Arc::new(way.worker()), Box::new(way))
}

async fn push(queue: &Arc<dyn WorkQueue>, body: &str) -> Uuid {
    let id = Uuid::now_v7();
    queue.push(QUEUE, id, body, Duration::ZERO).await.unwrap();
    id
}

/// The next job that is due.
async fn take(queue: &Arc<dyn WorkQueue>) -> events::Job {
    let started = Instant::now();
    loop {
        if let Some(job) = queue.take(QUEUE, 1, LEASE).await.unwrap().pop() {
            return job;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "no job is due");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_job_is_done_by_one_worker(queue: Arc<dyn WorkQueue>) {
    let ids = [push(&queue, "a").await, push(&queue, "b").await];

    let (one, other) = (take(&queue).await, take(&queue).await);
    assert!(queue.take(QUEUE, 10, LEASE).await.unwrap().is_empty());
    let mut taken = [one.id, other.id];
    taken.sort();
    assert_eq!(taken, ids);
    assert_eq!((one.attempts, other.attempts), (1, 1));
    queue.ack(one).await.unwrap();
    queue.ack(other).await.unwrap();

    tokio::time::sleep(LEASE + Duration::from_millis(500)).await;
    assert!(queue.take(QUEUE, 10, LEASE).await.unwrap().is_empty());
}

async fn a_job_that_failed_comes_again_after_its_delay(queue: Arc<dyn WorkQueue>) {
    let id = push(&queue, "a").await;
    let job = take(&queue).await;
    let delay = Duration::from_millis(700);
    queue.nack(job, delay).await.unwrap();
    let failed = Instant::now();

    let again = take(&queue).await;
    assert!(failed.elapsed() > delay / 2, "it came at once");
    assert_eq!((again.id, again.attempts, again.body.as_str()), (id, 2, "a"));
}

async fn a_job_of_a_worker_that_died_comes_to_another(queue: Arc<dyn WorkQueue>) {
    let id = push(&queue, "a").await;
    let dead = take(&queue).await;

    let again = take(&queue).await;
    assert_eq!((again.id, again.attempts), (id, 2));
    queue.ack(again).await.unwrap();
    // Who was thought dead has no say in it any more.
    let _ = queue.nack(dead, Duration::ZERO).await;
    assert!(queue.take(QUEUE, 10, LEASE).await.unwrap().is_empty());
}

async fn a_job_that_is_given_up_is_kept_with_its_reason(queue: Arc<dyn WorkQueue>) {
    let id = push(&queue, "a").await;
    let job = take(&queue).await;
    queue.bury(job, "nobody can do this").await.unwrap();

    let buried = queue.buried(QUEUE, 10).await.unwrap();
    assert_eq!(buried, [(id, "a".to_owned(), "nobody can do this".to_owned())]);
    tokio::time::sleep(LEASE + Duration::from_millis(500)).await;
    assert!(queue.take(QUEUE, 10, LEASE).await.unwrap().is_empty());
}

async fn a_job_is_not_taken_before_its_time(queue: Arc<dyn WorkQueue>) {
    let delay = Duration::from_millis(700);
    let pushed = Instant::now();
    queue.push(QUEUE, Uuid::now_v7(), "a", delay).await.unwrap();

    let job = take(&queue).await;
    assert!(pushed.elapsed() >= delay);
    assert_eq!(job.attempts, 1);
}

async fn a_job_that_is_pushed_twice_is_done_once(queue: Arc<dyn WorkQueue>) {
    let id = push(&queue, "a").await;
    queue.push(QUEUE, id, "a", Duration::ZERO).await.unwrap();

    let job = take(&queue).await;
    queue.ack(job).await.unwrap();
    assert!(queue.take(QUEUE, 10, LEASE).await.unwrap().is_empty());
}
