//! The pool: its limits, its metrics, and what callers see when connections or the database go
//! away.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use storage::{Config, Database, Error};
use support::{provisioned, tenant};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pool_is_unavailable_after_the_acquire_timeout() {
    let (_, config) = provisioned(&["payments"]).await;
    let config = Config {
        pool_max: 1.try_into().unwrap(),
        acquire_timeout: Duration::from_millis(50),
        ..config
    };
    let database = Database::open("payments", &config);

    let held = database.begin(tenant()).await.unwrap();
    assert!(matches!(database.begin(tenant()).await, Err(Error::Unavailable(_))));
    drop(held);

    database.begin(tenant()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_died_while_idle_are_passed_over() {
    let (_, config) = provisioned(&["payments"]).await;
    let database = Database::open("payments", &config);
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(database.begin(tenant()).await.unwrap());
    }
    drop(open);
    database.ping().await.unwrap();

    let other = Database::open("payments", &Config { pool_max: 1.try_into().unwrap(), ..config });
    let mut killer = other.begin_worker().await.unwrap();
    let count: i64 = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE usename = current_user AND datname = current_database() AND pid <> pg_backend_pid()",
    )
    .fetch_one(&mut *killer)
    .await
    .unwrap();

    assert!(count >= 5, "all five were open: {count}");
    database.begin(tenant()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_database_is_unavailable_until_it_is_back() {
    let (administrator, config) = provisioned(&["payments"]).await;
    let database = Database::open("payments", &config);
    database.ping().await.unwrap();

    administrator.drop_database(&config.database).await.unwrap();
    assert!(matches!(database.begin(tenant()).await, Err(Error::Unavailable(_))));
    assert!(matches!(database.ping().await, Err(Error::Unavailable(_))));

    administrator.provision(&config.database, &["payments"], None).await.unwrap();
    database.begin(tenant()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_a_conflict() {
    let (_, config) = provisioned(&["payments"]).await;
    let database = Database::open("payments", &config);
    let mut first = database.begin(tenant()).await.unwrap();
    let mut second = database.begin(tenant()).await.unwrap();
    let lock = |key: i64| sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(key);
    lock(1).execute(&mut *first).await.unwrap();
    lock(2).execute(&mut *second).await.unwrap();

    let (one, two) = tokio::join!(lock(2).execute(&mut *first), async {
        let outcome = lock(1).execute(&mut *second).await;
        drop(second);
        outcome
    });

    let failures: Vec<_> =
        [one, two].into_iter().filter_map(Result::err).map(Error::from).collect();
    assert!(matches!(failures.as_slice(), [Error::Conflict(_)]), "{failures:?}");
}

/// L-70.
#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_the_pool_is_measured() {
    let (_, config) = provisioned(&["payments"]).await;
    let config = Config { pool_max: 16.try_into().unwrap(), ..config };
    let recorder = PrometheusBuilder::new().build_recorder();
    let database = metrics::with_local_recorder(&recorder, || Database::open("payments", &config));
    let shown = |line: &str| recorder.handle().render().lines().any(|shown| shown == line);

    let held = database.begin(tenant()).await.unwrap();
    assert!(shown(r#"storage_pool_connections{service="payments",state="in_use"} 1"#));
    assert!(shown(r#"storage_pool_connections_max{service="payments"} 16"#));
    assert!(shown(r#"storage_pool_wait_seconds_count{service="payments"} 1"#));

    drop(held);
    tokio::time::sleep(Duration::from_millis(200)).await;
    database.ping().await.unwrap();
    assert!(shown(r#"storage_pool_connections{service="payments",state="idle"} 1"#));
}
