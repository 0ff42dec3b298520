//! Keys under which a request is carried out once (K-35 to K-39).
//!
//! The first request with a key takes a lock and is carried out; its answer, if 2xx, is kept. A
//! repeat is given that answer, or told that the first is still being carried out. A lock belongs to
//! who took it: it is renewed while it is held, and once it has expired and another has taken it, the
//! first can neither complete nor release it. When nobody knows whether the request was carried out,
//! its lock is abandoned: repeats are told so, and for how long.
//!
//! What is promised is as durable as the store: memory forgets at a restart, Redis what it had not
//! written to disk, PostgreSQL nothing. When the store does not answer, [`Idempotency::begin`] fails,
//! and the request is not carried out.

mod attempt;
mod lock;
mod memory;
mod postgres;
mod record;
mod redis;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ::storage::Database;
use uuid::Uuid;

pub use attempt::Attempt;
pub use lock::{CompleteError, Lock};
pub use record::Answer;
pub use store::Unavailable;

use crate::config::{ConfigError, IdempotencyConfig};
use crate::link::Redis;
use store::{Found, Store};

/// Remembers which requests have been carried out, and their answers. Clones share their store.
#[derive(Clone)]
pub struct Idempotency(Arc<Shared>);

struct Shared {
    store: Store,
    retention: Duration,
    lock_ttl: Duration,
    answer_bytes_max: usize,
}

/// What to do with a request.
pub enum Begin {
    /// Carry it out, then complete or release the lock.
    Fresh(Lock),
    /// The first is still being carried out (409).
    InFlight,
    /// Whether the first was carried out is not known (409). It may be made again after that time.
    Unknown(Duration),
    /// The key was used for another request (422).
    Mismatch,
    /// Give the answer of the first, and say that it is a replay.
    Replay(Answer),
    /// The first was carried out, but its answer was too large to keep. Doing it again would be
    /// wrong, and there is nothing to replay (409).
    NotKept {
        /// Status of the answer.
        status_code: u16,
    },
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting cannot be applied.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The schema of the gateway cannot be brought up to date.
    #[error(transparent)]
    Migrate(#[from] ::storage::MigrateError),
}

impl Idempotency {
    /// Answers in this process.
    pub fn in_memory(config: &IdempotencyConfig) -> Result<Self, ConfigError> {
        Self::new(config, Store::Memory(memory::Memory::new(config.memory_bytes_max.get())))
    }

    /// Answers in Redis.
    pub fn in_redis(config: &IdempotencyConfig, redis: Redis) -> Result<Self, ConfigError> {
        Self::new(config, Store::Redis(redis::RedisStore::new(redis), config.timeout))
    }

    /// Answers in PostgreSQL, in a schema that the gateway owns: `Database::open("gateway", …)`.
    /// Brings the schema up to date, and from then on removes what has expired.
    pub async fn in_postgres(
        config: &IdempotencyConfig,
        database: Database,
    ) -> Result<Self, OpenError> {
        database.migrate(&sqlx::migrate!()).await?;
        let store = Store::Postgres(postgres::PostgresStore::new(database), config.timeout);
        Ok(Self::new(config, store)?)
    }

    fn new(config: &IdempotencyConfig, store: Store) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self(Arc::new(Shared {
            store,
            retention: config.retention,
            lock_ttl: config.lock_ttl,
            answer_bytes_max: config.answer_bytes_max.get(),
        })))
    }

    /// Asks what to do with a request that carries a key.
    pub async fn begin(&self, attempt: &Attempt<'_>) -> Result<Begin, Unavailable> {
        let (key, fingerprint) = (attempt.storage_key(), attempt.fingerprint());
        let owner = Uuid::new_v4();
        let lock = || Lock::new(Arc::clone(&self.0), key.clone(), fingerprint, owner);
        let found = self.0.store.begin(&key, &fingerprint, owner, self.0.lock_ttl).await;
        match found {
            Ok(Found::Nothing) => Ok(Begin::Fresh(lock())),
            Ok(Found::Running) => Ok(Begin::InFlight),
            Ok(Found::Abandoned(left)) => Ok(Begin::Unknown(left)),
            Ok(Found::Other) => Ok(Begin::Mismatch),
            Ok(Found::Done(record)) => Ok(match record.into_answer() {
                Ok(answer) => Begin::Replay(answer),
                Err(status_code) => Begin::NotKept { status_code },
            }),
            Err(error) => {
                // Whether the lock was taken is not known; nobody holds it.
                tokio::spawn(lock().release());
                Err(error)
            }
        }
    }
}
