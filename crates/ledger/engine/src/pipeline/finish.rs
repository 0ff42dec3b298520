//! From applied to durable: over threads of their own, or the short way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use parking_lot::Mutex;

use super::seal::Seal;
use super::write::Writer;
use super::{Applied, Sealed};

/// A block of at most so many entries takes the short way: to wake the next thread takes as long as
/// to seal it.
const SHORT_ENTRIES: usize = 512;

/// What makes applied blocks durable, in order. A block that finds none before it, and is small, is
/// sealed and written by the thread that applied it; what comes meanwhile waits, and shares the
/// next write.
pub(super) struct Finish {
    seal: Mutex<Seal>,
    writer: Mutex<Writer>,
    /// Blocks that other threads seal and write.
    under_way: AtomicUsize,
}

impl Finish {
    pub(super) fn new(seal: Seal, writer: Writer) -> Self {
        Self { seal: Mutex::new(seal), writer: Mutex::new(writer), under_way: AtomicUsize::new(0) }
    }

    /// Finishes the block, or hands it on. False when the ledger cannot go on.
    pub(super) fn take(&self, applied: Applied, to_seal: &SyncSender<Applied>) -> bool {
        let is_small = applied.block.len() <= SHORT_ENTRIES;
        if is_small && self.under_way.load(Ordering::Acquire) == 0 {
            let sealed = self.seal.lock().seal(applied);
            return self.writer.lock().write(sealed);
        }
        self.under_way.fetch_add(1, Ordering::Relaxed);
        to_seal.send(applied).is_ok()
    }

    /// Seals blocks until there are no more or nobody takes them.
    pub(super) fn seal(&self, applied: &Receiver<Applied>, to_write: &SyncSender<Sealed>) {
        for applied in applied {
            let sealed = self.seal.lock().seal(applied);
            if to_write.send(sealed).is_err() {
                return;
            }
        }
    }

    /// Writes blocks until there are no more, or until the first failure.
    pub(super) fn write(&self, sealed: &Receiver<Sealed>) {
        for sealed in sealed {
            if !self.writer.lock().write(sealed) {
                return;
            }
            self.under_way.fetch_sub(1, Ordering::Release);
        }
        self.writer.lock().close();
    }
}
