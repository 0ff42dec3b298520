//! Work queues over Kafka: what is between a job's push and its row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use events::{Bus, BusError, KafkaBus, KafkaConfig, KafkaQueue, PARTITIONS, Record, WorkQueue};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use storage::Database;
use testkit::Testkit;
use uuid::Uuid;

const QUEUE: &str = "webhooks.send";
const TOPIC: &str = "jobs.webhooks.send";
const LEASE: Duration = Duration::from_secs(30);

/// Longest wait for jobs that are there.
const PATIENCE: Duration = Duration::from_secs(30);

/// The way of a job: Kafka, and the database of the service that works.
pub(crate) struct Way {
    cluster: MockCluster<'static, DefaultProducerContext>,
    storage: storage::Config,
    _kit: Testkit,
}

impl Way {
    pub(crate) async fn start() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        // It makes no topics by itself.
        cluster.create_topic(TOPIC, PARTITIONS.into(), 1).unwrap();
        let kit = Testkit::start().await;
        Self { cluster, storage: kit.storage(&["webhooks"]).await, _kit: kit }
    }

    /// A process of the service that works.
    pub(crate) fn worker(&self) -> KafkaQueue {
        KafkaQueue::beside(self.bus(), self.database()).unwrap()
    }

    /// A process of a service whose own database is away, and that reaches no other.
    fn pusher(&self) -> KafkaQueue {
        let nowhere = storage::Config {
            host: "127.0.0.1".into(),
            port: 1,
            acquire_timeout: Duration::from_millis(100),
            ..storage::Config::default()
        };
        KafkaQueue::beside(self.bus(), Database::open("payments", &nowhere)).unwrap()
    }

    fn bus(&self) -> Arc<KafkaBus> {
        let config =
            KafkaConfig { brokers: self.cluster.bootstrap_servers(), ..KafkaConfig::default() };
        Arc::new(KafkaBus::connect(&config, Duration::from_hours(1)).unwrap())
    }

    fn database(&self) -> Database {
        Database::open("webhooks", &self.storage)
    }

    /// The jobs that are rows.
    async fn moved(&self) -> i64 {
        self.count("SELECT count(*) FROM event_sourcing.jobs").await
    }

    async fn count(&self, question: &'static str) -> i64 {
        let mut transaction = self.database().begin_worker().await.unwrap();
        sqlx::query_scalar(question).fetch_one(&mut *transaction).await.unwrap()
    }
}

async fn push(queue: &KafkaQueue, count: usize) -> BTreeSet<Uuid> {
    let ids: BTreeSet<_> = (0..count).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        queue.push(QUEUE, *id, "{}", Duration::ZERO).await.unwrap();
    }
    ids
}

/// Takes and does jobs until as many are done. Returns each as often as it was done.
async fn work(worker: &KafkaQueue, done: &mut Vec<Uuid>, count: usize, lease: Duration) {
    let started = Instant::now();
    while done.len() < count {
        assert!(started.elapsed() < PATIENCE, "{} of {count} jobs", done.len());
        for job in worker.take(QUEUE, 10, lease).await.unwrap() {
            done.push(job.id);
            worker.ack(job).await.unwrap();
        }
    }
}

fn each_once(done: &[Uuid], pushed: &BTreeSet<Uuid>) {
    assert_eq!(done.len(), pushed.len());
    assert_eq!(done.iter().copied().collect::<BTreeSet<_>>(), *pushed);
}

/// What a worker moved is in the database: neither that worker nor Kafka is needed any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_between_moving_and_taking_loses_nothing() {
    let way = Way::start().await;
    let pushed = push(&way.pusher(), 40).await;
    let (dying, next) = (way.worker(), way.worker());
    // It moves, and takes none.
    assert!(dying.take(QUEUE, 0, LEASE).await.unwrap().is_empty());
    assert_eq!(way.moved().await, 40);
    let positions = "SELECT sum(position)::bigint FROM event_sourcing.consumer_positions";
    assert_eq!(way.count(positions).await, 40, "the next one does not begin again");
    drop(dying);
    way.cluster.broker_down(1).unwrap();

    let mut done = Vec::new();
    for job in next.take(QUEUE, 100, LEASE).await.unwrap() {
        done.push(job.id);
        next.ack(job).await.unwrap();
    }
    each_once(&done, &pushed);
    let away = next.take(QUEUE, 100, LEASE).await;
    assert!(matches!(away, Err(BusError::Unavailable(_))), "{away:?}");
}

/// Dropped at any moment: while it reads, while it moves, while it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_dropped_at_any_moment_loses_nothing() {
    let way = Way::start().await;
    let (source, kept) = (way.pusher(), way.worker());
    let lease = Duration::from_secs(4);
    let (mut pushed, mut done) = (BTreeSet::new(), Vec::new());
    for round in 0..40 {
        pushed.extend(push(&source, 5).await);
        // One that goes on after being cut short, and one that is new.
        let fresh = way.worker();
        for worker in [&kept, &fresh] {
            let cut = Duration::from_millis(round * 2);
            if let Ok(jobs) = tokio::time::timeout(cut, worker.take(QUEUE, 10, lease)).await {
                for job in jobs.unwrap() {
                    done.push(job.id);
                    worker.ack(job).await.unwrap();
                }
            }
        }
    }

    work(&kept, &mut done, pushed.len(), lease).await;
    each_once(&done, &pushed);
    assert_eq!(way.moved().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_move_and_take_at_once_do_each_job_once() {
    let way = Way::start().await;
    let pushed = push(&way.pusher(), 300).await;
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let worker = way.worker();
            tokio::spawn(async move {
                let (mut done, mut idle) = (Vec::new(), 0);
                while idle < 20 {
                    let jobs = worker.take(QUEUE, 7, LEASE).await.unwrap();
                    idle = if jobs.is_empty() { idle + 1 } else { 0 };
                    for job in jobs {
                        done.push(job.id);
                        worker.ack(job).await.unwrap();
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                done
            })
        })
        .collect();

    let mut done = Vec::new();
    for worker in workers {
        done.extend(worker.await.unwrap());
    }
    each_once(&done, &pushed);
}

/// Others go on meanwhile with what is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stands_still_while_it_moves_holds_up_nobody() {
    let way = Way::start().await;
    let (pusher, worker) = (way.pusher(), way.worker());
    let first = push(&pusher, 1).await;
    assert!(worker.take(QUEUE, 0, LEASE).await.unwrap().is_empty());
    let mut stuck = way.database().begin_worker().await.unwrap();
    sqlx::query("SELECT position FROM event_sourcing.consumer_positions FOR UPDATE")
        .execute(&mut *stuck)
        .await
        .unwrap();
    let second = push(&pusher, 1).await;

    let jobs = tokio::time::timeout(Duration::from_secs(2), worker.take(QUEUE, 10, LEASE)).await;
    let ids: BTreeSet<_> = jobs.unwrap().unwrap().iter().map(|job| job.id).collect();
    assert_eq!(ids, first, "the other is not moved by two");

    stuck.rollback().await.unwrap();
    let jobs = worker.take(QUEUE, 10, LEASE).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.id).collect::<BTreeSet<_>>(), second);
}

/// Also when it was done before it was pushed again, as whoever never heard an answer does.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_pushed_again_after_it_was_done_is_not_done_again() {
    let way = Way::start().await;
    let (pusher, worker) = (way.pusher(), way.worker());
    let again = push(&pusher, 1).await;
    work(&worker, &mut Vec::new(), 1, LEASE).await;

    for id in &again {
        pusher.push(QUEUE, *id, "{}", Duration::ZERO).await.unwrap();
    }
    let later = push(&pusher, 1).await;

    let mut jobs = worker.take(QUEUE, 10, LEASE).await.unwrap();
    jobs.extend(worker.take(QUEUE, 10, LEASE).await.unwrap());
    assert_eq!(jobs.iter().map(|job| job.id).collect::<BTreeSet<_>>(), later);
    assert_eq!(way.moved().await, 1);
}

/// Not from the moment in which a worker sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_delay_counts_from_the_push() {
    let way = Way::start().await;
    let delay = Duration::from_secs(2);
    let (early, late) = (Uuid::now_v7(), Uuid::now_v7());
    let pusher = way.pusher();
    pusher.push(QUEUE, early, "{}", delay).await.unwrap();
    tokio::time::sleep(delay).await;
    pusher.push(QUEUE, late, "{}", delay).await.unwrap();

    let taken = way.worker().take(QUEUE, 10, LEASE).await.unwrap();
    assert_eq!(taken.iter().map(|job| job.id).collect::<Vec<_>>(), [early]);
    assert_eq!(way.moved().await, 2);
}

/// Those that are left are done: a worker does not wait for what is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_comes_after_jobs_were_removed_goes_on_with_those_that_are_left() {
    let way = Way::start().await;
    let (pusher, worker) = (way.pusher(), way.worker());
    // The cluster keeps 5 MiB of a partition.
    let body = "x".repeat(800 << 10);
    let ids: Vec<_> = (0..12)
        .map(|place| Uuid::from_u128(Uuid::now_v7().as_u128() & !0xff | place << 4))
        .collect();
    for id in &ids {
        pusher.push(QUEUE, *id, &body, Duration::ZERO).await.unwrap();
    }

    let mut done = Vec::new();
    while done.last() != ids.last() {
        let jobs = worker.take(QUEUE, 1, LEASE).await.unwrap();
        done.extend(jobs.iter().map(|job| job.id));
        assert!(!jobs.is_empty());
    }
    assert!(done.len() < ids.len(), "none was removed");
    assert!(ids.ends_with(&done));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_job_becomes_a_dead_letter_and_the_next_is_done() {
    let way = Way::start().await;
    let key = Uuid::now_v7();
    let early = format!(r#"{{"id": "{key}", "due": "-200000-01-01T00:00:00Z", "body": "a"}}"#);
    let unfit = format!(r#"{{"id": "{key}", "due": "2026-11-22T10:00:00Z", "body": "\u0000"}}"#);
    for value in ["no job", "\0", &early, &unfit] {
        let record = Record { topic: TOPIC.into(), key, id: key, value: value.into() };
        way.bus().append(&[record]).await.unwrap();
    }
    let worker = way.worker();
    worker.push(QUEUE, key, "a", Duration::ZERO).await.unwrap();

    let jobs = worker.take(QUEUE, 10, LEASE).await.unwrap();
    assert_eq!(
        jobs.iter().map(|job| (job.id, job.body.as_str())).collect::<Vec<_>>(),
        [(key, "a")]
    );
    let buried = worker.buried(QUEUE, 10).await.unwrap();
    let bodies: BTreeSet<_> = buried.iter().map(|(_, body, _)| body.as_str()).collect();
    assert_eq!(bodies, BTreeSet::from(["no job", "\u{fffd}", &early, &unfit]));
    assert!(buried.iter().all(|(_, _, reason)| !reason.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_carried_is_refused_at_once() {
    let way = Way::start().await;
    let pusher = way.pusher();
    let large = "x".repeat(1 << 20);
    for (body, delay, rule) in [
        (large.as_str(), Duration::ZERO, "bytes, of at most"),
        ("a\0b", Duration::ZERO, "U+0000"),
        ("a", Duration::MAX, "delay"),
    ] {
        let refused = pusher.push(QUEUE, Uuid::now_v7(), body, delay).await;
        let Err(BusError::Refused { index: 0, reason }) = refused else { panic!("{refused:?}") };
        assert!(reason.contains(rule), "{reason}");
    }
    assert!(way.worker().take(QUEUE, 10, LEASE).await.unwrap().is_empty());
}
