//! Every refusal, in the order of the contract.

use super::book::Book;
use super::{
    Account, AccountRefusal, HoldState, Id, NewAccount, NewTransfer, Outcome, Transfer,
    TransferKind, TransferRefusal as No,
};

/// What an accepted transfer touches.
pub(super) struct Plan {
    /// The transfer, with all that it inherits named.
    pub(super) transfer: NewTransfer,
    /// Row of the debit account.
    pub(super) debit: usize,
    /// Row of the credit account.
    pub(super) credit: usize,
    /// Row of the hold that it settles.
    pub(super) hold: Option<usize>,
}

/// Whether the account can be created.
pub(super) fn account(book: &Book, new: &NewAccount) -> Result<(), Outcome<AccountRefusal>> {
    if new.id.is_none() {
        return Err(AccountRefusal::IdMustNotBeZero.into());
    }
    if new.id.as_uuid().is_max() {
        return Err(AccountRefusal::IdMustNotBeMax.into());
    }
    if let Some(account) = book.account(new.id) {
        return Err(existing_account(account, new));
    }
    if new.ledger == 0 {
        return Err(AccountRefusal::LedgerMustNotBeZero.into());
    }
    if new.code == 0 {
        return Err(AccountRefusal::CodeMustNotBeZero.into());
    }
    Ok(())
}

fn existing_account(account: &Account, new: &NewAccount) -> Outcome<AccountRefusal> {
    let refusal = if account.limit != new.limit {
        AccountRefusal::ExistsWithDifferentLimit
    } else if account.external_id != new.external_id {
        AccountRefusal::ExistsWithDifferentExternalId
    } else if account.ledger != new.ledger {
        AccountRefusal::ExistsWithDifferentLedger
    } else if account.code != new.code {
        AccountRefusal::ExistsWithDifferentCode
    } else {
        return Outcome::Exists(account.created_at);
    };
    refusal.into()
}

/// Whether the transfer can be created, and what it touches.
pub(super) fn transfer(book: &Book, new: &NewTransfer) -> Result<Plan, Outcome<No>> {
    identity(book, new)?;
    fields(new)?;
    accounts(book, new)?;
    let plan = if new.kind.settles() { settlement(book, new)? } else { movement(book, new)? };
    Ok(plan)
}

fn identity(book: &Book, new: &NewTransfer) -> Result<(), Outcome<No>> {
    if new.id.is_none() {
        return Err(No::IdMustNotBeZero.into());
    }
    if new.id.as_uuid().is_max() {
        return Err(No::IdMustNotBeMax.into());
    }
    if let Some(transfer) = book.transfer(new.id) {
        return Err(existing_transfer(book, transfer, new));
    }
    if book.has_failed(new.id) {
        return Err(No::IdAlreadyFailed.into());
    }
    Ok(())
}

/// A transfer that inherits is the same when what it inherits is.
fn existing_transfer(book: &Book, transfer: &Transfer, new: &NewTransfer) -> Outcome<No> {
    let inherited;
    let new = match book.transfer(transfer.pending_id) {
        Some(hold) if new.kind.settles() => {
            inherited = new.resolved(hold);
            &inherited
        }
        _ => new,
    };
    let refusal = if transfer.kind != new.kind {
        No::ExistsWithDifferentKind
    } else if transfer.pending_id != new.pending_id {
        No::ExistsWithDifferentPendingId
    } else if transfer.timeout_seconds != new.timeout_seconds {
        No::ExistsWithDifferentTimeout
    } else if transfer.debit_account_id != new.debit_account_id {
        No::ExistsWithDifferentDebitAccountId
    } else if transfer.credit_account_id != new.credit_account_id {
        No::ExistsWithDifferentCreditAccountId
    } else if transfer.amount != new.amount {
        No::ExistsWithDifferentAmount
    } else if transfer.external_id != new.external_id {
        No::ExistsWithDifferentExternalId
    } else if transfer.ledger != new.ledger {
        No::ExistsWithDifferentLedger
    } else if transfer.code != new.code {
        No::ExistsWithDifferentCode
    } else {
        return Outcome::Exists(transfer.created_at);
    };
    refusal.into()
}

/// What can be told without looking at the ledger.
fn fields(new: &NewTransfer) -> Result<(), No> {
    let settles = new.kind.settles();
    let (debit, credit) = (new.debit_account_id, new.credit_account_id);
    let rules = [
        (!settles && !new.pending_id.is_none(), No::PendingIdMustBeEmpty),
        (settles && new.pending_id.is_none(), No::PendingIdMustNotBeEmpty),
        (settles && new.pending_id == new.id, No::PendingIdMustBeDifferent),
        (
            new.kind != TransferKind::Pending && new.timeout_seconds != 0,
            No::TimeoutReservedForPending,
        ),
        (!settles && debit.is_none(), No::DebitAccountIdMustNotBeZero),
        (!settles && credit.is_none(), No::CreditAccountIdMustNotBeZero),
        (!debit.is_none() && debit == credit, No::AccountsMustBeDifferent),
        (!settles && new.amount == 0, No::AmountMustNotBeZero),
        (!settles && new.ledger == 0, No::LedgerMustNotBeZero),
        (!settles && new.code == 0, No::CodeMustNotBeZero),
    ];
    match rules.into_iter().find(|(broken, _)| *broken) {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}

/// The accounts that the transfer names itself.
fn accounts(book: &Book, new: &NewTransfer) -> Result<(), No> {
    let debit = book.account(new.debit_account_id);
    if debit.is_none() && !new.debit_account_id.is_none() {
        return Err(No::DebitAccountNotFound);
    }
    let credit = book.account(new.credit_account_id);
    if credit.is_none() && !new.credit_account_id.is_none() {
        return Err(No::CreditAccountNotFound);
    }
    if let (Some(debit), Some(credit)) = (debit, credit)
        && debit.ledger != credit.ledger
    {
        return Err(No::AccountsMustHaveTheSameLedger);
    }
    if let Some(account) = debit.or(credit)
        && new.ledger != 0
        && new.ledger != account.ledger
    {
        return Err(No::TransferMustHaveTheSameLedgerAsAccounts);
    }
    Ok(())
}

/// A post or void: its hold. What it moves was checked when the hold was made.
fn settlement(book: &Book, new: &NewTransfer) -> Result<Plan, No> {
    let row = book.transfer_row(new.pending_id).ok_or(No::PendingTransferNotFound)?;
    let hold = book.transfer_at(row);
    let state = hold.hold.ok_or(No::PendingTransferNotPending)?;
    let new = new.resolved(hold);
    if new.debit_account_id != hold.debit_account_id {
        return Err(No::PendingTransferHasDifferentDebitAccountId);
    }
    if new.credit_account_id != hold.credit_account_id {
        return Err(No::PendingTransferHasDifferentCreditAccountId);
    }
    if new.ledger != hold.ledger {
        return Err(No::PendingTransferHasDifferentLedger);
    }
    if new.code != hold.code {
        return Err(No::PendingTransferHasDifferentCode);
    }
    if new.amount > hold.amount {
        return Err(No::ExceedsPendingTransferAmount);
    }
    if new.kind == TransferKind::VoidPending && new.amount < hold.amount {
        return Err(No::PendingTransferHasDifferentAmount);
    }
    match state {
        HoldState::Open => Ok(plan(book, new, Some(row))),
        HoldState::Posted => Err(No::PendingTransferAlreadyPosted),
        HoldState::Voided => Err(No::PendingTransferAlreadyVoided),
        HoldState::Expired => Err(No::PendingTransferExpired),
    }
}

/// A plain transfer or a hold: the balances.
fn movement(book: &Book, new: &NewTransfer) -> Result<Plan, No> {
    let plan = plan(book, new.clone(), None);
    let (debit, credit) = (book.account_at(plan.debit), book.account_at(plan.credit));
    if debit.balances.debits.overflows_with(new.amount)
        || credit.balances.credits.overflows_with(new.amount)
    {
        return Err(No::OverflowsBalance);
    }
    if debit.exceeds_credits_with(new.amount) {
        return Err(No::ExceedsCredits);
    }
    if credit.exceeds_debits_with(new.amount) {
        return Err(No::ExceedsDebits);
    }
    Ok(plan)
}

/// The plan of a transfer whose accounts are known to exist.
fn plan(book: &Book, transfer: NewTransfer, hold: Option<usize>) -> Plan {
    let debit = book.account_row(transfer.debit_account_id);
    let credit = book.account_row(transfer.credit_account_id);
    Plan { debit, credit, hold, transfer: NewTransfer { linked: false, ..transfer } }
}
