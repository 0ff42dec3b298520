//! What the adding thread, the merging thread and the readers share.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use crate::IndexError;
use crate::reference::ReferenceHash;
use crate::view::View;

/// When runs are merged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Records from which on a run in memory stays as it is until it is stored.
    pub(crate) full: usize,
    /// Records in memory from which on they are stored.
    pub(crate) store: usize,
    /// Records in memory from which on adding waits.
    pub(crate) wait: usize,
    /// Runs of a level that become one of the next. Of four times as many adding waits.
    pub(crate) fan: usize,
    /// Bits of the hashes of references that are kept.
    pub(crate) hash_mask: u64,
}

impl Sizes {
    /// At most 12 MiB of records in memory, stored 6 MiB at a time.
    pub(crate) const DEFAULT: Self =
        Self { full: 1 << 13, store: 1 << 18, wait: 1 << 19, fan: 16, hash_mask: u64::MAX };
}

/// What the threads share.
pub(crate) struct Shared {
    pub(crate) folder: PathBuf,
    pub(crate) sizes: Sizes,
    pub(crate) hash: ReferenceHash,
    view: RwLock<Arc<View>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What the adding and the merging thread agree on.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Runs in memory that begin before this number are being stored, and stay as they are.
    pub(crate) frozen: u64,
    /// How many entries are durable for sure: of others nothing is stored.
    pub(crate) settled: u64,
    /// How the merging thread is to end.
    pub(crate) end: Option<End>,
    /// Why it ended by itself.
    pub(crate) failure: Option<String>,
}

/// How the merging thread ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Everything is stored and synced first.
    Clean,
    /// At once.
    Abandoned,
}

impl Shared {
    pub(crate) fn new(folder: PathBuf, sizes: Sizes, hash: ReferenceHash, view: View) -> Self {
        let view = RwLock::new(Arc::new(view));
        Self { folder, sizes, hash, view, state: Mutex::default(), changed: Condvar::new() }
    }

    /// All runs as they are now.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits until merging is not far behind. So many entries are durable.
    pub(crate) fn lock_with_room(&self, settled: u64) -> Result<MutexGuard<'_, State>, IndexError> {
        let mut state = self.lock();
        state.settled = settled;
        self.notify();
        loop {
            if let Some(failure) = &state.failure {
                return Err(IndexError::Stopped(failure.clone()));
            }
            let view = self.view();
            let is_full = view.records_in_memory() >= self.sizes.wait
                || view.crowded(4 * self.sizes.fan).is_some();
            if !is_full {
                return Ok(state);
            }
            self.wait(&mut state);
        }
    }

    /// Waits for the next change of the state or the view.
    pub(crate) fn wait(&self, state: &mut MutexGuard<'_, State>) {
        self.changed.wait(state);
    }

    /// Tells those who wait that the state has changed.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Changes what readers see. The lock says that nobody else does.
    pub(crate) fn publish(
        &self,
        _lock: &mut MutexGuard<'_, State>,
        change: impl FnOnce(&mut View) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut view = View::clone(&self.view());
        change(&mut view)?;
        let before = mem::replace(&mut *self.view.write(), Arc::new(view));
        self.notify();
        drop(before);
        Ok(())
    }
}
