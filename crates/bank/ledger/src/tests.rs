//! The ledger without a network.
#![allow(clippy::unwrap_used)]

mod accounts;
mod engine;
mod killed;
mod linked;
mod model;
mod random;
mod recovery;
mod transfers;

use std::path::Path;

use auth::TenantId;
use uuid::Uuid;

use crate::domain::{
    AccountId, BalanceLimit, Block, NewAccount, NewTransfer, Outcome, State, Timestamp,
    TransferKind, TransferRefusal,
};
use crate::journal::{FileJournal, JournalError};

pub(crate) const SECOND: u64 = 1_000_000_000;

pub(crate) fn tenant(number: u8) -> TenantId {
    Uuid::from_u128(0x7e + u128::from(number)).into()
}

pub(crate) fn id<T: From<Uuid>>(number: u128) -> T {
    Uuid::from_u128(number).into()
}

/// An account that can be created in an empty ledger.
pub(crate) fn account(number: u128) -> NewAccount {
    NewAccount { id: id(number), ledger: 986, code: 1, ..NewAccount::default() }
}

/// A plain transfer.
pub(crate) fn transfer(number: u128, debit: u128, credit: u128, amount: u64) -> NewTransfer {
    NewTransfer {
        id: id(number),
        debit_account_id: id(debit),
        credit_account_id: id(credit),
        amount,
        ledger: 986,
        code: 1,
        ..NewTransfer::default()
    }
}

/// A hold.
pub(crate) fn hold(number: u128, debit: u128, credit: u128, amount: u64) -> NewTransfer {
    NewTransfer { kind: TransferKind::Pending, ..transfer(number, debit, credit, amount) }
}

/// A hold that ends by itself.
pub(crate) fn brief_hold(number: u128, amount: u64, timeout_seconds: u32) -> NewTransfer {
    NewTransfer { timeout_seconds, ..hold(number, OUTSIDE, OTHER, amount) }
}

/// A post of all of a hold; it inherits all but its ids.
pub(crate) fn post(number: u128, hold: u128) -> NewTransfer {
    let kind = TransferKind::PostPending;
    NewTransfer { id: id(number), pending_id: id(hold), kind, ..NewTransfer::default() }
}

/// A void of a hold; it inherits all but its ids.
pub(crate) fn void(number: u128, hold: u128) -> NewTransfer {
    NewTransfer { kind: TransferKind::VoidPending, ..post(number, hold) }
}

/// Accounts of the ledgers that tests begin with.
pub(crate) const OUTSIDE: u128 = 1;
pub(crate) const OTHER: u128 = 2;
/// Its debits stay within its credits.
pub(crate) const CUSTOMER: u128 = 3;
/// Its credits stay within its debits.
pub(crate) const LOAN: u128 = 4;
/// Of another ledger.
pub(crate) const FOREIGN: u128 = 5;

pub(crate) fn accounts_of_the_bench() -> Vec<NewAccount> {
    vec![
        account(OUTSIDE),
        account(OTHER),
        NewAccount { limit: BalanceLimit::DebitsWithinCredits, ..account(CUSTOMER) },
        NewAccount { limit: BalanceLimit::CreditsWithinDebits, ..account(LOAN) },
        NewAccount { ledger: 840, ..account(FOREIGN) },
    ]
}

/// A ledger and the block that is being built.
#[derive(Clone, Default)]
pub(crate) struct Bench {
    pub(crate) state: State,
    pub(crate) block: Block,
}

impl Bench {
    /// A ledger with the accounts above, the last time being one second after the epoch.
    pub(crate) fn new() -> Self {
        let mut bench = Self::default();
        bench.at(SECOND);
        let accounts = accounts_of_the_bench();
        let outcomes = bench.state.create_accounts(tenant(0), &accounts, &mut bench.block);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Created(_))));
        bench
    }

    /// Begins a block at that time and returns the one before.
    pub(crate) fn at(&mut self, nanos: u64) -> Block {
        let next = self.state.begin(Timestamp::from_nanos(nanos));
        std::mem::replace(&mut self.block, next)
    }

    pub(crate) fn transfers(&mut self, new: &[NewTransfer]) -> Vec<Outcome<TransferRefusal>> {
        self.state.create_transfers(tenant(0), new, &mut self.block)
    }

    pub(crate) fn transfer(&mut self, new: &NewTransfer) -> Outcome<TransferRefusal> {
        self.transfers(std::slice::from_ref(new))[0]
    }

    /// Creates a transfer that must be accepted.
    pub(crate) fn accept(&mut self, new: &NewTransfer) {
        let outcome = self.transfer(new);
        assert!(matches!(outcome, Outcome::Created(_)), "{outcome:?}: {new:?}");
    }

    /// Debits pending and posted, credits pending and posted.
    pub(crate) fn balances(&self, account: u128) -> [u64; 4] {
        let account: AccountId = id(account);
        let balances = self.state.account(tenant(0), account).unwrap().balances;
        let (debits, credits) = (balances.debits, balances.credits);
        [debits.pending, debits.posted, credits.pending, credits.posted]
    }
}

/// Recovers the ledger in `folder`, or begins one there.
pub(crate) fn recover(folder: &Path) -> Result<(State, FileJournal), JournalError> {
    crate::recover(folder, true)
}

/// `SCREAMING_SNAKE` of a name in `CamelCase`.
fn screaming(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}
