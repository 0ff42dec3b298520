//! The pool of one service, and the transactions that it hands out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use auth::TenantId;
use futures::future::BoxFuture;
use metrics::{Gauge, Histogram, gauge, histogram};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgPool, Postgres, SqlSafeStr};

use crate::{Config, Error};

/// A transaction of one tenant, or of background work. Dereferences to [`sqlx::PgConnection`];
/// rolled back when dropped.
pub type Transaction = sqlx::Transaction<'static, Postgres>;

/// The database of one service: its own role, its own schema, its own pool. Clones share the pool.
#[derive(Clone)]
pub struct Database {
    pool: PgPool,
    meter: Arc<Meter>,
}

impl Database {
    /// Opens the database of a service; the first connection is made when it is needed.
    ///
    /// # Panics
    /// Outside a Tokio runtime, which the pool needs.
    pub fn open(service: &str, config: &Config) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(config.pool_max.get())
            .acquire_timeout(config.acquire_timeout)
            .idle_timeout(config.idle_timeout)
            // A test would cost every transaction a round trip; `begin` passes over dead
            // connections instead.
            .test_before_acquire(false)
            .connect_lazy_with(config.connect_options(service));
        Self { meter: Arc::new(Meter::new(service)), pool }
    }

    /// Begins a transaction that sees and writes the rows of one tenant only. One round trip.
    pub async fn begin(&self, tenant: TenantId) -> Result<Transaction, Error> {
        // The text of a UUID holds nothing but hexadecimal digits and dashes.
        self.begin_with(format!("BEGIN; SET LOCAL malha.tenant = '{}'", tenant.as_uuid())).await
    }

    /// Begins a transaction whose commit does not wait for the disk, for what can be found out again
    /// when a crash of the server loses it. One round trip.
    pub async fn begin_relaxed(&self, tenant: TenantId) -> Result<Transaction, Error> {
        let tenant = tenant.as_uuid();
        self.begin_with(format!(
            "BEGIN; SET LOCAL malha.tenant = '{tenant}'; SET LOCAL synchronous_commit = off"
        ))
        .await
    }

    /// Begins a transaction of background work: it has no tenant, and sees across tenants only what
    /// a policy that asks `is_worker()` shows. One round trip.
    pub async fn begin_worker(&self) -> Result<Transaction, Error> {
        self.begin_with("BEGIN; SET LOCAL malha.worker = 'on'".into()).await
    }

    /// A connection outside any transaction, for statements that need no other and no tenant. Each
    /// is committed by itself, in one round trip. Unlike those that begin a transaction, it may turn
    /// out to have died while it was idle.
    pub async fn connection(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.acquire().await
    }

    /// Listens to the notifications of a channel, on a connection of its own. It comes back by itself
    /// when the connection is lost; what was sent meanwhile is not heard, so whoever listens also
    /// looks from time to time.
    pub async fn listen(&self, channel: &str) -> Result<PgListener, Error> {
        // A pool of its own: the listener keeps its connection for as long as it lives.
        let pool =
            PgPoolOptions::new().max_connections(1).connect_lazy_with(self.connect_options());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.ignore_pool_close_event(true);
        listener.listen(channel).await?;
        Ok(listener)
    }

    /// Asks the server for a sign of life.
    pub async fn ping(&self) -> Result<(), Error> {
        // First: our own look must not count as use.
        self.meter.observe(&self.pool);
        Ok(self.pool.acquire().await?.ping().await?)
    }

    /// The health check of a service that needs this database:
    /// `service.check("postgres", database.check())`.
    pub fn check(&self) -> impl Fn() -> BoxFuture<'static, Result<(), String>> + use<> {
        let database = self.clone();
        move || {
            let database = database.clone();
            Box::pin(async move { database.ping().await.map_err(|error| error.to_string()) })
        }
    }

    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        (*self.pool.connect_options()).clone()
    }

    /// A pooled connection may have died while it was idle. Nothing has been done on it yet, so the
    /// next one is tried; there are no more than `pool_max` of them.
    async fn begin_with(&self, statement: String) -> Result<Transaction, Error> {
        let mut attempts_left = self.pool.options().get_max_connections();
        loop {
            let connection = self.acquire().await?;
            let begun = begin_on(connection, statement.clone()).await.map_err(Error::from);
            match begun {
                Err(Error::Unavailable(_)) if attempts_left > 0 => attempts_left -= 1,
                begun => return begun,
            }
        }
    }

    async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        let start = Instant::now();
        let acquired = self.pool.acquire().await;
        self.meter.waited.record(start.elapsed());
        self.meter.observe(&self.pool);
        Ok(acquired?)
    }
}

fn begin_on(
    connection: PoolConnection<Postgres>,
    statement: String,
) -> impl Future<Output = Result<Transaction, sqlx::Error>> {
    Completed(Some(sqlx::Transaction::begin(
        connection,
        Some(AssertSqlSafe(statement).into_sql_str()),
    )))
}

/// Runs to its end in the background when its caller goes away.
///
/// A call cancelled between BEGIN and its answer would else return a connection inside a
/// transaction to the pool.
struct Completed<T: Send + 'static>(Option<BoxFuture<'static, T>>);

impl<T: Send> Future for Completed<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let future = self.0.as_mut().expect("a future is not polled after its end");
        let polled = future.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<T: Send> Drop for Completed<T> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(future);
        }
    }
}

/// Metrics of the pool, refreshed whenever it is used and by the health check's ping.
struct Meter {
    idle: Gauge,
    in_use: Gauge,
    max: Gauge,
    waited: Histogram,
}

impl Meter {
    fn new(service: &str) -> Self {
        let service = service.to_owned();
        let connections = |state: &'static str| gauge!("storage_pool_connections", "service" => service.clone(), "state" => state);
        Self {
            idle: connections("idle"),
            in_use: connections("in_use"),
            max: gauge!("storage_pool_connections_max", "service" => service.clone()),
            waited: histogram!("storage_pool_wait_seconds", "service" => service),
        }
    }

    fn observe(&self, pool: &PgPool) {
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        self.idle.set(idle);
        self.in_use.set(pool.size().saturating_sub(idle));
        self.max.set(pool.options().get_max_connections());
    }
}
