//! The book without a disk.
#![allow(clippy::unwrap_used)]

mod accounts;
mod amendments;
mod balancing;
mod chains;
mod dates;
mod exchange;
mod linked;
mod packed;
mod random;
mod refusals;
mod replays;
mod transfers;

use proof::{
    Account, AccountId, AccountState, Amendment, Entry, Header, Kind, Metadata, TenantId,
    Timestamp, Transfer, TransferId, flag,
};

use crate::testing::Entries;
use crate::{
    AccountStatus, AmendmentStatus, Block, Book, Effects, NewAccounts, Outcome, ReplayError,
    TransferStatus, Transfers,
};

const SECOND: u64 = 1_000_000_000;
const BALANCE_MAX: u64 = i64::MAX as u64;

/// Accounts that tests begin with.
const OUTSIDE: u128 = 1;
const OTHER: u128 = 2;
/// Its debits stay within its credits.
const CUSTOMER: u128 = 3;
/// Its credits stay within its debits.
const LOAN: u128 = 4;
/// Of another ledger.
const FOREIGN: u128 = 5;

fn tenant(number: u128) -> TenantId {
    (0x7e + number).into()
}

/// An account that can be created in an empty ledger.
fn account(number: u128) -> Account {
    Account {
        limit: 0,
        code: 1,
        ledger: 986,
        tenant: 0,
        extension: 0,
        id: number.into(),
        overdraft: 0,
        created_at: Timestamp::default(),
        external_id: 0.into(),
    }
}

/// A transfer that names nothing.
fn nothing() -> Transfer {
    Transfer {
        kind: Kind::Plain,
        flags: 0,
        code: 0,
        ledger: 0,
        tenant: 0,
        extension: 0,
        id: 0.into(),
        debit: 0.into(),
        credit: 0.into(),
        amount: 0,
        created_at: Timestamp::default(),
        effective_at: Timestamp::default(),
        hold: 0.into(),
        timeout_seconds: 0,
        external_id: 0.into(),
    }
}

/// A plain transfer.
fn transfer(number: u128, debit: u128, credit: u128, amount: u64) -> Transfer {
    let (id, debit, credit) = (number.into(), debit.into(), credit.into());
    Transfer { id, debit, credit, amount, ledger: 986, code: 1, ..nothing() }
}

/// A hold.
fn hold(number: u128, debit: u128, credit: u128, amount: u64) -> Transfer {
    Transfer { kind: Kind::Pending, ..transfer(number, debit, credit, amount) }
}

/// A hold that ends by itself.
fn brief_hold(number: u128, amount: u64, timeout_seconds: u32) -> Transfer {
    Transfer { timeout_seconds, ..hold(number, OUTSIDE, OTHER, amount) }
}

/// A post of all of a hold; it inherits all but its ids.
fn post(number: u128, hold: u128) -> Transfer {
    Transfer { id: number.into(), hold: hold.into(), kind: Kind::PostPending, ..nothing() }
}

/// A void of a hold; it inherits all but its ids.
fn void(number: u128, hold: u128) -> Transfer {
    Transfer { kind: Kind::VoidPending, ..post(number, hold) }
}

/// A transfer that is accepted only together with the next.
fn linked(transfer: Transfer) -> Transfer {
    Transfer { flags: transfer.flags | flag::LINKED, ..transfer }
}

/// A post or void of a whole linked group.
fn chain(settlement: Transfer) -> Transfer {
    Transfer { flags: settlement.flags | flag::CHAIN, ..settlement }
}

fn note() -> Metadata {
    Metadata::new([("note", "rent")]).unwrap()
}

fn refused(status: TransferStatus) -> Outcome {
    Outcome::refused(status.number())
}

fn is_existing(outcome: &Outcome) -> bool {
    outcome.status == TransferStatus::Exists.number()
}

/// A ledger, the block that is being built, and those before.
struct Bench {
    book: Book,
    block: Block,
    now: u64,
    past: Entries,
    blocks: Vec<Block>,
}

impl Bench {
    /// An empty ledger, one second after the epoch.
    fn empty() -> Self {
        let mut book = Book::default();
        let block = book.begin(Timestamp::from_nanos(SECOND));
        Self { book, block, now: SECOND, past: Entries::default(), blocks: Vec::new() }
    }

    /// A ledger with the accounts above.
    fn new() -> Self {
        let mut bench = Self::empty();
        let accounts = [
            account(OUTSIDE),
            account(OTHER),
            Account { limit: 1, ..account(CUSTOMER) },
            Account { limit: 2, ..account(LOAN) },
            Account { ledger: 840, ..account(FOREIGN) },
        ];
        for account in accounts {
            bench.open(account);
        }
        bench
    }

    /// Begins a block at that time.
    fn at(&mut self, nanos: u64) {
        self.now = nanos;
        self.end();
        self.block = self.book.begin(Timestamp::from_nanos(nanos));
    }

    /// Ends the block that is being built.
    fn end(&mut self) {
        self.past.add(&self.block);
        self.blocks.push(std::mem::take(&mut self.block));
    }

    /// The same ledger again, by way of a snapshot.
    fn fork(&mut self) -> Self {
        self.end();
        let mut file = Vec::new();
        self.book.snapshot().write(&mut file).unwrap();
        let mut book = Book::read(&*file).unwrap();
        let now = Timestamp::from_nanos(self.now);
        self.block = self.book.begin(now);
        let block = book.begin(now);
        assert_eq!(block, self.block);
        Self { book, block, now: self.now, past: self.past.clone(), blocks: self.blocks.clone() }
    }

    fn accounts_of(
        &mut self,
        of: TenantId,
        new: impl IntoIterator<Item = (Account, Metadata, bool)>,
    ) -> Vec<Outcome> {
        let (mut batch, mut outcomes) = (NewAccounts::default(), Vec::new());
        for (account, metadata, is_linked) in new {
            batch.push(account, &metadata, is_linked);
        }
        let Self { book, block, past, .. } = self;
        book.create_accounts(block, of, &batch, past, &mut outcomes).unwrap();
        outcomes
    }

    /// Creates an account that must be accepted.
    fn open(&mut self, new: Account) {
        let outcomes = self.accounts_of(tenant(0), [(new, Metadata::default(), false)]);
        assert!(outcomes[0].is_created(), "{outcomes:?}");
    }

    fn transfers_of(
        &mut self,
        of: TenantId,
        new: impl IntoIterator<Item = (Transfer, Metadata)>,
    ) -> Vec<Outcome> {
        let (mut batch, mut outcomes) = (Transfers::default(), Vec::new());
        new.into_iter().for_each(|(transfer, metadata)| batch.push(transfer, &metadata));
        let Self { book, block, past, .. } = self;
        book.create_transfers(block, of, &batch, past, &mut outcomes).unwrap();
        outcomes
    }

    fn transfers(&mut self, new: &[Transfer]) -> Vec<Outcome> {
        self.transfers_of(tenant(0), new.iter().map(|new| (*new, Metadata::default())))
    }

    fn transfer(&mut self, new: Transfer) -> Outcome {
        self.transfers(&[new])[0]
    }

    /// Creates a transfer that must be accepted.
    fn accept(&mut self, new: Transfer) -> Outcome {
        let outcome = self.transfer(new);
        assert!(outcome.is_created(), "{outcome:?}: {new:?}");
        outcome
    }

    fn amend(&mut self, account: u128, is_closed: bool, overdraft: u64) -> Outcome {
        let (account, created_at) = (account.into(), Timestamp::default());
        let asked = Amendment { tenant: 0, account, is_closed, overdraft, created_at };
        let mut outcomes = Vec::new();
        self.book.amend_accounts(&mut self.block, tenant(0), &[asked], &mut outcomes);
        outcomes[0]
    }

    /// Closes an account, which must be possible.
    fn close(&mut self, account: u128) {
        assert!(self.amend(account, true, 0).is_created());
    }

    fn state_of(&self, of: TenantId, account: u128) -> Option<AccountState> {
        let number = self.book.known_tenant(of)?;
        let snapshot = self.book.snapshot();
        let account: AccountId = account.into();
        snapshot.states().find(|state| state.tenant == number && state.id == account)
    }

    /// Debits pending and posted, credits pending and posted.
    fn balances(&self, account: u128) -> [u64; 4] {
        let state = self.state_of(tenant(0), account).unwrap();
        let AccountState { debits_pending, debits_posted, credits_pending, credits_posted, .. } =
            state;
        [debits_pending, debits_posted, credits_pending, credits_posted]
    }

    /// Entries of the block that is being built, from a place on.
    fn entries(&self, from: usize) -> Vec<Entry> {
        let entries = self.block.entries()[from..].iter();
        entries.map(|entry| Entry::decode(entry).unwrap()).collect()
    }

    /// Transfers of the block that is being built, from a place on.
    fn recorded(&self, from: usize) -> Vec<Transfer> {
        let entries = self.entries(from).into_iter();
        let transfers = entries.filter_map(|entry| match entry {
            Entry::Transfer(transfer) => Some(transfer),
            _ => None,
        });
        transfers.collect()
    }
}

/// Replays a block that was built.
fn replay(book: &mut Book, block: &Block, past: &Entries) -> Result<Effects, ReplayError> {
    let mut block = block.clone();
    let parts = block.finish();
    let header = Header {
        sequence: 1,
        timestamp: block.timestamp,
        first: block.first,
        entries: parts.entries,
        extended: parts.extended,
        heap: parts.heap,
        ledger: [0; 16],
        previous: [0; 32],
        root: [0; 32],
        checksum: 0,
        hash: [0; 32],
        signature: [0; 64],
    };
    let payload = &block.bytes[proof::HEADER_BYTES..];
    book.replay(&proof::Block::new(header, payload).unwrap(), past)
}

/// What tells two books with the same key of hashes apart.
fn facts(book: &Book) -> impl PartialEq + std::fmt::Debug + use<> {
    let snapshot = book.snapshot();
    let holds: Vec<_> = book.holds.open.iter().map(|(number, hold)| (number, *hold)).collect();
    let ids = |table: &crate::ids::IdTable| {
        let segments = table.segments().into_iter().map(|slots| {
            let mut ids: Vec<_> = crate::ids::live(&slots, u64::MAX).collect();
            ids.sort_unstable();
            ids
        });
        segments.collect::<Vec<_>>()
    };
    let mut fates: Vec<_> = book.holds.fates.0.iter().copied().collect();
    fates.truncate(fates.iter().rposition(|row| *row != 0).map_or(0, |last| last + 1));
    let creations = book.accounts.creations.read().unwrap().clone();
    (
        (book.entries, book.last, book.tenants.read().unwrap().clone()),
        (snapshot.states().collect::<Vec<_>>(), creations, ids(&book.accounts.table)),
        (holds, fates, ids(&book.transfers)),
    )
}
