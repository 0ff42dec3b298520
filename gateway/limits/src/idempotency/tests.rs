//! What every store of idempotency keys must do, proved against all three.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::join_all;
use testkit::Testkit;
use tokio::time::sleep;

use super::*;
use crate::testing::Server;

/// How long locks last here, unless a test says otherwise: longer than a slow machine stalls.
const LOCK_TTL: Duration = Duration::from_secs(20);

const SHORT: Duration = Duration::from_millis(400);

const ATTEMPT: Attempt<'static> = Attempt {
    key: "k-1",
    user: "ana",
    method: "POST",
    path: "/api/transactions",
    query: "",
    content_type: "application/json",
    body: b"{\"amount\": 1}",
};

/// One store that several gateways share; memory has one gateway alone.
enum Backend {
    Memory,
    Redis(Server),
    Postgres(Box<::storage::Config>),
}

impl Backend {
    async fn all() -> BTreeMap<&'static str, Self> {
        let kit = Testkit::start().await;
        BTreeMap::from([
            ("memory", Self::Memory),
            ("redis", Self::Redis(Server::start())),
            ("postgres", Self::Postgres(Box::new(kit.storage(&["gateway"]).await))),
        ])
    }

    async fn open(&self, config: &IdempotencyConfig) -> Idempotency {
        match self {
            Self::Memory => Idempotency::in_memory(config).unwrap(),
            Self::Redis(server) => Idempotency::in_redis(config, server.open()).unwrap(),
            Self::Postgres(storage) => {
                let database = ::storage::Database::open("gateway", storage);
                Idempotency::in_postgres(config, database).await.unwrap()
            }
        }
    }
}

fn config() -> IdempotencyConfig {
    IdempotencyConfig {
        lock_ttl: LOCK_TTL,
        timeout: Duration::from_secs(10),
        ..IdempotencyConfig::default()
    }
}

fn answer(body: &'static str) -> Answer {
    Answer {
        status_code: 201,
        headers: vec![
            ("content-type".to_owned(), b"application/json".to_vec()),
            ("location".to_owned(), b"/api/transactions/1".to_vec()),
            ("x-opaque".to_owned(), vec![0xff]),
        ],
        body: Bytes::from_static(body.as_bytes()),
        created_at: DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap(),
    }
}

async fn begin(store: &Idempotency, attempt: &Attempt<'_>) -> Begin {
    store
        .begin(attempt)
        .await
        .unwrap_or_else(|error| panic!("{:?}", std::error::Error::source(&error)))
}

#[track_caller]
fn fresh(begin: Begin) -> Lock {
    let name = name(&begin);
    let Begin::Fresh(lock) = begin else { panic!("not fresh but {name}") };
    lock
}

fn name(begin: &Begin) -> &'static str {
    match begin {
        Begin::Fresh(_) => "fresh",
        Begin::InFlight => "in flight",
        Begin::Unknown(_) => "unknown",
        Begin::Mismatch => "mismatch",
        Begin::Replay(_) => "replay",
        Begin::NotKept { .. } => "not kept",
    }
}

/// K-36, K-38: the status, headers and body of the first answer, and when it was given.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_first_answer() {
    for (backend, it) in Backend::all().await {
        let store = it.open(&config()).await;
        let first = answer("{\"id\": 1}");
        fresh(begin(&store, &ATTEMPT).await).complete(first.clone()).await.unwrap();

        for _ in 0..3 {
            let Begin::Replay(again) = begin(&store, &ATTEMPT).await else { panic!("{backend}") };
            assert_eq!(again, first, "{backend}");
        }
        let other = Attempt { key: "k-2", ..ATTEMPT };
        fresh(begin(&store, &other).await).release().await;
        let other = Attempt { user: "bia", ..ATTEMPT };
        fresh(begin(&store, &other).await).release().await;
    }
}

/// K-37: of a hundred duplicates at once, over two gateways, one is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_exactly_one_is_carried_out() {
    for (backend, it) in Backend::all().await {
        let first = it.open(&config()).await;
        let second = match it {
            Backend::Memory => first.clone(),
            _ => it.open(&config()).await,
        };
        for round in 0..5 {
            let key = format!("race-{round}");
            let attempt = Attempt { key: &key, ..ATTEMPT };
            let stores = [&first, &second];
            let race = (0..100).map(|turn| begin(stores[turn % 2], &attempt));
            let (mut locks, mut in_flight) = (Vec::new(), 0);
            for outcome in join_all(race).await {
                match outcome {
                    Begin::Fresh(lock) => locks.push(lock),
                    Begin::InFlight => in_flight += 1,
                    other => panic!("{backend}: {}", name(&other)),
                }
            }
            assert_eq!((locks.len(), in_flight), (1, 99), "{backend}");
            locks.remove(0).complete(answer("{}")).await.unwrap();
            assert_eq!(name(&begin(&second, &attempt).await), "replay", "{backend}");
        }
    }
}

/// The same from threads, each with a runtime of its own, as the edge has them.
#[tokio::test(flavor = "multi_thread")]
async fn threads_with_runtimes_of_their_own_share_a_store() {
    for (backend, it) in Backend::all().await {
        let store = it.open(&config()).await;
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let store = store.clone();
                std::thread::spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.unwrap().block_on(async {
                        let race = (0..25).map(|_| begin(&store, &ATTEMPT));
                        let mut carried_out = 0;
                        for outcome in join_all(race).await {
                            if let Begin::Fresh(lock) = outcome {
                                lock.complete(answer("{}")).await.unwrap();
                                carried_out += 1;
                            }
                        }
                        carried_out
                    })
                })
            })
            .collect();
        let carried_out = tokio::task::spawn_blocking(move || {
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
        });
        assert_eq!(carried_out.await.unwrap(), 1, "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_good_for_one_request_alone() {
    for (backend, it) in Backend::all().await {
        let store = it.open(&config()).await;
        let other = Attempt { body: b"{\"amount\": 2}", ..ATTEMPT };
        let lock = fresh(begin(&store, &ATTEMPT).await);
        assert_eq!(name(&begin(&store, &other).await), "mismatch", "{backend}");
        lock.complete(answer("{}")).await.unwrap();
        assert_eq!(name(&begin(&store, &other).await), "mismatch", "{backend}");
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "replay", "{backend}");
    }
}

/// K-38: only 2xx are kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_failed_or_was_released_may_be_made_again() {
    for (_, it) in Backend::all().await {
        let store = it.open(&config()).await;
        for status_code in [400, 409, 500, 503, 302] {
            let refused = Answer { status_code, ..answer("{}") };
            fresh(begin(&store, &ATTEMPT).await).complete(refused).await.unwrap();
        }
        fresh(begin(&store, &ATTEMPT).await).release().await;
        let other = Attempt { body: b"{\"amount\": 2}", ..ATTEMPT };
        fresh(begin(&store, &other).await).complete(answer("{}")).await.unwrap();
    }
}

/// The holder dies without a word: nobody repeats its request before the lock has expired.
#[tokio::test(flavor = "multi_thread")]
async fn the_lock_of_a_holder_that_vanished_expires() {
    for (backend, it) in Backend::all().await {
        let store = it.open(&IdempotencyConfig { lock_ttl: SHORT, ..config() }).await;
        let lock = fresh(begin(&store, &ATTEMPT).await);
        lock.renewal.abort();
        std::mem::forget(lock);
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "in flight", "{backend}");
        sleep(SHORT * 2).await;
        fresh(begin(&store, &ATTEMPT).await).release().await;
    }
}

/// The holder lives, but does not know what became of its request: repeats are told for how long.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_of_unknown_outcome_repeats_are_told_so() {
    let ttl = Duration::from_secs(3);
    for (backend, it) in Backend::all().await {
        let store = it.open(&IdempotencyConfig { lock_ttl: ttl, ..config() }).await;
        drop(fresh(begin(&store, &ATTEMPT).await));
        let left = loop {
            match begin(&store, &ATTEMPT).await {
                Begin::Unknown(left) => break left,
                Begin::InFlight => sleep(Duration::from_millis(5)).await,
                other => panic!("{backend}: {}", name(&other)),
            }
        };
        assert!(left <= ttl && left > ttl / 3, "{backend}: {left:?}");
        let other = Attempt { body: b"{\"amount\": 2}", ..ATTEMPT };
        assert_eq!(name(&begin(&store, &other).await), "mismatch", "{backend}");
        sleep(ttl).await;
        fresh(begin(&store, &ATTEMPT).await).complete(answer("{}")).await.unwrap();
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "replay", "{backend}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_held_does_not_expire() {
    for (backend, it) in Backend::all().await {
        let ttl = Duration::from_millis(1_500);
        let store = it.open(&IdempotencyConfig { lock_ttl: ttl, ..config() }).await;
        let lock = fresh(begin(&store, &ATTEMPT).await);
        sleep(ttl * 2).await;
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "in flight", "{backend}");
        lock.complete(answer("{}")).await.unwrap();
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "replay", "{backend}");
    }
}

/// A gateway that stood still for longer than its lock lasted wakes up.
#[tokio::test(flavor = "multi_thread")]
async fn who_lost_its_lock_can_neither_complete_nor_release_that_of_another() {
    for (backend, it) in Backend::all().await {
        let store = it.open(&IdempotencyConfig { lock_ttl: SHORT, ..config() }).await;
        let late = [asleep(&store).await, asleep(&store).await];
        let store = match it {
            Backend::Memory => store,
            _ => it.open(&config()).await,
        };
        let owner = fresh(begin(&store, &ATTEMPT).await);
        let [first, second] = late;
        first.release().await;
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "in flight", "{backend}");
        let lost = second.complete(answer("late")).await;
        assert!(matches!(lost, Err(CompleteError::Lost)), "{backend}: {lost:?}");
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "in flight", "{backend}");

        owner.complete(answer("{}")).await.unwrap();
        let Begin::Replay(kept) = begin(&store, &ATTEMPT).await else { panic!("{backend}") };
        assert_eq!(kept.body, "{}", "{backend}");
    }
}

/// A lock that expired because nothing renewed it.
async fn asleep(store: &Idempotency) -> Lock {
    let lock = fresh(begin(store, &ATTEMPT).await);
    lock.renewal.abort();
    sleep(SHORT * 2).await;
    lock
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_though_the_lock_expired_when_nobody_has_taken_it() {
    for (backend, it) in Backend::all().await {
        let store = it.open(&IdempotencyConfig { lock_ttl: SHORT, ..config() }).await;
        asleep(&store).await.complete(answer("{}")).await.unwrap();
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "replay", "{backend}");
    }
}

/// K-38: the time to live is a setting.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_for_as_long_as_the_settings_say() {
    for (backend, it) in Backend::all().await {
        let retention = Duration::from_secs(2);
        let store = it.open(&IdempotencyConfig { retention, ..config() }).await;
        fresh(begin(&store, &ATTEMPT).await).complete(answer("{}")).await.unwrap();
        sleep(retention / 4).await;
        assert_eq!(name(&begin(&store, &ATTEMPT).await), "replay", "{backend}");
        sleep(retention).await;
        fresh(begin(&store, &ATTEMPT).await).release().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_too_large_it_is_known_that_it_was_given() {
    for (backend, it) in Backend::all().await {
        let answer_bytes_max = 100.try_into().unwrap();
        let store = it.open(&IdempotencyConfig { answer_bytes_max, ..config() }).await;
        let large = Answer { body: vec![b'x'; 200].into(), ..answer("") };
        fresh(begin(&store, &ATTEMPT).await).complete(large).await.unwrap();
        let again = begin(&store, &ATTEMPT).await;
        assert!(
            matches!(again, Begin::NotKept { status_code: 201 }),
            "{backend}: {}",
            name(&again)
        );
    }
}

/// A client that goes away while its answer is being kept takes nothing with it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_kept_though_nobody_waits_for_it() {
    for (backend, it) in Backend::all().await {
        let store = it.open(&config()).await;
        let lock = fresh(begin(&store, &ATTEMPT).await);
        let mut completing = Box::pin(lock.complete(answer("{}")));
        assert!(futures::poll!(completing.as_mut()).is_pending() || backend == "memory");
        drop(completing);
        let kept = async {
            while name(&begin(&store, &ATTEMPT).await) != "replay" {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), kept).await.expect(backend);
    }
}

/// K-39: the key under which Redis has it, with the fields of K-38 and a time to live.
#[tokio::test(flavor = "multi_thread")]
async fn redis_holds_the_documented_record() {
    let server = Server::start();
    let store = Backend::Redis(server);
    let idempotency = store.open(&config()).await;
    fresh(begin(&idempotency, &ATTEMPT).await).complete(answer("{}")).await.unwrap();

    let Backend::Redis(server) = &store else { unreachable!() };
    let mut raw = server.raw();
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("idempotency:*").query(&mut raw).unwrap();
    let [key] = &keys[..] else { panic!("{keys:?}") };
    assert_eq!(key.len(), "idempotency:".len() + 64);
    let fields: BTreeMap<String, Vec<u8>> =
        ::redis::cmd("HGETALL").arg(key).query(&mut raw).unwrap();
    assert_eq!(fields["status_code"], b"201");
    assert_eq!(fields["body"], b"{}");
    assert!(fields["headers"].starts_with(b"content-type: application/json\r\n"));
    let created_at = str::from_utf8(&fields["created_at"]).unwrap();
    assert!(DateTime::parse_from_rfc3339(created_at).is_ok(), "{created_at}");
    let ttl: i64 = ::redis::cmd("TTL").arg(key).query(&mut raw).unwrap();
    assert!((86_390..=86_400).contains(&ttl), "{ttl}");
}

/// When the store is down, a request with a key is refused; once it is back, it is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_nothing_is_carried_out() {
    let mut server = Server::start();
    let settings = IdempotencyConfig { timeout: Duration::from_millis(500), ..config() };
    let store = Idempotency::in_redis(&settings, server.open()).unwrap();
    fresh(begin(&store, &ATTEMPT).await).release().await;

    server.kill();
    for _ in 0..5 {
        let refused: Result<Begin, Unavailable> = store.begin(&ATTEMPT).await;
        assert!(refused.is_err());
    }
    server.restart();
    let back = async {
        loop {
            if let Ok(Begin::Fresh(lock)) = store.begin(&ATTEMPT).await {
                return lock;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let lock = tokio::time::timeout(Duration::from_secs(10), back).await.unwrap();
    lock.complete(answer("{}")).await.unwrap();
}

/// The store dies while a request is carried out, and comes back before its lock expires.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_could_not_be_kept_is_kept_later() {
    let mut server = Server::start();
    let settings = IdempotencyConfig { timeout: Duration::from_millis(500), ..config() };
    let store = Idempotency::in_redis(&settings, server.open()).unwrap();
    let lock = fresh(begin(&store, &ATTEMPT).await);
    server.kill();
    let failed = lock.complete(answer("{}")).await;
    assert!(matches!(failed, Err(CompleteError::Unavailable(_))), "{failed:?}");
    server.restart();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(name(&begin(&store, &ATTEMPT).await), "replay");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_rows_are_removed() {
    let kit = Testkit::start().await;
    let storage = kit.storage(&["gateway"]).await;
    let database = ::storage::Database::open("gateway", &storage);
    let settings = IdempotencyConfig { retention: Duration::from_millis(50), ..config() };
    let store = Idempotency::in_postgres(&settings, database.clone()).await.unwrap();
    for key in ["a", "b", "c"] {
        let attempt = Attempt { key, ..ATTEMPT };
        fresh(begin(&store, &attempt).await).complete(answer("{}")).await.unwrap();
    }
    let held = fresh(begin(&store, &ATTEMPT).await);
    sleep(Duration::from_millis(200)).await;

    // A gateway that starts removes them at once.
    let _another = Idempotency::in_postgres(&settings, database.clone()).await.unwrap();
    let swept = async {
        loop {
            let mut connection = database.connection().await.unwrap();
            let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM idempotency")
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            if rows == 1 {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), swept).await.unwrap();
    held.release().await;
}

#[tokio::test]
async fn memory_forgets_the_oldest_answers_first_when_it_is_full() {
    let settings = IdempotencyConfig {
        answer_bytes_max: 1024.try_into().unwrap(),
        memory_bytes_max: (64 * 1024).try_into().unwrap(),
        ..config()
    };
    let store = Idempotency::in_memory(&settings).unwrap();
    let keys: Vec<_> = (0..1000).map(|number| format!("k-{number}")).collect();
    for key in &keys {
        let attempt = Attempt { key, ..ATTEMPT };
        let body = vec![b'x'; 500].into();
        fresh(begin(&store, &attempt).await).complete(Answer { body, ..answer("") }).await.unwrap();
    }
    let mut kept = Vec::new();
    for key in &keys {
        match begin(&store, &Attempt { key, ..ATTEMPT }).await {
            Begin::Replay(_) => kept.push(true),
            Begin::Fresh(lock) => {
                lock.release().await;
                kept.push(false);
            }
            other => panic!("{}", name(&other)),
        }
    }
    let count = kept.iter().filter(|kept| **kept).count();
    assert!((20..=64).contains(&count), "{count} of 64 KiB in answers of 1 KiB");
    assert!(kept[999] && kept[..500].iter().all(|kept| !kept), "the newest are kept");
}
