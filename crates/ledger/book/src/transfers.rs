//! Creating transfers.

use proof::{Entry, Kind, Refusal, Timestamp, Transfer, TransferId, flag};

use crate::ahead::{Ahead, CHUNK};
use crate::batch::{Outcome, Transfers};
use crate::block::{Backdated, Posting};
use crate::check::{self, Stop};
use crate::hash::IdHash;
use crate::holds::{Fate, Hold, OpenHold};
use crate::linked::{Groups, Item};
use crate::past::PastError;
use crate::rows::Change;
use crate::settle::expires_at;
use crate::statuses::TransferStatus as No;
use crate::writer::{TransferUndo, Undo, Writer};

/// A transfer that is asked for.
pub(crate) struct Wanted<'a> {
    pub(crate) new: &'a Transfer,
    pub(crate) extension: &'a [u8],
    pub(crate) ahead: Ahead,
}

/// What an accepted transfer touches, and what it inherits.
pub(crate) struct Plan {
    pub(crate) debit: u32,
    pub(crate) credit: u32,
    pub(crate) ledger: u32,
    pub(crate) code: u16,
    pub(crate) amount: u64,
    /// Number and amount of the hold that it ends.
    pub(crate) hold: Option<(u64, u64)>,
}

impl Writer<'_> {
    /// Creates transfers in order.
    pub(crate) fn transfers(
        &mut self,
        transfers: &Transfers,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), PastError> {
        let count = transfers.len();
        self.block.reserve(count);
        outcomes.reserve(count);
        let (mut groups, mut extensions) = (Groups::default(), transfers.extensions());
        let mut left = count;
        let mut known = transfers.ahead(self.tenant).map(|known| known.chunks(CHUNK));
        let mut ahead = [Ahead::default(); CHUNK];
        for chunk in transfers.items().chunks(CHUNK) {
            let ahead = &mut ahead[..chunk.len()];
            match known.as_mut().and_then(Iterator::next) {
                Some(known) => ahead.copy_from_slice(known),
                None => self.book.resolve(self.tenant, chunk, ahead),
            }
            self.book.look_ahead(self.tenant, chunk, ahead);
            for (new, &mut ahead) in chunk.iter().zip(ahead) {
                let (extension, rest) = extensions.split_at(new.extension.into());
                extensions = rest;
                left -= 1;
                groups.run(self, &Wanted { new, extension, ahead }, left == 0, outcomes)?;
            }
        }
        Ok(())
    }

    /// Creates a transfer, or a whole chain of settlements.
    fn create(&mut self, wanted: &Wanted<'_>) -> Result<Outcome, Stop> {
        self.check_id(wanted)?;
        check::fields(wanted.new, self.block.next_time())?;
        if wanted.new.flags & flag::CHAIN != 0 { self.chain(wanted) } else { self.perform(wanted) }
    }

    /// Creates a transfer again that was accepted before, in a block that is replayed.
    pub(crate) fn create_again(&mut self, wanted: &Wanted<'_>) -> Result<Outcome, Stop> {
        self.check_id(wanted)?;
        // Of a chain each settlement was recorded, with all that it inherited.
        let single = Transfer { flags: wanted.new.flags & !flag::CHAIN, ..*wanted.new };
        check::fields(&single, self.block.next_time())?;
        self.perform(wanted)
    }

    /// Creates a single transfer whose id and fields are in order.
    pub(crate) fn perform(&mut self, wanted: &Wanted<'_>) -> Result<Outcome, Stop> {
        let Wanted { new, ahead, .. } = wanted;
        let (debit, credit) = (ahead.debit(), ahead.credit());
        check::accounts(&self.book.accounts, new, debit, credit)?;
        let plan = match (debit, credit) {
            _ if new.kind.settles() => self.settlement(wanted)?,
            (Some(debit), Some(credit)) => {
                let amount = check::movement(&self.book.accounts, new, debit, credit)?;
                Plan { debit, credit, ledger: new.ledger, code: new.code, amount, hold: None }
            }
            _ => unreachable!("a movement names both accounts, and both were found"),
        };
        Ok(self.apply(wanted, &plan))
    }

    fn apply(&mut self, wanted: &Wanted<'_>, plan: &Plan) -> Outcome {
        let new = wanted.new;
        let (number, created_at) = (self.block.next_number(), self.block.next_time());
        let is_now = new.effective_at == Timestamp::default();
        let rows = &self.book.accounts.rows;
        let transfer = Transfer {
            ledger: plan.ledger,
            code: plan.code,
            tenant: self.tenant,
            debit: rows.get(plan.debit).id,
            credit: rows.get(plan.credit).id,
            amount: plan.amount,
            created_at,
            effective_at: if is_now { created_at } else { new.effective_at },
            ..*new
        };
        self.block.push_transfer(&transfer, wanted.extension);
        self.book.transfers.insert(wanted.ahead.id, number);
        let ended = self.change_hold(&transfer, plan, number);
        let change = change(&transfer, plan);
        self.change_sides(wanted.ahead.id, number, plan, change, ended);
        if change.posted > 0 && transfer.effective_at < created_at {
            self.backdate(&transfer, plan, number);
        }
        Outcome::created(created_at, plan.amount)
    }

    /// Opens the hold that the transfer is, or ends the one that it settles.
    fn change_hold(&mut self, transfer: &Transfer, plan: &Plan, number: u64) -> Option<OpenHold> {
        if transfer.kind == Kind::Pending {
            let hold = Hold {
                id: transfer.id,
                amount: plan.amount,
                expires_at: expires_at(transfer),
                timeout_seconds: transfer.timeout_seconds,
                debit: plan.debit,
                credit: plan.credit,
                code: plan.code,
            };
            self.book.holds.open.insert(number, hold);
        }
        let (ended, _) = plan.hold?;
        let is_post = transfer.kind == Kind::PostPending;
        let fate = if is_post { Fate::Posted } else { Fate::Voided };
        self.book.holds.end(ended, fate)
    }

    fn change_sides(
        &mut self,
        hash: IdHash,
        number: u64,
        plan: &Plan,
        change: Change,
        ended: Option<OpenHold>,
    ) {
        let rows = &mut self.book.accounts.rows;
        let side = &mut rows.get_mut(plan.debit).debits;
        let debits = *side;
        side.apply(change);
        let debit = Posting::new(plan.debit, 0, number, *side);
        let side = &mut rows.get_mut(plan.credit).credits;
        let credits = *side;
        side.apply(change);
        let credit = Posting::new(plan.credit, 1, number, *side);
        self.block.effects.postings.extend([debit, credit]);
        let (debit, credit) = ((plan.debit, debits), (plan.credit, credits));
        self.changed(|| Undo::Transfer(TransferUndo { hash, number, debit, credit, ended }));
    }

    fn backdate(&mut self, transfer: &Transfer, plan: &Plan, number: u64) {
        let Transfer { effective_at, amount, .. } = *transfer;
        let backdated = |row, side| Backdated { row, side, effective_at, number, amount };
        let both = [backdated(plan.debit, 0), backdated(plan.credit, 1)];
        self.block.effects.backdated.extend(both);
    }
}

/// What a transfer does to a side of each of its accounts.
fn change(transfer: &Transfer, plan: &Plan) -> Change {
    let (held, posted) = match transfer.kind {
        Kind::Pending => (plan.amount, 0),
        Kind::VoidPending => (0, 0),
        _ => (0, plan.amount),
    };
    Change { released: plan.hold.map_or(0, |(_, amount)| amount), held, posted }
}

impl Item for Wanted<'_> {
    fn is_linked(&self) -> bool {
        self.new.flags & flag::LINKED != 0
    }

    fn create(&self, writer: &mut Writer<'_>) -> Result<Outcome, PastError> {
        Stop::answer(writer.create(self))
    }

    fn refuse(&self, writer: &mut Writer<'_>, status: u16) {
        if No::from_number(status).is_some_and(No::is_final) {
            writer.refuse(self.ahead.id, self.new.id, status);
        }
    }
}

impl Writer<'_> {
    /// Records a final refusal.
    pub(crate) fn refuse(&mut self, hash: IdHash, id: TransferId, status: u16) {
        self.book.transfers.insert(hash, self.block.next_number());
        let (tenant, created_at) = (self.tenant, self.block.next_time());
        let refusal = Refusal { status, tenant, id, created_at };
        self.block.push(&Entry::Refusal(refusal), &[]);
    }
}
