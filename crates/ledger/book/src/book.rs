//! The whole ledger: what all blocks so far have come to.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use proof::{Amendment, Checkpoint, Entry, Expiry, Hash, Key, Tenant, TenantId, Timestamp};

use crate::accounts::Accounts;
use crate::batch::{NewAccounts, Outcome, Transfers};
use crate::block::{Block, Posting};
use crate::hash::HashKey;
use crate::holds::{Hold, Holds};
use crate::ids::IdTable;
use crate::lookup::Lookup;
use crate::past::{Past, PastError};
use crate::rows::Change;
use crate::snapshot::Snapshot;
use crate::writer::Writer;

/// Most holds that end with a block; the others that are due end with the next.
pub(crate) const EXPIRIES_MAX: usize = 8_192;

/// Numbers of the tenants that were seen.
pub(crate) type Tenants = Arc<RwLock<HashMap<TenantId, u32>>>;

/// The state machine: accounts, ids and holds after the blocks that were built with it.
///
/// One block is built at a time: it is begun, then batches are written into it, then the next is
/// begun. A block that stayed empty may be dropped; any other has to be kept.
#[derive(Debug)]
pub struct Book {
    pub(crate) key: HashKey,
    pub(crate) tenants: Tenants,
    pub(crate) accounts: Accounts,
    /// From ids of transfers and refusals to numbers of entries.
    pub(crate) transfers: IdTable,
    pub(crate) holds: Holds,
    /// How many entries there are.
    pub(crate) entries: u64,
    /// When the last of them was created.
    pub(crate) last: Timestamp,
    /// The snapshot that is being taken, without what is copied.
    pub(crate) begun: Option<Snapshot>,
}

impl Default for Book {
    fn default() -> Self {
        Self {
            key: HashKey::random(),
            tenants: Tenants::default(),
            accounts: Accounts::default(),
            transfers: IdTable::default(),
            holds: Holds::default(),
            entries: 0,
            last: Timestamp::default(),
            begun: None,
        }
    }
}

impl Book {
    /// Begins a block: releases the holds whose time has passed by then, in that order.
    ///
    /// The block begins at `now`, or right after all that came before if the clock went back. If
    /// [`Self::next_expiry`] has passed all the same, there were too many for one block.
    pub fn begin(&mut self, now: Timestamp) -> Block {
        let timestamp = now.max(self.last.next());
        let mut block = Block::new(timestamp, self.entries);
        while block.len() < EXPIRIES_MAX
            && let Some(hold) = self.holds.expire_next(timestamp)
        {
            self.expire(&hold, &mut block);
        }
        self.advance(&block);
        block
    }

    /// Records that a hold has ended, and releases its money.
    fn expire(&mut self, hold: &Hold, block: &mut Block) {
        let number = block.next_number();
        let change = Change { released: hold.amount, ..Change::default() };
        let debit = self.accounts.rows.get_mut(hold.debit);
        debit.debits.apply(change);
        let debit = *debit;
        let credit = self.accounts.rows.get_mut(hold.credit);
        credit.credits.apply(change);
        block.effects.postings.extend([
            Posting::new(hold.debit, 0, number, debit.debits),
            Posting::new(hold.credit, 1, number, credit.credits),
        ]);
        let expiry = Expiry {
            ledger: debit.ledger,
            tenant: debit.tenant,
            hold: hold.id,
            debit: debit.id,
            credit: credit.id,
            amount: hold.amount,
            created_at: block.next_time(),
        };
        block.push(&Entry::Expiry(expiry), &[]);
    }

    /// Creates accounts in order, as part of `block`.
    pub fn create_accounts(
        &mut self,
        block: &mut Block,
        tenant: TenantId,
        accounts: &NewAccounts,
        past: &dyn Past,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), PastError> {
        let tenant = self.tenant(block, tenant);
        Writer::new(self, block, past, tenant).accounts(accounts, outcomes)?;
        self.advance(block);
        Ok(())
    }

    /// Changes accounts in order, as part of `block`. Tenant and time of the amendments are not
    /// read.
    pub fn amend_accounts(
        &mut self,
        block: &mut Block,
        tenant: TenantId,
        amendments: &[Amendment],
        outcomes: &mut Vec<Outcome>,
    ) {
        // Of a tenant that was never seen there are no accounts.
        let tenant = self.known_tenant(tenant).unwrap_or_default();
        outcomes.extend(amendments.iter().map(|asked| self.amend(block, tenant, asked)));
        self.advance(block);
    }

    /// Creates transfers in order, as part of `block`.
    pub fn create_transfers(
        &mut self,
        block: &mut Block,
        tenant: TenantId,
        transfers: &Transfers,
        past: &dyn Past,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), PastError> {
        let tenant = self.tenant(block, tenant);
        Writer::new(self, block, past, tenant).transfers(transfers, outcomes)?;
        self.advance(block);
        Ok(())
    }

    /// Records the key that signs the blocks after `block`, or the very first ones.
    pub fn record_key(&mut self, block: &mut Block, public: [u8; 32]) {
        block.push(&Entry::Key(Key { public, created_at: block.next_time() }), &[]);
        self.advance(block);
    }

    /// Records the root of the tree over the states of all `accounts` after `entries`.
    pub fn record_checkpoint(
        &mut self,
        block: &mut Block,
        entries: u64,
        accounts: u64,
        root: Hash,
    ) {
        let created_at = block.next_time();
        block.push(&Entry::Checkpoint(Checkpoint { entries, accounts, root, created_at }), &[]);
        self.advance(block);
    }

    /// When the next hold ends by itself. It is exact when that is near, and else not too late: a
    /// block that is begun then may have nothing to release.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.holds.open.next_end()
    }

    /// How many entries there are.
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// What other threads find ids with while the book goes on changing.
    pub fn lookup(&self) -> Lookup {
        Lookup::new(self)
    }

    /// Number of a tenant, which is recorded when it is seen for the first time.
    pub(crate) fn tenant(&mut self, block: &mut Block, id: TenantId) -> u32 {
        if let Some(number) = self.known_tenant(id) {
            return number;
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let number = 1 + u32::try_from(tenants.len()).expect("there are fewer than 2^32 tenants");
        tenants.insert(id, number);
        block.push(&Entry::Tenant(Tenant { number, id, created_at: block.next_time() }), &[]);
        number
    }

    pub(crate) fn known_tenant(&self, id: TenantId) -> Option<u32> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    /// Takes note of what `block` has recorded so far.
    pub(crate) fn advance(&mut self, block: &Block) {
        if !block.is_empty() {
            self.entries = block.next_number();
            self.last = block.last_time();
        }
    }
}
