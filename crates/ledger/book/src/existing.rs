//! Ids that were used before.

use proof::{Kind, Timestamp, Transfer, flag, peek};

use crate::batch::Outcome;
use crate::check::{BALANCING, Stop};
use crate::past::PastError;
use crate::statuses::TransferStatus as No;
use crate::transfers::Wanted;
use crate::writer::{Found, Writer};

impl Writer<'_> {
    /// Whether the id can be the id of a new transfer.
    pub(crate) fn check_id(&mut self, wanted: &Wanted<'_>) -> Result<(), Stop> {
        let id = wanted.new.id;
        if id.is_none() {
            return Err(No::IdMustNotBeZero.into());
        }
        if id.is_max() {
            return Err(No::IdMustNotBeMax.into());
        }
        match self.find(wanted.ahead.id, id)? {
            None => Ok(()),
            Some(found) => Err(self.existing(&found, wanted)?.into()),
        }
    }

    /// What becomes of an item whose id was used.
    fn existing(&mut self, found: &Found, wanted: &Wanted<'_>) -> Result<Outcome, Stop> {
        if peek::kind(&found.entry) == Some(Kind::Refusal) {
            return Err(No::IdAlreadyFailed.into());
        }
        let old =
            Transfer::decode(&found.entry).expect("only transfers and refusals have such ids");
        let refusal = match self.difference(&old, wanted)? {
            Some(refusal) => refusal,
            None if old.effective_at != effective_at(&old, wanted.new) => {
                No::ExistsWithDifferentEffectiveAt
            }
            None if found.extension != wanted.extension => No::ExistsWithDifferentMetadata,
            None => {
                let is_chain = old.flags & flag::CHAIN != 0;
                let amount = if is_chain { 0 } else { old.amount };
                let exists = No::Exists.number();
                return Ok(Outcome::exists(exists, old.created_at, amount));
            }
        };
        Err(refusal.into())
    }

    /// What is different between a transfer and one that is asked for. One that inherits is the
    /// same when what it inherits is.
    fn difference(&mut self, old: &Transfer, wanted: &Wanted<'_>) -> Result<Option<No>, Stop> {
        let new = wanted.new;
        let inherits = new.kind.settles();
        Ok(Some(if old.kind != new.kind {
            No::ExistsWithDifferentKind
        } else if (old.flags ^ new.flags) & (BALANCING | flag::CHAIN) != 0 {
            No::ExistsWithDifferentFlags
        } else if !self.has_same_hold(old, wanted)? {
            No::ExistsWithDifferentPendingId
        } else if old.timeout_seconds != new.timeout_seconds {
            No::ExistsWithDifferentTimeout
        } else if old.debit != new.debit && !(inherits && new.debit.is_none()) {
            No::ExistsWithDifferentDebitAccountId
        } else if old.credit != new.credit && !(inherits && new.credit.is_none()) {
            No::ExistsWithDifferentCreditAccountId
        } else if !self.has_same_amount(old, wanted)? {
            No::ExistsWithDifferentAmount
        } else if old.external_id != new.external_id {
            No::ExistsWithDifferentExternalId
        } else if old.ledger != new.ledger && !(inherits && new.ledger == 0) {
            No::ExistsWithDifferentLedger
        } else if old.code != new.code && !(inherits && new.code == 0) {
            No::ExistsWithDifferentCode
        } else {
            return Ok(None);
        }))
    }

    /// Of a chain any hold of its linked group may be named; the first was recorded.
    fn has_same_hold(&mut self, old: &Transfer, wanted: &Wanted<'_>) -> Result<bool, Stop> {
        if old.hold == wanted.new.hold || old.flags & flag::CHAIN == 0 {
            return Ok(old.hold == wanted.new.hold);
        }
        let Some(named) = self.find(wanted.ahead.hold, wanted.new.hold)? else {
            return Ok(false);
        };
        Ok(self.group_holds(named.number)?.first() == Some(&old.hold))
    }

    /// The amount of a balancing transfer is a maximum. Of a settlement that names none it is the
    /// whole hold's, which is known of all but a post: that may have been for a part.
    fn has_same_amount(&self, old: &Transfer, wanted: &Wanted<'_>) -> Result<bool, PastError> {
        let new = wanted.new;
        if new.flags & BALANCING != 0 {
            return Ok(new.amount == 0 || old.amount <= new.amount);
        }
        if new.amount != 0 || !new.kind.settles() {
            return Ok(old.amount == new.amount);
        }
        if new.kind == Kind::VoidPending || old.flags & flag::CHAIN != 0 {
            return Ok(true);
        }
        let hold = self.find(wanted.ahead.hold, new.hold)?;
        Ok(hold.is_some_and(|hold| peek::amount(&hold.entry) == old.amount))
    }
}

/// When a transfer would count from, had it been asked for like `new`.
fn effective_at(old: &Transfer, new: &Transfer) -> Timestamp {
    if new.effective_at == Timestamp::default() { old.created_at } else { new.effective_at }
}
