//! What became of each item, as numbers of the contract.
//!
//! An item gets the first status that applies, in the order in which they are declared here. The
//! numbers tell nothing about that order: new statuses have new numbers, wherever they stand.

macro_rules! statuses {
    ($(#[$doc:meta])* $name:ident { $($(#[$about:meta])* $status:ident = $number:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(u16)]
        pub enum $name {
            $($(#[$about])* $status = $number,)*
        }

        impl $name {
            /// All of them, in order of precedence.
            pub const ALL: &[Self] = &[$(Self::$status),*];

            /// Its number in the contract.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The status of that number.
            pub fn from_number(number: u16) -> Option<Self> {
                Self::ALL.iter().copied().find(|status| status.number() == number)
            }
        }
    };
}

statuses! {
    /// What became of an account that was asked for.
    AccountStatus {
        /// Created now.
        Created = 1,
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
        /// The id belongs to an account that was created with another overdraft.
        ExistsWithDifferentOverdraft = 13,
        /// The id belongs to an account with another external id.
        ExistsWithDifferentExternalId = 7,
        /// The id belongs to an account of another ledger.
        ExistsWithDifferentLedger = 8,
        /// The id belongs to an account with another code.
        ExistsWithDifferentCode = 9,
        /// The id belongs to an account with other metadata.
        ExistsWithDifferentMetadata = 14,
        /// The same account exists already.
        Exists = 10,
        /// The ledger is 0.
        LedgerMustNotBeZero = 11,
        /// The code is 0.
        CodeMustNotBeZero = 12,
        /// Only an account with a limit has an overdraft.
        OverdraftNeedsLimit = 15,
        /// There are 2^27 accounts, the most there can be.
        AccountsExhausted = 16,
    }
}

statuses! {
    /// What became of a change of an account.
    AmendmentStatus {
        /// The account is as asked, now or since before.
        Updated = 1,
        /// The account does not exist.
        AccountNotFound = 2,
        /// Only an account with a limit has an overdraft.
        OverdraftNeedsLimit = 3,
        /// The balance uses more of its overdraft already.
        OverdraftBelowUsed = 4,
        /// An account with open holds cannot be closed.
        AccountHasHolds = 5,
        /// Only an account whose posted debits and credits are equal can be closed.
        BalanceMustBeZero = 6,
    }
}

statuses! {
    /// What became of a transfer that was asked for.
    TransferStatus {
        /// Created now.
        Created = 1,
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
        /// The id belongs to a transfer with other flags; whether it was linked does not count.
        ExistsWithDifferentFlags = 45,
        /// The id belongs to a transfer of another hold; of a chain, of another linked group.
        ExistsWithDifferentPendingId = 7,
        /// The id belongs to a transfer with another timeout.
        ExistsWithDifferentTimeout = 8,
        /// The id belongs to a transfer from another account.
        ExistsWithDifferentDebitAccountId = 9,
        /// The id belongs to a transfer to another account.
        ExistsWithDifferentCreditAccountId = 10,
        /// The id belongs to a transfer of another amount; when balancing, of more than is asked.
        ExistsWithDifferentAmount = 11,
        /// The id belongs to a transfer with another external id.
        ExistsWithDifferentExternalId = 12,
        /// The id belongs to a transfer of another ledger.
        ExistsWithDifferentLedger = 13,
        /// The id belongs to a transfer with another code.
        ExistsWithDifferentCode = 14,
        /// The id belongs to a transfer with another effective date.
        ExistsWithDifferentEffectiveAt = 46,
        /// The id belongs to a transfer with other metadata.
        ExistsWithDifferentMetadata = 47,
        /// The same transfer exists already.
        Exists = 15,
        /// The id was refused before, with a final status.
        IdAlreadyFailed = 16,
        /// A post or void cannot balance.
        BalancingReservedForMovements = 48,
        /// Only a post or void settles a chain.
        ChainReservedForSettlements = 49,
        /// A plain transfer or hold names a hold.
        PendingIdMustBeEmpty = 17,
        /// A post or void names no hold.
        PendingIdMustNotBeEmpty = 18,
        /// A post or void names itself as the hold.
        PendingIdMustBeDifferent = 19,
        /// Only holds have a timeout.
        TimeoutReservedForPending = 20,
        /// A chain settles whole holds, each between its own accounts.
        ChainMustNotNameAmountOrAccounts = 50,
        /// The debit account is empty or all zeros.
        DebitAccountIdMustNotBeZero = 21,
        /// The credit account is empty or all zeros.
        CreditAccountIdMustNotBeZero = 22,
        /// Both accounts are the same.
        AccountsMustBeDifferent = 23,
        /// The amount is 0, and the transfer does not balance.
        AmountMustNotBeZero = 24,
        /// The ledger is 0.
        LedgerMustNotBeZero = 25,
        /// The code is 0.
        CodeMustNotBeZero = 26,
        /// The effective date is after the time of creation. Final.
        EffectiveAtMustNotBeInTheFuture = 51,
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
        /// The chains of the batch settle more than 8,189 holds; a batch of its own has room for
        /// any.
        ChainsExceedBatch = 54,
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
        /// The debit account is closed. Final.
        DebitAccountClosed = 52,
        /// The credit account is closed. Final.
        CreditAccountClosed = 53,
        /// A balance would pass 2^63 - 1 minor units. Final.
        OverflowsBalance = 42,
        /// The debit account's credits and overdraft do not cover it; when balancing, not any of
        /// it. Final.
        ExceedsCredits = 43,
        /// The credit account's debits and overdraft do not cover it; when balancing, not any of
        /// it. Final.
        ExceedsDebits = 44,
    }
}

impl TransferStatus {
    /// Whether it depends on what the ledger held at that moment.
    ///
    /// Such a refusal is recorded, so that a retry can never turn a refusal that was answered into
    /// a movement of money.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::EffectiveAtMustNotBeInTheFuture
                | Self::DebitAccountNotFound
                | Self::CreditAccountNotFound
                | Self::PendingTransferNotFound
                | Self::PendingTransferAlreadyPosted
                | Self::PendingTransferAlreadyVoided
                | Self::PendingTransferExpired
                | Self::DebitAccountClosed
                | Self::CreditAccountClosed
                | Self::OverflowsBalance
                | Self::ExceedsCredits
                | Self::ExceedsDebits
        )
    }
}
