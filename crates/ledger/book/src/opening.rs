//! Creating accounts, and changing them.

use proof::{Account, Amendment, Entry};

use crate::batch::{NewAccounts, Outcome};
use crate::block::{AmendmentAt, Block};
use crate::book::Book;
use crate::hash::IdHash;
use crate::linked::{Groups, Item};
use crate::past::PastError;
use crate::rows::{Limit, Row};
use crate::statuses::{AccountStatus as No, AmendmentStatus};
use crate::writer::{Undo, Writer};

/// An account that is asked for.
pub(crate) struct WantedAccount<'a> {
    pub(crate) new: &'a Account,
    pub(crate) extension: &'a [u8],
    pub(crate) is_linked: bool,
}

impl Writer<'_> {
    /// Creates accounts in order.
    pub(crate) fn accounts(
        &mut self,
        accounts: &NewAccounts,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), PastError> {
        let (mut groups, mut extensions) = (Groups::default(), accounts.extensions());
        let mut left = accounts.len();
        for (new, is_linked) in accounts.items() {
            let (extension, rest) = extensions.split_at(new.extension.into());
            extensions = rest;
            left -= 1;
            let wanted = WantedAccount { new, extension, is_linked: *is_linked };
            groups.run(self, &wanted, left == 0, outcomes)?;
        }
        Ok(())
    }

    /// Creates an account.
    pub(crate) fn open(&mut self, wanted: &WantedAccount<'_>) -> Result<Outcome, PastError> {
        let new = wanted.new;
        let hash = self.hash(new.id.number());
        let refusal = if new.id.is_none() {
            No::IdMustNotBeZero
        } else if new.id.is_max() {
            No::IdMustNotBeMax
        } else if let Some(row) = self.book.accounts.find(hash, self.tenant, new.id) {
            return self.existing_account(row, wanted);
        } else if new.ledger == 0 {
            No::LedgerMustNotBeZero
        } else if new.code == 0 {
            No::CodeMustNotBeZero
        } else if new.overdraft != 0 && new.limit == 0 {
            No::OverdraftNeedsLimit
        } else if self.book.accounts.rows.len() == self.book.accounts.max {
            No::AccountsExhausted
        } else {
            return Ok(self.open_new(hash, wanted));
        };
        Ok(Outcome::refused(refusal.number()))
    }

    fn open_new(&mut self, hash: IdHash, wanted: &WantedAccount<'_>) -> Outcome {
        let (number, created_at) = (self.block.next_number(), self.block.next_time());
        let account = Account { tenant: self.tenant, created_at, ..*wanted.new };
        let row = Row {
            id: account.id,
            tenant: account.tenant,
            ledger: account.ledger,
            code: account.code,
            limit: Limit::from_number(account.limit),
            ..Row::default()
        };
        self.book.accounts.push(hash, row, account.overdraft, number);
        self.block.push(&Entry::Account(account), wanted.extension);
        self.changed(|| Undo::Account(hash));
        Outcome::created(created_at, 0)
    }

    /// What becomes of an item whose id is that of an account. It is compared with the account as
    /// it was created: that it was amended since does not make it another.
    fn existing_account(&self, row: u32, wanted: &WantedAccount<'_>) -> Result<Outcome, PastError> {
        let (new, mut extension) = (wanted.new, Vec::new());
        let entry = self.entry(self.book.accounts.created_by(row), &mut extension)?;
        let Ok(Entry::Account(old)) = Entry::decode(&entry) else {
            return Err(PastError(format!("no account was created by {entry:?}").into()));
        };
        let refusal = if old.limit != new.limit {
            No::ExistsWithDifferentLimit
        } else if old.overdraft != new.overdraft {
            No::ExistsWithDifferentOverdraft
        } else if old.external_id != new.external_id {
            No::ExistsWithDifferentExternalId
        } else if old.ledger != new.ledger {
            No::ExistsWithDifferentLedger
        } else if old.code != new.code {
            No::ExistsWithDifferentCode
        } else if extension != wanted.extension {
            No::ExistsWithDifferentMetadata
        } else {
            return Ok(Outcome::exists(No::Exists.number(), old.created_at, 0));
        };
        Ok(Outcome::refused(refusal.number()))
    }
}

impl Item for WantedAccount<'_> {
    fn is_linked(&self) -> bool {
        self.is_linked
    }

    fn create(&self, writer: &mut Writer<'_>) -> Result<Outcome, PastError> {
        writer.open(self)
    }

    /// No refusal of an account depends on what may change.
    fn refuse(&self, _: &mut Writer<'_>, _: u16) {}
}

impl Book {
    /// Changes an account, unless it is as asked.
    pub(crate) fn amend(&mut self, block: &mut Block, tenant: u32, asked: &Amendment) -> Outcome {
        match self.check_amendment(tenant, asked) {
            Ok(None) => Outcome::unchanged(),
            Err(refusal) => Outcome::refused(refusal.number()),
            Ok(Some(row)) => {
                let Amendment { is_closed, overdraft, .. } = *asked;
                let (number, created_at) = (block.next_number(), block.next_time());
                self.accounts.rows.get_mut(row).is_closed = is_closed;
                self.accounts.set_overdraft(row, overdraft);
                let effect = AmendmentAt { row, number, is_closed, overdraft };
                block.effects.amendments.push(effect);
                block.push(&Entry::Amendment(Amendment { tenant, created_at, ..*asked }), &[]);
                Outcome::created(created_at, 0)
            }
        }
    }

    /// Row of the account that is to be changed, if anything has to be.
    fn check_amendment(
        &self,
        tenant: u32,
        asked: &Amendment,
    ) -> Result<Option<u32>, AmendmentStatus> {
        let hash = self.key.hash(tenant, asked.account.number());
        let place = self.accounts.find(hash, tenant, asked.account);
        let place = place.ok_or(AmendmentStatus::AccountNotFound)?;
        let row = self.accounts.rows.get(place);
        if row.limit == Limit::None && asked.overdraft != 0 {
            return Err(AmendmentStatus::OverdraftNeedsLimit);
        }
        if row.overdraft_used() > asked.overdraft {
            return Err(AmendmentStatus::OverdraftBelowUsed);
        }
        if asked.is_closed && row.debits.pending + row.credits.pending != 0 {
            return Err(AmendmentStatus::AccountHasHolds);
        }
        if asked.is_closed && row.debits.posted != row.credits.posted {
            return Err(AmendmentStatus::BalanceMustBeZero);
        }
        let is_so =
            row.is_closed == asked.is_closed && self.accounts.overdraft(place) == asked.overdraft;
        Ok((!is_so).then_some(place))
    }
}
