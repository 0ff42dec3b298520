//! What readers see: all runs at one moment, and how to go through the records of one thing.

use std::ops::Range;
use std::sync::Arc;

use crate::IndexError;
use crate::record::{Keyspace, NUMBER_BITS, Record, halves};
use crate::run::{Page, Run};

/// The runs of a keyspace, by the numbers of their entries, which are apart.
pub(crate) type Runs = Arc<[Arc<Run>]>;

/// All runs at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// How many entries are in them.
    pub(crate) covers: u64,
    runs: [Runs; Keyspace::ALL.len()],
}

impl View {
    /// No runs yet, of so many entries.
    pub(crate) fn of_entries(covers: u64) -> Self {
        Self { covers, runs: Default::default() }
    }

    /// The runs of a keyspace.
    pub(crate) fn of(&self, keyspace: Keyspace) -> &Runs {
        &self.runs[keyspace as usize]
    }

    /// All runs.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter().flat_map(|runs| runs.iter())
    }

    /// How many records are in memory.
    pub(crate) fn records_in_memory(&self) -> usize {
        self.all().filter(|run| run.level() == 0).map(|run| run.len).sum()
    }

    /// The lowest level of stored runs at which a keyspace has so many of them.
    pub(crate) fn crowded(&self, fan: usize) -> Option<(u8, Keyspace)> {
        let of = |keyspace| {
            let levels = self.of(keyspace).chunk_by(|a, b| a.level() == b.level());
            let mut crowded = levels.filter(|runs| runs[0].level() > 0 && runs.len() >= fan);
            crowded.next_back().map(|runs| (runs[0].level(), keyspace))
        };
        Keyspace::ALL.into_iter().filter_map(of).min_by_key(|(level, _)| *level)
    }

    /// Puts a run in the place of those that have entries of its numbers.
    pub(crate) fn replace(&mut self, run: Arc<Run>) {
        let runs = &mut self.runs[run.keyspace as usize];
        let start = runs.partition_point(|other| other.numbers.start < run.numbers.start);
        let end = runs.partition_point(|other| other.numbers.start < run.numbers.end);
        let (before, after) = (&runs[..start], &runs[end..]);
        *runs = before.iter().chain([&run]).chain(after).cloned().collect();
    }
}

/// In which order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Lower numbers first.
    Ascending,
    /// Higher numbers first.
    Descending,
}

/// Where the number of an entry stands in the keys of a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Numbered {
    /// In the lowest bits of the first word.
    First(u64),
    /// In the second word.
    Second(u64),
}

impl Numbered {
    /// The lowest key of that number.
    fn key(self, number: u64) -> u128 {
        match self {
            Self::First(word) => u128::from(word | number) << 64,
            Self::Second(word) => u128::from(word) << 64 | u128::from(number),
        }
    }

    /// The number, when the key is of this group.
    fn number(self, key: u128) -> Option<u64> {
        let [first, second] = halves(key);
        match self {
            Self::First(word) => {
                let number = first ^ word;
                (number >> NUMBER_BITS == 0).then_some(number)
            }
            Self::Second(word) => (first == word).then_some(second),
        }
    }
}

/// The records of one thing, by the numbers of their entries, in one direction.
pub(crate) struct Group {
    runs: Runs,
    numbered: Numbered,
    range: Range<u64>,
    direction: Direction,
    here: Option<Here>,
    ended: bool,
    page: Page,
}

/// Where a group stands.
#[derive(Clone, Copy)]
struct Here {
    run: usize,
    place: usize,
    number: u64,
}

impl Group {
    /// Those of the entries of a range.
    pub(crate) fn new(
        runs: &Runs,
        numbered: Numbered,
        range: Range<u64>,
        direction: Direction,
    ) -> Self {
        let (runs, page) = (runs.clone(), Page::default());
        Self { runs, numbered, range, direction, here: None, ended: false, page }
    }

    /// The number of the first record that is not before `number`. Going back is not possible: then
    /// it is the one found last.
    pub(crate) fn seek(&mut self, number: u64) -> Result<Option<u64>, IndexError> {
        if self.ended || self.range.is_empty() {
            return Ok(None);
        }
        let here = match self.direction {
            Direction::Ascending => self.seek_up(number.max(self.range.start))?,
            Direction::Descending => self.seek_down(number.min(self.range.end - 1))?,
        };
        self.here = here.filter(|here| self.range.contains(&here.number));
        self.ended = self.here.is_none();
        Ok(self.here.map(|here| here.number))
    }

    /// The first record that is not before `number`, as [`Self::seek`] finds it.
    pub(crate) fn record(&mut self, number: u64) -> Result<Option<Record>, IndexError> {
        self.seek(number)?;
        let Some(here) = self.here else { return Ok(None) };
        self.runs[here.run].record(here.place, &mut self.page).map(Some)
    }

    /// The record at a place of a run, if it is of this group.
    fn look(&mut self, run: usize, place: usize) -> Result<Option<Here>, IndexError> {
        if place >= self.runs[run].len {
            return Ok(None);
        }
        let key = self.runs[run].key(place, &mut self.page)?;
        Ok(self.numbered.number(key).map(|number| Here { run, place, number }))
    }

    fn seek_up(&mut self, number: u64) -> Result<Option<Here>, IndexError> {
        if let Some(here) = self.here {
            if here.number >= number {
                return Ok(Some(here));
            }
            if let Some(next) = self.look(here.run, here.place + 1)?
                && next.number >= number
            {
                return Ok(Some(next));
            }
        }
        let first = self.runs.partition_point(|run| run.numbers.end <= number);
        let end = self.runs.partition_point(|run| run.numbers.start < self.range.end);
        for run in first..end {
            let bound = self.numbered.key(number);
            let place = self.runs[run].lower_bound(bound, &mut self.page)?;
            if let Some(here) = self.look(run, place)? {
                return Ok(Some(here));
            }
        }
        Ok(None)
    }

    fn seek_down(&mut self, number: u64) -> Result<Option<Here>, IndexError> {
        if let Some(here) = self.here {
            if here.number <= number {
                return Ok(Some(here));
            }
            if let Some(place) = here.place.checked_sub(1)
                && let Some(next) = self.look(here.run, place)?
                && next.number <= number
            {
                return Ok(Some(next));
            }
        }
        let after = self.runs.partition_point(|run| run.numbers.start <= number);
        let first = self.runs.partition_point(|run| run.numbers.end <= self.range.start);
        for run in (first..after).rev() {
            let bound = self.numbered.key(number + 1);
            let place = self.runs[run].lower_bound(bound, &mut self.page)?;
            if let Some(place) = place.checked_sub(1)
                && let Some(here) = self.look(run, place)?
            {
                return Ok(Some(here));
            }
        }
        Ok(None)
    }
}
