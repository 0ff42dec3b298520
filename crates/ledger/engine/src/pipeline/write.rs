//! Makes blocks durable, gives their answers, and indexes them.

use std::sync::mpsc::{Receiver, Sender, SyncSender};

use book::Block;
use index::Index;
use journal::Journal;
use proof::{Kind, peek};
use tracing::{error, warn};

use super::{Answer, Durable, Sealed};
use crate::checkpoint::{Checkpoints, Taken};
use crate::progress::Progress;

/// The thread that owns the journal.
pub(super) struct Writer {
    progress: Progress,
    checkpoints: Checkpoints,
    to_index: SyncSender<Durable>,
    to_checkpoint: Sender<Taken>,
}

impl Writer {
    pub(super) fn new(
        progress: &Progress,
        checkpoints: &Checkpoints,
        to_index: SyncSender<Durable>,
        to_checkpoint: Sender<Taken>,
    ) -> Self {
        let (progress, checkpoints) = (progress.clone(), checkpoints.clone());
        Self { progress, checkpoints, to_index, to_checkpoint }
    }

    /// Writes blocks until there are no more, or until the first failure.
    pub(super) fn run(self, mut journal: Box<dyn Journal>, sealed: &Receiver<Sealed>) {
        for Sealed { header, block, answers, checkpoint } in sealed {
            if let Some((header, key)) = &header {
                if let Err(error) = journal.append(header, &block.bytes) {
                    error!(%error, "the journal failed: the ledger stops for good");
                    return self.progress.stop(&error.to_string());
                }
                self.progress.set_durable(header, key);
            }
            for answer in answers {
                self.answer(answer);
            }
            let is_indexed = header
                .is_none_or(|(header, _)| self.to_index.send(Durable { header, block }).is_ok());
            let is_taken = checkpoint.is_none_or(|(request, tail)| {
                self.to_checkpoint.send(Taken { request, tail }).is_ok()
            });
            if !is_indexed || !is_taken {
                return;
            }
        }
        if let Err(error) = journal.close() {
            warn!(%error, "the journal could not be closed: the next start looks at its end again");
        }
    }

    fn answer(&self, answer: Answer) {
        // A caller that no longer waits is no concern of ours.
        match answer {
            Answer::Outcomes(reply, outcomes) => drop(reply.send(outcomes)),
            Answer::Done(reply) => {
                let _ = reply.send(());
            }
            Answer::Recorded(computed, number) => self.checkpoints.publish(computed, number),
        }
    }
}

/// Indexes durable blocks until there are no more.
pub(super) fn index(mut index: Index, durable: &Receiver<Durable>, progress: &Progress) {
    for Durable { header, block } in durable {
        measure(&block);
        let end = header.end();
        if let Err(error) = super::index_block(&mut index, header, &block) {
            error!(%error, "the index failed: the ledger stops until it is rebuilt");
            return progress.stop(&error.to_string());
        }
        progress.set_indexed(end);
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
