//! Questions to the index.

use std::ops::Range;
use std::sync::Arc;

use proof::Timestamp;

use crate::record::{ENTRIES_MAX, Keyspace, Record, Side, effective, is_same_side, key, place};
use crate::reference::Reference;
use crate::run::{Page, Run};
use crate::store::Shared;
use crate::view::{Direction, Group, Numbered};
use crate::{History, IndexError, Numbers};

/// Reads the index while it grows and is merged. Each question sees one moment. Entries from the
/// number `before`, or the end of a range, on are ignored.
#[derive(Clone)]
pub struct Reader(pub(crate) Arc<Shared>);

/// One side of an account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Balance {
    /// Minor units for good.
    pub posted: u64,
    /// Minor units on hold.
    pub pending: u64,
}

/// Both sides of an account.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Balances {
    /// What left it.
    pub debits: Balance,
    /// What came in.
    pub credits: Balance,
}

/// The last amendment of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Amended {
    /// Number of its entry.
    pub number: u64,
    /// Whether the account is closed since.
    pub is_closed: bool,
    /// Minor units by which it may pass its limit since.
    pub overdraft: u64,
}

impl From<Record> for Balance {
    fn from([_, posted, pending]: Record) -> Self {
        Self { posted, pending }
    }
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// How many entries are indexed.
    pub fn covers(&self) -> u64 {
        self.0.view().covers
    }

    /// One side of an account after the entries before `before`; none when none touched it.
    pub fn balance(
        &self,
        row: u32,
        side: Side,
        before: u64,
    ) -> Result<Option<Balance>, IndexError> {
        Ok(self.last(Keyspace::Postings, row, side, before)?.map(Balance::from))
    }

    /// Both sides of an account after the entries before `before`.
    pub fn balances(&self, row: u32, before: u64) -> Result<Balances, IndexError> {
        let debits = self.balance(row, Side::Debit, before)?.unwrap_or_default();
        let credits = self.balance(row, Side::Credit, before)?.unwrap_or_default();
        Ok(Balances { debits, credits })
    }

    /// What is posted on one side of an account counting what takes effect by `at`, however late it
    /// was created. Of the entries before `before` those before `created` were created by `at`.
    pub fn effective_posted(
        &self,
        row: u32,
        side: Side,
        created: u64,
        at: Timestamp,
        before: u64,
    ) -> Result<u64, IndexError> {
        let created = created.min(before);
        let posted = self.balance(row, side, created)?.unwrap_or_default().posted;
        // What was backdated and created by then has taken effect by then, too: it is in both sums.
        let counted = self.backdated(row, side, created)?;
        let effective = self.effective(row, side, at, before)?;
        Ok(posted.wrapping_sub(counted).wrapping_add(effective))
    }

    /// How the balances of an account changed, by the entries of a range.
    pub fn history(
        &self,
        row: u32,
        range: Range<u64>,
        direction: Direction,
    ) -> Result<History, IndexError> {
        let view = self.0.view();
        History::new(view.of(Keyspace::Postings), row, range, direction)
    }

    /// The entries of a range that changed the balances of an account.
    pub fn touching(&self, row: u32, range: Range<u64>, direction: Direction) -> Numbers {
        let view = self.0.view();
        let group = |side| {
            let numbered = Numbered::First(place(row, side, 0));
            Group::new(view.of(Keyspace::Postings), numbered, range.clone(), direction)
        };
        Numbers::new(vec![group(Side::Debit), group(Side::Credit)], direction)
    }

    /// The entries of a range that refer to something of a tenant, and few others: look whether
    /// they do.
    pub fn referring(
        &self,
        tenant: u32,
        reference: Reference<'_>,
        range: Range<u64>,
        direction: Direction,
    ) -> Numbers {
        let numbered = Numbered::Second(self.0.hash.of(tenant, reference));
        let view = self.0.view();
        let group = Group::new(view.of(Keyspace::References), numbered, range, direction);
        Numbers::new(vec![group], direction)
    }

    /// The last amendment of an account before `before`.
    pub fn amended(&self, row: u32, before: u64) -> Result<Option<Amended>, IndexError> {
        let last = self.last(Keyspace::Amendments, row, Side::Debit, before)?;
        Ok(last.map(|[place, overdraft, closed]| Amended {
            number: place & ENTRIES_MAX,
            is_closed: closed == 1,
            overdraft,
        }))
    }

    /// The last record of a place before a number.
    fn last(
        &self,
        keyspace: Keyspace,
        row: u32,
        side: Side,
        before: u64,
    ) -> Result<Option<Record>, IndexError> {
        let view = self.0.view();
        let numbered = Numbered::First(place(row, side, 0));
        let mut group = Group::new(view.of(keyspace), numbered, 0..before, Direction::Descending);
        group.record(before)
    }

    /// What the entries before a number backdated.
    fn backdated(&self, row: u32, side: Side, before: u64) -> Result<u64, IndexError> {
        let bound = u128::from(place(row, side, before)) << 64;
        self.sum(Keyspace::Backdated, bound, before, |_, (_, [_, sum, _]), _| Ok(sum))
    }

    /// What the entries before a number backdated to a time or an earlier one.
    fn effective(
        &self,
        row: u32,
        side: Side,
        at: Timestamp,
        before: u64,
    ) -> Result<u64, IndexError> {
        let bound = effective(row, side, at, ENTRIES_MAX);
        self.sum(Keyspace::Effective, bound, before, |run, last, page| {
            if run.numbers.end <= before {
                Ok(last.1[2])
            } else {
                sum_before(run, last, before, page)
            }
        })
    }

    /// Adds up what `of` makes of the last record of each run that is below a key and has its row
    /// and side. Runs with entries from `before` on alone are left out.
    fn sum(
        &self,
        keyspace: Keyspace,
        bound: u128,
        before: u64,
        of: impl Fn(&Run, (usize, Record), &mut Page) -> Result<u64, IndexError>,
    ) -> Result<u64, IndexError> {
        let view = self.0.view();
        let (mut total, mut page) = (0_u64, Page::default());
        for run in view.of(keyspace).iter().take_while(|run| run.numbers.start < before) {
            let below = run.lower_bound(bound, &mut page)?;
            let Some(last) = below.checked_sub(1) else { continue };
            let record = run.record(last, &mut page)?;
            if is_same_side(key(&record), bound) {
                total = total.wrapping_add(of(run, (last, record), &mut page)?);
            }
        }
        Ok(total)
    }
}

/// What the records up to `last` amount to, leaving out entries from `before` on. Only a run that
/// was written after the question was asked has such entries, so it is read one by one.
fn sum_before(
    run: &Run,
    last: (usize, Record),
    before: u64,
    page: &mut Page,
) -> Result<u64, IndexError> {
    let ((mut at, mut record), mut total) = (last, 0_u64);
    loop {
        let previous = match at.checked_sub(1) {
            Some(previous) => run.record(previous, page)?,
            None => Record::default(),
        };
        let is_first = at == 0 || !is_same_side(key(&previous), key(&record));
        if record[1] & ENTRIES_MAX < before {
            let sum = if is_first { 0 } else { previous[2] };
            total = total.wrapping_add(record[2].wrapping_sub(sum));
        }
        if is_first {
            return Ok(total);
        }
        (at, record) = (at - 1, previous);
    }
}
