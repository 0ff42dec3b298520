//! Random histories: the ledger does what the model says, and a restart changes nothing.

use std::ops::RangeInclusive;

use contracts::ledger::v1::{CreateAccountStatus, CreateTransferStatus};
use proptest::prelude::*;
use proptest::sample::select;

use super::model::{Answer, Model};
use super::*;
use crate::domain::{AccountRefusal, ExternalId};
use crate::journal::Journal;

const TENANTS: u8 = 2;
/// Ids of accounts; the first five exist from the beginning.
const ACCOUNTS: RangeInclusive<u128> = 1..=7;
/// Ids that most holds get, so that posts and voids find them.
const HOLDS: RangeInclusive<u128> = 1..=8;
const TRANSFERS: RangeInclusive<u128> = 1..=200;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Accounts(u8, Vec<NewAccount>),
    Transfers(u8, Vec<NewTransfer>),
    /// A batch of transfers that was sent before, with one item changed.
    Again(prop::sample::Index, prop::sample::Index, Change),
    /// A new block, so many milliseconds later.
    Block(u64),
}

/// What is changed in a transfer that is sent again.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Kind(TransferKind),
    Hold(u128),
    Timeout,
    Debit(u128),
    Credit(u128),
    Amount(u64),
    External,
    Ledger,
    Code,
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        10 => Just(Change::Nothing),
        1 => kinds().prop_map(Change::Kind),
        1 => HOLDS.prop_map(Change::Hold),
        1 => Just(Change::Timeout),
        1 => account_ids().prop_map(Change::Debit),
        1 => account_ids().prop_map(Change::Credit),
        1 => amounts().prop_map(Change::Amount),
        1 => Just(Change::External),
        1 => Just(Change::Ledger),
        1 => Just(Change::Code),
    ]
}

impl Change {
    fn apply(self, to: &mut NewTransfer) {
        match self {
            Self::Nothing => {}
            Self::Kind(kind) => to.kind = kind,
            Self::Hold(hold) => to.pending_id = id(hold),
            Self::Timeout => to.timeout_seconds += 1,
            Self::Debit(account) => to.debit_account_id = id(account),
            Self::Credit(account) => to.credit_account_id = id(account),
            Self::Amount(amount) => to.amount = amount,
            Self::External => to.external_id = id(8),
            Self::Ledger => to.ledger = 840,
            Self::Code => to.code = 3,
        }
    }
}

fn account_ids() -> impl Strategy<Value = u128> {
    prop_oneof![8 => ACCOUNTS, 1 => Just(0)]
}

/// A debit and a credit account, most often two that money can move between.
fn pairs() -> impl Strategy<Value = (u128, u128)> {
    let pairs = vec![
        (OUTSIDE, OTHER),
        (OTHER, OUTSIDE),
        (OUTSIDE, CUSTOMER),
        (CUSTOMER, OUTSIDE),
        (CUSTOMER, LOAN),
        (LOAN, OTHER),
        (OTHER, LOAN),
    ];
    prop_oneof![8 => select(pairs), 1 => (account_ids(), account_ids())]
}

fn accounts() -> impl Strategy<Value = NewAccount> {
    let ids = prop_oneof![20 => ACCOUNTS, 1 => Just(0), 1 => Just(u128::MAX)];
    let limits = select(vec![
        BalanceLimit::None,
        BalanceLimit::DebitsWithinCredits,
        BalanceLimit::CreditsWithinDebits,
    ]);
    let ledgers = prop_oneof![12 => Just(986), 2 => Just(840), 1 => Just(0)];
    let codes = prop_oneof![12 => Just(1), 1 => Just(2), 1 => Just(0)];
    let externals = prop_oneof![12 => Just(0), 1 => Just(7)];
    (ids, limits, ledgers, codes, externals, prop::bool::weighted(0.2)).prop_map(
        |(number, limit, ledger, code, external, linked)| {
            let external_id: ExternalId = id(external);
            NewAccount { id: id(number), ledger, code, limit, external_id, linked }
        },
    )
}

fn amounts() -> impl Strategy<Value = u64> {
    let max = i64::MAX as u64;
    prop_oneof![
        30 => 1..200_u64,
        2 => Just(0),
        1 => max - 300..=max + 1,
        1 => Just(u64::MAX),
    ]
}

fn kinds() -> impl Strategy<Value = TransferKind> {
    prop_oneof![
        5 => Just(TransferKind::Plain),
        4 => Just(TransferKind::Pending),
        3 => Just(TransferKind::PostPending),
        2 => Just(TransferKind::VoidPending),
    ]
}

fn transfers() -> impl Strategy<Value = NewTransfer> {
    (kinds(), prop::bool::weighted(0.95), prop::bool::weighted(0.9))
        .prop_flat_map(|(kind, is_tidy, inherits)| {
            let settles = matches!(kind, TransferKind::PostPending | TransferKind::VoidPending);
            let ids = match kind {
                TransferKind::Pending => HOLDS.boxed(),
                _ => prop_oneof![100 => TRANSFERS, 1 => Just(0), 1 => Just(u128::MAX)].boxed(),
            };
            let holds = match (settles, is_tidy) {
                (true, true) => HOLDS.boxed(),
                (false, true) => Just(0).boxed(),
                (_, false) => (0..=220_u128).boxed(),
            };
            let timeouts = if is_tidy && kind != TransferKind::Pending {
                Just(0).boxed()
            } else {
                (0..4_u32).boxed()
            };
            let named = if settles && inherits {
                let amounts = prop_oneof![3 => Just(0), 1 => amounts()];
                let ledgers = prop_oneof![20 => Just(0), 1 => Just(840)];
                let codes = prop_oneof![20 => Just(0), 1 => Just(2)];
                (Just((0, 0)), amounts, ledgers, codes).boxed()
            } else {
                let ledgers = prop_oneof![40 => Just(986_u32), 1 => Just(840), 1 => Just(0)];
                let codes = prop_oneof![40 => Just(1_u16), 1 => Just(2), 1 => Just(0)];
                (pairs(), amounts(), ledgers, codes).boxed()
            };
            let externals = prop_oneof![20 => Just(0), 1 => Just(7)];
            (Just(kind), ids, holds, timeouts, named, externals, prop::bool::weighted(0.15))
        })
        .prop_map(|(kind, number, hold, timeout_seconds, named, external, linked)| {
            let ((debit, credit), amount, ledger, code) = named;
            NewTransfer {
                kind,
                pending_id: id(hold),
                timeout_seconds,
                ledger,
                code,
                external_id: id(external),
                linked,
                ..transfer(number, debit, credit, amount)
            }
        })
}

/// An item that may be linked to the next.
trait Linked: Clone + std::fmt::Debug {
    fn link(&mut self, linked: bool);
}

impl Linked for NewAccount {
    fn link(&mut self, linked: bool) {
        self.linked = linked;
    }
}

impl Linked for NewTransfer {
    fn link(&mut self, linked: bool) {
        self.linked = linked;
    }
}

/// Batches of less than `size` items and, in some, one of these a second time, often within one
/// group.
fn batches<T: Linked>(
    items: impl Strategy<Value = T>,
    size: usize,
) -> impl Strategy<Value = Vec<T>> {
    let index = any::<prop::sample::Index>;
    let twice = prop::option::weighted(0.3, (index(), index(), any::<bool>()));
    (prop::collection::vec(items, 1..size), twice).prop_map(|(mut batch, twice)| {
        if let Some((item, copy, is_group)) = twice {
            let item = item.index(batch.len());
            let copy = item + 1 + copy.index(batch.len() - item);
            batch.insert(copy, batch[item].clone());
            if is_group {
                batch[item..copy].iter_mut().for_each(|item| item.link(true));
                batch[copy].link(false);
            }
        }
        batch
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..TENANTS, batches(accounts(), 5))
            .prop_map(|(tenant, batch)| Step::Accounts(tenant, batch)),
        10 => (0..TENANTS, batches(transfers(), 8))
            .prop_map(|(tenant, batch)| Step::Transfers(tenant, batch)),
        3 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), changes())
            .prop_map(|(batch, item, change)| Step::Again(batch, item, change)),
        4 => select(vec![0, 1, 400, 1_000, 2_500]).prop_map(Step::Block),
    ];
    prop::collection::vec(step, 1..60)
}

/// A ledger, its journal and its model, which all see the same steps.
struct Trio {
    bench: Bench,
    journal: FileJournal,
    model: Model,
    now: u64,
    /// Batches of transfers so far.
    sent: Vec<(u8, Vec<NewTransfer>)>,
    folder: tempfile::TempDir,
}

impl Trio {
    /// Begins with accounts for every tenant, so that transfers have something to move.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = FileJournal::open(folder.path(), true).unwrap();
        journal.replay(&mut |_| Ok(())).unwrap();
        let (bench, model) = (Bench::default(), Model::default());
        let mut trio = Self { bench, journal, model, now: SECOND, sent: Vec::new(), folder };
        trio.block();
        for tenant in 0..TENANTS {
            let deposits = [CUSTOMER, OTHER].map(|to| transfer(1_000 + to, OUTSIDE, to, 2_000));
            trio.step(&Step::Accounts(tenant, accounts_of_the_bench()));
            trio.step(&Step::Transfers(tenant, deposits.to_vec()));
        }
        trio
    }

    fn block(&mut self) {
        let block = self.bench.at(self.now);
        if !block.is_empty() {
            self.journal.append(&block).unwrap();
        }
        self.model.begin(self.now);
    }

    fn step(&mut self, step: &Step) {
        let Bench { state, block } = &mut self.bench;
        match step {
            Step::Accounts(of, batch) => {
                let outcomes = state.create_accounts(tenant(*of), batch, block);
                let answers: Vec<_> = outcomes.into_iter().map(account_answer).collect();
                assert_eq!(answers, self.model.create_accounts(tenant(*of), batch), "{step:?}");
            }
            Step::Transfers(of, batch) => {
                let outcomes = state.create_transfers(tenant(*of), batch, block);
                let answers: Vec<_> = outcomes.into_iter().map(transfer_answer).collect();
                assert_eq!(answers, self.model.create_transfers(tenant(*of), batch), "{step:?}");
                self.sent.push((*of, batch.clone()));
            }
            Step::Again(batch, item, change) => {
                let (of, mut batch) = batch.get(&self.sent).clone();
                let item = item.index(batch.len());
                change.apply(&mut batch[item]);
                self.step(&Step::Transfers(of, batch));
            }
            Step::Block(millis) => {
                self.now += millis * 1_000_000;
                self.block();
            }
        }
    }

    fn check_all(&self) {
        for number in 0..TENANTS {
            let tenant = tenant(number);
            self.check_totals(tenant);
            for account in 0..=10 {
                self.check_account(tenant, id(account));
            }
            for number in TRANSFERS {
                let found = self.bench.state.transfer(tenant, id(number));
                let expected = self.model.transfer(tenant, id(number));
                assert_eq!(found.is_some(), expected.is_some());
                if let (Some(found), Some(expected)) = (found, expected) {
                    assert_eq!(found.created_at.nanos(), expected.at);
                    assert_eq!(
                        request(found),
                        NewTransfer { linked: false, ..expected.transfer.clone() }
                    );
                }
            }
        }
    }

    fn check_totals(&self, tenant: TenantId) {
        let [mut debits, mut credits] = [(0_u128, 0_u128); 2];
        for account in self.bench.state.accounts(tenant) {
            let balances = account.balances;
            debits.0 += u128::from(balances.debits.pending);
            debits.1 += u128::from(balances.debits.posted);
            credits.0 += u128::from(balances.credits.pending);
            credits.1 += u128::from(balances.credits.posted);
        }
        assert_eq!(debits, credits);
    }

    fn check_account(&self, tenant: TenantId, account: AccountId) {
        let state = &self.bench.state;
        let Some(found) = state.account(tenant, account) else {
            return assert!(self.model.account(tenant, account).is_none());
        };
        let expected = self.model.account(tenant, account).unwrap();
        assert_eq!(
            (found.ledger, found.code, found.limit, found.external_id),
            (expected.ledger, expected.code, expected.limit, expected.external_id)
        );
        let mut expected = Vec::new();
        for (index, event) in self.model.events.iter().enumerate() {
            let accounts = [event.transfer.debit_account_id, event.transfer.credit_account_id];
            if event.tenant == tenant && accounts.contains(&account) {
                let balances = self.model.balances(tenant, account, index + 1);
                expected.push((event.transfer.id, balances, event.at));
            }
        }
        let last = expected.last().map_or([0; 4], |(_, balances, _)| *balances);
        assert_eq!(numbers(found.balances), last);
        expected.reverse();
        let mut history = Vec::new();
        let mut older = None;
        while older != Some(0) {
            let page = state.history(tenant, account, older, 3).unwrap();
            older = Some(page.older);
            let entries = page.entries.into_iter();
            history.extend(entries.map(|e| (e.transfer.id, numbers(e.balances), e.at.nanos())));
        }
        assert_eq!(history, expected);
    }
}

fn numbers(balances: crate::domain::Balances) -> [i128; 4] {
    let (debits, credits) = (balances.debits, balances.credits);
    [debits.pending, debits.posted, credits.pending, credits.posted].map(i128::from)
}

fn request(found: &crate::domain::Transfer) -> NewTransfer {
    NewTransfer {
        id: found.id,
        debit_account_id: found.debit_account_id,
        credit_account_id: found.credit_account_id,
        amount: found.amount,
        ledger: found.ledger,
        code: found.code,
        kind: found.kind,
        pending_id: found.pending_id,
        timeout_seconds: found.timeout_seconds,
        external_id: found.external_id,
        linked: false,
    }
}

fn account_answer(outcome: Outcome<AccountRefusal>) -> Answer {
    match outcome {
        Outcome::Created(at) => (CreateAccountStatus::Created as i32, Some(at.nanos())),
        Outcome::Exists(at) => (CreateAccountStatus::Exists as i32, Some(at.nanos())),
        Outcome::Refused(refusal) => (refusal as i32, None),
    }
}

fn transfer_answer(outcome: Outcome<TransferRefusal>) -> Answer {
    match outcome {
        Outcome::Created(at) => (CreateTransferStatus::Created as i32, Some(at.nanos())),
        Outcome::Exists(at) => (CreateTransferStatus::Exists as i32, Some(at.nanos())),
        Outcome::Refused(refusal) => (refusal as i32, None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// B-31: every balance is accounted for by its history, which is what the rules say.
    #[test]
    fn random_histories_give_the_balances_of_the_model_before_and_after_a_restart(
        steps in steps(),
    ) {
        let mut trio = Trio::new();
        for step in &steps {
            trio.step(step);
        }
        trio.block();
        trio.check_all();

        drop(trio.journal);
        let (mut recovered, _) = recover(trio.folder.path()).unwrap();
        // The block that was just begun may have ended holds, and is not written.
        recovered.replay(&trio.bench.block).unwrap();
        prop_assert_eq!(recovered.facts(), trio.bench.state.facts());
    }
}
