//! Looking up what a chunk of transfers will need, before its items are run one after the other.
//!
//! Tables and rows are too large for the processor's cache, and a transfer needs five places in
//! them. Where each is depends on what stands in the one before, so the places of one transfer are
//! waited for one by one; but those of many transfers at once. Hence the short loops here, each of
//! which makes loads that do not depend on one another.

use std::hint::black_box;

use proof::{AccountId, Transfer};

use crate::accounts::as_row;
use crate::book::Book;
use crate::hash::IdHash;
use crate::ids::IdTable;

/// Items that are looked up together.
pub(crate) const CHUNK: usize = 128;

/// Stands for no row.
const NO_ROW: u32 = u32::MAX;

/// What was looked up for a transfer.
#[derive(Clone, Copy, Default)]
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

impl Book {
    /// Looks up what a chunk of transfers of a tenant will need.
    pub(crate) fn look_ahead(&self, tenant: u32, chunk: &[Transfer], ahead: &mut [Ahead; CHUNK]) {
        let ahead = &mut ahead[..chunk.len()];
        let mut accounts = [[IdHash::default(); 2]; CHUNK];
        let accounts = &mut accounts[..chunk.len()];
        for ((new, ahead), accounts) in chunk.iter().zip(&mut *ahead).zip(&mut *accounts) {
            ahead.id = self.key.hash(tenant, new.id.number());
            accounts[0] = self.key.hash(tenant, new.debit.number());
            accounts[1] = self.key.hash(tenant, new.credit.number());
        }
        touch(&self.transfers, ahead.iter().map(|ahead| ahead.id));
        touch(&self.accounts.table, accounts.as_flattened().iter().copied());
        if chunk.iter().any(|new| new.kind.settles()) {
            for (new, ahead) in chunk.iter().zip(&mut *ahead) {
                ahead.hold = self.key.hash(tenant, new.hold.number());
            }
            self.touch_holds(ahead);
        }
        let mut rows = [NO_ROW; 2 * CHUNK];
        for (row, hash) in rows.iter_mut().zip(accounts.as_flattened()) {
            *row = self.accounts.table.first(*hash).map_or(NO_ROW, as_row);
        }
        self.touch_rows(&rows[..2 * chunk.len()]);
        let rows = rows.as_chunks::<2>().0;
        for (((new, ahead), hashes), rows) in chunk.iter().zip(ahead).zip(accounts).zip(rows) {
            ahead.debit = self.confirm(rows[0], hashes[0], tenant, new.debit);
            ahead.credit = self.confirm(rows[1], hashes[1], tenant, new.credit);
        }
    }

    /// Row of the account, of which `row` is the first candidate.
    fn confirm(&self, row: u32, hash: IdHash, tenant: u32, id: AccountId) -> u32 {
        if row == NO_ROW || self.accounts.is_at(row, tenant, id) {
            return row;
        }
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
        self.touch_rows(rows[..ahead.len()].as_flattened());
    }

    /// Brings rows of accounts into the cache.
    fn touch_rows(&self, rows: &[u32]) {
        let count = self.accounts.rows.len();
        let rows = rows.iter().filter(|row| **row < count);
        black_box(rows.fold(0, |seen, row| seen ^ self.accounts.rows.get(*row).tenant));
    }
}

/// Brings what searches will look at into the cache.
fn touch(table: &IdTable, hashes: impl Iterator<Item = IdHash>) {
    let mut touched = [(IdHash::default(), 0); 2 * CHUNK];
    let mut count = 0;
    for (touched, hash) in touched.iter_mut().zip(hashes) {
        *touched = (hash, table.touch(hash));
        count += 1;
    }
    let touched = &touched[..count];
    black_box(touched.iter().fold(0, |seen, (hash, last)| seen ^ table.touch_next(*hash, *last)));
}
