//! When holds end by themselves.

use std::collections::{BTreeMap, BTreeSet};

use proof::Timestamp;

use crate::chunks::Chunks;
use crate::holds::{NEVER, NO_PLACE, OpenHold};

/// Nanoseconds that a list stands for, as a power of two: 4 ms, so that no list is long.
const BUCKET_BITS: u32 = 22;

/// Open holds in the order in which they end.
///
/// Most holds are settled long before, so those that end far from now are kept in lists, by when
/// that is and by their timeout: a list is in order without any doing, because holds of the same
/// timeout end in the order in which they were made. They are linked, each to those before and
/// after it, so that any is taken out at once. Only when the time of a list has come are its holds
/// put in order with others.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    /// Those of lists whose time has come.
    near: BTreeSet<(Timestamp, u64)>,
    /// By time and timeout.
    far: BTreeMap<(u64, u32), List>,
    /// The first time of a list that has not come.
    first_far: u64,
}

/// Places of the first and the last hold of a list.
#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const fn bucket_of(at: Timestamp) -> u64 {
    at.nanos() >> BUCKET_BITS
}

const fn list_of(it: &OpenHold) -> (u64, u32) {
    (bucket_of(it.hold.expires_at), it.hold.timeout_seconds)
}

impl Ends {
    /// Adds the newest hold.
    pub(crate) fn add(&mut self, holds: &mut Chunks<OpenHold>, place: u32) {
        let it = *holds.get(place);
        if it.hold.expires_at == NEVER {
            return;
        }
        if bucket_of(it.hold.expires_at) < self.first_far {
            self.near.insert((it.hold.expires_at, it.number));
            return;
        }
        let list = self.far.entry(list_of(&it)).or_insert(List { first: place, last: NO_PLACE });
        if list.last != NO_PLACE {
            holds.get_mut(list.last).after = place;
            holds.get_mut(place).before = list.last;
        }
        list.last = place;
    }

    /// Removes the hold that was in that place.
    pub(crate) fn remove(&mut self, holds: &mut Chunks<OpenHold>, it: &OpenHold) {
        if it.hold.expires_at == NEVER {
            return;
        }
        if bucket_of(it.hold.expires_at) < self.first_far {
            self.near.remove(&(it.hold.expires_at, it.number));
            return;
        }
        if it.before != NO_PLACE {
            holds.get_mut(it.before).after = it.after;
        }
        if it.after != NO_PLACE {
            holds.get_mut(it.after).before = it.before;
        }
        match (it.before, it.after) {
            (NO_PLACE, NO_PLACE) => {
                self.far.remove(&list_of(it));
            }
            (NO_PLACE, first) => self.list(it).first = first,
            (last, NO_PLACE) => self.list(it).last = last,
            _ => {}
        }
    }

    /// Adds a hold again in the place where it was. All that happened since it was removed has
    /// been taken back, so that those before and after it are where they were.
    pub(crate) fn add_again(&mut self, holds: &mut Chunks<OpenHold>, place: u32) {
        let it = *holds.get(place);
        if it.hold.expires_at == NEVER {
            return;
        }
        if bucket_of(it.hold.expires_at) < self.first_far {
            self.near.insert((it.hold.expires_at, it.number));
            return;
        }
        if it.before != NO_PLACE {
            holds.get_mut(it.before).after = place;
        }
        if it.after != NO_PLACE {
            holds.get_mut(it.after).before = place;
        }
        let list = self.far.entry(list_of(&it)).or_insert(List { first: place, last: place });
        if it.before == NO_PLACE {
            list.first = place;
        }
        if it.after == NO_PLACE {
            list.last = place;
        }
    }

    fn list(&mut self, of: &OpenHold) -> &mut List {
        self.far.get_mut(&list_of(of)).expect("a hold that ends far from now is in a list")
    }

    /// Not later than the next hold ends; just then, if that is near.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        let near = self.near.first().map(|(at, _)| *at);
        near.or_else(|| {
            let ((bucket, _), _) = self.far.first_key_value()?;
            Some(Timestamp::from_nanos(bucket << BUCKET_BITS))
        })
    }

    /// Number of the next hold that ends until `now`.
    pub(crate) fn due(&mut self, holds: &Chunks<OpenHold>, now: Timestamp) -> Option<u64> {
        self.first_far = self.first_far.max(bucket_of(now) + 1);
        while let Some(list) = self.far.first_entry().filter(|it| it.key().0 < self.first_far) {
            let mut place = list.remove().first;
            while place != NO_PLACE {
                let it = holds.get(place);
                self.near.insert((it.hold.expires_at, it.number));
                place = it.after;
            }
        }
        self.near.first().filter(|(at, _)| *at <= now).map(|(_, number)| *number)
    }
}
