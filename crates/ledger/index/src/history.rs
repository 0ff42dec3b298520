//! How the balances of an account changed.

use std::ops::Range;

use crate::record::{Record, Side, place};
use crate::view::{Direction, Group, Numbered, Runs};
use crate::{Balance, Balances, IndexError};

/// The balances of an account after an entry that changed them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change {
    /// Number of the entry.
    pub number: u64,
    /// The balances after it.
    pub balances: Balances,
}

/// The changes of the balances of an account, in the order of their numbers.
pub struct History {
    debits: Group,
    credits: Group,
    balances: Balances,
    range: Range<u64>,
    direction: Direction,
}

impl History {
    pub(crate) fn new(
        runs: &Runs,
        row: u32,
        range: Range<u64>,
        direction: Direction,
    ) -> Result<Self, IndexError> {
        let group = |side, range, direction| {
            Group::new(runs, Numbered::First(place(row, side, 0)), range, direction)
        };
        // The balances after an entry are on each side those of the last one up to it. Going up
        // they are carried along, going down they are what comes next, also before the range.
        let mut balances = Balances::default();
        let from = match direction {
            Direction::Descending => 0,
            Direction::Ascending => {
                let before = |side| {
                    let mut last = group(side, 0..range.start, Direction::Descending);
                    last.record(range.start).map(balance)
                };
                balances =
                    Balances { debits: before(Side::Debit)?, credits: before(Side::Credit)? };
                range.start
            }
        };
        let debits = group(Side::Debit, from..range.end, direction);
        let credits = group(Side::Credit, from..range.end, direction);
        Ok(Self { debits, credits, balances, range, direction })
    }

    fn advance(&mut self) -> Result<Option<Change>, IndexError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let is_up = self.direction == Direction::Ascending;
        let from = if is_up { self.range.start } else { self.range.end - 1 };
        let (debits, credits) = (self.debits.seek(from)?, self.credits.seek(from)?);
        let both = [debits, credits].into_iter().flatten();
        let number = if is_up { both.min() } else { both.max() };
        let Some(number) = number.filter(|number| self.range.contains(number)) else {
            self.range.end = self.range.start;
            return Ok(None);
        };
        if !is_up || debits == Some(number) {
            self.balances.debits = balance(self.debits.record(from)?);
        }
        if !is_up || credits == Some(number) {
            self.balances.credits = balance(self.credits.record(from)?);
        }
        if is_up {
            self.range.start = number + 1;
        } else {
            self.range.end = number;
        }
        Ok(Some(Change { number, balances: self.balances }))
    }
}

fn balance(record: Option<Record>) -> Balance {
    record.map(Balance::from).unwrap_or_default()
}

impl Iterator for History {
    type Item = Result<Change, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}
