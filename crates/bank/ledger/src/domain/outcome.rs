//! What became of each item of a batch.

use super::Timestamp;

/// What became of one item, the first of these that applies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome<R> {
    /// Created now.
    Created(Timestamp),
    /// The same one was created before, at that time.
    Exists(Timestamp),
    /// Refused; nothing changed.
    Refused(R),
}

impl<R> From<R> for Outcome<R> {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal)
    }
}

/// Why an account was refused, in order of precedence. Numbers are the contract's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum AccountRefusal {
    /// Another item of its linked group was refused.
    LinkedEventFailed = 2,
    /// The last item of a batch is linked to nothing.
    LinkedEventChainOpen = 3,
    /// The id is all zeros.
    IdMustNotBeZero = 4,
    /// The id is all ones.
    IdMustNotBeMax = 5,
    /// The id belongs to an account with another limit.
    ExistsWithDifferentLimit = 6,
    /// The id belongs to an account with another external id.
    ExistsWithDifferentExternalId = 7,
    /// The id belongs to an account of another ledger.
    ExistsWithDifferentLedger = 8,
    /// The id belongs to an account with another code.
    ExistsWithDifferentCode = 9,
    /// The ledger is 0.
    LedgerMustNotBeZero = 11,
    /// The code is 0.
    CodeMustNotBeZero = 12,
}

/// Why a transfer was refused, in order of precedence. Numbers are the contract's and the
/// journal's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum TransferRefusal {
    /// Another item of its linked group was refused.
    LinkedEventFailed = 2,
    /// The last item of a batch is linked to nothing.
    LinkedEventChainOpen = 3,
    /// The id is all zeros.
    IdMustNotBeZero = 4,
    /// The id is all ones.
    IdMustNotBeMax = 5,
    /// The id belongs to a transfer of another kind.
    ExistsWithDifferentKind = 6,
    /// The id belongs to a transfer of another hold.
    ExistsWithDifferentPendingId = 7,
    /// The id belongs to a transfer with another timeout.
    ExistsWithDifferentTimeout = 8,
    /// The id belongs to a transfer from another account.
    ExistsWithDifferentDebitAccountId = 9,
    /// The id belongs to a transfer to another account.
    ExistsWithDifferentCreditAccountId = 10,
    /// The id belongs to a transfer of another amount.
    ExistsWithDifferentAmount = 11,
    /// The id belongs to a transfer with another external id.
    ExistsWithDifferentExternalId = 12,
    /// The id belongs to a transfer of another ledger.
    ExistsWithDifferentLedger = 13,
    /// The id belongs to a transfer with another code.
    ExistsWithDifferentCode = 14,
    /// The id was refused before, with a final status.
    IdAlreadyFailed = 16,
    /// A plain transfer or hold names a hold.
    PendingIdMustBeEmpty = 17,
    /// A post or void names no hold.
    PendingIdMustNotBeEmpty = 18,
    /// A post or void names itself as the hold.
    PendingIdMustBeDifferent = 19,
    /// Only holds have a timeout.
    TimeoutReservedForPending = 20,
    /// The debit account is empty or all zeros.
    DebitAccountIdMustNotBeZero = 21,
    /// The credit account is empty or all zeros.
    CreditAccountIdMustNotBeZero = 22,
    /// Both accounts are the same.
    AccountsMustBeDifferent = 23,
    /// The amount is 0.
    AmountMustNotBeZero = 24,
    /// The ledger is 0.
    LedgerMustNotBeZero = 25,
    /// The code is 0.
    CodeMustNotBeZero = 26,
    /// The debit account does not exist. Final.
    DebitAccountNotFound = 27,
    /// The credit account does not exist. Final.
    CreditAccountNotFound = 28,
    /// The accounts belong to different ledgers.
    AccountsMustHaveTheSameLedger = 29,
    /// The transfer names another ledger than its accounts.
    TransferMustHaveTheSameLedgerAsAccounts = 30,
    /// The hold does not exist. Final.
    PendingTransferNotFound = 31,
    /// The transfer named as the hold is none.
    PendingTransferNotPending = 32,
    /// The hold debits another account.
    PendingTransferHasDifferentDebitAccountId = 33,
    /// The hold credits another account.
    PendingTransferHasDifferentCreditAccountId = 34,
    /// The hold belongs to another ledger.
    PendingTransferHasDifferentLedger = 35,
    /// The hold has another code.
    PendingTransferHasDifferentCode = 36,
    /// More is posted than is on hold.
    ExceedsPendingTransferAmount = 37,
    /// Less is voided than is on hold.
    PendingTransferHasDifferentAmount = 38,
    /// The hold was posted before. Final.
    PendingTransferAlreadyPosted = 39,
    /// The hold was voided before. Final.
    PendingTransferAlreadyVoided = 40,
    /// The hold has expired. Final.
    PendingTransferExpired = 41,
    /// A balance would pass 2^63 - 1 minor units. Final.
    OverflowsBalance = 42,
    /// The debit account's credits do not cover it. Final.
    ExceedsCredits = 43,
    /// The credit account's debits do not cover it. Final.
    ExceedsDebits = 44,
}

impl TransferRefusal {
    /// Every refusal that depends on what the ledger held at that moment.
    ///
    /// They are recorded, so that a retry can never turn a refusal that was answered into a
    /// movement of money.
    pub(crate) const FINAL: [Self; 9] = [
        Self::DebitAccountNotFound,
        Self::CreditAccountNotFound,
        Self::PendingTransferNotFound,
        Self::PendingTransferAlreadyPosted,
        Self::PendingTransferAlreadyVoided,
        Self::PendingTransferExpired,
        Self::OverflowsBalance,
        Self::ExceedsCredits,
        Self::ExceedsDebits,
    ];

    /// Whether it is one of [`Self::FINAL`].
    pub(crate) fn is_final(self) -> bool {
        Self::FINAL.contains(&self)
    }
}
