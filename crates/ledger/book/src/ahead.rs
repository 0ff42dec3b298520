//! Looking up what a chunk of transfers will need, before its items are run one after the other.
//!
//! Tables and rows are too large for the processor's cache, and a transfer needs five places in
//! them. Where each is depends on what stands in the one before, so the places of one transfer are
//! waited for one by one; but those of many transfers at once. Hence the short loops here, each of
//! which makes loads that do not depend on one another.
//!
//! Accounts stay in their rows, so those can be found by any thread: [`resolve`] is also called by
//! who asks for the transfers, and leaves half of the work to the thread of the book.

use std::hint::black_box;

use proof::{AccountId, Transfer};

use crate::accounts::as_row;
use crate::book::Book;
use crate::hash::{HashKey, IdHash};
use crate::ids::Lines;

/// Items that are looked up together.
pub(crate) const CHUNK: usize = 128;

/// Stands for no row.
const NO_ROW: u32 = u32::MAX;

/// What was looked up for a transfer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Ahead {
    pub(crate) id: IdHash,
    /// Of the hold that a settlement names.
    pub(crate) hold: IdHash,
    debit: u32,
    credit: u32,
}

impl Ahead {
    /// For a settlement that names no accounts.
    pub(crate) const fn of_settlement(id: IdHash, hold: IdHash) -> Self {
        Self { id, hold, debit: NO_ROW, credit: NO_ROW }
    }

    /// Row of the debit account, if it is named and exists.
    pub(crate) fn debit(&self) -> Option<u32> {
        (self.debit != NO_ROW).then_some(self.debit)
    }

    /// Row of the credit account, if it is named and exists.
    pub(crate) fn credit(&self) -> Option<u32> {
        (self.credit != NO_ROW).then_some(self.credit)
    }
}

/// Hashes the ids of a chunk of transfers of a tenant, and finds rows in the table of accounts which
/// are most often those of the accounts that they name.
pub(crate) fn resolve(
    key: HashKey,
    accounts: &(impl Lines + ?Sized),
    tenant: u32,
    chunk: &[Transfer],
    ahead: &mut [Ahead],
) {
    let mut hashes = [[IdHash::default(); 2]; CHUNK];
    let hashes = &mut hashes[..chunk.len()];
    for ((new, ahead), hashes) in chunk.iter().zip(&mut *ahead).zip(&mut *hashes) {
        ahead.id = key.hash(tenant, new.id.number());
        if new.kind.settles() {
            ahead.hold = key.hash(tenant, new.hold.number());
        }
        hashes[0] = key.hash(tenant, new.debit.number());
        hashes[1] = key.hash(tenant, new.credit.number());
    }
    touch(accounts, hashes.as_flattened().iter().copied());
    let row = |hash| accounts.first(hash).map_or(NO_ROW, as_row);
    for (ahead, hashes) in ahead.iter_mut().zip(hashes) {
        (ahead.debit, ahead.credit) = (row(hashes[0]), row(hashes[1]));
    }
}

impl Book {
    /// [`resolve`] with the accounts that there are now.
    pub(crate) fn resolve(&self, tenant: u32, chunk: &[Transfer], ahead: &mut [Ahead]) {
        resolve(self.key, &self.accounts.table, tenant, chunk, ahead);
    }

    /// Brings what a chunk of transfers will need into the cache, and makes sure of their rows.
    pub(crate) fn look_ahead(&self, tenant: u32, chunk: &[Transfer], ahead: &mut [Ahead]) {
        touch(&self.transfers, ahead.iter().map(|ahead| ahead.id));
        self.touch_rows(ahead.iter().flat_map(|ahead| [ahead.debit, ahead.credit]));
        if chunk.iter().any(|new| new.kind.settles()) {
            self.touch_holds(ahead);
        }
        for (new, ahead) in chunk.iter().zip(ahead) {
            ahead.debit = self.confirm(ahead.debit, tenant, new.debit);
            ahead.credit = self.confirm(ahead.credit, tenant, new.credit);
        }
    }

    /// Row of the account, which was found in `row` when it was looked for.
    fn confirm(&self, row: u32, tenant: u32, id: AccountId) -> u32 {
        if row < self.accounts.rows.len() && self.accounts.is_at(row, tenant, id) {
            return row;
        }
        if id.is_none() {
            return NO_ROW;
        }
        let hash = self.key.hash(tenant, id.number());
        self.accounts.find(hash, tenant, id).unwrap_or(NO_ROW)
    }

    /// Brings holds that are named and their accounts into the cache.
    fn touch_holds(&self, ahead: &[Ahead]) {
        touch(&self.transfers, ahead.iter().map(|ahead| ahead.hold));
        let mut numbers = [None; CHUNK];
        for (number, ahead) in numbers.iter_mut().zip(ahead) {
            *number = self.transfers.first(ahead.hold);
        }
        let mut rows = [[NO_ROW; 2]; CHUNK];
        for (rows, number) in rows.iter_mut().zip(&numbers[..ahead.len()]) {
            let hold = number.and_then(|number| self.holds.open.get(number));
            *rows = hold.map_or([NO_ROW; 2], |hold| [hold.debit, hold.credit]);
        }
        self.touch_rows(rows[..ahead.len()].as_flattened().iter().copied());
    }

    /// Brings rows of accounts into the cache.
    fn touch_rows(&self, rows: impl Iterator<Item = u32>) {
        let count = self.accounts.rows.len();
        let rows = rows.filter(|row| *row < count);
        black_box(rows.fold(0, |seen, row| seen ^ self.accounts.rows.get(row).tenant));
    }
}

/// Brings what searches will look at into the cache.
fn touch(table: &(impl Lines + ?Sized), hashes: impl Iterator<Item = IdHash>) {
    let mut touched = [(IdHash::default(), 0); 2 * CHUNK];
    let mut count = 0;
    for (touched, hash) in touched.iter_mut().zip(hashes) {
        *touched = (hash, table.touch(hash));
        count += 1;
    }
    let touched = &touched[..count];
    black_box(touched.iter().fold(0, |seen, (hash, last)| seen ^ table.touch_next(*hash, *last)));
}
