//! Holds that are open, found by the number of their entry.

use proof::Timestamp;

use crate::chunks::Chunks;
use crate::ends::Ends;
use crate::holds::{Hold, NO_PLACE, OpenHold};

/// Stands in the place of a hold that has ended. No number is so high.
pub(crate) const ENDED: u64 = u64::MAX;

/// Numbers that a page stands for.
const PAGE: usize = 1 << 8;

/// Open holds. New ones lie side by side, and so do their numbers: to open one touches no place in
/// memory that was not touched for the one before.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Where the holds of each page of numbers are, as long as any is open.
    pages: Vec<Option<Box<Page>>>,
    /// Those that have ended, too, until others take their places: [`ENDED`] is their number.
    pub(crate) holds: Chunks<OpenHold>,
    /// Places of holds that have ended.
    free: Vec<u32>,
    ends: Ends,
}

#[derive(Clone, Debug)]
struct Page {
    places: [u32; PAGE],
    open: usize,
}

impl Open {
    pub(crate) fn get(&self, number: u64) -> Option<&Hold> {
        let (page, at) = place(number);
        let place = self.pages.get(page)?.as_ref()?.places[at];
        (place != NO_PLACE).then(|| &self.holds.get(place).hold)
    }

    /// Adds the newest hold.
    pub(crate) fn insert(&mut self, number: u64, hold: Hold) {
        let it = OpenHold { number, before: NO_PLACE, after: NO_PLACE, hold };
        let place = self.put(it);
        self.ends.add(&mut self.holds, place);
    }

    /// Adds a hold again that was removed, after all that happened since was taken back.
    pub(crate) fn insert_again(&mut self, it: OpenHold) {
        let place = self.put(it);
        self.ends.add_again(&mut self.holds, place);
    }

    fn put(&mut self, it: OpenHold) -> u32 {
        let (page, at) = place(it.number);
        if page >= self.pages.len() {
            self.pages.resize(page + 1, None);
        }
        let empty = || Box::new(Page { places: [NO_PLACE; PAGE], open: 0 });
        let page = self.pages[page].get_or_insert_with(empty);
        let place = if let Some(free) = self.free.pop() {
            *self.holds.get_mut(free) = it;
            free
        } else {
            self.holds.push(it)
        };
        page.open += 1;
        page.places[at] = place;
        place
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<OpenHold> {
        let (index, at) = place(number);
        let page = self.pages.get_mut(index)?.as_mut()?;
        let place = std::mem::replace(&mut page.places[at], NO_PLACE);
        if place == NO_PLACE {
            return None;
        }
        page.open -= 1;
        if page.open == 0 {
            self.pages[index] = None;
        }
        self.free.push(place);
        let it = *self.holds.get(place);
        self.ends.remove(&mut self.holds, &it);
        self.holds.get_mut(place).number = ENDED;
        Some(it)
    }

    /// All that are open, numbers ascending.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Hold)> {
        let places = self.pages.iter().flatten().flat_map(|page| page.places);
        let open = places.filter(|place| *place != NO_PLACE).map(|place| self.holds.get(place));
        open.map(|it| (it.number, &it.hold))
    }

    /// Not later than the next hold ends by itself; just then, if that is near.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        self.ends.next()
    }

    /// Number of the next hold that ends by itself until `now`.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<u64> {
        self.ends.due(&self.holds, now)
    }
}

/// The page of a number, and its place there.
#[expect(clippy::cast_possible_truncation, reason = "numbers of entries have 36 bits")]
const fn place(number: u64) -> (usize, usize) {
    ((number / PAGE as u64) as usize, (number % PAGE as u64) as usize)
}
