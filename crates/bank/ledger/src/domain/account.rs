//! Accounts and their balances.

use super::{AccountId, ExternalId, Timestamp};

/// Greatest balance of a side, holds included, in minor units.
const BALANCE_MAX: u64 = i64::MAX as u64;

/// Which balance an account may not overdraw.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum BalanceLimit {
    /// Neither.
    #[default]
    None,
    /// Debits, holds included, stay within posted credits.
    DebitsWithinCredits,
    /// Credits, holds included, stay within posted debits.
    CreditsWithinDebits,
}

/// An account to create.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NewAccount {
    pub(crate) id: AccountId,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) limit: BalanceLimit,
    pub(crate) external_id: ExternalId,
    /// Accepted only together with the next item of the batch.
    pub(crate) linked: bool,
}

/// One side of an account, in minor units.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Side {
    /// On hold.
    pub(crate) pending: u64,
    /// For good.
    pub(crate) posted: u64,
}

impl Side {
    /// What counts against a limit: holds and what is there for good.
    ///
    /// It never passes `BALANCE_MAX`, so neither the sum nor posting a hold can overflow.
    fn total(self) -> u64 {
        self.pending + self.posted
    }

    /// Whether `amount` more would pass the greatest balance.
    pub(super) fn overflows_with(self, amount: u64) -> bool {
        amount > BALANCE_MAX - self.total()
    }

    pub(super) fn apply(&mut self, change: Change) {
        self.pending = self.pending - change.released + change.held;
        self.posted += change.posted;
        assert!(self.total() <= BALANCE_MAX, "checks precede every change");
    }

    pub(super) fn revert(&mut self, change: Change) {
        self.posted -= change.posted;
        self.pending = self.pending - change.held + change.released;
    }
}

/// What a transfer does to one side of each of its accounts, in minor units.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change {
    pub(super) released: u64,
    pub(super) held: u64,
    pub(super) posted: u64,
}

/// Both sides of an account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Balances {
    pub(crate) debits: Side,
    pub(crate) credits: Side,
}

/// An account with its balances.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) limit: BalanceLimit,
    pub(crate) external_id: ExternalId,
    pub(crate) created_at: Timestamp,
    pub(crate) balances: Balances,
}

impl Account {
    /// The account that `new` asks for, empty.
    pub(super) fn open(new: &NewAccount, created_at: Timestamp) -> Self {
        Self {
            id: new.id,
            ledger: new.ledger,
            code: new.code,
            limit: new.limit,
            external_id: new.external_id,
            created_at,
            balances: Balances::default(),
        }
    }

    /// Whether its credits do not cover `amount` more of debits, and have to.
    pub(super) fn exceeds_credits_with(&self, amount: u64) -> bool {
        self.limit == BalanceLimit::DebitsWithinCredits
            && self.balances.debits.total() + amount > self.balances.credits.posted
    }

    /// Whether its debits do not cover `amount` more of credits, and have to.
    pub(super) fn exceeds_debits_with(&self, amount: u64) -> bool {
        self.limit == BalanceLimit::CreditsWithinDebits
            && self.balances.credits.total() + amount > self.balances.debits.posted
    }
}
