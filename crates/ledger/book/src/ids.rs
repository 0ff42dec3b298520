//! A table from ids to numbers, which one thread writes while others read.
//!
//! It keeps no ids, only the hash and the number of each, in 8 bytes: whoever looks something up
//! gets candidates, and compares ids where they are recorded. A wrong candidate is rare.
//!
//! The table is cut into segments by the hash. Each is an array of lines that grows on its own, so
//! that no insertion waits for more than a four-thousandth of the table to move. Within a segment
//! entries never move, so a reader never misses one that was there when it began.
//!
//! A line has 8 slots and fills a line of the processor's cache: most searches look at one. An
//! entry that finds its line full goes to the next that is not; a search goes on to the next line
//! as long as lines have no empty slot.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::hash::{IdHash, TAG_BITS};

/// Bits of a slot that hold a number, plus one.
const NUMBER_BITS: u32 = 64 - TAG_BITS;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;

/// Most numbers that a table tells apart.
pub(crate) const NUMBERS_MAX: u64 = NUMBER_MASK - 1;

const EMPTY: u64 = 0;
/// A slot that was used, in a line that was full. No number is so high.
const TOMBSTONE: u64 = u64::MAX;

/// Slots of a line.
const LINE: usize = 8;

/// Slots, each empty, a tombstone, or a tag and a number.
///
/// All accesses are relaxed: a reader takes only numbers of entries that it knows to be durable,
/// and learned that, or got the segment, after they were written.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Line([AtomicU64; LINE]);

impl Line {
    const fn empty() -> Self {
        Self([const { AtomicU64::new(EMPTY) }; LINE])
    }

    fn slots(&self) -> [u64; LINE] {
        // A loop: the compiler leaves `map` over an array of atomics as calls.
        let mut slots = [EMPTY; LINE];
        for (slot, shared) in slots.iter_mut().zip(&self.0) {
            *slot = shared.load(Ordering::Relaxed);
        }
        slots
    }

    /// The place of the first slot that is `value`.
    fn position(&self, value: u64) -> Option<usize> {
        self.slots().iter().position(|slot| *slot == value)
    }

    fn set(&self, place: usize, value: u64) {
        self.0[place].store(value, Ordering::Relaxed);
    }
}

/// Lines, at least one slot of which is empty.
pub(crate) type Segment = Arc<[Line]>;

/// A segment as its writer knows it.
#[derive(Debug)]
struct Written {
    lines: Segment,
    /// Slots that are not empty.
    used: usize,
}

/// The writer's side of a table.
#[derive(Debug)]
pub(crate) struct IdTable {
    segments: Vec<Written>,
    shared: Arc<RwLock<Vec<Segment>>>,
}

impl Default for IdTable {
    fn default() -> Self {
        Self::new((0..IdHash::SEGMENTS).map(|_| filled([].into_iter())).collect())
    }
}

impl IdTable {
    /// The table of these segments.
    pub(crate) fn new(segments: Vec<Segment>) -> Self {
        let written = segments.iter().map(|lines| {
            let slots = lines.iter().flat_map(Line::slots);
            Written { lines: Arc::clone(lines), used: slots.filter(|slot| *slot != EMPTY).count() }
        });
        Self { segments: written.collect(), shared: Arc::new(RwLock::new(segments)) }
    }

    /// The number of that hash for which `is` says so.
    pub(crate) fn find(&self, hash: IdHash, mut is: impl FnMut(u64) -> bool) -> Option<u64> {
        let Ok(found) = self.try_find(hash, |number| Ok::<_, Infallible>(is(number)));
        found
    }

    /// As [`Self::find`], until `is` fails.
    pub(crate) fn try_find<E>(
        &self,
        hash: IdHash,
        mut is: impl FnMut(u64) -> Result<bool, E>,
    ) -> Result<Option<u64>, E> {
        for number in Candidates::new(self.lines(hash), hash) {
            if is(number)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// Adds a number.
    pub(crate) fn insert(&mut self, hash: IdHash, number: u64) {
        assert!(number < NUMBERS_MAX, "a ledger has at most 2^36 entries");
        let written = &mut self.segments[hash.segment()];
        if is_full(written) {
            let live: Vec<_> = live(&written.lines, u64::MAX).collect();
            *written = Written { lines: filled(live.iter().copied()), used: live.len() };
            let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
            shared[hash.segment()] = Arc::clone(&written.lines);
        }
        put(&written.lines, entry(hash, number));
        written.used += 1;
    }

    /// Removes a number that was inserted with that hash.
    pub(crate) fn remove(&mut self, hash: IdHash, number: u64) {
        let written = &mut self.segments[hash.segment()];
        for line in from_home(&written.lines, hash.tag()) {
            let Some(place) = line.position(entry(hash, number)) else { continue };
            // From a line that is not full no search goes on.
            if line.position(EMPTY).is_some() {
                line.set(place, EMPTY);
                written.used -= 1;
            } else {
                line.set(place, TOMBSTONE);
            }
            return;
        }
        unreachable!("what is taken back was inserted");
    }

    /// The reader's side.
    pub(crate) fn reader(&self) -> IdReader {
        IdReader(Arc::clone(&self.shared))
    }

    /// Its segments as they are now; they go on changing.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        self.segments.iter().map(|written| Arc::clone(&written.lines)).collect()
    }
}

/// Lines of a table, as its writer or its readers have them.
pub(crate) trait Lines {
    /// The segment of that hash.
    fn lines(&self, hash: IdHash) -> &[Line];

    /// The first number with the tag of that hash: most often the only one.
    #[inline]
    fn first(&self, hash: IdHash) -> Option<u64> {
        Candidates::new(self.lines(hash), hash).next()
    }

    /// Reads the line where a search for that hash begins, so that it is in the cache then. What
    /// it gives is for [`Self::touch_next`].
    #[inline]
    fn touch(&self, hash: IdHash) -> u64 {
        let lines = self.lines(hash);
        lines[home(hash.tag(), lines.len())].0[LINE - 1].load(Ordering::Relaxed)
    }

    /// Reads the line where a search for that hash goes on, if the first is full.
    #[inline]
    fn touch_next(&self, hash: IdHash, touched: u64) -> u64 {
        let lines = self.lines(hash);
        let next = home(hash.tag(), lines.len()) + usize::from(touched != EMPTY);
        lines[next.min(lines.len() - 1)].0[LINE - 1].load(Ordering::Relaxed)
    }
}

impl Lines for IdTable {
    #[inline]
    fn lines(&self, hash: IdHash) -> &[Line] {
        &self.segments[hash.segment()].lines
    }
}

impl Lines for [Segment] {
    #[inline]
    fn lines(&self, hash: IdHash) -> &[Line] {
        &self[hash.segment()]
    }
}

/// The readers' side of a table.
#[derive(Clone, Debug)]
pub(crate) struct IdReader(Arc<RwLock<Vec<Segment>>>);

impl IdReader {
    /// The segments as they are now. The writer waits before it replaces one.
    pub(crate) fn segments(&self) -> RwLockReadGuard<'_, Vec<Segment>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers of that hash, some of which may be of other ids.
    pub(crate) fn candidates(&self, hash: IdHash) -> Vec<u64> {
        let lines = Arc::clone(&self.segments()[hash.segment()]);
        Candidates::new(&lines, hash).collect()
    }
}

/// Numbers with the tag of a hash.
struct Candidates<'a> {
    lines: &'a [Line],
    tag: u64,
    at: usize,
    slots: [u64; LINE],
    /// A bit for each slot with that tag that was not given yet.
    hits: u32,
}

impl<'a> Candidates<'a> {
    #[inline]
    fn new(lines: &'a [Line], hash: IdHash) -> Self {
        let at = home(hash.tag(), lines.len());
        let mut candidates = Self { lines, tag: hash.tag(), at, slots: [0; LINE], hits: 0 };
        candidates.look();
        candidates
    }

    /// Looks at all slots of a line, without a branch for each.
    #[inline]
    fn look(&mut self) {
        self.slots = self.lines[self.at].slots();
        self.hits = bits(&self.slots, |slot| slot >> NUMBER_BITS == self.tag);
    }
}

impl Iterator for Candidates<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        loop {
            while self.hits != 0 {
                let entry = self.slots[self.hits.trailing_zeros() as usize];
                self.hits &= self.hits - 1;
                if is_entry(entry, u64::MAX) {
                    return Some(number(entry));
                }
            }
            if bits(&self.slots, |slot| slot == EMPTY) != 0 {
                return None;
            }
            self.at = if self.at + 1 == self.lines.len() { 0 } else { self.at + 1 };
            self.look();
        }
    }
}

/// A bit for each slot that is so.
#[inline]
fn bits(slots: &[u64; LINE], is: impl Fn(u64) -> bool) -> u32 {
    (0..LINE).fold(0, |bits, place| bits | u32::from(is(slots[place])) << place)
}

/// Entries of a segment whose number is below `end`.
pub(crate) fn live(lines: &[Line], end: u64) -> impl Iterator<Item = u64> {
    lines.iter().flat_map(Line::slots).filter(move |slot| is_entry(*slot, end))
}

/// Whether a slot is an entry whose number is below `end`.
pub(crate) fn is_entry(slot: u64, end: u64) -> bool {
    !matches!(slot & NUMBER_MASK, 0 | NUMBER_MASK) && number(slot) < end
}

const fn number(entry: u64) -> u64 {
    (entry & NUMBER_MASK) - 1
}

const fn entry(hash: IdHash, number: u64) -> u64 {
    hash.tag() << NUMBER_BITS | (number + 1)
}

/// A segment of these entries with room for a third as many more, and a little.
pub(crate) fn filled(entries: impl ExactSizeIterator<Item = u64>) -> Segment {
    let count = lines_for(entries.len().div_ceil(6).max(1));
    let lines: Segment = (0..count).map(|_| Line::empty()).collect();
    entries.for_each(|entry| put(&lines, entry));
    lines
}

/// At least so many lines: as many as fill what an allocator gives for them, which has four sizes
/// from a power of two to the next. One line is lost to the counts of owners, one to alignment.
fn lines_for(count: usize) -> usize {
    let step = ((count + 2).next_power_of_two() / 8).max(1);
    (count + 2).next_multiple_of(step) - 2
}

/// Whether a segment is too full for one more: searches would become long.
fn is_full(written: &Written) -> bool {
    written.used * 20 >= written.lines.len() * LINE * 17
}

/// Writes an entry into the first empty slot from its home on.
fn put(lines: &[Line], entry: u64) {
    for line in from_home(lines, entry >> NUMBER_BITS) {
        if let Some(place) = line.position(EMPTY) {
            line.set(place, entry);
            return;
        }
    }
    unreachable!("a segment is never full");
}

/// Where the search for a tag begins. It grows with the tag, so that a segment of any size has all
/// of its lines used alike, and growing is one pass over memory.
const fn home(tag: u64, lines: usize) -> usize {
    ((tag * lines as u64) >> TAG_BITS) as usize
}

fn from_home(lines: &[Line], tag: u64) -> impl Iterator<Item = &Line> {
    let (before, after) = lines.split_at(home(tag, lines.len()));
    after.iter().chain(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::HashKey;

    /// A reader of another thread finds all that was there when it began, while the table grows
    /// and what was taken back goes away.
    #[test]
    fn what_was_inserted_is_found_by_others_until_it_is_removed() {
        let (key, mut table) = (HashKey([1, 2]), IdTable::default());
        let reader = table.reader();
        for id in 0..60_000_u64 {
            table.insert(key.hash(1, id.into()), id);
            if id % 3 == 0 {
                table.remove(key.hash(1, id.into()), id);
            }
        }
        for id in 0..60_000 {
            let hash = key.hash(1, id.into());
            let found = table.find(hash, |number| number == id).is_some();
            assert_eq!(found, id % 3 != 0, "{id}");
            assert_eq!(reader.candidates(hash).contains(&id), found, "{id}");
        }
        let wrong = (0..60_000_u64).filter(|id| table.first(key.hash(2, (*id).into())).is_some());
        assert!(wrong.count() < 5);
    }

    /// A line that is full because of what was removed from it still leads on.
    #[test]
    fn removing_from_a_full_line_hides_nothing() {
        let (key, mut table) = (HashKey([1, 2]), IdTable::default());
        // The smallest segment has one line and is full with 7; of larger ones fill all lines.
        let ids: Vec<_> = (0..).filter(|id| key.hash(1, *id).segment() == 0).take(400).collect();
        for (number, id) in (0..).zip(&ids) {
            table.insert(key.hash(1, *id), number);
        }
        for (number, id) in (0..).zip(&ids).skip(1).step_by(2) {
            table.remove(key.hash(1, *id), number);
        }
        for (number, id) in (0_u64..).zip(&ids) {
            let found = table.find(key.hash(1, *id), |found| found == number);
            assert_eq!(found.is_some(), number % 2 == 0, "{number}");
        }
    }
}
