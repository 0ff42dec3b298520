//! Applies calls to the book, a block at a time.

use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use book::{Book, Copied, Past, PastError};
use clock::Clock;
use proof::EntryBytes;
use tracing::error;

use super::finish::Finish;
use super::{Answers, Applied, Command, Work, now};
use crate::calm::{Calm, LOOK};
use crate::checkpoint::Request;
use crate::progress::Progress;

/// A block is closed when it has that many entries, and may pass it by one batch.
const BLOCK_ENTRIES: usize = 8_189;

/// Longest time until an idle ledger looks for holds that have ended: a clock may jump.
const EXPIRY_POLL: Duration = Duration::from_secs(1);

/// Entries of a block for each of which a chunk more of a snapshot is copied after it: some 0.06 ms
/// for what takes 0.4.
const ENTRIES_PER_CHUNK: usize = 1_024;

/// The thread that owns the book.
pub(super) struct Applier {
    book: Book,
    past: Settled,
    clock: Clock,
    calm: Calm,
    snapshot_every: u64,
    /// Entries since the last snapshot that was written.
    unsaved: u64,
    /// Who waits for the snapshot that is being taken, if one is.
    copying: Option<Sender<Copied>>,
    /// A call that the last block had no room for.
    left: Option<Command>,
}

/// A block that is being built, and what goes with it.
struct Building {
    applied: Applied,
    /// No more calls may join it.
    is_closed: bool,
    is_last: bool,
}

impl Applier {
    pub(super) fn new(
        book: Book,
        past: Settled,
        clock: Clock,
        calm: Calm,
        snapshot_every: u64,
        unsaved: u64,
    ) -> Self {
        Self { book, past, clock, calm, snapshot_every, unsaved, copying: None, left: None }
    }

    /// Applies calls until it is told to stop or nobody takes its blocks.
    pub(super) fn run(
        mut self,
        commands: &Receiver<Command>,
        finish: &Finish,
        to_seal: &SyncSender<Applied>,
    ) {
        while let Ok(next) = self.receive(commands) {
            match self.block(next, commands) {
                Ok(Building { applied, is_last, .. }) => {
                    self.calm.set(applied.answers.outcomes.len());
                    if !finish.take(applied, to_seal) || is_last {
                        return;
                    }
                }
                Err(reason) => {
                    error!(%reason, "the ledger cannot read its past: it stops for good");
                    return self.past.progress.stop(&reason.to_string());
                }
            }
        }
    }

    /// The next call, or none when a hold may have ended first.
    fn receive(&mut self, commands: &Receiver<Command>) -> Result<Option<Command>, RecvError> {
        if self.left.is_some() {
            return Ok(self.left.take());
        }
        while self.copying.is_some() {
            match commands.try_recv() {
                Ok(command) => return Ok(Some(command)),
                Err(TryRecvError::Empty) => self.copy(1),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
            }
        }
        let end = Instant::now() + LOOK;
        while self.calm.is() && Instant::now() < end {
            match commands.try_recv() {
                Ok(command) => return Ok(Some(command)),
                Err(TryRecvError::Empty) => thread::yield_now(),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
            }
        }
        let Some(expiry) = self.book.next_expiry() else {
            return commands.recv().map(Some);
        };
        match commands.recv_timeout(expiry.since(now(&self.clock)).min(EXPIRY_POLL)) {
            Ok(command) => Ok(Some(command)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(RecvError),
        }
    }

    /// Builds a block of the calls that wait.
    fn block(
        &mut self,
        mut next: Option<Command>,
        commands: &Receiver<Command>,
    ) -> Result<Building, PastError> {
        let block = self.book.begin(now(&self.clock));
        let applied = Applied { block, answers: Answers::default(), key: None, checkpoint: None };
        let mut building = Building { applied, is_closed: false, is_last: false };
        while let Some(command) = next {
            if !building.applied.block.has_room(command.work.room()) {
                self.left = Some(command);
                break;
            }
            self.apply(command.work, &mut building)?;
            let is_full = building.applied.block.len() >= BLOCK_ENTRIES;
            next = if is_full || building.is_closed { None } else { commands.try_recv().ok() };
        }
        self.save(&mut building);
        Ok(building)
    }

    fn apply(&mut self, work: Work, building: &mut Building) -> Result<(), PastError> {
        let Applied { block, answers, key, checkpoint } = &mut building.applied;
        let (book, past) = (&mut self.book, &self.past);
        let mut outcomes = Vec::new();
        match work {
            Work::Transfers(tenant, batch, reply) => {
                book.create_transfers(block, tenant, &batch, past, &mut outcomes)?;
                answers.outcomes.push((reply, outcomes));
            }
            Work::Accounts(tenant, batch, reply) => {
                book.create_accounts(block, tenant, &batch, past, &mut outcomes)?;
                answers.outcomes.push((reply, outcomes));
            }
            Work::Amendments(tenant, batch, reply) => {
                book.amend_accounts(block, tenant, &batch, &mut outcomes);
                answers.outcomes.push((reply, outcomes));
            }
            Work::Rotate(new, public, reply) => {
                book.record_key(block, public);
                *key = Some(new);
                answers.done.push(reply);
                building.is_closed = true;
            }
            Work::Checkpoint(reply) => {
                *checkpoint = Some(Request::asked(reply));
                building.is_closed = true;
            }
            Work::Record(computed) => {
                let number = book.entries();
                book.record_checkpoint(block, computed.entries, computed.accounts, computed.root);
                answers.recorded.push((computed, number));
            }
            Work::Stop => {
                *checkpoint = (self.unsaved > 0).then(Request::last);
                (building.is_closed, building.is_last) = (true, true);
            }
        }
        Ok(())
    }

    /// Begins the snapshot that was asked for, or that is due, and goes on with it in steps, so that
    /// no call waits for all of it.
    fn save(&mut self, building: &mut Building) {
        let Applied { block, checkpoint, .. } = &mut building.applied;
        self.unsaved += block.len() as u64;
        self.copy(1 + block.len() / ENTRIES_PER_CHUNK);
        if checkpoint.is_none() && self.unsaved >= self.snapshot_every {
            *checkpoint = Some(Request::due());
        }
        if let Some(request) = checkpoint {
            // One at a time.
            self.copy(usize::MAX);
            self.book.begin_snapshot();
            self.copying = Some(request.await_copy());
            if request.is_saved() {
                self.unsaved = 0;
            }
        }
        if building.is_last {
            self.copy(usize::MAX);
        }
    }

    /// Copies so much more for the snapshot that is being taken.
    fn copy(&mut self, chunks: usize) {
        if let Some(to) = &self.copying
            && let Some(copied) = self.book.copy(chunks)
        {
            // Whoever no longer waits does not need it.
            drop(to.send(copied));
            self.copying = None;
        }
    }
}

/// Entries of earlier blocks. Those that are not durable yet are waited for: few ask for them, as
/// open holds and accounts are in memory.
pub(super) struct Settled {
    journal: journal::Reader,
    progress: Progress,
}

impl Settled {
    pub(super) fn new(journal: journal::Reader, progress: Progress) -> Self {
        Self { journal, progress }
    }
}

impl Past for Settled {
    fn entry(&self, number: u64, extension: &mut Vec<u8>) -> Result<EntryBytes, PastError> {
        if !self.progress.wait_durable(number) {
            return Err(PastError("the journal has failed".into()));
        }
        self.journal.entry(number, extension).map_err(|error| PastError(error.into()))
    }
}
