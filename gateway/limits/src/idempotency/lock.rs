//! The right to carry out a request, for as long as that takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Shared;
use super::record::{Answer, Record};
use super::store::Unavailable;

/// Renewals in the time that a lock lasts: two may fail.
const RENEWALS: u32 = 3;

/// Between two attempts to keep an answer.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The right to carry out a request. It is renewed until it is completed or released.
///
/// Dropped without either, the request may have been carried out or not: the lock is abandoned, and
/// nobody may repeat the request until it has expired.
#[must_use = "complete or release it"]
pub struct Lock {
    shared: Arc<Shared>,
    key: String,
    fingerprint: [u8; 32],
    owner: Uuid,
    /// Whether the store was told, or is being told, how the request ended.
    settled: bool,
    pub(super) renewal: JoinHandle<()>,
}

/// Why an answer was not kept.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// The lock had expired, and another request has taken the key.
    #[error("the lock of the idempotency key was lost to another request")]
    Lost,
    /// The store does not answer. It is tried again for as long as the lock lasts.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Lock {
    pub(super) fn new(
        shared: Arc<Shared>,
        key: String,
        fingerprint: [u8; 32],
        owner: Uuid,
    ) -> Self {
        let renewal = tokio::spawn(renew(Arc::clone(&shared), key.clone(), owner));
        Self { shared, key, fingerprint, owner, settled: false, renewal }
    }

    /// Keeps the answer for repeats when it is 2xx; else the request may be made again.
    ///
    /// Goes on when its caller goes away. An error concerns repeats alone: the answer is good.
    pub async fn complete(self, answer: Answer) -> Result<(), CompleteError> {
        if !(200..300).contains(&answer.status_code) {
            return Ok(self.release_now().await?);
        }
        let record = Record::new(answer, self.shared.answer_bytes_max);
        let (tell, told) = oneshot::channel();
        tokio::spawn(self.keep(record, tell));
        // Without an answer the runtime is ending.
        told.await.unwrap_or_else(|_| Err(Unavailable::new("the gateway is stopping").into()))
    }

    /// Gives the key back: the request was not carried out, and may be made again.
    pub async fn release(self) {
        if let Err(error) = self.release_now().await {
            tracing::warn!(error = ?error, "an idempotency key stays locked until it expires");
        }
    }

    async fn release_now(mut self) -> Result<(), Unavailable> {
        self.settled = true;
        // The store does it whether or not it is waited for.
        let task =
            tokio::spawn(async move { self.shared.store.release(&self.key, self.owner).await });
        task.await.unwrap_or_else(|error| Err(Unavailable::new(error)))
    }

    /// Tells of the first attempt; makes more while the lock lasts.
    async fn keep(mut self, record: Record, tell: oneshot::Sender<Result<(), CompleteError>>) {
        self.settled = true;
        let until = Instant::now() + self.shared.lock_ttl;
        let mut tell = Some(tell);
        loop {
            let kept = match self.keep_once(&record).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(CompleteError::Lost),
                Err(error) => Err(CompleteError::Unavailable(error)),
            };
            let again =
                matches!(kept, Err(CompleteError::Unavailable(_))) && Instant::now() < until;
            if let Err(error) = &kept
                && !again
            {
                tracing::error!(error = ?error, "an answer was not kept: a repeat would be carried out");
            }
            if let Some(tell) = tell.take() {
                // Whoever asked may have gone away.
                let _ = tell.send(kept);
            }
            if !again {
                return;
            }
            sleep(RETRY_INTERVAL).await;
        }
    }

    async fn keep_once(&self, record: &Record) -> Result<bool, Unavailable> {
        let Self { shared, key, fingerprint, owner, .. } = self;
        shared.store.complete(key, fingerprint, *owner, record, shared.retention).await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewal.abort();
        // Without a runtime the process ends, and the lock expires by itself.
        if let (false, Ok(runtime)) = (self.settled, Handle::try_current()) {
            let (shared, key, owner) = (Arc::clone(&self.shared), self.key.clone(), self.owner);
            runtime.spawn(async move {
                if let Err(error) = shared.store.abandon(&key, owner, shared.lock_ttl).await {
                    tracing::warn!(error = ?error, "an idempotency key was not abandoned");
                }
            });
        }
    }
}

async fn renew(shared: Arc<Shared>, key: String, owner: Uuid) {
    loop {
        sleep(shared.lock_ttl / RENEWALS).await;
        match shared.store.renew(&key, owner, shared.lock_ttl).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("the lock of an idempotency key was lost while it was held");
                return;
            }
            Err(error) => tracing::warn!(error = ?error, "a lock was not renewed"),
        }
    }
}
