//! Numbers of entries that have something in common.

use crate::IndexError;
use crate::view::{Direction, Group};

/// Numbers of entries that have something in common, in order, each once.
///
/// A page ends where the caller stops; the next one has a range that begins after its last number.
/// So pages stay right while entries are added.
pub struct Numbers {
    source: Source,
    direction: Direction,
    next: Option<u64>,
}

enum Source {
    /// Those of any of the groups.
    Any(Vec<Group>),
    /// Those of all of the lists.
    All(Vec<Numbers>),
}

impl Numbers {
    pub(crate) fn new(groups: Vec<Group>, direction: Direction) -> Self {
        Self { source: Source::Any(groups), direction, next: Some(direction.first()) }
    }

    /// Those that are in all of the lists, which have the same direction. `first` is one of them.
    pub fn and(first: Self, others: impl IntoIterator<Item = Self>) -> Self {
        let (direction, next) = (first.direction, first.next);
        let all: Vec<_> = [first].into_iter().chain(others).collect();
        debug_assert!(all.iter().all(|one| one.direction == direction));
        Self { source: Source::All(all), direction, next }
    }

    /// The first number that is not before `number`. Going back is not possible.
    pub fn seek(&mut self, number: u64) -> Result<Option<u64>, IndexError> {
        let direction = self.direction;
        match &mut self.source {
            Source::Any(groups) => {
                let mut first = None;
                for group in groups {
                    let found = group.seek(number)?;
                    first = direction.earlier(first, found);
                }
                Ok(first)
            }
            Source::All(lists) => {
                let mut wanted = number;
                // Each list moves on to where another one is, until all are at the same number.
                loop {
                    let start = wanted;
                    for list in &mut *lists {
                        match list.seek(wanted)? {
                            Some(found) => wanted = found,
                            None => return Ok(None),
                        }
                    }
                    if wanted == start {
                        return Ok(Some(wanted));
                    }
                }
            }
        }
    }

    fn advance(&mut self) -> Result<Option<u64>, IndexError> {
        let Some(next) = self.next else { return Ok(None) };
        let found = self.seek(next)?;
        self.next = found.and_then(|found| self.direction.after(found));
        Ok(found)
    }
}

impl Iterator for Numbers {
    type Item = Result<u64, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

impl Direction {
    /// The number that comes before all others.
    const fn first(self) -> u64 {
        match self {
            Self::Ascending => 0,
            Self::Descending => u64::MAX,
        }
    }

    /// The number after another one.
    const fn after(self, number: u64) -> Option<u64> {
        match self {
            Self::Ascending => number.checked_add(1),
            Self::Descending => number.checked_sub(1),
        }
    }

    /// The number that comes first.
    fn earlier(self, a: Option<u64>, b: Option<u64>) -> Option<u64> {
        let both = [a, b].into_iter().flatten();
        match self {
            Self::Ascending => both.min(),
            Self::Descending => both.max(),
        }
    }
}
