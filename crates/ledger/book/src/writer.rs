//! A tenant's part of the book, being written.

use proof::{EntryBytes, TransferId, peek};

use crate::block::{self, Block};
use crate::book::Book;
use crate::hash::IdHash;
use crate::holds::{Fate, OpenHold};
use crate::past::{Past, PastError};
use crate::rows::Side;

/// What writes entries of one tenant into a block.
pub(crate) struct Writer<'a> {
    pub(crate) book: &'a mut Book,
    pub(crate) block: &'a mut Block,
    pub(crate) past: &'a dyn Past,
    /// Number of the tenant.
    pub(crate) tenant: u32,
    /// What takes back the changes since the group or chain began that is being written.
    undo: Option<Vec<Undo>>,
    /// What chains of the batch have had so far.
    pub(crate) chained: Chained,
}

/// How often chains looked at entries, and how many holds they found.
#[derive(Default)]
pub(crate) struct Chained {
    pub(crate) looks: usize,
    pub(crate) holds: usize,
}

/// Where a block ended, and what there was to take back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    block: block::Mark,
    undo: usize,
}

/// How a change of the book is taken back. The block is just cut.
pub(crate) enum Undo {
    Account(IdHash),
    Transfer(TransferUndo),
}

/// What a transfer changed.
pub(crate) struct TransferUndo {
    pub(crate) hash: IdHash,
    pub(crate) number: u64,
    /// Rows and sides as they were.
    pub(crate) debit: (u32, Side),
    pub(crate) credit: (u32, Side),
    /// The hold that it ended.
    pub(crate) ended: Option<OpenHold>,
}

/// A transfer or refusal that was found by its id.
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) entry: EntryBytes,
    pub(crate) extension: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(
        book: &'a mut Book,
        block: &'a mut Block,
        past: &'a dyn Past,
        tenant: u32,
    ) -> Self {
        Self { book, block, past, tenant, undo: None, chained: Chained::default() }
    }

    pub(crate) fn hash(&self, id: u128) -> IdHash {
        self.book.key.hash(self.tenant, id)
    }

    /// An entry of this block or of those before. `extension` becomes its extension.
    pub(crate) fn entry(
        &self,
        number: u64,
        extension: &mut Vec<u8>,
    ) -> Result<EntryBytes, PastError> {
        let Some(place) = number.checked_sub(self.block.first) else {
            return self.past.entry(number, extension);
        };
        let place = usize::try_from(place).expect("it is in this block");
        extension.clear();
        extension.extend_from_slice(self.block.extension(place));
        Ok(self.block.entries()[place])
    }

    /// The transfer or refusal with that id.
    pub(crate) fn find(&self, hash: IdHash, id: TransferId) -> Result<Option<Found>, PastError> {
        let mut found = None;
        self.book.transfers.try_find(hash, |number| {
            found = self.found_at(number, id)?;
            Ok::<_, PastError>(found.is_some())
        })?;
        Ok(found)
    }

    /// What is at that number, if it is of the tenant and has that id.
    pub(crate) fn found_at(&self, number: u64, id: TransferId) -> Result<Option<Found>, PastError> {
        let mut extension = Vec::new();
        let entry = self.entry(number, &mut extension)?;
        let is_it = peek::tenant(&entry) == self.tenant && peek::id(&entry) == id.number();
        Ok(is_it.then_some(Found { number, entry, extension }))
    }

    /// Begins to keep in mind how changes are taken back.
    pub(crate) fn begin_group(&mut self) -> Mark {
        let undo = self.undo.get_or_insert_default().len();
        Mark { block: self.block.mark(), undo }
    }

    /// Whether a group is being written.
    pub(crate) const fn is_in_group(&self) -> bool {
        self.undo.is_some()
    }

    /// What was changed stays.
    pub(crate) fn end_group(&mut self) {
        self.undo = None;
    }

    /// Keeps in mind how a change is taken back, if it may have to be.
    pub(crate) fn changed(&mut self, how: impl FnOnce() -> Undo) {
        if let Some(undo) = &mut self.undo {
            undo.push(how());
        }
    }

    /// Takes back all that happened since, newest first.
    pub(crate) fn undo(&mut self, mark: &Mark) {
        self.block.go_back(&mark.block);
        let undo = self.undo.as_mut().map(|undo| undo.split_off(mark.undo));
        for change in undo.into_iter().flatten().rev() {
            match change {
                Undo::Account(hash) => self.book.accounts.pop(hash),
                Undo::Transfer(transfer) => self.book.undo_transfer(&transfer),
            }
        }
    }
}

impl Book {
    fn undo_transfer(&mut self, it: &TransferUndo) {
        self.accounts.rows.get_mut(it.debit.0).debits = it.debit.1;
        self.accounts.rows.get_mut(it.credit.0).credits = it.credit.1;
        self.transfers.remove(it.hash, it.number);
        // If it was a hold, there never was one.
        self.holds.end(it.number, Fate::Open);
        if let Some(ended) = it.ended {
            self.holds.open_again(ended);
        }
    }
}
