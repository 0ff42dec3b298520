//! Finding ids from other threads.

use std::sync::PoisonError;

use proof::{AccountId, TenantId, TransferId};

use crate::accounts::{Creations, as_row};
use crate::ahead::{Ahead, CHUNK, resolve};
use crate::batch::Transfers;
use crate::book::{Book, Tenants};
use crate::hash::HashKey;
use crate::ids::IdReader;

/// Transfers that are looked up at a time.
const AHEAD: usize = 8 * CHUNK;

/// Finds ids while the book goes on changing.
///
/// What it gives are candidates: whoever asks reads the entry of each number, and compares its
/// tenant and id. Numbers of entries that are not durable yet have to be passed over, as if they
/// were not there; how many are durable has to be known before a candidate is asked for.
#[derive(Clone, Debug)]
pub struct Lookup {
    key: HashKey,
    tenants: Tenants,
    accounts: IdReader,
    creations: Creations,
    transfers: IdReader,
}

impl Lookup {
    pub(crate) fn new(book: &Book) -> Self {
        Self {
            key: book.key,
            tenants: Tenants::clone(&book.tenants),
            accounts: book.accounts.table.reader(),
            creations: Creations::clone(&book.accounts.creations),
            transfers: book.transfers.reader(),
        }
    }

    /// Looks up what of the next 1,024 transfers will not change any more until they are created:
    /// half of what the thread of the book would have to do for them. Whether there are more left.
    pub fn look_ahead(&self, tenant: TenantId, transfers: &mut Transfers) -> bool {
        let Some(tenant) = self.tenant(tenant) else { return false };
        let mut ahead = transfers.take_ahead(tenant);
        let begun = ahead.len();
        let end = transfers.len().min(begun + AHEAD);
        ahead.resize(end, Ahead::default());
        let chunks = transfers.items()[begun..end].chunks(CHUNK);
        for (chunk, ahead) in chunks.zip(ahead[begun..].chunks_mut(CHUNK)) {
            resolve(self.key, &**self.accounts.segments(), tenant, chunk, ahead);
        }
        transfers.set_ahead(tenant, ahead);
        end < transfers.len()
    }

    /// Number of a tenant.
    pub fn tenant(&self, id: TenantId) -> Option<u32> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    /// Numbers of entries that may be the transfer with that id, or its refusal.
    pub fn transfers(&self, tenant: u32, id: TransferId) -> Vec<u64> {
        self.transfers.candidates(self.key.hash(tenant, id.number()))
    }

    /// Rows that may be the account with that id, and numbers of the entries that created them.
    pub fn accounts(&self, tenant: u32, id: AccountId) -> Vec<(u32, u64)> {
        let rows = self.accounts.candidates(self.key.hash(tenant, id.number()));
        let creations = self.creations.read().unwrap_or_else(PoisonError::into_inner);
        // A row may have been taken back since.
        let created = |row| Some((as_row(row), *creations.get(usize::try_from(row).ok()?)?));
        rows.into_iter().filter_map(created).collect()
    }

    /// Number of the entry that created the account in that row.
    pub fn created_by(&self, row: u32) -> Option<u64> {
        let creations = self.creations.read().unwrap_or_else(PoisonError::into_inner);
        creations.get(row as usize).copied()
    }
}
