//! Transfers between accounts.

use super::account::Change;
use super::{AccountId, ExternalId, Id, Timestamp, TransferId};

/// How a transfer takes effect.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum TransferKind {
    /// At once and for good.
    #[default]
    Plain,
    /// As a hold.
    Pending,
    /// Posts a hold, all of it or part of it.
    PostPending,
    /// Releases a hold.
    VoidPending,
}

impl TransferKind {
    /// Whether it settles a hold, and inherits from it what it does not name.
    pub(super) fn settles(self) -> bool {
        matches!(self, Self::PostPending | Self::VoidPending)
    }
}

/// What has become of a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HoldState {
    Open,
    Posted,
    Voided,
    Expired,
}

/// A transfer to create. Ids of none and zeros stand for what is not named.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NewTransfer {
    pub(crate) id: TransferId,
    pub(crate) debit_account_id: AccountId,
    pub(crate) credit_account_id: AccountId,
    /// Minor units; 0 means the whole hold when posting or voiding.
    pub(crate) amount: u64,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) kind: TransferKind,
    pub(crate) pending_id: TransferId,
    /// Seconds after which a hold is released by itself; 0 means never.
    pub(crate) timeout_seconds: u32,
    pub(crate) external_id: ExternalId,
    /// Accepted only together with the next item of the batch.
    pub(crate) linked: bool,
}

impl NewTransfer {
    /// The same transfer with all that it inherits from `hold` named.
    pub(super) fn resolved(&self, hold: &Transfer) -> Self {
        let mut new = self.clone();
        if new.debit_account_id.is_none() {
            new.debit_account_id = hold.debit_account_id;
        }
        if new.credit_account_id.is_none() {
            new.credit_account_id = hold.credit_account_id;
        }
        if new.amount == 0 {
            new.amount = hold.amount;
        }
        if new.ledger == 0 {
            new.ledger = hold.ledger;
        }
        if new.code == 0 {
            new.code = hold.code;
        }
        new
    }
}

/// A transfer that was accepted, with all that it inherited.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Transfer {
    pub(crate) id: TransferId,
    pub(crate) debit_account_id: AccountId,
    pub(crate) credit_account_id: AccountId,
    /// Minor units that moved, are on hold, or were released.
    pub(crate) amount: u64,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) kind: TransferKind,
    /// The hold that it settled, or none.
    pub(crate) pending_id: TransferId,
    pub(crate) timeout_seconds: u32,
    pub(crate) external_id: ExternalId,
    pub(crate) created_at: Timestamp,
    /// Of a hold: what has become of it.
    pub(crate) hold: Option<HoldState>,
}

impl Transfer {
    /// The transfer that `new` asks for, which names all that it inherits.
    pub(super) fn accept(new: &NewTransfer, created_at: Timestamp) -> Self {
        Self {
            id: new.id,
            debit_account_id: new.debit_account_id,
            credit_account_id: new.credit_account_id,
            amount: new.amount,
            ledger: new.ledger,
            code: new.code,
            kind: new.kind,
            pending_id: new.pending_id,
            timeout_seconds: new.timeout_seconds,
            external_id: new.external_id,
            created_at,
            hold: (new.kind == TransferKind::Pending).then_some(HoldState::Open),
        }
    }

    /// What it does to the debit side of one account and the credit side of the other, when
    /// `released` is the amount of the hold that it settles, if any.
    pub(super) fn change(&self, released: u64) -> Change {
        let (held, posted) = match self.kind {
            TransferKind::Plain | TransferKind::PostPending => (0, self.amount),
            TransferKind::Pending => (self.amount, 0),
            TransferKind::VoidPending => (0, 0),
        };
        Change { released, held, posted }
    }

    /// When the hold is released by itself, if ever.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        (self.timeout_seconds > 0).then(|| self.created_at.plus_seconds(self.timeout_seconds))
    }
}
