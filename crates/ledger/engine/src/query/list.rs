//! Lists: pages of what filters leave.

use std::ops::Range;

use index::{Direction, Numbers, Reference, Subject};
use proof::{AccountId, Entry, ExternalId, Kind, Metadata, Timestamp};

use super::View;
use super::account::Found;
use crate::view::{
    AccountView, Change, Changes, Filter, HistoryItem, Order, Page, QueryError, TransferView,
};

/// Entries of a journal that are read at a time.
const ENTRIES_READ: usize = 1_024;

/// Entries of other tenants after which a page of changes ends before it is full: a tenth of a
/// second's work.
const OTHERS_MAX: u64 = 1_000_000;

impl View<'_> {
    /// What changed the balances of an account, if the tenant has it.
    pub(super) fn history(
        &self,
        id: AccountId,
        filter: &Filter,
    ) -> Result<Option<Page<HistoryItem>>, QueryError> {
        let Some(Found { row, .. }) = self.account(id)? else { return Ok(None) };
        let (range, direction) = (self.range(filter)?, direction(filter.order));
        let mut page = Page::empty();
        for change in self.index(range.end)?.history(row, range, direction)? {
            let index::Change { number, balances } = change?;
            let (at, transfer) = match self.entry(number)? {
                (Entry::Transfer(it), metadata) => {
                    (it.created_at, Some(self.transfer_now(number, it, metadata)?))
                }
                (Entry::Expiry(expiry), _) => (expiry.created_at, self.transfer(expiry.hold)?),
                (other, _) => (other.created_at(), None),
            };
            let transfer = transfer.ok_or_else(|| no_transfer(number))?;
            if !matches(filter, transfer.transfer.external_id, &transfer.metadata) {
                continue;
            }
            if !page
                .add(filter.size, HistoryItem { number, transfer, balances: balances.into(), at })
            {
                break;
            }
        }
        Ok(Some(page))
    }

    /// Transfers that the filter leaves.
    pub(super) fn find_transfers(&self, filter: &Filter) -> Result<Page<TransferView>, QueryError> {
        let mut page = Page::empty();
        let Some(numbers) = self.candidates(Subject::Transfer, filter)? else { return Ok(page) };
        for number in numbers {
            let number = number?;
            // An expiry changes balances too, but is no transfer.
            let (Entry::Transfer(it), metadata) = self.entry(number)? else { continue };
            if it.tenant == self.tenant
                && matches(filter, it.external_id, &metadata)
                && !page.add(filter.size, self.transfer_now(number, it, metadata)?)
            {
                break;
            }
        }
        Ok(page)
    }

    /// Accounts that the filter leaves.
    pub(super) fn find_accounts(&self, filter: &Filter) -> Result<Page<AccountView>, QueryError> {
        let mut page = Page::empty();
        let Some(numbers) = self.candidates(Subject::Account, filter)? else { return Ok(page) };
        for number in numbers {
            let number = number?;
            let (Entry::Account(account), metadata) = self.entry(number)? else { continue };
            if account.tenant != self.tenant || !matches(filter, account.external_id, &metadata) {
                continue;
            }
            let rows = self.reader.lookup.accounts(self.tenant, account.id);
            let Some((row, _)) = rows.into_iter().find(|(_, created)| *created == number) else {
                continue;
            };
            let found = Found { row, number, account, metadata };
            if !page.add(filter.size, self.account_now(found)?) {
                break;
            }
        }
        Ok(page)
    }

    /// Entries of the tenant from number `from` on: `max` of them, unless there are no more, or none
    /// of the next [`OTHERS_MAX`] is the tenant's.
    pub(super) fn changes(&self, from: u64, max: usize) -> Result<Changes, QueryError> {
        let mut changes = Changes { items: Vec::new(), next: from };
        let mut read_until = from.saturating_add(OTHERS_MAX).min(self.end);
        while changes.next < read_until && changes.items.len() < max {
            let entries = self.reader.journal.entries(changes.next, ENTRIES_READ)?;
            for (number, bytes, extension) in entries.iter() {
                if number >= self.end || changes.items.len() == max {
                    break;
                }
                changes.next = number + 1;
                let is_own = proof::peek::tenant(bytes) == self.tenant;
                // That a tenant was seen for the first time is no change of its.
                if is_own && proof::peek::kind(bytes) != Some(Kind::Tenant) {
                    let (entry, metadata) = super::decode(number, bytes, extension)?;
                    changes.items.push(Change { number, entry, metadata });
                    read_until = number.saturating_add(OTHERS_MAX).min(self.end);
                }
            }
        }
        Ok(changes)
    }

    /// Numbers of the entries of this page and later ones.
    fn range(&self, filter: &Filter) -> Result<Range<u64>, QueryError> {
        let from = match filter.from {
            // What was created at that time itself counts.
            Some(from) => {
                let before = Timestamp::from_nanos(from.nanos().saturating_sub(1));
                self.reader.journal.number_at(before)?
            }
            None => 0,
        };
        let to = filter.to.map_or(Ok(self.end), |to| self.end_at(to))?;
        Ok(match (filter.after, filter.order) {
            (None, _) => from..to,
            (Some(after), Order::OldestFirst) => from.max(after + 1)..to,
            (Some(after), Order::NewestFirst) => from..to.min(after),
        })
    }

    /// Numbers of entries that may pass the filter, which names at least one thing to find them by;
    /// none when it names an account that does not exist.
    fn candidates(&self, subject: Subject, filter: &Filter) -> Result<Option<Numbers>, QueryError> {
        let (range, direction) = (self.range(filter)?, direction(filter.order));
        let index = self.index(range.end)?;
        let mut lists = Vec::new();
        if let Some(id) = filter.account {
            let Some(Found { row, .. }) = self.account(id)? else { return Ok(None) };
            lists.push(index.touching(row, range.clone(), direction));
        }
        let mut refer = |reference| {
            lists.push(index.referring(self.tenant, reference, range.clone(), direction));
        };
        if let Some(id) = filter.external_id {
            refer(Reference::ExternalId(subject, id));
        }
        for (key, value) in &filter.metadata {
            refer(Reference::Pair(subject, key, value));
        }
        let mut lists = lists.into_iter();
        Ok(lists.next().map(|first| Numbers::and(first, lists)))
    }
}

impl<T> Page<T> {
    /// Adds an item, unless the page is full: then there is another one.
    fn add(&mut self, size: usize, item: T) -> bool
    where
        T: Numbered,
    {
        if self.items.len() == size {
            self.after = self.items.last().map(Numbered::number);
            return false;
        }
        self.items.push(item);
        true
    }
}

/// What stands in a list by the number of its entry.
trait Numbered {
    fn number(&self) -> u64;
}

impl Numbered for HistoryItem {
    fn number(&self) -> u64 {
        self.number
    }
}

impl Numbered for TransferView {
    fn number(&self) -> u64 {
        self.number
    }
}

impl Numbered for AccountView {
    fn number(&self) -> u64 {
        self.number
    }
}

fn direction(order: Order) -> Direction {
    match order {
        Order::NewestFirst => Direction::Descending,
        Order::OldestFirst => Direction::Ascending,
    }
}

/// Whether something is called as the filter says. References in the index may be of others.
fn matches(filter: &Filter, external_id: ExternalId, metadata: &Metadata) -> bool {
    filter.external_id.is_none_or(|id| id == external_id)
        && filter.metadata.iter().all(|(key, value)| metadata.get(key) == Some(value))
}

fn no_transfer(number: u64) -> QueryError {
    QueryError::Unreadable(format!("entry {number} is of no transfer"))
}
