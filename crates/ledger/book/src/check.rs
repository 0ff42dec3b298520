//! Refusals of a transfer that stand for themselves, in order of precedence.

use proof::{Kind, Timestamp, Transfer, flag};

use crate::accounts::Accounts;
use crate::batch::Outcome;
use crate::past::PastError;
use crate::rows::Limit;
use crate::statuses::TransferStatus as No;

/// Why an item goes no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This is what became of it.
    Answer(Outcome),
    /// What was recorded cannot be read.
    Past(PastError),
}

impl Stop {
    /// What became of the item.
    pub(crate) fn answer(result: Result<Outcome, Self>) -> Result<Outcome, PastError> {
        match result {
            Ok(outcome) | Err(Self::Answer(outcome)) => Ok(outcome),
            Err(Self::Past(error)) => Err(error),
        }
    }
}

impl From<No> for Stop {
    fn from(refusal: No) -> Self {
        Self::Answer(Outcome::refused(refusal.number()))
    }
}

impl From<Outcome> for Stop {
    fn from(outcome: Outcome) -> Self {
        Self::Answer(outcome)
    }
}

impl From<PastError> for Stop {
    fn from(error: PastError) -> Self {
        Self::Past(error)
    }
}

/// Either flag of a balancing transfer.
pub(crate) const BALANCING: u8 = flag::BALANCING_DEBIT | flag::BALANCING_CREDIT;

/// What can be told without looking at the ledger.
pub(crate) fn fields(new: &Transfer, created_at: Timestamp) -> Result<(), No> {
    if new.kind.settles() {
        settlement_fields(new)?;
    } else {
        movement_fields(new)?;
    }
    if new.effective_at > created_at {
        return Err(No::EffectiveAtMustNotBeInTheFuture);
    }
    Ok(())
}

fn settlement_fields(new: &Transfer) -> Result<(), No> {
    let is_chain = new.flags & flag::CHAIN != 0;
    let names_what_moves = new.amount != 0 || !new.debit.is_none() || !new.credit.is_none();
    first_broken([
        (new.flags & BALANCING != 0, No::BalancingReservedForMovements),
        (new.hold.is_none(), No::PendingIdMustNotBeEmpty),
        (new.hold == new.id, No::PendingIdMustBeDifferent),
        (new.timeout_seconds != 0, No::TimeoutReservedForPending),
        (is_chain && names_what_moves, No::ChainMustNotNameAmountOrAccounts),
        (!new.debit.is_none() && new.debit == new.credit, No::AccountsMustBeDifferent),
    ])
}

fn movement_fields(new: &Transfer) -> Result<(), No> {
    let is_hold = new.kind == Kind::Pending;
    let is_balancing = new.flags & BALANCING != 0;
    first_broken([
        (new.flags & flag::CHAIN != 0, No::ChainReservedForSettlements),
        (!new.hold.is_none(), No::PendingIdMustBeEmpty),
        (!is_hold && new.timeout_seconds != 0, No::TimeoutReservedForPending),
        (new.debit.is_none(), No::DebitAccountIdMustNotBeZero),
        (new.credit.is_none(), No::CreditAccountIdMustNotBeZero),
        (new.debit == new.credit, No::AccountsMustBeDifferent),
        (new.amount == 0 && !is_balancing, No::AmountMustNotBeZero),
        (new.ledger == 0, No::LedgerMustNotBeZero),
        (new.code == 0, No::CodeMustNotBeZero),
    ])
}

fn first_broken<const N: usize>(rules: [(bool, No); N]) -> Result<(), No> {
    match rules.into_iter().find(|(is_broken, _)| *is_broken) {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}

/// The accounts that the transfer names, and the rows that they were found in.
pub(crate) fn accounts(
    accounts: &Accounts,
    new: &Transfer,
    debit: Option<u32>,
    credit: Option<u32>,
) -> Result<(), No> {
    if debit.is_none() && !new.debit.is_none() {
        return Err(No::DebitAccountNotFound);
    }
    if credit.is_none() && !new.credit.is_none() {
        return Err(No::CreditAccountNotFound);
    }
    let ledger = |row: Option<u32>| row.map(|row| accounts.rows.get(row).ledger);
    let (debit, credit) = (ledger(debit), ledger(credit));
    if let (Some(debit), Some(credit)) = (debit, credit)
        && debit != credit
    {
        return Err(No::AccountsMustHaveTheSameLedger);
    }
    if let Some(ledger) = debit.or(credit)
        && new.ledger != 0
        && new.ledger != ledger
    {
        return Err(No::TransferMustHaveTheSameLedgerAsAccounts);
    }
    Ok(())
}

/// A plain transfer or a hold between two accounts: how much of it can move.
pub(crate) fn movement(
    accounts: &Accounts,
    new: &Transfer,
    debit: u32,
    credit: u32,
) -> Result<u64, No> {
    let debit_overdraft = accounts.overdraft(debit);
    let credit_overdraft = accounts.overdraft(credit);
    let (debit, credit) = (accounts.rows.get(debit), accounts.rows.get(credit));
    if debit.is_closed {
        return Err(No::DebitAccountClosed);
    }
    if credit.is_closed {
        return Err(No::CreditAccountClosed);
    }
    let debits_available = debit.debits_available(debit_overdraft);
    let credits_available = credit.credits_available(credit_overdraft);
    let balances_debit = new.flags & flag::BALANCING_DEBIT != 0;
    let balances_credit = new.flags & flag::BALANCING_CREDIT != 0;
    let mut amount = if new.amount == 0 { u64::MAX } else { new.amount };
    if balances_debit {
        amount = amount.min(debits_available);
    }
    if balances_credit {
        amount = amount.min(credits_available);
    }
    if debit.debits.overflows_with(amount) || credit.credits.overflows_with(amount) {
        return Err(No::OverflowsBalance);
    }
    let is_nothing = amount == 0;
    if debit.limit == Limit::DebitsWithinCredits && amount > debits_available
        || is_nothing && balances_debit && debits_available == 0
    {
        return Err(No::ExceedsCredits);
    }
    if credit.limit == Limit::CreditsWithinDebits && amount > credits_available || is_nothing {
        return Err(No::ExceedsDebits);
    }
    Ok(amount)
}
