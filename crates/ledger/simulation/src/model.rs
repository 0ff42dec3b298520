//! The ledger said again, as plainly as possible: a list of what happened, and everything else
//! worked out from it.
//!
//! Nothing here is shared with the book but the form of entries. What would take too long to work
//! out from the list each time (where an id is, what an account has now) is kept beside it, by the
//! one function that adds to the list and the one that takes back.

mod accounts;
mod contract;
mod holds;
mod queries;
mod transfers;

use std::collections::HashMap;

use proof::{AccountId, Entry, Kind, Tenant, TenantId, Timestamp, Transfer, TransferId};

pub(crate) use self::accounts::Standing;
pub(crate) use self::contract::{ACCOUNT, AMENDMENT, Status, Statuses, TRANSFER};
pub(crate) use self::queries::extension;
use crate::request::{Batch, Items, Pairs};

/// What became of an item.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: Status,
    /// When it was created; zero when it was refused.
    pub(crate) at: Timestamp,
    /// What moved; zero when it was refused.
    pub(crate) amount: u64,
}

impl Answer {
    fn refused(status: Status) -> Self {
        Self { status, at: Timestamp::default(), amount: 0 }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    /// As it is recorded.
    pub(crate) entry: Entry,
    /// Of an account or a transfer.
    pub(crate) metadata: Pairs,
}

/// Debits pending and posted, credits pending and posted.
pub(crate) type Balances = [i128; 4];

/// Everything that happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    facts: Vec<Fact>,
    /// How many facts there were when the block began, and when that was.
    block: (usize, Timestamp),
    /// Where each account, transfer, tenant and refusal is among the facts.
    places: HashMap<Name, usize>,
    balances: HashMap<(u32, AccountId), Balances>,
    /// Where the amendments of an account are among the facts.
    amendments: HashMap<(u32, AccountId), Vec<usize>>,
}

/// What a fact can be found by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Name {
    Tenant(TenantId),
    Account(u32, AccountId),
    Transfer(u32, TransferId),
    /// A transfer that was refused for good.
    Refusal(u32, TransferId),
    /// What ended a hold, by the hold.
    End(u32, TransferId),
}

impl Model {
    /// Begins a block.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        let last = self.facts.last().map_or(Timestamp::default(), |fact| fact.entry.created_at());
        self.block = (self.facts.len(), now.max(last.next()));
        let mut due: Vec<_> = self
            .transfers()
            .filter(|hold| hold.kind == Kind::Pending && hold.timeout_seconds > 0)
            .map(|hold| (hold.created_at.plus_seconds(hold.timeout_seconds), *hold))
            .filter(|(ends, hold)| *ends <= self.block.1 && self.end_of(hold).is_none())
            .collect();
        due.sort_by_key(|(ends, hold)| (*ends, hold.created_at));
        for (_, hold) in due {
            let expiry = proof::Expiry {
                ledger: hold.ledger,
                tenant: hold.tenant,
                hold: hold.id,
                debit: hold.debit,
                credit: hold.credit,
                amount: hold.amount,
                created_at: self.time(),
            };
            self.add(Entry::Expiry(expiry), Pairs::new());
        }
    }

    /// Executes a batch.
    pub(crate) fn execute(&mut self, batch: &Batch) -> Vec<Answer> {
        match &batch.items {
            Items::Accounts(items) => {
                let tenant = self.tenant(batch.tenant);
                self.create_accounts(tenant, items)
            }
            Items::Transfers(items) => {
                let tenant = self.tenant(batch.tenant);
                self.create_transfers(tenant, items)
            }
            // Changes nothing of a tenant that was never seen.
            Items::Amendments(items) => {
                let tenant = self.tenant_number(batch.tenant).unwrap_or(0);
                self.amend_accounts(tenant, items)
            }
        }
    }

    /// Records what nobody asked for: a key or a checkpoint.
    pub(crate) fn record(&mut self, entry: impl FnOnce(Timestamp) -> Entry) {
        let entry = entry(self.time());
        self.add(entry, Pairs::new());
    }

    /// Everything that happened, in order.
    pub(crate) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// Forgets all but the first `length` facts.
    pub(crate) fn go_back(&mut self, length: usize) {
        while self.facts.len() > length {
            self.take_back();
        }
    }

    /// When the next fact happens.
    fn time(&self) -> Timestamp {
        let (first, began) = self.block;
        Timestamp::from_nanos(began.nanos() + (self.facts.len() - first) as u64)
    }

    /// Runs a batch group by group. One that is not accepted as a whole is as if it had never been,
    /// but for what `refuse` records of the item that was refused.
    fn groups<I>(
        &mut self,
        batch: &[I],
        is_linked: impl Fn(&I) -> bool,
        create: impl Fn(&mut Self, &I) -> Answer,
        refuse: impl Fn(&mut Self, &I, Status),
    ) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(batch.len());
        for group in batch.split_inclusive(|new| !is_linked(new)) {
            answers.extend(self.group(group, &is_linked, &create, &refuse));
        }
        answers
    }

    fn group<I>(
        &mut self,
        group: &[I],
        is_linked: impl Fn(&I) -> bool,
        create: impl Fn(&mut Self, &I) -> Answer,
        refuse: impl Fn(&mut Self, &I, Status),
    ) -> Vec<Answer> {
        let (before, began) = (self.facts.len(), self.time());
        let failed = Answer::refused("LINKED_EVENT_FAILED");
        let mut answers = Vec::with_capacity(group.len());
        for (place, new) in group.iter().enumerate() {
            let is_open = place + 1 == group.len() && is_linked(new);
            let answer = if is_open {
                Answer::refused("LINKED_EVENT_CHAIN_OPEN")
            } else {
                create(self, new)
            };
            answers.push(answer);
            if !["CREATED", "EXISTS"].contains(&answer.status) {
                self.go_back(before);
                refuse(self, new, answer.status);
                answers.fill(failed);
                answers[place] = answer;
                answers.resize(group.len(), failed);
                return answers;
            }
        }
        // A group sent again exists as a whole. If only a part of it does, an id was used twice.
        let has = |status| answers.iter().any(|answer| answer.status == status);
        if has("CREATED") && has("EXISTS") {
            self.go_back(before);
            answers.iter_mut().filter(|answer| answer.at >= began).for_each(|new| *new = failed);
        }
        answers
    }

    /// Number of the tenant, which is the next one if it was never seen.
    fn tenant(&mut self, id: TenantId) -> u32 {
        if let Some(number) = self.tenant_number(id) {
            return number;
        }
        let known = self.places.keys().filter(|name| matches!(name, Name::Tenant(_))).count();
        let number = u32::try_from(known).expect("few tenants") + 1;
        let tenant = Tenant { number, id, created_at: self.time() };
        self.add(Entry::Tenant(tenant), Pairs::new());
        number
    }

    fn transfers(&self) -> impl Iterator<Item = &Transfer> {
        self.facts.iter().filter_map(|fact| match &fact.entry {
            Entry::Transfer(transfer) => Some(transfer),
            _ => None,
        })
    }

    fn fact(&self, name: Name) -> Option<&Fact> {
        self.places.get(&name).map(|place| &self.facts[*place])
    }

    fn transfer(&self, tenant: u32, id: TransferId) -> Option<&Transfer> {
        match &self.fact(Name::Transfer(tenant, id))?.entry {
            Entry::Transfer(transfer) => Some(transfer),
            _ => unreachable!("the name is a transfer's"),
        }
    }

    fn end_of(&self, hold: &Transfer) -> Option<&Fact> {
        self.fact(Name::End(hold.tenant, hold.id))
    }

    fn add(&mut self, entry: Entry, metadata: Pairs) {
        self.facts.push(Fact { entry, metadata });
        let place = self.facts.len() - 1;
        self.move_money(place, 1);
        for name in names(&self.facts[place].entry) {
            let before = self.places.insert(name, place);
            assert!(before.is_none(), "{name:?} happened twice");
        }
        if let Entry::Amendment(it) = &self.facts[place].entry {
            self.amendments.entry((it.tenant, it.account)).or_default().push(place);
        }
    }

    fn take_back(&mut self) {
        let last = self.facts.len() - 1;
        self.move_money(last, -1);
        for name in names(&self.facts[last].entry) {
            self.places.remove(&name);
        }
        if let Some(Entry::Amendment(it)) = self.facts.pop().map(|fact| fact.entry) {
            self.amendments.get_mut(&(it.tenant, it.account)).map(Vec::pop);
        }
    }

    fn move_money(&mut self, place: usize, times: i128) {
        if let Some(change) = self.change(place) {
            for (side, account) in [(0, change.debit), (2, change.credit)] {
                let balances = self.balances.entry((change.tenant, account)).or_default();
                balances[side] += change.pending * times;
                balances[side + 1] += change.posted * times;
            }
        }
    }

    /// How a fact changes balances.
    fn change(&self, place: usize) -> Option<Change> {
        let (tenant, debit, credit, pending, posted) = match &self.facts[place].entry {
            Entry::Transfer(it) => {
                let amount = i128::from(it.amount);
                let held = || {
                    let hold = self.transfer(it.tenant, it.hold).expect("what is settled exists");
                    i128::from(hold.amount)
                };
                let (pending, posted) = match it.kind {
                    Kind::Plain => (0, amount),
                    Kind::Pending => (amount, 0),
                    Kind::PostPending => (-held(), amount),
                    Kind::VoidPending => (-held(), 0),
                    _ => unreachable!("no other kind is a transfer"),
                };
                (it.tenant, it.debit, it.credit, pending, posted)
            }
            Entry::Expiry(it) => (it.tenant, it.debit, it.credit, -i128::from(it.amount), 0),
            _ => return None,
        };
        Some(Change { tenant, debit, credit, pending, posted })
    }
}

/// How balances change: the same on the debit side of one account and the credit side of another.
struct Change {
    tenant: u32,
    debit: AccountId,
    credit: AccountId,
    pending: i128,
    posted: i128,
}

fn names(entry: &Entry) -> Vec<Name> {
    match entry {
        Entry::Transfer(it) if it.kind.settles() => {
            vec![Name::Transfer(it.tenant, it.id), Name::End(it.tenant, it.hold)]
        }
        Entry::Transfer(it) => vec![Name::Transfer(it.tenant, it.id)],
        Entry::Account(it) => vec![Name::Account(it.tenant, it.id)],
        Entry::Refusal(it) => vec![Name::Refusal(it.tenant, it.id)],
        Entry::Expiry(it) => vec![Name::End(it.tenant, it.hold)],
        Entry::Tenant(it) => vec![Name::Tenant(it.id)],
        Entry::Amendment(_) | Entry::Key(_) | Entry::Checkpoint(_) => Vec::new(),
    }
}

/// Statuses that apply, in any order.
trait Applying {
    fn when(&mut self, applies: bool, status: Status);
}

impl Applying for Vec<Status> {
    fn when(&mut self, applies: bool, status: Status) {
        if applies {
            self.push(status);
        }
    }
}
