//! Every refusal of a transfer, in order of precedence.

use super::*;
use crate::TransferStatus::{self, *};

/// Holds of [`busy`], by what became of them.
const OPEN: u128 = 100;
const POSTED: u128 = 101;
const VOIDED: u128 = 102;
const EXPIRED: u128 = 103;
/// A plain transfer of [`busy`].
const PLAIN: u128 = 104;
/// An id that was refused for good.
const FAILED: u128 = 105;
/// A hold with a timeout and metadata.
const TIMED: u128 = 106;
/// Accounts that were closed.
const CLOSED: u128 = 6;
const CLOSED_TOO: u128 = 7;

/// A time after all others here.
const FUTURE: Timestamp = Timestamp::from_nanos(100 * SECOND);

/// A ledger in which everything has happened once.
fn busy() -> Bench {
    let mut bench = Bench::new();
    for number in [OPEN, POSTED, VOIDED] {
        bench.accept(hold(number, OUTSIDE, OTHER, 50));
    }
    bench.accept(brief_hold(EXPIRED, 50, 1));
    bench.accept(post(201, POSTED));
    bench.accept(void(202, VOIDED));
    bench.accept(transfer(PLAIN, OUTSIDE, CUSTOMER, 100));
    let timed = bench.transfers_of(tenant(0), [(brief_hold(TIMED, 7, 3600), note())]);
    assert!(timed[0].is_created());
    assert_eq!(bench.transfer(transfer(FAILED, CUSTOMER, OTHER, 101)), refused(ExceedsCredits));
    for number in [CLOSED, CLOSED_TOO] {
        bench.open(account(number));
        bench.close(number);
    }
    bench.at(5 * SECOND);
    bench
}

/// A run of rows: each row's item breaks its own rule and that of the next row; what makes the
/// next row of it is that its own is mended. So for each two rules that can be broken together and
/// follow one another, the first is seen to win.
type Run = Vec<(TransferStatus, Transfer)>;

fn existing() -> Run {
    let mut it = Transfer { id: TIMED.into(), hold: TIMED.into(), ..nothing() };
    it.external_id = 77.into();
    it.flags = flag::BALANCING_DEBIT;
    it.effective_at = Timestamp::from_nanos(1);
    let mut run = vec![(ExistsWithDifferentKind, it)];
    let mut row = |status, it: &Transfer| run.push((status, *it));
    it.kind = Kind::Pending;
    row(ExistsWithDifferentFlags, &it);
    it.flags = 0;
    row(ExistsWithDifferentPendingId, &it);
    it.hold = 0.into();
    row(ExistsWithDifferentTimeout, &it);
    it.timeout_seconds = 3600;
    row(ExistsWithDifferentDebitAccountId, &it);
    it.debit = OUTSIDE.into();
    row(ExistsWithDifferentCreditAccountId, &it);
    it.credit = OTHER.into();
    row(ExistsWithDifferentAmount, &it);
    it.amount = 7;
    row(ExistsWithDifferentExternalId, &it);
    it.external_id = 0.into();
    row(ExistsWithDifferentLedger, &it);
    it.ledger = 986;
    row(ExistsWithDifferentCode, &it);
    it.code = 1;
    row(ExistsWithDifferentEffectiveAt, &it);
    it.effective_at = Timestamp::default();
    row(ExistsWithDifferentMetadata, &it);
    run
}

fn movement() -> Run {
    let mut it = Transfer { id: 999.into(), hold: OPEN.into(), timeout_seconds: 5, ..nothing() };
    it.flags = flag::CHAIN;
    it.effective_at = FUTURE;
    let mut run = vec![(ChainReservedForSettlements, it)];
    let mut row = |status, it: &Transfer| run.push((status, *it));
    it.flags = 0;
    row(PendingIdMustBeEmpty, &it);
    it.hold = 0.into();
    row(TimeoutReservedForPending, &it);
    it.timeout_seconds = 0;
    row(DebitAccountIdMustNotBeZero, &it);
    it.debit = 777.into();
    row(CreditAccountIdMustNotBeZero, &it);
    it.credit = 777.into();
    row(AccountsMustBeDifferent, &it);
    it.credit = 778.into();
    row(AmountMustNotBeZero, &it);
    it.amount = BALANCE_MAX + 1;
    row(LedgerMustNotBeZero, &it);
    it.ledger = 1;
    row(CodeMustNotBeZero, &it);
    it.code = 1;
    row(EffectiveAtMustNotBeInTheFuture, &it);
    it.effective_at = Timestamp::default();
    row(DebitAccountNotFound, &it);
    it.debit = CLOSED.into();
    row(CreditAccountNotFound, &it);
    it.credit = FOREIGN.into();
    row(AccountsMustHaveTheSameLedger, &it);
    it.credit = CLOSED_TOO.into();
    row(TransferMustHaveTheSameLedgerAsAccounts, &it);
    it.ledger = 986;
    row(DebitAccountClosed, &it);
    it.debit = CUSTOMER.into();
    row(CreditAccountClosed, &it);
    it.credit = LOAN.into();
    row(OverflowsBalance, &it);
    it.amount = 101;
    row(ExceedsCredits, &it);
    it.amount = 100;
    row(ExceedsDebits, &it);
    run
}

/// Its fields, and the accounts that it names itself.
fn settlement() -> Run {
    let mut it = Transfer { timeout_seconds: 5, ledger: 1, code: 9, ..post(999, 0) };
    it.flags = flag::BALANCING_CREDIT | flag::CHAIN;
    (it.debit, it.credit, it.amount) = (777.into(), 777.into(), u64::MAX);
    it.effective_at = FUTURE;
    let mut run = vec![(BalancingReservedForMovements, it)];
    let mut row = |status, it: &Transfer| run.push((status, *it));
    it.flags = flag::CHAIN;
    row(PendingIdMustNotBeEmpty, &it);
    it.hold = 999.into();
    row(PendingIdMustBeDifferent, &it);
    it.hold = 777.into();
    row(TimeoutReservedForPending, &it);
    it.timeout_seconds = 0;
    row(ChainMustNotNameAmountOrAccounts, &it);
    it.flags = 0;
    row(AccountsMustBeDifferent, &it);
    it.credit = 778.into();
    row(EffectiveAtMustNotBeInTheFuture, &it);
    it.effective_at = Timestamp::default();
    row(DebitAccountNotFound, &it);
    it.debit = CUSTOMER.into();
    row(CreditAccountNotFound, &it);
    it.credit = FOREIGN.into();
    row(AccountsMustHaveTheSameLedger, &it);
    it.credit = LOAN.into();
    row(TransferMustHaveTheSameLedgerAsAccounts, &it);
    it.ledger = 986;
    row(PendingTransferNotFound, &it);
    it.hold = PLAIN.into();
    row(PendingTransferNotPending, &it);
    it.hold = POSTED.into();
    row(PendingTransferHasDifferentDebitAccountId, &it);
    it.debit = OUTSIDE.into();
    row(PendingTransferHasDifferentCreditAccountId, &it);
    run
}

/// The hold, of which it names neither account.
fn hold_of_settlement() -> Run {
    let mut it = Transfer { ledger: 840, code: 9, amount: 51, ..void(999, POSTED) };
    let mut run = vec![(PendingTransferHasDifferentLedger, it)];
    let mut row = |status, it: &Transfer| run.push((status, *it));
    it.ledger = 0;
    row(PendingTransferHasDifferentCode, &it);
    it.code = 0;
    row(ExceedsPendingTransferAmount, &it);
    it.amount = 49;
    row(PendingTransferHasDifferentAmount, &it);
    it.amount = 0;
    row(PendingTransferAlreadyPosted, &it);
    run
}

/// Rows that cannot be broken together with the ones next to them.
fn others() -> Run {
    vec![
        (IdMustNotBeZero, nothing()),
        (IdMustNotBeMax, Transfer { id: u128::MAX.into(), ..nothing() }),
        (IdAlreadyFailed, Transfer { id: FAILED.into(), ..nothing() }),
        (PendingTransferAlreadyVoided, post(999, VOIDED)),
        (PendingTransferExpired, post(999, EXPIRED)),
    ]
}

fn runs() -> [Run; 5] {
    [existing(), movement(), settlement(), hold_of_settlement(), others()]
}

fn precedence(status: TransferStatus) -> usize {
    TransferStatus::ALL.iter().position(|other| *other == status).unwrap()
}

/// B-31, K-08.
#[test]
fn a_transfer_gets_the_first_refusal_that_applies() {
    let mut bench = busy();
    for (status, new) in runs().into_iter().flatten() {
        assert_eq!(bench.fork().transfer(new), refused(status), "{status:?}: {new:?}");
    }
}

#[test]
fn the_runs_have_every_refusal_in_its_order() {
    for run in runs() {
        assert!(run.is_sorted_by_key(|(status, _)| precedence(*status)), "{run:?}");
    }
    // Linking takes precedence over all else and has tests of its own, as has the size of chains.
    let elsewhere = [Created, LinkedEventFailed, LinkedEventChainOpen, Exists, ChainsExceedBatch];
    let mut seen: Vec<_> = runs().into_iter().flatten().map(|(status, _)| status).collect();
    seen.extend(elsewhere);
    seen.sort_by_key(|status| precedence(*status));
    seen.dedup();
    assert_eq!(seen, TransferStatus::ALL);
}

#[test]
fn numbers_of_statuses_are_unique_and_without_gaps() {
    fn check(mut numbers: Vec<u16>) {
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(1..=u16::try_from(numbers.len()).unwrap()));
    }
    check(TransferStatus::ALL.iter().map(|status| status.number()).collect());
    check(AccountStatus::ALL.iter().map(|status| status.number()).collect());
    check(AmendmentStatus::ALL.iter().map(|status| status.number()).collect());
}

/// Linking is decided before anything else of an item.
#[test]
fn linking_takes_precedence_over_every_other_refusal() {
    let mut bench = Bench::new();
    let item = linked(nothing());
    let outcomes = bench.transfers(&[item, item]);
    assert_eq!(outcomes, [IdMustNotBeZero, LinkedEventFailed].map(refused));
    assert_eq!(bench.transfer(item), refused(LinkedEventChainOpen));
}

#[test]
fn a_final_refusal_is_remembered_and_no_other() {
    let mut bench = busy();
    for (status, new) in runs().into_iter().flatten().filter(|(_, new)| new.id == 999.into()) {
        let mut bench = bench.fork();
        bench.transfer(new);
        let recorded = bench.block.len();
        let outcome = bench.transfer(transfer(999, OUTSIDE, OTHER, 1));
        if status.is_final() {
            assert_eq!(outcome, refused(IdAlreadyFailed), "{status:?}");
            let entries = bench.entries(0);
            let Some(Entry::Refusal(refusal)) = entries.last() else { panic!("{entries:?}") };
            assert_eq!((refusal.status, refusal.id), (status.number(), 999.into()));
        } else {
            assert!(outcome.is_created(), "{status:?}: {outcome:?}");
            assert_eq!(recorded, 0, "{status:?}");
        }
    }
}
