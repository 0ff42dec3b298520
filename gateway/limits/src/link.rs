//! Connections to the Redis that gateways share: one for each thread, made anew when it is lost.
//!
//! Nobody waits for a connection to be made unless it asks to: without one, it is told so.

use std::fs;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
    ServerErrorKind, TlsCertificates, Value,
};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::config::{ConfigError, RedisConfig};

/// Answers in a row that come too late before a connection counts as lost.
const LATE_MAX: u32 = 3;

/// Why a connection is given up that is open.
const LATE: &str = "no answer in time";

/// Requests that wait to be written to one connection.
const QUEUE: usize = 1024;

/// Writes, as everything here does: a replica and a full memory refuse it.
const PROBE: &str = "return redis.call('SET', KEYS[1], '1', 'PX', 1000)";

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

/// The Redis that gateways share. Clones share their connections.
#[derive(Clone)]
pub struct Redis(Arc<Link>);

struct Link {
    client: Client,
    options: AsyncConnectionConfig,
    connect_timeout: Duration,
    retry_interval: Duration,
    slots: Box<[Arc<Slot>]>,
    connections: AtomicU64,
    is_up: AtomicBool,
    up: Gauge,
}

/// The connection of one thread.
#[derive(Default)]
#[repr(align(128))]
struct Slot {
    connection: Mutex<Option<(u64, MultiplexedConnection)>>,
    /// Whether a task keeps it connected.
    is_kept: AtomicBool,
    /// Tells of every attempt to connect.
    changed: Notify,
    /// Tells the task that its connection was given up.
    given_up: Notify,
    late: AtomicU32,
}

impl Slot {
    fn holds(&self, number: u64) -> bool {
        self.connection.lock().as_ref().is_some_and(|(held, _)| *held == number)
    }
}

/// A connection that was there when it was asked for.
pub(crate) struct Connection<'a> {
    redis: &'a Redis,
    slot: &'a Slot,
    number: u64,
    inner: MultiplexedConnection,
}

/// A script that the server keeps under its hash.
pub(crate) struct Script {
    source: &'static str,
    hash: String,
}

impl Redis {
    /// Redis at this address. The first connections are made when they are needed.
    pub fn open(config: &RedisConfig) -> Result<Self, ConfigError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let options = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE);
        Ok(Self(Arc::new(Link {
            client: client(config)?,
            options,
            connect_timeout: config.connect_timeout,
            retry_interval: config.retry_interval,
            slots: (0..threads).map(|_| Arc::default()).collect(),
            connections: AtomicU64::new(0),
            is_up: AtomicBool::new(true),
            up: gauge!("malha_edge_redis_up"),
        })))
    }

    /// A connection at once, or not at all: this thread's, or another's while it is being made.
    pub(crate) fn connection(&self) -> Option<Connection<'_>> {
        let (slots, own) = (&self.0.slots, self.own_slot());
        let open = |slot| {
            let slot: &Slot = slot;
            let (number, inner) = slot.connection.lock().clone()?;
            Some(Connection { redis: self, slot, number, inner })
        };
        open(&slots[own]).or_else(|| {
            self.keep(own);
            slots.iter().find_map(|slot| open(slot))
        })
    }

    /// A connection, waiting while one is being made; none when Redis is known to be gone.
    pub(crate) async fn connected(&self) -> Option<Connection<'_>> {
        let wait = async {
            loop {
                let mut changed = pin!(self.0.slots[self.own_slot()].changed.notified());
                changed.as_mut().enable();
                match self.connection() {
                    None if self.0.is_up.load(Ordering::Relaxed) => changed.await,
                    connection => return connection,
                }
            }
        };
        timeout(self.0.connect_timeout, wait).await.ok().flatten()
    }

    fn own_slot(&self) -> usize {
        THREAD.with(|thread| thread % self.0.slots.len())
    }

    /// Connects a slot and keeps it connected, on the runtime of the thread that needs it.
    fn keep(&self, slot: usize) {
        let Ok(runtime) = Handle::try_current() else { return };
        if !self.0.slots[slot].is_kept.swap(true, Ordering::AcqRel) {
            let keeper = Keeper {
                link: Arc::downgrade(&self.0),
                slot: Arc::clone(&self.0.slots[slot]),
                pause: self.0.retry_interval,
            };
            runtime.spawn(keeper.keep());
        }
    }
}

impl Link {
    /// A connection that has shown that it can write.
    async fn open(&self) -> RedisResult<MultiplexedConnection> {
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&self.options).await?;
        let mut probe = redis::cmd("EVAL");
        probe.arg(PROBE).arg(1).arg("malha:probe");
        let probed = probe.exec_async(&mut connection);
        match timeout(self.connect_timeout, probed).await {
            Ok(probed) => probed.map(|()| connection),
            Err(_) => Err((ErrorKind::Io, LATE).into()),
        }
    }

    /// Lends a connection to those who need one; returns its number.
    fn lend(&self, slot: &Slot, connection: MultiplexedConnection) -> u64 {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        slot.late.store(0, Ordering::Relaxed);
        *slot.connection.lock() = Some((number, connection));
        self.up.set(1);
        if !self.is_up.swap(true, Ordering::Relaxed) {
            tracing::info!("redis is back");
        }
        number
    }

    /// Gives up all connections, for what ails one ails the others, unless the slot has another one
    /// already. Redis itself is gone when it cannot be connected again, or when it was open and did
    /// not serve: then `why`.
    fn give_up(&self, slot: &Slot, number: u64, why: Option<&str>) {
        if !slot.holds(number) {
            return;
        }
        if let Some(why) = why {
            self.lost(why);
        }
        for slot in &self.slots {
            *slot.connection.lock() = None;
            slot.given_up.notify_one();
        }
    }

    fn lost(&self, why: &str) {
        self.up.set(0);
        if self.is_up.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                error = why,
                "redis is gone: this gateway counts by itself, and refuses idempotency keys kept there"
            );
        }
    }
}

impl Connection<'_> {
    /// Runs a script on one key: one round trip, two when the server has not seen it before.
    pub(crate) async fn run(
        &mut self,
        script: &Script,
        key: &[u8],
        add_arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<Value> {
        let command = |verb: &str, script: &str| {
            let mut command = redis::cmd(verb);
            command.arg(script).arg(1).arg(key);
            add_arguments(&mut command);
            command
        };
        let first = command("EVALSHA", &script.hash);
        match first.query_async(&mut self.inner).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", script.source).query_async(&mut self.inner).await
            }
            answer => answer,
        }
    }

    /// Redis answered in time.
    pub(crate) fn answered(&self) {
        let late = &self.slot.late;
        // Written only when it changes: requests of one thread share it.
        if late.load(Ordering::Relaxed) > 0 {
            late.store(0, Ordering::Relaxed);
        }
    }

    /// Redis did not answer in time.
    pub(crate) fn late(&self) {
        let late = self.slot.late.fetch_add(1, Ordering::Relaxed) + 1;
        if late >= LATE_MAX {
            self.redis.0.give_up(self.slot, self.number, Some(LATE));
        }
    }

    /// Redis refused, or the connection broke.
    pub(crate) fn failed(&self, error: &RedisError) {
        let refusal = (!error.is_connection_dropped()).then(|| error.to_string());
        self.redis.0.give_up(self.slot, self.number, refusal.as_deref());
    }
}

impl Script {
    pub(crate) fn new(source: &'static str) -> Self {
        Self { source, hash: redis::Script::new(source).get_hash().to_owned() }
    }
}

/// The task that keeps a slot connected. When it ends, for whatever reason, another may take over.
struct Keeper {
    link: Weak<Link>,
    slot: Arc<Slot>,
    pause: Duration,
}

impl Keeper {
    async fn keep(self) {
        while let Some(link) = self.link.upgrade() {
            let lent = match link.open().await {
                Ok(connection) => Some((link.lend(&self.slot, connection.clone()), connection)),
                Err(error) => {
                    link.lost(&error.to_string());
                    None
                }
            };
            self.slot.changed.notify_waiters();
            drop(link);
            if let Some((number, connection)) = lent {
                self.watch(number, connection).await;
            }
            // A server that did not serve is not asked again at once.
            if !self.link.upgrade().is_some_and(|link| link.is_up.load(Ordering::Relaxed)) {
                sleep(self.pause).await;
            }
        }
    }

    /// Notices a loss though nobody uses the connection; returns when it is lost.
    async fn watch(&self, number: u64, mut connection: MultiplexedConnection) {
        let ping = redis::cmd("PING");
        while self.slot.holds(number) {
            if timeout(self.pause, self.slot.given_up.notified()).await.is_ok() {
                continue;
            }
            let Some(link) = self.link.upgrade() else { return };
            match timeout(link.connect_timeout, ping.exec_async(&mut connection)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => link.give_up(&self.slot, number, None),
                Err(_) => link.give_up(&self.slot, number, Some(LATE)),
            }
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Its connection lived on the same runtime.
        *self.slot.connection.lock() = None;
        self.slot.is_kept.store(false, Ordering::Release);
        self.slot.changed.notify_waiters();
    }
}

fn client(config: &RedisConfig) -> Result<Client, ConfigError> {
    let refused = |field: &str, fault: &dyn ToString| {
        ConfigError::new(format!("redis.{field}"), fault.to_string())
    };
    // The error may not repeat what stands in an address.
    let address = config.url.as_str().into_connection_info();
    let address = address.map_err(|_| refused("url", &"is not an address of Redis"))?;
    if address.redis_settings().password().is_some() {
        return Err(refused("url", &"must hold no password: it has a setting of its own"));
    }
    let mut login = address.redis_settings().clone();
    if let Some(username) = &config.username {
        login = login.set_username(username);
    }
    if let Some(password) = &config.password {
        login = login.set_password(password.reveal());
    }
    let address = address.set_redis_settings(login);
    let Some(ca) = &config.ca else {
        return Client::open(address).map_err(|error| refused("url", &error));
    };
    let root_cert = Some(
        fs::read(ca)
            .map_err(|error| refused("ca", &format!("cannot read {}: {error}", ca.display())))?,
    );
    Client::build_with_tls(address, TlsCertificates { client_tls: None, root_cert })
        .map_err(|error| refused("ca", &error))
}
