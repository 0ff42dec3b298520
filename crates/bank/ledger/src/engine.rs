//! The single writer: one thread applies, one makes durable, and the first is ahead by a block.
//!
//! Calls wait in a queue of bounded size. The first thread takes what is there, up to a block,
//! applies it to the state and hands the block over; the second writes and syncs it, then gives
//! the answers. Reads pass the same way and wait for the block before them, so that nobody ever
//! sees what a crash could take back. When the journal fails both threads end, and with them
//! every call.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, mem};

use auth::TenantId;
use clock::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::error;

use crate::domain::{
    AccountRefusal, Block, NewAccount, NewTransfer, Outcome, State, Timestamp, TransferRefusal,
};
use crate::error::LedgerError;
use crate::journal::{Journal, PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX};

/// Most items of one call.
pub(crate) const BATCH_ITEMS_MAX: usize = 8_189;

/// A block is closed when it has that many items, and may pass it by one batch.
const BLOCK_ITEMS: usize = 8_189;

/// Most items that wait to be applied; calls beyond it wait outside.
const QUEUE_ITEMS_MAX: usize = 16 * BATCH_ITEMS_MAX;

/// Longest time until an idle ledger looks for holds that have ended: a clock may jump.
const EXPIRY_POLL: Duration = Duration::from_secs(1);

const _: () = assert!((BLOCK_ITEMS + BATCH_ITEMS_MAX) * RECORD_BYTES_MAX <= PAYLOAD_BYTES_MAX);

/// A running ledger. Dropping it finishes what is in its queue.
pub(crate) struct Engine {
    /// Taken when the engine is dropped, so that its threads end.
    queue: Option<Sender<Command>>,
    /// A permit per item that the queue has room for.
    room: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
    /// Why the journal failed, if it did. Closed when the engine has stopped.
    failure: watch::Receiver<Option<String>>,
}

/// One call. It keeps its room in the queue until it is applied.
struct Command {
    work: Work,
    items: usize,
    _room: OwnedSemaphorePermit,
}

/// What a call does. The answer is kept until all that it depends on is durable.
type Work = Box<dyn FnOnce(&mut State, &mut Block) -> Answer + Send>;

/// Gives the answer. When it is dropped instead, the call gets [`LedgerError::Stopped`].
type Answer = Box<dyn FnOnce() + Send>;

/// A block and the answers that wait for it.
struct Applied {
    block: Block,
    answers: Vec<Answer>,
}

impl Engine {
    /// Starts the threads that own `state` and `journal`, which must agree.
    pub(crate) fn start(
        state: State,
        mut journal: Box<dyn Journal>,
        clock: Clock,
    ) -> io::Result<Self> {
        let (queue, commands) = mpsc::channel();
        // One block waits while another is written and a third is built.
        let (hand_over, blocks) = mpsc::sync_channel(1);
        let (reason, failure) = watch::channel(None);
        let apply = thread::Builder::new()
            .name("ledger-apply".to_owned())
            .spawn(move || apply(state, &clock, &commands, &hand_over))?;
        let write = thread::Builder::new()
            .name("ledger-write".to_owned())
            .spawn(move || write(journal.as_mut(), &blocks, &reason))?;
        let room = Arc::new(Semaphore::new(QUEUE_ITEMS_MAX));
        Ok(Self { queue: Some(queue), room, threads: vec![apply, write], failure })
    }

    /// Creates accounts, in order. The answer is durable.
    pub(crate) async fn create_accounts(
        &self,
        tenant: TenantId,
        accounts: Vec<NewAccount>,
    ) -> Result<Vec<Outcome<AccountRefusal>>, LedgerError> {
        let items = accounts.len();
        self.call(items, move |state, block| state.create_accounts(tenant, &accounts, block)).await
    }

    /// Creates transfers, in order. The answer is durable.
    pub(crate) async fn create_transfers(
        &self,
        tenant: TenantId,
        transfers: Vec<NewTransfer>,
    ) -> Result<Vec<Outcome<TransferRefusal>>, LedgerError> {
        let items = transfers.len();
        self.call(items, move |state, block| state.create_transfers(tenant, &transfers, block))
            .await
    }

    /// Reads up to `items` things. What it sees is durable.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        items: usize,
        read: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.call(items, |state, _| read(state)).await
    }

    /// Whether calls are served, or why not.
    pub(crate) fn health(&self) -> Result<(), String> {
        if let Some(reason) = &*self.failure.borrow() {
            return Err(reason.clone());
        }
        self.failure.has_changed().map(drop).map_err(|_| LedgerError::Stopped.to_string())
    }

    /// Waits until calls are served no more, and says why.
    pub(crate) fn stopped(&self) -> impl Future<Output = String> + Send + use<> {
        let mut failure = self.failure.clone();
        async move {
            let failed = failure.wait_for(Option::is_some).await;
            let reason = failed.ok().and_then(|reason| reason.clone());
            reason.unwrap_or_else(|| LedgerError::Stopped.to_string())
        }
    }

    async fn call<T: Send + 'static>(
        &self,
        items: usize,
        work: impl FnOnce(&mut State, &mut Block) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        let permits = u32::try_from(items.clamp(1, QUEUE_ITEMS_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |state, block| {
            let value = work(state, block);
            // A caller that no longer waits is no concern of ours.
            Box::new(move || drop(reply.send(value)))
        });
        let command = Command { work, items, _room: room.map_err(|_| LedgerError::Stopped)? };
        let queue = self.queue.as_ref().ok_or(LedgerError::Stopped)?;
        queue.send(command).map_err(|_| LedgerError::Stopped)?;
        answer.await.map_err(|_| LedgerError::Stopped)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.queue = None;
        for thread in mem::take(&mut self.threads) {
            // A thread that panicked has said so; there is nothing left to finish.
            drop(thread.join());
        }
    }
}

/// Applies calls until there are no more callers or no journal.
fn apply(
    mut state: State,
    clock: &Clock,
    commands: &Receiver<Command>,
    hand_over: &SyncSender<Applied>,
) {
    while let Ok(mut next) = receive(commands, &state, clock) {
        let mut block = state.begin(now(clock));
        let mut answers = Vec::new();
        let mut items = 0;
        while let Some(Command { work, items: more, _room }) = next {
            answers.push(work(&mut state, &mut block));
            items += more;
            next = if items < BLOCK_ITEMS { commands.try_recv().ok() } else { None };
        }
        if hand_over.send(Applied { block, answers }).is_err() {
            return;
        }
    }
}

/// The next call, or none when a hold may have ended first. An error when all callers are gone.
fn receive(
    commands: &Receiver<Command>,
    state: &State,
    clock: &Clock,
) -> Result<Option<Command>, mpsc::RecvError> {
    let Some(expiry) = state.next_expiry() else {
        return commands.recv().map(Some);
    };
    match commands.recv_timeout(expiry.since(now(clock)).min(EXPIRY_POLL)) {
        Ok(command) => Ok(Some(command)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(mpsc::RecvError),
    }
}

fn now(clock: &Clock) -> Timestamp {
    let nanos = clock.now().timestamp_nanos_opt().unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// Makes blocks durable and gives their answers, until the first failure.
fn write(
    journal: &mut dyn Journal,
    blocks: &Receiver<Applied>,
    failure: &watch::Sender<Option<String>>,
) {
    for Applied { block, answers } in blocks {
        if !block.is_empty() {
            if let Err(error) = journal.append(&block) {
                error!(%error, "the journal failed: the ledger stops for good");
                failure.send_replace(Some(error.to_string()));
                return;
            }
            measure(&block);
        }
        for answer in answers {
            answer();
        }
    }
}

fn measure(block: &Block) {
    let counts = block.counts();
    metrics::counter!("ledger_blocks_total").increment(1);
    metrics::counter!("ledger_accounts_total").increment(counts.accounts.into());
    metrics::counter!("ledger_transfers_total").increment(counts.transfers.into());
    metrics::counter!("ledger_holds_expired_total").increment(block.expired.into());
    #[expect(clippy::cast_precision_loss, reason = "a block has thousands of records")]
    metrics::histogram!("ledger_block_records").record(block.records.len() as f64);
}
