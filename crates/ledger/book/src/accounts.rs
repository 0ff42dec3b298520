//! Accounts: their rows, and how they are found.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use proof::AccountId;

use crate::chunks::Chunks;
use crate::hash::IdHash;
use crate::ids::IdTable;
use crate::rows::Row;

/// Most accounts of a ledger: rows are numbers of 27 bits.
const ACCOUNTS_MAX: u32 = 1 << 27;

/// Number of the entry that created each account, in order of rows.
pub(crate) type Creations = Arc<RwLock<Vec<u64>>>;

/// Accounts of all tenants.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// Most that there may be: [`ACCOUNTS_MAX`], or less in tests.
    pub(crate) max: u32,
    pub(crate) rows: Chunks<Row>,
    /// From ids to rows.
    pub(crate) table: IdTable,
    /// Overdrafts of the rows that have one.
    pub(crate) overdrafts: HashMap<u32, u64>,
    pub(crate) creations: Creations,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            max: ACCOUNTS_MAX,
            rows: Chunks::default(),
            table: IdTable::default(),
            overdrafts: HashMap::default(),
            creations: Creations::default(),
        }
    }
}

impl Accounts {
    /// Row of an account.
    pub(crate) fn find(&self, hash: IdHash, tenant: u32, id: AccountId) -> Option<u32> {
        self.table.find(hash, |row| self.is_at(as_row(row), tenant, id)).map(as_row)
    }

    /// Whether the account is in that row.
    pub(crate) fn is_at(&self, row: u32, tenant: u32, id: AccountId) -> bool {
        let row = self.rows.get(row);
        row.id == id && row.tenant == tenant
    }

    /// Adds an account that the entry `number` creates.
    pub(crate) fn push(&mut self, hash: IdHash, row: Row, overdraft: u64, number: u64) {
        let place = self.rows.push(row);
        self.set_overdraft(place, overdraft);
        self.table.insert(hash, place.into());
        self.creations.write().unwrap_or_else(PoisonError::into_inner).push(number);
    }

    /// Takes the newest account back.
    pub(crate) fn pop(&mut self, hash: IdHash) {
        self.rows.pop();
        let place = self.rows.len();
        self.overdrafts.remove(&place);
        self.table.remove(hash, place.into());
        self.creations.write().unwrap_or_else(PoisonError::into_inner).pop();
    }

    /// Number of the entry that created an account.
    pub(crate) fn created_by(&self, row: u32) -> u64 {
        self.creations.read().unwrap_or_else(PoisonError::into_inner)[row as usize]
    }

    /// Minor units by which an account may pass its limit.
    pub(crate) fn overdraft(&self, row: u32) -> u64 {
        if self.rows.get(row).has_overdraft { self.overdrafts[&row] } else { 0 }
    }

    pub(crate) fn set_overdraft(&mut self, row: u32, overdraft: u64) {
        self.rows.get_mut(row).has_overdraft = overdraft > 0;
        if overdraft > 0 {
            self.overdrafts.insert(row, overdraft);
        } else {
            self.overdrafts.remove(&row);
        }
    }
}

/// A row that the table of accounts gave.
pub(crate) fn as_row(number: u64) -> u32 {
    u32::try_from(number).expect("there are at most 2^27 accounts")
}
