//! A running ledger.

use std::mem;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use book::{NewAccounts, Outcome, Transfers};
use proof::{Amendment, SigningKey, TenantId};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::yield_now;

use crate::answers::Reply;
use crate::calm::Calm;
use crate::pipeline::{BATCH_ITEMS_MAX, Command, Work};
use crate::query::Reader;

/// Most items that wait to be applied; calls beyond it wait outside.
const QUEUE_ITEMS_MAX: usize = 16 * BATCH_ITEMS_MAX;

/// A ledger that runs on threads of its own. Dropping it finishes what is in its queue, saves a
/// snapshot and closes its files.
pub struct Engine {
    queue: Sender<Command>,
    /// A permit per item that the queue has room for.
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
    reader: Reader,
    calm: Calm,
    /// Held while a checkpoint is taken for somebody: who comes meanwhile may use the same.
    checkpointing: Mutex<()>,
}

/// The ledger has stopped. Whether what was asked for happened is not known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the ledger has stopped")]
pub struct Stopped;

impl Engine {
    pub(crate) fn new(
        queue: Sender<Command>,
        threads: Vec<JoinHandle<()>>,
        reader: Reader,
        calm: Calm,
    ) -> Self {
        let room = Arc::new(Semaphore::new(QUEUE_ITEMS_MAX));
        Self { queue, room, threads, reader, calm, checkpointing: Mutex::default() }
    }

    /// Creates accounts, in order. The answer is durable.
    pub async fn create_accounts(
        &self,
        tenant: TenantId,
        accounts: NewAccounts,
    ) -> Result<Vec<Outcome>, Stopped> {
        let items = accounts.len();
        self.outcomes(items, |reply| Work::Accounts(tenant, accounts, reply)).await
    }

    /// Changes accounts, in order. The answer is durable.
    pub async fn amend_accounts(
        &self,
        tenant: TenantId,
        amendments: Vec<Amendment>,
    ) -> Result<Vec<Outcome>, Stopped> {
        let items = amendments.len();
        self.outcomes(items, |reply| Work::Amendments(tenant, amendments, reply)).await
    }

    /// Creates transfers, in order. The answer is durable.
    pub async fn create_transfers(
        &self,
        tenant: TenantId,
        mut transfers: Transfers,
    ) -> Result<Vec<Outcome>, Stopped> {
        let items = transfers.len();
        while self.reader.lookup.look_ahead(tenant, &mut transfers) {
            // Others on this thread do not wait for all of a large batch.
            yield_now().await;
        }
        self.outcomes(items, |reply| Work::Transfers(tenant, transfers, reply)).await
    }

    /// Records the state of all accounts, unless nothing has happened since it was recorded.
    /// [`Reader::prove_account`] proves the state of an account at the newest checkpoint.
    ///
    /// Every account is hashed: a tenth of a second for a million.
    pub async fn checkpoint(&self) -> Result<(), Stopped> {
        let entries = self.reader.progress.durable();
        let _one_at_a_time = self.checkpointing.lock().await;
        if self.reader.checkpoints.latest().is_some_and(|latest| latest.is_fresh(entries)) {
            return Ok(());
        }
        self.done(Work::Checkpoint).await
    }

    /// Signs all later blocks with another key.
    pub async fn rotate_key(&self, key: SigningKey) -> Result<(), Stopped> {
        let public = key.public(self.reader.head().head.ledger).bytes();
        self.done(|reply| Work::Rotate(Box::new(key), public, reply)).await
    }

    /// What reads it.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Whether calls are served, or why not.
    pub fn health(&self) -> Result<(), String> {
        self.reader.progress.failure().map_or(Ok(()), Err)
    }

    /// Waits until calls are served no more, and says why.
    pub fn stopped(&self) -> impl Future<Output = String> + Send + use<> {
        self.reader.progress.stopped()
    }

    async fn outcomes(
        &self,
        items: usize,
        work: impl FnOnce(Reply) -> Work,
    ) -> Result<Vec<Outcome>, Stopped> {
        let room = self.room(items).await?;
        let (reply, answer) = Reply::new();
        self.send(work(reply), room)?;
        self.calm.look(answer).await.map_err(|_| Stopped)
    }

    async fn done(&self, work: impl FnOnce(oneshot::Sender<()>) -> Work) -> Result<(), Stopped> {
        let room = self.room(1).await?;
        let (reply, answer) = oneshot::channel();
        self.send(work(reply), room)?;
        answer.await.map_err(|_| Stopped)
    }

    fn send(&self, work: Work, room: OwnedSemaphorePermit) -> Result<(), Stopped> {
        self.queue.send(Command { work, _room: Some(room) }).map_err(|_| Stopped)
    }

    /// Waits until the queue has room.
    async fn room(&self, items: usize) -> Result<OwnedSemaphorePermit, Stopped> {
        let permits = u32::try_from(items.clamp(1, QUEUE_ITEMS_MAX)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| Stopped)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Fails when it has stopped already.
        drop(self.queue.send(Command { work: Work::Stop, _room: None }));
        for thread in mem::take(&mut self.threads) {
            // A thread that panicked has said so; there is nothing left to finish.
            drop(thread.join());
        }
    }
}
