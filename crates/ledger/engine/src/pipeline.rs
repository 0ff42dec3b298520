//! The threads: one applies, one seals, one makes durable, one indexes, one takes checkpoints.
//!
//! ```text
//! calls ─▶ apply ─▶ seal ─▶ write ─▶ answers
//!            ▲                ├────▶ index
//!            └── checkpoint ◀─┘
//! ```
//!
//! A block is indexed while it is written, but only what is durable is read or stored.
//! Each is ahead of the next by a block: one is built while the one before is hashed and the one
//! before that is written. A small block that finds none before it is sealed and written by the
//! thread that applied it: between threads it would wait longer than for their work (`finish`).
//! What fails ends its thread, then those that wait for it, then all calls.

mod apply;
mod finish;
mod seal;
mod write;

pub(crate) use seal::seal;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use book::{Block, Book, NewAccounts, Room, Transfers};
use clock::Clock;
use index::{Index, IndexError};
use journal::Journal;
use proof::{
    Amendment, HEADER_BYTES, Header, PublicKey, Sealer, SigningKey, Tail, TenantId, Timestamp,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::answers::{Answer, Reply};
use crate::calm::Calm;
use crate::checkpoint::{self, Checkpoints, Computed};
use crate::progress::Progress;

/// Most items of one call.
pub const BATCH_ITEMS_MAX: usize = 8_189;

/// One call.
pub(crate) struct Command {
    pub(crate) work: Work,
    /// Given back when it is applied.
    pub(crate) _room: Option<OwnedSemaphorePermit>,
}

/// What a call does.
pub(crate) enum Work {
    Accounts(TenantId, NewAccounts, Reply),
    Amendments(TenantId, Vec<Amendment>, Reply),
    Transfers(TenantId, Transfers, Reply),
    /// Later blocks are signed with another key.
    Rotate(Box<SigningKey>, [u8; 32], oneshot::Sender<()>),
    /// The state of all accounts is hashed and recorded.
    Checkpoint(oneshot::Sender<()>),
    /// A checkpoint was computed.
    Record(Computed),
    /// What came before is finished, then the threads end.
    Stop,
}

impl Work {
    /// Most that it takes up in a block.
    fn room(&self) -> Room {
        match self {
            Self::Accounts(_, accounts, _) => accounts.room(),
            Self::Transfers(_, transfers, _) => transfers.room(),
            Self::Amendments(_, amendments, _) => Room::entries(amendments.len()),
            Self::Rotate(..) | Self::Record(_) => Room::entries(1),
            Self::Checkpoint(_) | Self::Stop => Room::entries(0),
        }
    }
}

/// What is told once a block is durable.
#[derive(Default)]
struct Answers {
    outcomes: Vec<Answer>,
    done: Vec<oneshot::Sender<()>>,
    /// Checkpoints, each recorded by the entry of that number.
    recorded: Vec<(Computed, u64)>,
}

/// What came of the calls of a block.
struct Applied {
    block: Block,
    answers: Answers,
    /// Signs the blocks after this one.
    key: Option<Box<SigningKey>>,
    checkpoint: Option<checkpoint::Request>,
}

/// A block with its header, unless it is empty, and the key that signed it.
struct Sealed {
    header: Option<(Header, PublicKey)>,
    block: Block,
    answers: Answers,
    checkpoint: Option<(checkpoint::Request, Tail)>,
}

/// A block on its way to the index. All blocks before it are durable.
struct Indexable {
    header: Header,
    block: Arc<Block>,
}

/// What the threads work on; all agree on the last block.
pub(crate) struct Parts {
    pub(crate) book: Book,
    pub(crate) sealer: Sealer,
    pub(crate) journal: Box<dyn Journal>,
    pub(crate) reader: journal::Reader,
    pub(crate) index: Index,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) clock: Clock,
    pub(crate) snapshot_every: u64,
    /// Entries since the newest snapshot.
    pub(crate) unsaved: u64,
}

/// Starts the threads. They end, in order, after [`Work::Stop`].
pub(crate) fn start(
    parts: Parts,
    progress: &Progress,
    calm: &Calm,
) -> io::Result<(Sender<Command>, Vec<JoinHandle<()>>)> {
    let Parts { book, sealer, journal, reader, index, checkpoints, clock, .. } = parts;
    let (queue, commands) = mpsc::channel();
    let (to_seal, applied) = mpsc::sync_channel(1);
    let (to_write, sealed) = mpsc::sync_channel(1);
    let (to_index, blocks) = mpsc::sync_channel(4);
    let (to_checkpoint, requests) = mpsc::channel();

    let past = apply::Settled::new(reader, progress.clone());
    let first =
        apply::Applier::new(book, past, clock, calm.clone(), parts.snapshot_every, parts.unsaved);
    let seal = seal::Seal::new(sealer, checkpoints.nodes().clone());
    let writer = write::Writer::new(journal, progress, &checkpoints, to_index, to_checkpoint);
    let finish = Arc::new(finish::Finish::new(seal, writer));
    let (applying, sealing, writing) = (Arc::clone(&finish), Arc::clone(&finish), finish);
    let (indexed, back) = (progress.clone(), queue.clone());
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let ended = Ended(progress.clone());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ended = ended;
            work();
        })
    };
    let threads = vec![
        spawn("ledger-apply", Box::new(move || first.run(&commands, &applying, &to_seal)))?,
        spawn("ledger-seal", Box::new(move || sealing.seal(&applied, &to_write)))?,
        spawn("ledger-write", Box::new(move || writing.write(&sealed)))?,
        spawn("ledger-index", Box::new(move || write::index(index, &blocks, &indexed)))?,
        spawn("ledger-checkpoint", Box::new(move || checkpoints.run(&requests, &back)))?,
    ];
    Ok((queue, threads))
}

/// The time for the next block.
pub(crate) fn now(clock: &Clock) -> Timestamp {
    let nanos = clock.now().timestamp_nanos_opt().unwrap_or_default();
    Timestamp::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

/// Adds a sealed block to the index.
pub(crate) fn index_block(
    index: &mut Index,
    header: Header,
    block: &Block,
) -> Result<(), IndexError> {
    #[expect(clippy::expect_used, reason = "the sealer wrote this header over this payload")]
    let sealed = proof::Block::new(header, &block.bytes[HEADER_BYTES..]).expect("it was sealed");
    index.add(&sealed, &block.effects)
}

/// Says that the ledger runs no more when the first thread ends, also by a panic.
struct Ended(Progress);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stop("the ledger has stopped");
    }
}
