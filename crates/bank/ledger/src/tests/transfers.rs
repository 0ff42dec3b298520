//! Every refusal of a transfer, in order of precedence.

use contracts::ledger::v1::CreateTransferStatus;

use super::*;
use crate::domain::TransferRefusal::{self, *};
use crate::domain::{HistoryEntry, HoldState, Id, TransferId};

const BALANCE_MAX: u64 = i64::MAX as u64;

/// Holds of [`busy`], by what became of them.
const OPEN: u128 = 100;
const POSTED: u128 = 101;
const VOIDED: u128 = 102;
const EXPIRED: u128 = 103;
/// A plain transfer of [`busy`].
const PLAIN: u128 = 104;
/// An id that was refused for good.
const FAILED: u128 = 105;
/// A hold with a timeout.
const TIMED: u128 = 106;

/// A ledger in which everything has happened once.
fn busy() -> Bench {
    let mut bench = Bench::new();
    for number in [OPEN, POSTED, VOIDED] {
        bench.accept(&hold(number, OUTSIDE, OTHER, 50));
    }
    bench.accept(&brief_hold(EXPIRED, 50, 1));
    bench.accept(&post(201, POSTED));
    bench.accept(&void(202, VOIDED));
    bench.accept(&transfer(PLAIN, OUTSIDE, CUSTOMER, 100));
    bench.accept(&brief_hold(TIMED, 7, 3600));
    let refused = bench.transfer(&transfer(FAILED, CUSTOMER, OTHER, 101));
    assert_eq!(refused, Outcome::Refused(ExceedsCredits));
    bench.at(5 * SECOND);
    bench
}

/// Each row breaks its own rule and, as far as they can be broken together, those below it.
fn table() -> Vec<(TransferRefusal, NewTransfer)> {
    let mut table = Vec::new();
    table.extend(ids_that_exist());
    table.extend(fields());
    table.extend(accounts());
    table.extend(settlements());
    table.extend(balances());
    table
}

fn ids_that_exist() -> Vec<(TransferRefusal, NewTransfer)> {
    let nothing = NewTransfer::default();
    let mut same = NewTransfer { id: id(TIMED), pending_id: id(TIMED), ..nothing.clone() };
    same.external_id = id(77);
    let mut table = vec![
        (IdMustNotBeZero, nothing.clone()),
        (IdMustNotBeMax, NewTransfer { id: Uuid::max().into(), ..nothing.clone() }),
    ];
    let mut row = |refusal, same: &NewTransfer| table.push((refusal, same.clone()));
    row(ExistsWithDifferentKind, &same);
    same.kind = TransferKind::Pending;
    row(ExistsWithDifferentPendingId, &same);
    same.pending_id = TransferId::default();
    row(ExistsWithDifferentTimeout, &same);
    same.timeout_seconds = 3600;
    row(ExistsWithDifferentDebitAccountId, &same);
    same.debit_account_id = id(OUTSIDE);
    row(ExistsWithDifferentCreditAccountId, &same);
    same.credit_account_id = id(OTHER);
    row(ExistsWithDifferentAmount, &same);
    same.amount = 7;
    row(ExistsWithDifferentExternalId, &same);
    same.external_id = id(0);
    row(ExistsWithDifferentLedger, &same);
    same.ledger = 986;
    row(ExistsWithDifferentCode, &same);
    row(IdAlreadyFailed, &NewTransfer { id: id(FAILED), ..nothing });
    table
}

fn fields() -> Vec<(TransferRefusal, NewTransfer)> {
    let (new, timeout_seconds) = (id(999), 5);
    let mut plain =
        NewTransfer { id: new, pending_id: id(OPEN), timeout_seconds, ..hold(0, 0, 0, 0) };
    plain.kind = TransferKind::Plain;
    plain.ledger = 0;
    plain.code = 0;
    let mut settling = NewTransfer { pending_id: TransferId::default(), ..plain.clone() };
    settling.kind = TransferKind::PostPending;
    (settling.debit_account_id, settling.credit_account_id) = (id(777), id(777));

    let mut table = vec![(PendingIdMustBeEmpty, plain.clone())];
    table.push((PendingIdMustNotBeEmpty, settling.clone()));
    settling.pending_id = new;
    table.push((PendingIdMustBeDifferent, settling));
    let mut row = |refusal, plain: &NewTransfer| table.push((refusal, plain.clone()));
    plain.pending_id = TransferId::default();
    row(TimeoutReservedForPending, &plain);
    plain.timeout_seconds = 0;
    row(DebitAccountIdMustNotBeZero, &plain);
    plain.debit_account_id = id(777);
    row(CreditAccountIdMustNotBeZero, &plain);
    plain.credit_account_id = id(777);
    row(AccountsMustBeDifferent, &plain);
    plain.credit_account_id = id(778);
    row(AmountMustNotBeZero, &plain);
    plain.amount = u64::MAX;
    row(LedgerMustNotBeZero, &plain);
    plain.ledger = 1;
    row(CodeMustNotBeZero, &plain);
    table
}

fn accounts() -> Vec<(TransferRefusal, NewTransfer)> {
    let other_ledger =
        |debit, credit| NewTransfer { ledger: 1, ..transfer(999, debit, credit, u64::MAX) };
    vec![
        (DebitAccountNotFound, other_ledger(777, 778)),
        (CreditAccountNotFound, other_ledger(CUSTOMER, 778)),
        (AccountsMustHaveTheSameLedger, other_ledger(CUSTOMER, FOREIGN)),
        (TransferMustHaveTheSameLedgerAsAccounts, other_ledger(CUSTOMER, LOAN)),
    ]
}

fn settlements() -> Vec<(TransferRefusal, NewTransfer)> {
    // The posted hold stands for the one that is settled already, the last rule of all.
    let mut settling = NewTransfer { amount: 51, code: 9, ..void(999, PLAIN) };
    let mut table =
        vec![(PendingTransferNotFound, NewTransfer { pending_id: id(777), ..settling.clone() })];
    let mut row = |refusal, settling: &NewTransfer| table.push((refusal, settling.clone()));
    row(PendingTransferNotPending, &settling);
    settling.pending_id = id(POSTED);
    (settling.debit_account_id, settling.credit_account_id) = (id(CUSTOMER), id(LOAN));
    row(PendingTransferHasDifferentDebitAccountId, &settling);
    settling.debit_account_id = id(OUTSIDE);
    row(PendingTransferHasDifferentCreditAccountId, &settling);
    (settling.debit_account_id, settling.credit_account_id) = (id(0), id(0));
    settling.ledger = 840;
    row(PendingTransferHasDifferentLedger, &settling);
    settling.ledger = 0;
    row(PendingTransferHasDifferentCode, &settling);
    settling.code = 0;
    row(ExceedsPendingTransferAmount, &settling);
    settling.amount = 49;
    row(PendingTransferHasDifferentAmount, &settling);
    row(PendingTransferAlreadyPosted, &post(999, POSTED));
    row(PendingTransferAlreadyVoided, &post(999, VOIDED));
    row(PendingTransferExpired, &post(999, EXPIRED));
    table
}

fn balances() -> Vec<(TransferRefusal, NewTransfer)> {
    vec![
        (OverflowsBalance, transfer(999, CUSTOMER, LOAN, BALANCE_MAX + 1)),
        (ExceedsCredits, transfer(999, CUSTOMER, LOAN, 101)),
        (ExceedsDebits, transfer(999, CUSTOMER, LOAN, 100)),
    ]
}

#[test]
fn a_transfer_gets_the_first_refusal_that_applies() {
    let bench = busy();
    for (refusal, new) in table() {
        assert_eq!(bench.clone().transfer(&new), Outcome::Refused(refusal), "{new:?}");
    }
}

/// Linking is decided before anything else of an item.
#[test]
fn linking_takes_precedence_over_every_other_refusal() {
    let mut bench = Bench::new();
    let linked = NewTransfer { linked: true, ..NewTransfer::default() };
    let outcomes = bench.transfers(&[linked.clone(), linked.clone()]);
    assert_eq!(outcomes, [IdMustNotBeZero, LinkedEventFailed].map(Outcome::Refused));
    assert_eq!(bench.transfer(&linked), Outcome::Refused(LinkedEventChainOpen));
}

#[test]
fn the_tables_have_every_status_of_the_contract_in_its_order() {
    let linking = [LinkedEventFailed, LinkedEventChainOpen];
    let refusals = linking.into_iter().chain(table().into_iter().map(|(refusal, _)| refusal));
    let numbers: Vec<_> = refusals
        .inspect(|refusal| {
            let contract = CreateTransferStatus::try_from(*refusal as i32).unwrap();
            let name = format!("CREATE_TRANSFER_STATUS_{}", screaming(&format!("{refusal:?}")));
            assert_eq!(name, contract.as_str_name());
        })
        .map(|refusal| refusal as i32)
        .collect();

    let exists = CreateTransferStatus::Exists as i32;
    let all = (2..).take_while(|number| CreateTransferStatus::try_from(*number).is_ok());
    assert_eq!(numbers, all.filter(|number| *number != exists).collect::<Vec<_>>());
}

#[test]
fn a_final_refusal_is_remembered_and_no_other() {
    let bench = busy();
    for (refusal, new) in table().into_iter().filter(|(_, new)| new.id == id(999)) {
        let mut bench = bench.clone();
        bench.transfer(&new);
        let outcome = bench.transfer(&transfer(999, OUTSIDE, OTHER, 1));
        if is_final_by_contract(refusal) {
            assert_eq!(outcome, Outcome::Refused(IdAlreadyFailed), "{refusal:?}");
        } else {
            assert!(matches!(outcome, Outcome::Created(_)), "{refusal:?}: {outcome:?}");
        }
    }
}

/// Whether the comment above a status in the contract ends with "Final."
fn is_final_by_contract(refusal: TransferRefusal) -> bool {
    let pool = contracts::pool();
    let statuses = pool.get_enum_by_name("malha.ledger.v1.CreateTransferStatus").unwrap();
    let value = statuses.get_value(refusal as i32).unwrap();
    let file = statuses.parent_file().file_descriptor_proto().clone();
    let locations = file.source_code_info.unwrap().location;
    let location = locations.iter().find(|location| location.path == value.path()).unwrap();
    location.leading_comments().trim_end().ends_with("Final.")
}

#[test]
fn the_same_transfer_again_exists_whether_it_names_what_it_inherited_or_not() {
    let mut bench = Bench::new();
    bench.accept(&hold(OPEN, OUTSIDE, OTHER, 50));
    let part = NewTransfer { amount: 20, ..post(300, OPEN) };
    let Outcome::Created(created_at) = bench.transfer(&part) else { panic!("not created") };

    let named =
        NewTransfer { kind: part.kind, pending_id: id(OPEN), ..transfer(300, OUTSIDE, OTHER, 20) };
    for again in [&part, &named] {
        assert_eq!(bench.transfer(again), Outcome::Exists(created_at));
    }
    // Nothing named means all of it, which is not what was posted.
    assert_eq!(bench.transfer(&post(300, OPEN)), Outcome::Refused(ExistsWithDifferentAmount));
    let other = NewTransfer { code: 9, ..part };
    assert_eq!(bench.transfer(&other), Outcome::Refused(ExistsWithDifferentCode));
}

#[test]
fn a_hold_is_posted_in_part_and_the_rest_is_released() {
    let mut bench = Bench::new();
    bench.accept(&hold(OPEN, OUTSIDE, OTHER, 50));
    assert_eq!(bench.balances(OUTSIDE), [50, 0, 0, 0]);
    assert_eq!(bench.balances(OTHER), [0, 0, 50, 0]);

    bench.accept(&NewTransfer { amount: 20, ..post(300, OPEN) });

    assert_eq!(bench.balances(OUTSIDE), [0, 20, 0, 0]);
    assert_eq!(bench.balances(OTHER), [0, 0, 0, 20]);
}

#[test]
fn holds_count_against_the_limit_and_only_posted_credits_cover_it() {
    let mut bench = Bench::new();
    bench.accept(&transfer(1, OUTSIDE, CUSTOMER, 100));
    bench.accept(&hold(2, OUTSIDE, CUSTOMER, 900));
    bench.accept(&hold(3, CUSTOMER, OTHER, 60));

    assert_eq!(bench.transfer(&transfer(4, CUSTOMER, OTHER, 41)), Outcome::Refused(ExceedsCredits));
    bench.accept(&transfer(5, CUSTOMER, OTHER, 40));
    bench.accept(&void(6, 3));
    bench.accept(&transfer(7, CUSTOMER, OTHER, 60));
    assert_eq!(bench.balances(CUSTOMER), [0, 100, 900, 100]);

    assert_eq!(bench.transfer(&hold(8, OTHER, LOAN, 1)), Outcome::Refused(ExceedsDebits));
    bench.accept(&transfer(9, LOAN, OTHER, 1));
    bench.accept(&hold(10, OTHER, LOAN, 1));
}

#[test]
fn a_side_is_filled_to_its_greatest_balance_and_no_further() {
    let mut bench = Bench::new();
    bench.accept(&hold(1, OUTSIDE, OTHER, BALANCE_MAX));
    assert_eq!(bench.transfer(&transfer(2, OUTSIDE, LOAN, 1)), Outcome::Refused(OverflowsBalance));
    assert_eq!(bench.transfer(&hold(3, CUSTOMER, OTHER, 1)), Outcome::Refused(OverflowsBalance));
    bench.accept(&post(4, 1));
    assert_eq!(bench.balances(OTHER), [0, 0, 0, BALANCE_MAX]);
}

#[test]
fn holds_end_in_order_before_the_first_item_of_a_later_block() {
    let mut bench = Bench::new();
    bench.accept(&brief_hold(1, 10, 20));
    bench.accept(&brief_hold(2, 20, 10));
    bench.accept(&brief_hold(3, 40, 10));
    bench.accept(&brief_hold(4, 80, 10));
    bench.accept(&void(5, 4));
    bench.at(10 * SECOND);
    assert_eq!(bench.block.expired, 0, "its time has not passed");
    assert_eq!(bench.balances(OUTSIDE), [70, 0, 0, 0]);

    bench.at(40 * SECOND);

    assert_eq!(bench.block.expired, 3);
    assert_eq!(bench.transfer(&post(6, 1)), Outcome::Refused(PendingTransferExpired));
    let hold = bench.state.transfer(tenant(0), id(1)).unwrap();
    assert_eq!(hold.hold, Some(HoldState::Expired));
    let page = bench.state.history(tenant(0), id(OUTSIDE), None, 3).unwrap();
    let ended: Vec<_> = page.entries.iter().map(|entry| entry.transfer.id).collect();
    assert_eq!(ended, [id(1), id(3), id(2)], "newest first");
    let pending: Vec<_> = page.entries.iter().map(|entry| entry.balances.debits.pending).collect();
    assert_eq!(pending, [0, 10, 50]);
    assert!(page.entries.iter().all(|entry| entry.at.nanos() > 40 * SECOND));
}

#[test]
fn a_tenant_neither_sees_nor_moves_what_another_has() {
    let mut bench = busy();
    let (mine, theirs) = (tenant(0), tenant(1));
    let create = |bench: &mut Bench, new: NewTransfer| {
        bench.state.create_transfers(theirs, &[new], &mut bench.block)[0]
    };
    assert!(bench.state.account(theirs, id(OUTSIDE)).is_none());
    assert!(bench.state.transfer(theirs, id(OPEN)).is_none());
    assert!(bench.state.history(theirs, id(OUTSIDE), None, 1).is_none());
    let outcome = create(&mut bench, transfer(500, OUTSIDE, OTHER, 1));
    assert_eq!(outcome, Outcome::Refused(DebitAccountNotFound));
    let outcome = create(&mut bench, void(501, OPEN));
    assert_eq!(outcome, Outcome::Refused(PendingTransferNotFound));

    // The same ids are free for both, and what one was refused the other may do.
    let accounts = [account(OUTSIDE), account(OTHER)];
    bench.state.create_accounts(theirs, &accounts, &mut bench.block);
    assert!(matches!(create(&mut bench, transfer(OPEN, OTHER, OUTSIDE, 3)), Outcome::Created(_)));
    bench.accept(&transfer(500, OUTSIDE, OTHER, 1));
    let theirs = bench.state.account(theirs, id(OUTSIDE)).unwrap().balances;
    assert_eq!((theirs.debits.posted, theirs.credits.posted), (0, 3));
    assert_eq!(bench.state.transfer(mine, id(OPEN)).unwrap().amount, 50);
}

#[test]
fn times_only_ever_increase_even_when_the_clock_goes_back() {
    let mut bench = Bench::new();
    bench.at(100 * SECOND);
    let Outcome::Created(first) = bench.transfer(&transfer(1, OUTSIDE, OTHER, 1)) else { panic!() };
    bench.at(50 * SECOND);
    let Outcome::Created(second) = bench.transfer(&transfer(2, OUTSIDE, OTHER, 1)) else {
        panic!()
    };
    assert!(second > first);
    assert!(bench.block.timestamp > first && bench.block.timestamp < second);
}

#[test]
fn pages_of_history_stay_where_they_are_while_entries_are_added() {
    let mut bench = Bench::new();
    for number in 1..=5 {
        bench.accept(&transfer(number, OUTSIDE, OTHER, 1));
    }
    let numbers = |bench: &Bench, older| {
        let page = bench.state.history(tenant(0), id(OTHER), older, 2).unwrap();
        let of = |entry: &HistoryEntry| entry.transfer.id.as_uuid().as_u128();
        (page.entries.iter().map(of).collect::<Vec<_>>(), page.older)
    };
    assert_eq!(numbers(&bench, None), (vec![5, 4], 3));
    bench.accept(&transfer(6, OUTSIDE, OTHER, 1));
    assert_eq!(numbers(&bench, Some(3)), (vec![3, 2], 1));
    assert_eq!(numbers(&bench, Some(1)), (vec![1], 0));
    assert_eq!(numbers(&bench, Some(0)), (vec![], 0));
}
