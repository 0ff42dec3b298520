//! What changed the balances of an account.

use super::{Balances, Timestamp, Transfer};

/// One change of an account: which transfer, and the balances after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Change {
    /// Row of the transfer.
    pub(super) transfer: usize,
    pub(super) balances: Balances,
    pub(super) at: Timestamp,
}

/// All changes of one account, oldest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct History(Vec<Change>);

impl History {
    pub(super) fn push(&mut self, change: Change) {
        self.0.push(change);
    }

    /// Takes the newest change back.
    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    /// Up to `size` changes, newest first, and how many are older than those.
    ///
    /// `older` continues a page before; changes that were added since do not move it.
    pub(super) fn page(&self, older: Option<u64>, size: usize) -> (Vec<Change>, u64) {
        let end = older.map_or(self.0.len(), |older| {
            usize::try_from(older).map_or(self.0.len(), |older| older.min(self.0.len()))
        });
        let start = end.saturating_sub(size);
        (self.0[start..end].iter().rev().copied().collect(), start as u64)
    }
}

/// One change of an account's balances.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HistoryEntry {
    /// The transfer that changed them; for an expired hold the hold itself.
    pub(crate) transfer: Transfer,
    /// The balances after it.
    pub(crate) balances: Balances,
    /// When the change took effect.
    pub(crate) at: Timestamp,
}

/// A page of an account's history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HistoryPage {
    /// Newest first.
    pub(crate) entries: Vec<HistoryEntry>,
    /// How many entries are older than the page.
    pub(crate) older: u64,
}
