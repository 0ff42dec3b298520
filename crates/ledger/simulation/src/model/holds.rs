//! Holds, linked groups of them, and how much may still move.

use proof::{AccountId, Entry, Kind, Transfer, TransferId, flag};

use super::{Model, Name};

impl Model {
    /// What a post or void does not name is its hold's.
    pub(super) fn inherit(&self, new: &Transfer) -> Transfer {
        let mut new = *new;
        if let (true, Some(hold)) = (new.kind.settles(), self.transfer(new.tenant, new.hold)) {
            if new.amount == 0 {
                new.amount = hold.amount;
            }
            if new.ledger == 0 {
                new.ledger = hold.ledger;
            }
            if new.code == 0 {
                new.code = hold.code;
            }
            if new.debit == AccountId::default() {
                new.debit = hold.debit;
            }
            if new.credit == AccountId::default() {
                new.credit = hold.credit;
            }
        }
        new
    }

    /// All transfers that were accepted together with this one, in order.
    pub(super) fn linked_group(&self, tenant: u32, id: TransferId) -> Vec<&Transfer> {
        let place = self.places[&Name::Transfer(tenant, id)];
        let is_linked = |place: &usize| match &self.facts[*place].entry {
            Entry::Transfer(transfer) => transfer.flags & flag::LINKED != 0,
            _ => false,
        };
        let first = (0..place).rev().take_while(is_linked).last().unwrap_or(place);
        // The group may be the one that is being accepted.
        let end = (place..self.facts.len()).find(|place| !is_linked(place));
        let end = end.map_or(self.facts.len(), |last| last + 1);
        let group = self.facts[first..end].iter().filter_map(|fact| match &fact.entry {
            Entry::Transfer(transfer) => Some(transfer),
            _ => None,
        });
        group.collect()
    }

    /// The holds among them.
    pub(super) fn linked_holds(&self, tenant: u32, id: TransferId) -> Vec<&Transfer> {
        let mut group = self.linked_group(tenant, id);
        group.retain(|transfer| transfer.kind == Kind::Pending);
        group
    }

    /// What a transfer moves: all that is asked, or when it balances what there is of it.
    pub(super) fn moved(&self, new: &Transfer) -> i128 {
        let balances_debit = new.flags & flag::BALANCING_DEBIT != 0;
        let balances_credit = new.flags & flag::BALANCING_CREDIT != 0;
        let mut amount = i128::from(new.amount);
        if amount == 0 && (balances_debit || balances_credit) {
            amount = i128::MAX;
        }
        if balances_debit {
            amount = amount.min(self.room_to_debit(new));
        }
        if balances_credit {
            amount = amount.min(self.room_to_credit(new));
        }
        amount
    }

    /// How much more may be debited until the debit account's credits and overdraft are used up.
    pub(super) fn room_to_debit(&self, new: &Transfer) -> i128 {
        let [pending, debits, _, credits] = self.balances(new.tenant, new.debit);
        credits + self.overdraft(new.tenant, new.debit, 1) - debits - pending
    }

    /// How much more may be credited until the credit account's debits and overdraft are used up.
    pub(super) fn room_to_credit(&self, new: &Transfer) -> i128 {
        let [_, debits, pending, credits] = self.balances(new.tenant, new.credit);
        debits + self.overdraft(new.tenant, new.credit, 2) - credits - pending
    }

    /// The overdraft of an account with this limit.
    fn overdraft(&self, tenant: u32, id: AccountId, limit: u8) -> i128 {
        let is_limited = self.account(tenant, id).is_some_and(|account| account.limit == limit);
        if is_limited { self.standing(tenant, id).overdraft.into() } else { 0 }
    }
}
