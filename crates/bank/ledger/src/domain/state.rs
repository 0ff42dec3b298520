//! The whole ledger: a book per tenant.

use std::collections::HashMap;

use auth::TenantId;

use super::book::Book;
use super::holds::Holds;
use super::linked::{self, Batch};
use super::{
    Account, AccountId, AccountRefusal, Block, HistoryPage, NewAccount, NewTransfer, Outcome,
    Record, Timestamp, Transfer, TransferId, TransferRefusal,
};

/// The ledger after the blocks that were applied to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    books: HashMap<TenantId, Book>,
    holds: Holds,
    /// The last time that was given to anything.
    last: Timestamp,
}

impl State {
    /// Begins a block: releases every hold whose time has passed by then.
    ///
    /// The block begins at `now`, or right after all that came before if the clock went back.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Block {
        let timestamp = now.max(self.last.next());
        self.last = timestamp;
        let mut block = Block { timestamp, ..Block::default() };
        while let Some((tenant, row)) = self.holds.pop_due(timestamp) {
            self.last = self.last.next();
            if let Some(book) = self.books.get_mut(&tenant) {
                book.expire(row, self.last);
            }
            block.expired += 1;
        }
        block
    }

    /// Creates accounts in order, as part of `block`.
    pub(crate) fn create_accounts(
        &mut self,
        tenant: TenantId,
        accounts: &[NewAccount],
        block: &mut Block,
    ) -> Vec<Outcome<AccountRefusal>> {
        linked::run(&mut Accounts(self.writer(tenant, block)), accounts)
    }

    /// Creates transfers in order, as part of `block`.
    pub(crate) fn create_transfers(
        &mut self,
        tenant: TenantId,
        transfers: &[NewTransfer],
        block: &mut Block,
    ) -> Vec<Outcome<TransferRefusal>> {
        linked::run(&mut Transfers(self.writer(tenant, block)), transfers)
    }

    fn writer<'a>(&'a mut self, tenant: TenantId, block: &'a mut Block) -> Writer<'a> {
        Writer {
            tenant,
            book: self.books.entry(tenant).or_insert_with(|| Book::new(tenant)),
            holds: &mut self.holds,
            last: &mut self.last,
            records: &mut block.records,
        }
    }

    /// The account, if the tenant has it.
    pub(crate) fn account(&self, tenant: TenantId, id: AccountId) -> Option<&Account> {
        self.books.get(&tenant)?.account(id)
    }

    /// The transfer, if the tenant has it.
    pub(crate) fn transfer(&self, tenant: TenantId, id: TransferId) -> Option<&Transfer> {
        self.books.get(&tenant)?.transfer(id)
    }

    /// Up to `size` changes of the account, if the tenant has it, newest first; `older` is what
    /// the page before said.
    pub(crate) fn history(
        &self,
        tenant: TenantId,
        id: AccountId,
        older: Option<u64>,
        size: usize,
    ) -> Option<HistoryPage> {
        self.books.get(&tenant)?.history(id, older, size)
    }

    /// When the next hold ends by itself.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.holds.next()
    }

    /// Applies a block that was applied before, and checks that it has the same effect.
    pub(crate) fn replay(&mut self, block: &Block) -> Result<(), ReplayError> {
        if block.timestamp <= self.last {
            return Err(ReplayError::TimeWentBack);
        }
        let expired = self.begin(block.timestamp).expired;
        if expired != block.expired {
            return Err(ReplayError::Expired { recorded: block.expired, replayed: expired });
        }
        for (index, record) in block.records.iter().enumerate() {
            self.replay_record(record).map_err(|reason| ReplayError::Record { index, reason })?;
        }
        Ok(())
    }

    fn replay_record(&mut self, record: &Record) -> Result<(), String> {
        let (Record::Account { tenant, .. }
        | Record::Transfer { tenant, .. }
        | Record::Refusal { tenant, .. }) = record;
        let book = self.books.entry(*tenant).or_insert_with(|| Book::new(*tenant));
        let created_at = match record {
            Record::Account { account, created_at, .. } => {
                book.create_account(account, *created_at).map_err(|no| format!("{no:?}"))?;
                created_at
            }
            Record::Transfer { transfer, created_at, .. } => {
                book.create_transfer(transfer, *created_at, &mut self.holds)
                    .map_err(|no| format!("{no:?}"))?;
                created_at
            }
            Record::Refusal { id, .. } => {
                book.fail(*id);
                return Ok(());
            }
        };
        if *created_at <= self.last {
            return Err("its time went back".to_owned());
        }
        self.last = *created_at;
        Ok(())
    }

    /// What tells two states apart: all but the last time given, which may have been for nothing.
    #[cfg(test)]
    pub(crate) fn facts(&self) -> impl PartialEq + std::fmt::Debug {
        let books = self.books.iter().filter(|(tenant, book)| **book != Book::new(**tenant));
        (
            books.map(|(tenant, book)| (*tenant, book.clone())).collect::<HashMap<_, _>>(),
            self.holds.clone(),
        )
    }

    /// Every account of a tenant.
    #[cfg(test)]
    pub(crate) fn accounts(&self, tenant: TenantId) -> &[Account] {
        self.books.get(&tenant).map_or(&[], Book::accounts)
    }
}

/// Why a block has not the effect that it had when it was written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ReplayError {
    /// It does not begin after the block before.
    #[error("it begins before the block before it ends")]
    TimeWentBack,
    /// Other holds end with it.
    #[error("{recorded} holds ended with it, now {replayed} do")]
    Expired { recorded: u32, replayed: u32 },
    /// What it says happened is refused now.
    #[error("its record {index} cannot be applied: {reason}")]
    Record { index: usize, reason: String },
}

/// One tenant's book, being written.
struct Writer<'a> {
    tenant: TenantId,
    book: &'a mut Book,
    holds: &'a mut Holds,
    last: &'a mut Timestamp,
    records: &'a mut Vec<Record>,
}

struct Accounts<'a>(Writer<'a>);

impl Batch for Accounts<'_> {
    type Item = NewAccount;
    type Refusal = AccountRefusal;
    const LINKED_EVENT_FAILED: AccountRefusal = AccountRefusal::LinkedEventFailed;
    const LINKED_EVENT_CHAIN_OPEN: AccountRefusal = AccountRefusal::LinkedEventChainOpen;

    fn is_linked(item: &NewAccount) -> bool {
        item.linked
    }

    fn create(&mut self, new: &NewAccount) -> Outcome<AccountRefusal> {
        let Writer { tenant, book, last, records, .. } = &mut self.0;
        let created_at = last.next();
        if let Err(outcome) = book.create_account(new, created_at) {
            return outcome;
        }
        **last = created_at;
        let account = NewAccount { linked: false, ..new.clone() };
        records.push(Record::Account { tenant: *tenant, account, created_at });
        Outcome::Created(created_at)
    }

    fn undo(&mut self) {
        self.0.book.undo_account();
        self.0.records.pop();
    }

    fn refuse(&mut self, _: &NewAccount, _: AccountRefusal) {}
}

struct Transfers<'a>(Writer<'a>);

impl Batch for Transfers<'_> {
    type Item = NewTransfer;
    type Refusal = TransferRefusal;
    const LINKED_EVENT_FAILED: TransferRefusal = TransferRefusal::LinkedEventFailed;
    const LINKED_EVENT_CHAIN_OPEN: TransferRefusal = TransferRefusal::LinkedEventChainOpen;

    fn is_linked(item: &NewTransfer) -> bool {
        item.linked
    }

    fn create(&mut self, new: &NewTransfer) -> Outcome<TransferRefusal> {
        let Writer { tenant, book, holds, last, records } = &mut self.0;
        let created_at = last.next();
        let transfer = match book.create_transfer(new, created_at, holds) {
            Ok(transfer) => transfer,
            Err(outcome) => return outcome,
        };
        **last = created_at;
        records.push(Record::Transfer { tenant: *tenant, transfer, created_at });
        Outcome::Created(created_at)
    }

    fn undo(&mut self) {
        self.0.book.undo_transfer(self.0.holds);
        self.0.records.pop();
    }

    fn refuse(&mut self, item: &NewTransfer, refusal: TransferRefusal) {
        if refusal.is_final() {
            self.0.book.fail(item.id);
            self.0.records.push(Record::Refusal { tenant: self.0.tenant, id: item.id, refusal });
        }
    }
}
