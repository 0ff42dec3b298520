//! The accounts and transfers of one tenant.

use std::collections::HashSet;

use auth::TenantId;

use super::account::Change;
use super::check::{self, Plan};
use super::history::{Change as HistoryChange, History};
use super::holds::Holds;
use super::table::Table;
use super::{
    Account, AccountId, AccountRefusal, HistoryEntry, HistoryPage, HoldState, NewAccount,
    NewTransfer, Outcome, Timestamp, Transfer, TransferId, TransferKind, TransferRefusal,
};

/// All that a tenant has. Nothing of one book can be reached from another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Book {
    tenant: TenantId,
    accounts: Table<AccountId, Account>,
    /// One per account, in rows of the same number.
    histories: Vec<History>,
    transfers: Table<TransferId, Transfer>,
    /// Ids of transfers that were refused for good.
    failed: HashSet<TransferId>,
}

impl Book {
    /// The empty book of a tenant.
    pub(super) fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            accounts: Table::default(),
            histories: Vec::new(),
            transfers: Table::default(),
            failed: HashSet::new(),
        }
    }

    pub(super) fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }

    pub(super) fn account_at(&self, row: usize) -> &Account {
        self.accounts.row(row)
    }

    /// Row of an account that is known to exist.
    pub(super) fn account_row(&self, id: AccountId) -> usize {
        // Transfers name only accounts that were found, and accounts that have transfers stay.
        self.accounts.find(id).expect("a transfer's accounts exist")
    }

    pub(super) fn transfer(&self, id: TransferId) -> Option<&Transfer> {
        self.transfers.get(id)
    }

    pub(super) fn transfer_at(&self, row: usize) -> &Transfer {
        self.transfers.row(row)
    }

    pub(super) fn transfer_row(&self, id: TransferId) -> Option<usize> {
        self.transfers.find(id)
    }

    pub(super) fn has_failed(&self, id: TransferId) -> bool {
        self.failed.contains(&id)
    }

    /// Sees to it that no transfer is ever created with that id.
    pub(super) fn fail(&mut self, id: TransferId) {
        self.failed.insert(id);
    }

    /// A page of an account's history, if there is such an account.
    pub(super) fn history(
        &self,
        id: AccountId,
        older: Option<u64>,
        size: usize,
    ) -> Option<HistoryPage> {
        let (changes, older) = self.histories[self.accounts.find(id)?].page(older, size);
        let entry = |change: HistoryChange| HistoryEntry {
            transfer: self.transfers.row(change.transfer).clone(),
            balances: change.balances,
            at: change.at,
        };
        Some(HistoryPage { entries: changes.into_iter().map(entry).collect(), older })
    }

    /// Creates an account at that time.
    pub(super) fn create_account(
        &mut self,
        new: &NewAccount,
        at: Timestamp,
    ) -> Result<(), Outcome<AccountRefusal>> {
        check::account(self, new)?;
        self.accounts.push(new.id, Account::open(new, at));
        self.histories.push(History::default());
        Ok(())
    }

    /// Takes back the newest account, which has no transfers yet.
    pub(super) fn undo_account(&mut self) {
        self.accounts.pop(|account| account.id);
        self.histories.pop();
    }

    /// Creates a transfer at that time and returns it with all that it inherited named.
    pub(super) fn create_transfer(
        &mut self,
        new: &NewTransfer,
        at: Timestamp,
        holds: &mut Holds,
    ) -> Result<NewTransfer, Outcome<TransferRefusal>> {
        let Plan { transfer: new, debit, credit, hold } = check::transfer(self, new)?;
        let transfer = Transfer::accept(&new, at);
        let mut released = 0;
        if let Some(row) = hold {
            let hold = self.transfers.row_mut(row);
            released = hold.amount;
            hold.hold = Some(if new.kind == TransferKind::PostPending {
                HoldState::Posted
            } else {
                HoldState::Voided
            });
            holds.remove(hold);
        }
        let change = transfer.change(released);
        let row = self.transfers.push(new.id, transfer);
        if new.kind == TransferKind::Pending {
            holds.add(self.tenant, row, self.transfers.row(row));
        }
        self.change(debit, credit, change, row, at);
        Ok(new)
    }

    /// Takes back the newest transfer, whose changes are the newest of its accounts.
    pub(super) fn undo_transfer(&mut self, holds: &mut Holds) {
        let Some(transfer) = self.transfers.pop(|transfer| transfer.id) else { return };
        let mut released = 0;
        if let Some(row) = self.transfers.find(transfer.pending_id) {
            let hold = self.transfers.row_mut(row);
            released = hold.amount;
            hold.hold = Some(HoldState::Open);
            holds.add(self.tenant, row, hold);
        } else {
            holds.remove(&transfer);
        }
        let change = transfer.change(released);
        let debit = self.account_row(transfer.debit_account_id);
        let credit = self.account_row(transfer.credit_account_id);
        self.accounts.row_mut(debit).balances.debits.revert(change);
        self.accounts.row_mut(credit).balances.credits.revert(change);
        self.histories[debit].pop();
        self.histories[credit].pop();
    }

    /// Releases the hold in that row, whose time has passed.
    pub(super) fn expire(&mut self, row: usize, at: Timestamp) {
        let hold = self.transfers.row_mut(row);
        hold.hold = Some(HoldState::Expired);
        let change = Change { released: hold.amount, ..Change::default() };
        let (debit, credit) = (hold.debit_account_id, hold.credit_account_id);
        self.change(self.account_row(debit), self.account_row(credit), change, row, at);
    }

    /// Changes the balances of both accounts, and their histories.
    fn change(
        &mut self,
        debit: usize,
        credit: usize,
        change: Change,
        transfer: usize,
        at: Timestamp,
    ) {
        self.accounts.row_mut(debit).balances.debits.apply(change);
        self.accounts.row_mut(credit).balances.credits.apply(change);
        for account in [debit, credit] {
            let balances = self.accounts.row(account).balances;
            self.histories[account].push(HistoryChange { transfer, balances, at });
        }
    }

    #[cfg(test)]
    pub(super) fn accounts(&self) -> &[Account] {
        self.accounts.rows()
    }
}
