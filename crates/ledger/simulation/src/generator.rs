//! Clients at random: what they send, all of it from one seeded stream of numbers.
//!
//! Most of what they send makes sense, so that money moves; the rest is wrong in every way that has
//! a status of its own. Ids are used again, holds are settled twice, batches are sent again.

mod transfers;

use std::collections::VecDeque;

use proof::{
    Account, AccountId, Amendment, ExternalId, Kind, TenantId, Timestamp, Transfer, TransferId,
    flag,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use crate::request::{Batch, Items, NewAccount, NewTransfer, Pairs};

/// The tenants, each with its own accounts under the same ids.
pub(crate) const TENANTS: [u128; 2] = [0xA, 0xB];
/// Ledger of most accounts, and of the others.
const REAIS: u32 = 986;
const DOLLARS: u32 = 840;

const OUTSIDE: u128 = 1;
const OTHER: u128 = 2;
const CUSTOMER: u128 = 3;
const LOAN: u128 = 4;
const SAVER: u128 = 5;
const DOLLAR_DESK: u128 = 6;
const DOLLAR_CUSTOMER: u128 = 7;
/// Two whose balances are near the greatest there can be.
const BRIM: u128 = 8;
const DAM: u128 = 9;
/// Accounts that come, go and come again.
const SPARES: std::ops::RangeInclusive<u128> = 10..=14;
/// All ids of accounts; the last one is never created.
pub(crate) const ACCOUNTS: std::ops::RangeInclusive<u128> = 1..=15;
/// External ids in use.
pub(crate) const EXTERNALS: std::ops::RangeInclusive<u128> = 1..=12;

/// Pairs that money can move between.
const PAIRS: [(u128, u128); 11] = [
    (OUTSIDE, CUSTOMER),
    (OUTSIDE, CUSTOMER),
    (CUSTOMER, OTHER),
    (CUSTOMER, OUTSIDE),
    (OUTSIDE, OTHER),
    (OTHER, OUTSIDE),
    (LOAN, OTHER),
    (OTHER, LOAN),
    (SAVER, CUSTOMER),
    (CUSTOMER, SAVER),
    (DOLLAR_DESK, DOLLAR_CUSTOMER),
];

const BALANCE_MAX: u64 = i64::MAX as u64;

/// Makes batches out of random numbers.
pub(crate) struct Generator {
    /// Where all that is random comes from.
    pub(crate) random: StdRng,
    /// What the clients' clocks say.
    pub(crate) now: Timestamp,
    memory: [Memory; TENANTS.len()],
}

/// What a tenant's clients remember of what they sent.
#[derive(Default)]
struct Memory {
    holds: VecDeque<TransferId>,
    transfers: VecDeque<TransferId>,
    batches: VecDeque<Batch>,
}

const MEMORY: usize = 48;

fn remember<T>(memory: &mut VecDeque<T>, item: T) {
    if memory.len() == MEMORY {
        memory.pop_front();
    }
    memory.push_back(item);
}

fn recall<T: Clone>(memory: &VecDeque<T>, random: &mut impl Rng) -> Option<T> {
    (!memory.is_empty()).then(|| memory[random.random_range(0..memory.len())].clone())
}

impl Generator {
    /// Draws from `random`.
    pub(crate) fn new(random: StdRng) -> Self {
        Self { random, now: crate::START, memory: Default::default() }
    }

    /// The batches that every history begins with: accounts, and money on some of them.
    pub(crate) fn first(&mut self) -> Vec<Batch> {
        let mut batches = Vec::new();
        for tenant in TENANTS.map(TenantId::from) {
            let accounts = (OUTSIDE..=DAM).map(regular).collect();
            batches.push(Batch { tenant, items: Items::Accounts(accounts) });
            let deposits =
                [CUSTOMER, OTHER, SAVER].map(|to| plain(self.fresh_id(), (OUTSIDE, to), 5_000));
            batches.push(Batch { tenant, items: Items::Transfers(deposits.to_vec()) });
        }
        batches
    }

    /// Whether something happens that does so once in `times`.
    pub(crate) fn once_in(&mut self, times: u32) -> bool {
        self.random.random_ratio(1, times)
    }

    /// One of `choices`.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        *choices.choose(&mut self.random).expect("there is something to choose from")
    }

    /// The next batch.
    pub(crate) fn batch(&mut self) -> Batch {
        let at = self.random.random_range(0..TENANTS.len());
        let tenant = TenantId::from(TENANTS[at]);
        if self.once_in(12)
            && let Some(batch) = self.again(at)
        {
            return batch;
        }
        let items = match self.random.random_range(0..20) {
            0..=1 => Items::Accounts(self.accounts()),
            2 => Items::Amendments(self.amendments()),
            _ => Items::Transfers(self.transfers(at)),
        };
        let batch = Batch { tenant, items };
        if batch.len() <= 64 {
            remember(&mut self.memory[at].batches, batch.clone());
        }
        batch
    }

    /// A transfer's id that was sent before, most likely.
    pub(crate) fn known_transfer(&mut self) -> (TenantId, TransferId) {
        let at = self.random.random_range(0..TENANTS.len());
        let memory = &self.memory[at];
        let known = if self.random.random() { &memory.holds } else { &memory.transfers };
        let id = recall(known, &mut self.random);
        (TenantId::from(TENANTS[at]), id.unwrap_or_else(|| self.fresh_id()))
    }

    /// A batch that was sent before, in some of them with one thing changed.
    fn again(&mut self, at: usize) -> Option<Batch> {
        let mut batch = recall(&self.memory[at].batches, &mut self.random)?;
        let changed = self.random.random_range(0..batch.len());
        let is_changed: bool = self.random.random();
        match &mut batch.items {
            _ if !is_changed => {}
            Items::Accounts(items) => self.change_account(&mut items[changed]),
            Items::Transfers(items) => self.change_transfer(at, &mut items[changed]),
            Items::Amendments(items) => items[changed].overdraft += 1,
        }
        Some(batch)
    }

    fn change_account(&mut self, new: &mut NewAccount) {
        let account = &mut new.account;
        match self.random.random_range(0..6) {
            0 => account.limit = (account.limit + 1) % 3,
            1 => account.external_id = ExternalId::from(99),
            2 => account.ledger ^= 1,
            3 => account.code ^= 1,
            4 => account.overdraft += 1,
            _ => new.metadata = vec![("changed".into(), String::new())],
        }
    }

    fn change_transfer(&mut self, at: usize, new: &mut NewTransfer) {
        let other_kind = self.kind();
        let other_hold = self.hold(at);
        let transfer = &mut new.transfer;
        match self.random.random_range(0..13) {
            0 => transfer.kind = other_kind,
            1 => transfer.hold = other_hold,
            2 => transfer.timeout_seconds += 1,
            3 => transfer.debit = AccountId::from(self.random.random_range(ACCOUNTS)),
            4 => transfer.credit = AccountId::from(self.random.random_range(ACCOUNTS)),
            5 => transfer.amount = transfer.amount.wrapping_add(1),
            6 => transfer.external_id = ExternalId::from(99),
            7 => transfer.ledger ^= 1,
            8 => transfer.code ^= 1,
            9 => transfer.effective_at = Timestamp::from_nanos(1),
            10 => transfer.flags ^= flag::BALANCING_DEBIT,
            11 => transfer.flags ^= flag::CHAIN,
            _ => new.metadata = vec![("changed".into(), String::new())],
        }
    }
}

/// Accounts.
impl Generator {
    fn accounts(&mut self) -> Vec<NewAccount> {
        let length = self.random.random_range(1..5);
        let mut batch: Vec<_> = (0..length).map(|_| self.account()).collect();
        if self.once_in(4) {
            let twice = batch[0].clone();
            batch.push(twice);
        }
        batch
    }

    fn account(&mut self) -> NewAccount {
        let number = match self.random.random_range(0..40) {
            0 => 0,
            1 => u128::MAX,
            2..=8 => self.random.random_range(ACCOUNTS).min(*SPARES.end()),
            _ => self.random.random_range(SPARES),
        };
        let mut new = regular(number);
        let account = &mut new.account;
        if SPARES.contains(&number) {
            account.limit = self.random.random_range(0..3);
            account.ledger = if self.random.random_ratio(1, 6) { DOLLARS } else { REAIS };
        }
        match self.random.random_range(0..20) {
            0 => account.ledger = 0,
            1 => account.code = 0,
            2 => account.code = 2,
            3 => account.overdraft = BALANCE_MAX + 1,
            4 => account.overdraft = self.random.random_range(1..500),
            5 => account.external_id = ExternalId::from(self.random.random_range(EXTERNALS)),
            _ => {}
        }
        new.metadata = self.metadata();
        new.is_linked = self.once_in(5);
        new
    }

    fn amendments(&mut self) -> Vec<Amendment> {
        let length = self.random.random_range(1..4);
        (0..length).map(|_| self.amendment()).collect()
    }

    fn amendment(&mut self) -> Amendment {
        let spare = self.random.random_range(SPARES);
        let account = match self.random.random_range(0..10) {
            0 => 0,
            1 => self.random.random_range(ACCOUNTS),
            2 => SAVER,
            _ => spare,
        };
        Amendment {
            tenant: 0,
            account: AccountId::from(account),
            is_closed: self.random.random(),
            overdraft: match self.random.random_range(0..8) {
                0 => BALANCE_MAX + 1,
                1..=2 => self.random.random_range(1..600),
                _ => 0,
            },
            created_at: Timestamp::default(),
        }
    }
}

/// An account as it is first created.
fn regular(number: u128) -> NewAccount {
    let (limit, ledger, overdraft) = match number {
        CUSTOMER => (1, REAIS, 0),
        LOAN => (2, REAIS, 0),
        SAVER => (1, REAIS, 500),
        DOLLAR_DESK => (0, DOLLARS, 0),
        DOLLAR_CUSTOMER => (1, DOLLARS, 0),
        _ => (0, REAIS, 0),
    };
    let account = Account {
        limit,
        code: 1,
        ledger,
        tenant: 0,
        extension: 0,
        id: AccountId::from(number),
        overdraft,
        created_at: Timestamp::default(),
        external_id: ExternalId::default(),
    };
    NewAccount { account, is_linked: false, metadata: Pairs::new() }
}

/// A plain transfer between a pair of accounts, in the ledger that they are most likely in.
fn plain(id: TransferId, (debit, credit): (u128, u128), amount: u64) -> NewTransfer {
    let in_dollars = [DOLLAR_DESK, DOLLAR_CUSTOMER].contains(&debit);
    let transfer = Transfer {
        kind: Kind::Plain,
        flags: 0,
        code: 1,
        ledger: if in_dollars { DOLLARS } else { REAIS },
        tenant: 0,
        extension: 0,
        id,
        debit: AccountId::from(debit),
        credit: AccountId::from(credit),
        amount,
        created_at: Timestamp::default(),
        effective_at: Timestamp::default(),
        hold: TransferId::default(),
        timeout_seconds: 0,
        external_id: ExternalId::default(),
    };
    NewTransfer { transfer, metadata: Pairs::new() }
}
