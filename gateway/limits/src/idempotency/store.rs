//! What all stores do, and what each must do alike.

use std::error::Error;
use std::time::Duration;

use tokio::time::timeout;
use uuid::Uuid;

use super::memory::Memory;
use super::postgres::PostgresStore;
use super::record::Record;
use super::redis::RedisStore;

/// The store did not answer. Nothing is known of the key, so the request must not be carried out.
#[derive(Debug, thiserror::Error)]
#[error("the store of idempotency keys is unavailable")]
pub struct Unavailable(#[source] Box<dyn Error + Send + Sync>);

impl Unavailable {
    pub(super) fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// Owner of the locks that were abandoned.
pub(super) const NOBODY: Uuid = Uuid::nil();

/// What a store had under a key.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing: now the lock of who asked.
    Nothing,
    /// A lock of somebody else.
    Running,
    /// A lock whose owner does not know what became of its request, and how long it lasts.
    Abandoned(Duration),
    /// A lock or an answer of another request.
    Other,
    /// The answer.
    Done(Record),
}

/// Where answers are kept; others than memory must answer within a time.
pub(super) enum Store {
    Memory(Memory),
    Redis(RedisStore, Duration),
    Postgres(PostgresStore, Duration),
}

impl Store {
    /// Takes the lock of a key, or tells what is there. For the same owner it may be repeated.
    pub(super) async fn begin(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<Found, Unavailable> {
        match self {
            Self::Memory(store) => Ok(store.begin(key, fingerprint, owner, lock_ttl)),
            Self::Redis(store, time) => {
                within(*time, store.begin(key, fingerprint, owner, lock_ttl)).await
            }
            Self::Postgres(store, time) => {
                within(*time, store.begin(key, fingerprint, owner, lock_ttl)).await
            }
        }
    }

    /// Keeps the lock for longer. False when it is the owner's no more.
    pub(super) async fn renew(
        &self,
        key: &str,
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<bool, Unavailable> {
        match self {
            Self::Memory(store) => Ok(store.renew(key, owner, lock_ttl)),
            Self::Redis(store, time) => within(*time, store.renew(key, owner, lock_ttl)).await,
            Self::Postgres(store, time) => within(*time, store.renew(key, owner, lock_ttl)).await,
        }
    }

    /// Leaves the lock where it is, for so long, as nobody's: whether its request was carried out is
    /// not known.
    pub(super) async fn abandon(
        &self,
        key: &str,
        owner: Uuid,
        lock_ttl: Duration,
    ) -> Result<(), Unavailable> {
        match self {
            Self::Memory(store) => {
                store.abandon(key, owner, lock_ttl);
                Ok(())
            }
            Self::Redis(store, time) => within(*time, store.abandon(key, owner, lock_ttl)).await,
            Self::Postgres(store, time) => within(*time, store.abandon(key, owner, lock_ttl)).await,
        }
    }

    /// Puts the answer where the lock was, or where nobody holds one any more. False when another
    /// has taken it. May be repeated.
    pub(super) async fn complete(
        &self,
        key: &str,
        fingerprint: &[u8; 32],
        owner: Uuid,
        record: &Record,
        retention: Duration,
    ) -> Result<bool, Unavailable> {
        match self {
            Self::Memory(store) => Ok(store.complete(key, fingerprint, owner, record, retention)),
            Self::Redis(store, time) => {
                within(*time, store.complete(key, fingerprint, owner, record, retention)).await
            }
            Self::Postgres(store, time) => {
                within(*time, store.complete(key, fingerprint, owner, record, retention)).await
            }
        }
    }

    /// Gives the lock back, if it is still the owner's.
    pub(super) async fn release(&self, key: &str, owner: Uuid) -> Result<(), Unavailable> {
        match self {
            Self::Memory(store) => {
                store.release(key, owner);
                Ok(())
            }
            Self::Redis(store, time) => within(*time, store.release(key, owner)).await,
            Self::Postgres(store, time) => within(*time, store.release(key, owner)).await,
        }
    }
}

async fn within<T>(
    time: Duration,
    work: impl Future<Output = Result<T, Unavailable>>,
) -> Result<T, Unavailable> {
    timeout(time, work).await.unwrap_or_else(|_| Err(Unavailable::new("no answer in time")))
}
