//! What every work queue does, asked of each of them.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, RetentionPolicy};
use events::{BusError, NatsQueue, PostgresQueue, WorkQueue};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
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
    a_job_that_was_given_up_is_done_after_all,
    jobs_that_were_given_up_are_removed,
    a_job_is_not_taken_before_its_time,
    a_job_that_is_pushed_twice_is_done_once,
    each_taker_has_a_lease_of_its_own,
    a_due_job_does_not_wait_behind_delayed_ones,
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

/// Takes the next job, and gives it up.
async fn bury(queue: &Arc<dyn WorkQueue>, reason: &str) -> Uuid {
    let job = take(queue).await;
    let id = job.id;
    queue.bury(job, reason).await.unwrap();
    id
}

async fn a_job_that_was_given_up_is_done_after_all(queue: Arc<dyn WorkQueue>) {
    let id = push(&queue, "a").await;
    push(&queue, "b").await;
    for _ in 0..2 {
        bury(&queue, "nobody can do this").await;
    }

    assert_eq!(queue.retry(QUEUE, Some(Uuid::now_v7())).await.unwrap(), 0);
    assert_eq!(queue.retry(QUEUE, Some(id)).await.unwrap(), 1);
    // Given up again it is a dead letter again, however soon.
    assert_eq!(bury(&queue, "nor now").await, id);
    let buried = queue.buried(QUEUE, 10).await.unwrap();
    assert!(buried.contains(&(id, "a".to_owned(), "nor now".to_owned())), "{buried:?}");
    assert_eq!(buried.len(), 2);
    assert_eq!(queue.retry(QUEUE, None).await.unwrap(), 2);

    let mut bodies = BTreeSet::new();
    for _ in 0..2 {
        let job = take(&queue).await;
        assert_eq!(job.attempts, 1);
        bodies.insert(job.body.clone());
        queue.ack(job).await.unwrap();
    }
    assert_eq!(bodies, ["a", "b"].map(str::to_owned).into());
    assert!(queue.buried(QUEUE, 10).await.unwrap().is_empty());
    assert!(queue.take(QUEUE, 10, LEASE).await.unwrap().is_empty());
}

async fn jobs_that_were_given_up_are_removed(queue: Arc<dyn WorkQueue>) {
    let ids = [push(&queue, "a").await, push(&queue, "b").await, push(&queue, "c").await];
    let live = push(&queue, "d").await;
    for _ in ids {
        bury(&queue, "nobody can do this").await;
    }

    assert_eq!(queue.discard(QUEUE, Some(ids[1])).await.unwrap(), 1);
    assert_eq!(queue.discard(QUEUE, Some(ids[1])).await.unwrap(), 0);
    assert_eq!(queue.buried(QUEUE, 10).await.unwrap().len(), 2);
    assert_eq!(queue.discard(QUEUE, None).await.unwrap(), 2);

    assert!(queue.buried(QUEUE, 10).await.unwrap().is_empty());
    assert_eq!(take(&queue).await.id, live, "it was not given up");
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

async fn each_taker_has_a_lease_of_its_own(queue: Arc<dyn WorkQueue>) {
    let mut short = BTreeSet::new();
    for (body, lease) in [("a", LEASE), ("b", LEASE * 10), ("c", LEASE)] {
        let id = push(&queue, body).await;
        let taken = queue.take(QUEUE, 1, lease).await.unwrap();
        assert_eq!(taken[0].id, id);
        short.extend((lease == LEASE).then_some(id));
    }

    let again = BTreeSet::from([take(&queue).await.id, take(&queue).await.id]);

    assert_eq!(again, short);
    assert!(queue.take(QUEUE, 10, LEASE).await.unwrap().is_empty());
}

async fn a_due_job_does_not_wait_behind_delayed_ones(queue: Arc<dyn WorkQueue>) {
    // More than servers of NATS keep track of by themselves, and than we once let them.
    let (delayed, later) = (10_500, Duration::from_hours(1));
    let pushes = (0..delayed).map(|_| queue.push(QUEUE, Uuid::now_v7(), "later", later));
    stream::iter(pushes).buffer_unordered(64).try_collect::<()>().await.unwrap();
    assert!(queue.take(QUEUE, 500, LEASE).await.unwrap().is_empty());

    let id = push(&queue, "now").await;

    assert_eq!(take(&queue).await.id, id);
}

/// The role `events` works off no queue, and yet settles what became of every service's.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_the_jobs_of_a_service_done_after_all() {
    let kit = Testkit::start().await;
    let storage = kit.storage(&["webhooks"]).await;
    let queue: Arc<dyn WorkQueue> =
        Arc::new(PostgresQueue::new(Database::open("webhooks", &storage)));
    let ids = [push(&queue, "a").await, push(&queue, "b").await];
    for _ in ids {
        bury(&queue, "nobody can do this").await;
    }

    let operator = Database::open("events", &storage);
    let operator = events::Config::default().queues(&operator).await.unwrap();
    assert_eq!(operator.buried(QUEUE, 10).await.unwrap().len(), 2);
    assert_eq!(operator.discard(QUEUE, Some(ids[0])).await.unwrap(), 1);
    assert_eq!(operator.retry(QUEUE, None).await.unwrap(), 1);

    assert_eq!(take(&queue).await.id, ids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_asked_for_a_stream_once() {
    let server = NatsServer::start();
    let queue: Arc<dyn WorkQueue> = Arc::new(NatsQueue::beside(&server.nats_bus().await));
    let listener = async_nats::connect(server.address()).await.unwrap();
    let mut asked = listener.subscribe("$JS.API.STREAM.>").await.unwrap();
    // An answer: by then the server listens for us.
    listener.request("$JS.API.INFO", "".into()).await.unwrap();

    for _ in 0..3 {
        push(&queue, "a").await;
        queue.take(QUEUE, 1, LEASE).await.unwrap();
    }

    listener.request("$JS.API.INFO", "".into()).await.unwrap();
    let mut subjects = Vec::new();
    while let Some(Some(message)) = asked.next().now_or_never() {
        subjects.push(message.subject.to_string());
    }
    let stream = "malha_queue_webhooks_send";
    assert_eq!(subjects, ["INFO", "CREATE"].map(|ask| format!("$JS.API.STREAM.{ask}.{stream}")));
}

/// Streams and consumers that somebody removed are made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_nats_that_is_gone_comes_back() {
    let server = NatsServer::start();
    let bus = server.nats_bus().await;
    let queue: Arc<dyn WorkQueue> = Arc::new(NatsQueue::beside(&bus));
    push(&queue, "a").await;
    take(&queue).await;
    let context = async_nats::jetstream::new(async_nats::connect(server.address()).await.unwrap());
    context.delete_stream("malha_queue_webhooks_send").await.unwrap();

    let lost = queue.push(QUEUE, Uuid::now_v7(), "b", Duration::ZERO).await;
    assert!(matches!(lost, Err(BusError::Unavailable(_))), "{lost:?}");

    let id = push(&queue, "c").await;
    assert_eq!(take(&queue).await.id, id);
}

/// Of streams that are there, what operators set stays; one of an earlier program gets its limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_nats_leaves_streams_as_operators_set_them() {
    let server = NatsServer::start();
    let bus = server.nats_bus().await;
    let context = async_nats::jetstream::new(async_nats::connect(server.address()).await.unwrap());
    let set = |what: &str, retention| {
        let name = format!("malha_{what}_webhooks_send");
        let (subjects, max_bytes) = (vec![format!("malha.{what}.{QUEUE}")], 100 << 20);
        Config { name, subjects, retention, max_bytes, ..Config::default() }
    };
    let before = [set("queue", RetentionPolicy::WorkQueue), set("dead", RetentionPolicy::Limits)];
    for config in &before {
        context.create_stream(config.clone()).await.unwrap();
    }

    let queue: Arc<dyn WorkQueue> = Arc::new(NatsQueue::beside(&bus));
    push(&queue, "a").await;
    bury(&queue, "nobody can do this").await;

    let mut after = Vec::new();
    for config in &before {
        let stream = context.get_stream(&config.name).await.unwrap();
        after.push(stream.cached_info().config.clone());
    }
    assert_eq!(after.iter().map(|it| it.max_bytes).collect::<Vec<_>>(), [100 << 20; 2]);
    assert_eq!(after.iter().map(|it| it.max_messages).collect::<Vec<_>>(), [1_000_000, -1]);
}
