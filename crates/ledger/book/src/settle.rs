//! Posts and voids: their hold, and what speaks against ending it.

use proof::{Kind, Timestamp, Transfer, TransferId};

use crate::check::Stop;
use crate::hash::IdHash;
use crate::holds::{Fate, Hold, NEVER};
use crate::past::PastError;
use crate::statuses::TransferStatus as No;
use crate::transfers::{Plan, Wanted};
use crate::writer::Writer;

/// A hold that was found by its id.
pub(crate) struct Held {
    pub(crate) number: u64,
    pub(crate) hold: Hold,
    pub(crate) fate: Fate,
}

impl Writer<'_> {
    /// What a post or void does, if its hold allows it. What it moves was checked when the hold
    /// was made.
    pub(crate) fn settlement(&self, wanted: &Wanted<'_>) -> Result<Plan, Stop> {
        let new = wanted.new;
        let Held { number, hold, fate } = self.find_hold(wanted.ahead.hold, new.hold)?;
        let ledger = self.book.accounts.rows.get(hold.debit).ledger;
        if !new.debit.is_none() && wanted.ahead.debit() != Some(hold.debit) {
            return Err(No::PendingTransferHasDifferentDebitAccountId.into());
        }
        if !new.credit.is_none() && wanted.ahead.credit() != Some(hold.credit) {
            return Err(No::PendingTransferHasDifferentCreditAccountId.into());
        }
        if new.ledger != 0 && new.ledger != ledger {
            return Err(No::PendingTransferHasDifferentLedger.into());
        }
        if new.code != 0 && new.code != hold.code {
            return Err(No::PendingTransferHasDifferentCode.into());
        }
        let amount = if new.amount == 0 { hold.amount } else { new.amount };
        if amount > hold.amount {
            return Err(No::ExceedsPendingTransferAmount.into());
        }
        if new.kind == Kind::VoidPending && amount < hold.amount {
            return Err(No::PendingTransferHasDifferentAmount.into());
        }
        match fate {
            Fate::Open => {}
            Fate::Posted => return Err(No::PendingTransferAlreadyPosted.into()),
            Fate::Voided => return Err(No::PendingTransferAlreadyVoided.into()),
            Fate::Expired => return Err(No::PendingTransferExpired.into()),
        }
        let Hold { debit, credit, code, .. } = hold;
        Ok(Plan { debit, credit, ledger, code, amount, hold: Some((number, hold.amount)) })
    }

    /// The hold with that id, and what has become of it.
    pub(crate) fn find_hold(&self, hash: IdHash, id: TransferId) -> Result<Held, Stop> {
        let (mut open, mut ended) = (None, None);
        let number = self.book.transfers.try_find(hash, |number| {
            let hold = self.book.holds.open.get(number);
            open = hold.filter(|hold| hold.id == id && self.tenant_of(hold) == self.tenant);
            if hold.is_none() {
                ended = self.found_at(number, id)?;
            }
            Ok::<_, PastError>(open.is_some() || ended.is_some())
        })?;
        let number = number.ok_or(No::PendingTransferNotFound)?;
        if let Some(hold) = open {
            // So many may end at once that a block cannot record them all.
            let is_over = hold.expires_at <= self.block.timestamp;
            let fate = if is_over { Fate::Expired } else { Fate::Open };
            return Ok(Held { number, hold: *hold, fate });
        }
        let found = ended.and_then(|found| Transfer::decode(&found.entry).ok());
        let transfer = found.ok_or(No::PendingTransferNotFound)?;
        if transfer.kind != Kind::Pending {
            return Err(No::PendingTransferNotPending.into());
        }
        let fate = self.book.holds.fates.get(number);
        Ok(Held { number, hold: self.ended_hold(&transfer), fate })
    }

    fn tenant_of(&self, hold: &Hold) -> u32 {
        self.book.accounts.rows.get(hold.debit).tenant
    }

    /// What a hold was that has ended.
    fn ended_hold(&self, transfer: &Transfer) -> Hold {
        let row = |id: proof::AccountId| {
            let hash = self.hash(id.number());
            let row = self.book.accounts.find(hash, self.tenant, id);
            row.expect("accounts of a transfer exist")
        };
        Hold {
            id: transfer.id,
            amount: transfer.amount,
            expires_at: NEVER,
            timeout_seconds: transfer.timeout_seconds,
            debit: row(transfer.debit),
            credit: row(transfer.credit),
            code: transfer.code,
        }
    }
}

/// When the hold that `transfer` makes ends by itself.
pub(crate) fn expires_at(transfer: &Transfer) -> Timestamp {
    match transfer.timeout_seconds {
        0 => NEVER,
        seconds => transfer.created_at.plus_seconds(seconds),
    }
}
