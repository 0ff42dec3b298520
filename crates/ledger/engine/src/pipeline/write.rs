//! Makes blocks durable, gives their answers, and indexes them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use book::Block;
use index::Index;
use journal::Journal;
use proof::{Kind, peek};
use tracing::{error, warn};

use super::{Answers, Indexable, Sealed};
use crate::answers;
use crate::checkpoint::{Checkpoints, Taken};
use crate::progress::Progress;

/// What owns the journal.
pub(super) struct Writer {
    /// None after the first failure.
    journal: Option<Box<dyn Journal>>,
    progress: Progress,
    checkpoints: Checkpoints,
    to_index: SyncSender<Indexable>,
    to_checkpoint: Sender<Taken>,
}

impl Writer {
    pub(super) fn new(
        journal: Box<dyn Journal>,
        progress: &Progress,
        checkpoints: &Checkpoints,
        to_index: SyncSender<Indexable>,
        to_checkpoint: Sender<Taken>,
    ) -> Self {
        let (progress, checkpoints) = (progress.clone(), checkpoints.clone());
        Self { journal: Some(journal), progress, checkpoints, to_index, to_checkpoint }
    }

    /// Writes a block and gives its answers. False when the ledger cannot go on.
    pub(super) fn write(&mut self, sealed: Sealed) -> bool {
        let Sealed { header, block, answers, checkpoint } = sealed;
        if let Some((header, key)) = header {
            // Indexed while it is written: the sooner what it says can be found.
            let block = Arc::new(block);
            let indexable = Indexable { header: header.clone(), block: Arc::clone(&block) };
            let Some(mut journal) = self.journal.take() else { return false };
            if self.to_index.send(indexable).is_err() {
                return false;
            }
            if let Err(error) = journal.append(&header, &block.bytes) {
                error!(%error, "the journal failed: the ledger stops for good");
                self.progress.stop(&error.to_string());
                return false;
            }
            self.journal = Some(journal);
            self.progress.set_durable(&header, &key);
        }
        self.answer(answers);
        checkpoint
            .is_none_or(|(request, tail)| self.to_checkpoint.send(Taken { request, tail }).is_ok())
    }

    fn answer(&self, answers: Answers) {
        let Answers { outcomes, done, recorded } = answers;
        answers::give(outcomes);
        for reply in done {
            // A caller that no longer waits is no concern of ours.
            let _ = reply.send(());
        }
        for (computed, number) in recorded {
            self.checkpoints.publish(computed, number);
        }
    }

    /// Closes the journal, unless it failed.
    pub(super) fn close(&mut self) {
        if let Some(Err(error)) = self.journal.take().map(Journal::close) {
            warn!(%error, "the journal could not be closed: the next start looks at its end again");
        }
    }
}

/// Indexes blocks until there are no more.
pub(super) fn index(mut index: Index, blocks: &Receiver<Indexable>, progress: &Progress) {
    for Indexable { header, block } in blocks {
        measure(&block);
        let end = header.end();
        if let Err(error) = super::index_block(&mut index, header, &block) {
            error!(%error, "the index failed: the ledger stops until it is rebuilt");
            return progress.stop(&error.to_string());
        }
        progress.set_indexed(end);
    }
    if index.covers() > progress.durable() {
        // The journal failed at the last one, which must not be stored.
        return;
    }
    if let Err(error) = index.close() {
        warn!(%error, "the index could not be closed: the next start rebuilds a part of it");
    }
}

fn measure(block: &Block) {
    let (mut accounts, mut transfers, mut expired) = (0, 0, 0);
    for entry in block.entries() {
        match peek::kind(entry) {
            Some(Kind::Account) => accounts += 1,
            Some(Kind::Expiry) => expired += 1,
            Some(kind) if kind.is_transfer() => transfers += 1,
            _ => {}
        }
    }
    metrics::counter!("ledger_blocks_total").increment(1);
    metrics::counter!("ledger_accounts_total").increment(accounts);
    metrics::counter!("ledger_transfers_total").increment(transfers);
    metrics::counter!("ledger_holds_expired_total").increment(expired);
    #[expect(clippy::cast_precision_loss, reason = "a block has thousands of entries")]
    metrics::histogram!("ledger_block_entries").record(block.len() as f64);
}
