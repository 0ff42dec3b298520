//! Random histories.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const TENANTS: u128 = 2;
/// Ids of accounts; the first five exist from the beginning.
const ACCOUNTS: RangeInclusive<u128> = 1..=7;
/// Ids that most holds get, so that posts and voids find them.
const HOLDS: RangeInclusive<u128> = 1..=12;
const TRANSFERS: RangeInclusive<u128> = 1..=300;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Accounts(u128, Vec<(Account, bool)>),
    Transfers(u128, Vec<Transfer>),
    /// A linked group that is refused in the end.
    Doomed(u128, Vec<Transfer>),
    Amendment(u128, bool, u64),
    /// A new block, so many milliseconds later.
    Block(u64),
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

fn accounts() -> impl Strategy<Value = (Account, bool)> {
    let ids = prop_oneof![20 => ACCOUNTS, 1 => Just(0), 1 => Just(u128::MAX)];
    let ledgers = prop_oneof![12 => Just(986), 2 => Just(840), 1 => Just(0)];
    let overdrafts = prop_oneof![4 => Just(0), 1 => 0..200_u64];
    (ids, 0..3_u8, ledgers, overdrafts, prop::bool::weighted(0.2)).prop_map(
        |(number, limit, ledger, overdraft, is_linked)| {
            (Account { limit, ledger, overdraft, ..account(number) }, is_linked)
        },
    )
}

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![
        30 => 1..200_u64,
        2 => Just(0),
        1 => BALANCE_MAX - 300..=BALANCE_MAX + 1,
        1 => Just(u64::MAX),
    ]
}

fn movements() -> impl Strategy<Value = Transfer> {
    let flags = select(vec![0, 0, 0, 0, 2, 4, 6, 8]);
    let dates = prop_oneof![6 => Just(0), 1 => 1..5 * SECOND];
    let timeouts = 0..4_u32;
    (any::<bool>(), HOLDS, TRANSFERS, pairs(), amounts(), flags, dates, timeouts).prop_map(
        |(is_hold, held, number, (debit, credit), amount, flags, date, timeout_seconds)| {
            let effective_at = Timestamp::from_nanos(date);
            if is_hold {
                let new = hold(held, debit, credit, amount);
                Transfer { flags, effective_at, timeout_seconds, ..new }
            } else {
                let new = transfer(number, debit, credit, amount);
                Transfer { flags, effective_at, ..new }
            }
        },
    )
}

fn settlements() -> impl Strategy<Value = Transfer> {
    let amounts = prop_oneof![5 => Just(0), 1 => amounts()];
    let flags = select(vec![0, 0, 8, 8, 2]);
    let codes = prop_oneof![20 => Just(0), 1 => Just(2)];
    (any::<bool>(), TRANSFERS, HOLDS, amounts, flags, codes).prop_map(
        |(is_post, number, hold, amount, flags, code)| {
            let new = if is_post { post(number, hold) } else { void(number, hold) };
            Transfer { amount, flags, code, ..new }
        },
    )
}

fn batches() -> impl Strategy<Value = Vec<Transfer>> {
    let item = prop_oneof![3 => movements(), 2 => settlements()];
    let item = (item, prop::bool::weighted(0.3))
        .prop_map(|(new, is_linked)| if is_linked { linked(new) } else { new });
    let index = any::<prop::sample::Index>;
    let twice = prop::option::weighted(0.3, (index(), index()));
    (prop::collection::vec(item, 1..10), twice).prop_map(|(mut batch, twice)| {
        if let Some((item, copy)) = twice {
            let (item, copy) = (item.index(batch.len()), copy.index(batch.len() + 1));
            batch.insert(copy, batch[item]);
        }
        batch
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0..TENANTS, prop::collection::vec(accounts(), 1..5))
            .prop_map(|(tenant, batch)| Step::Accounts(tenant, batch)),
        10 => (0..TENANTS, batches()).prop_map(|(tenant, batch)| Step::Transfers(tenant, batch)),
        3 => (0..TENANTS, batches()).prop_map(|(tenant, batch)| Step::Doomed(tenant, batch)),
        1 => (ACCOUNTS, prop::bool::weighted(0.3), 0..200_u64)
            .prop_map(|(account, is_closed, overdraft)| {
                Step::Amendment(account, is_closed, overdraft)
            }),
        4 => select(vec![0, 1, 400, 1_000, 2_500]).prop_map(Step::Block),
    ];
    prop::collection::vec(step, 1..60)
}

/// Begins with accounts for every tenant, so that transfers have something to move.
fn begin() -> Bench {
    let mut bench = Bench::new();
    for of in 0..TENANTS {
        let accounts = [OUTSIDE, OTHER, CUSTOMER, LOAN].map(|number| {
            let limit = u8::from(number == CUSTOMER);
            (Account { limit, ..account(number) }, Metadata::default(), false)
        });
        bench.accounts_of(tenant(of), accounts);
        let deposits = [CUSTOMER, OTHER].map(|to| transfer(1_000 + to, OUTSIDE, to, 2_000));
        bench.transfers_of(tenant(of), deposits.map(|new| (new, Metadata::default())));
    }
    bench
}

fn step(bench: &mut Bench, step: Step) {
    let plain = |batch: Vec<Transfer>| batch.into_iter().map(|new| (new, Metadata::default()));
    match step {
        Step::Accounts(of, batch) => {
            let batch = batch.into_iter().map(|(new, linked)| (new, Metadata::default(), linked));
            bench.accounts_of(tenant(of), batch);
        }
        Step::Transfers(of, batch) => {
            let outcomes = bench.transfers_of(tenant(of), plain(batch.clone()));
            check_again(bench, of, &batch, &outcomes);
        }
        Step::Doomed(of, batch) => doom(bench, of, batch),
        Step::Amendment(account, is_closed, overdraft) => {
            bench.amend(account, is_closed, overdraft);
        }
        Step::Block(millis) => bench.at(bench.now + millis * 1_000_000),
    }
}

/// A batch that was created as a whole exists when it is sent again, and changes nothing.
fn check_again(bench: &mut Bench, of: u128, batch: &[Transfer], outcomes: &[Outcome]) {
    if !outcomes.iter().all(Outcome::is_created) {
        return;
    }
    let before = bench.block.clone();
    let batch = batch.iter().map(|new| (*new, Metadata::default()));
    let again = bench.transfers_of(tenant(of), batch);
    let status = TransferStatus::Exists.number();
    let existing: Vec<_> = outcomes.iter().map(|outcome| Outcome { status, ..*outcome }).collect();
    assert_eq!(again, existing);
    assert_eq!(bench.block, before);
}

/// A group that is refused leaves no trace, but for a refusal that is final.
fn doom(bench: &mut Bench, of: u128, batch: Vec<Transfer>) {
    let mut group: Vec<_> = batch.into_iter().map(linked).collect();
    group.push(nothing());
    let (block, known) = (bench.block.clone(), facts(&bench.book));
    let group = group.into_iter().map(|new| (new, Metadata::default()));
    let outcomes = bench.transfers_of(tenant(of), group);
    assert!(!outcomes.iter().any(Outcome::is_created));
    let is_final = |outcome: &Outcome| {
        TransferStatus::from_number(outcome.status).is_some_and(TransferStatus::is_final)
    };
    let refusals = outcomes.iter().filter(|outcome| is_final(outcome)).count();
    assert_eq!(bench.block.len(), block.len() + refusals);
    if refusals == 0 {
        assert_eq!(bench.block, block);
        assert_eq!(facts(&bench.book), known);
    }
}

/// What is debited is credited, and what is on hold is what open holds say.
fn check_money(book: &Book) {
    let states: Vec<_> = book.snapshot().states().collect();
    let mut sums = HashMap::<_, [i128; 2]>::new();
    let mut held = vec![[0_u64; 2]; states.len()];
    for (_, hold) in book.holds.open.iter() {
        held[hold.debit as usize][0] += hold.amount;
        held[hold.credit as usize][1] += hold.amount;
    }
    for (state, held) in states.iter().zip(held) {
        let [pending, posted] = sums.entry((state.tenant, state.ledger)).or_default();
        *pending += i128::from(state.debits_pending) - i128::from(state.credits_pending);
        *posted += i128::from(state.debits_posted) - i128::from(state.credits_posted);
        assert_eq!([state.debits_pending, state.credits_pending], held);
        let overdraft = i128::from(state.overdraft);
        let debits = i128::from(state.debits_pending) + i128::from(state.debits_posted);
        let credits = i128::from(state.credits_pending) + i128::from(state.credits_posted);
        assert!(state.limit != 1 || debits <= i128::from(state.credits_posted) + overdraft);
        assert!(state.limit != 2 || credits <= i128::from(state.debits_posted) + overdraft);
        assert!(!state.is_closed || debits == credits && state.debits_pending == 0);
    }
    assert!(sums.values().all(|sums| *sums == [0, 0]));
}

/// The last posting of a side says what it is.
fn check_postings<'a>(book: &Book, blocks: impl Iterator<Item = &'a Block>) {
    let mut last = HashMap::new();
    for posting in blocks.flat_map(|block| &block.effects.postings) {
        last.insert(posting.key >> 36, (posting.pending, posting.posted));
    }
    for (row, state) in (0..).zip(book.snapshot().states()) {
        let debits = last.get(&(row << 1)).copied().unwrap_or_default();
        assert_eq!(debits, (state.debits_pending, state.debits_posted));
        let credits = last.get(&(row << 1 | 1)).copied().unwrap_or_default();
        assert_eq!(credits, (state.credits_pending, state.credits_posted));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// B-31, L-48: money is neither made nor lost, and blocks and snapshots give the same book.
    #[test]
    fn random_histories_keep_money_and_can_be_done_again(steps in steps()) {
        let mut bench = begin();
        for next in steps {
            step(&mut bench, next);
            check_money(&bench.book);
        }
        let copy = bench.fork();
        prop_assert_eq!(facts(&copy.book), facts(&bench.book));
        bench.at(bench.now + SECOND);
        check_postings(&bench.book, bench.blocks.iter().chain([&bench.block]));

        let mut again = Book { key: bench.book.key, ..Book::default() };
        for block in bench.blocks.iter().filter(|block| !block.is_empty()) {
            let effects = replay(&mut again, block, &bench.past).unwrap();
            prop_assert_eq!(&effects, &block.effects);
        }
        if !bench.block.is_empty() {
            replay(&mut again, &bench.block, &bench.past).unwrap();
        }
        prop_assert_eq!(facts(&again), facts(&bench.book));
    }
}
