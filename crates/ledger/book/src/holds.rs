//! Holds: those that are open, when they end, and what became of the others.

use proof::{Timestamp, TransferId};

use crate::chunks::Chunks;
use crate::open::Open;

/// When a hold without a timeout ends by itself.
pub(crate) const NEVER: Timestamp = Timestamp::from_nanos(u64::MAX);

/// An open hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Hold {
    pub(crate) id: TransferId,
    /// Minor units on hold.
    pub(crate) amount: u64,
    /// When it ends by itself, or [`NEVER`].
    pub(crate) expires_at: Timestamp,
    /// Row of the account that it debits.
    pub(crate) debit: u32,
    /// Row of the account that it credits.
    pub(crate) credit: u32,
    /// Seconds from when it was made until it ends by itself, if it does.
    pub(crate) timeout_seconds: u32,
    pub(crate) code: u16,
}

/// What has become of a hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    Open,
    Posted,
    Voided,
    Expired,
}

/// An open hold, and those that end before and after it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenHold {
    pub(crate) hold: Hold,
    /// Number of its entry.
    pub(crate) number: u64,
    /// Place of the one before, or [`NO_PLACE`].
    pub(crate) before: u32,
    /// Place of the one after, or [`NO_PLACE`].
    pub(crate) after: u32,
}

const _: () = assert!(size_of::<OpenHold>() == 64);

/// Stands for no place of an open hold.
pub(crate) const NO_PLACE: u32 = u32::MAX;

/// All holds, by number of the entry that made them.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    pub(crate) open: Open,
    pub(crate) fates: Fates,
}

impl Holds {
    /// Ends a hold, if it is open.
    pub(crate) fn end(&mut self, number: u64, fate: Fate) -> Option<OpenHold> {
        let it = self.open.remove(number)?;
        self.fates.set(number, fate);
        Some(it)
    }

    /// Opens a hold again, after all that happened since it ended was taken back.
    pub(crate) fn open_again(&mut self, it: OpenHold) {
        self.fates.set(it.number, Fate::Open);
        self.open.insert_again(it);
    }

    /// Ends the next hold that ends by itself until `now`.
    pub(crate) fn expire_next(&mut self, now: Timestamp) -> Option<Hold> {
        let number = self.open.due(now)?;
        self.end(number, Fate::Expired).map(|it| it.hold)
    }
}

/// Two bits for each number, 32 of them in a row.
#[derive(Debug, Default)]
pub(crate) struct Fates(pub(crate) Chunks<u64>);

impl Fates {
    pub(crate) fn get(&self, number: u64) -> Fate {
        let (row, shift) = place(number);
        let fates = if row < self.0.len() { *self.0.get(row) } else { 0 };
        match fates >> shift & 3 {
            0 => Fate::Open,
            1 => Fate::Posted,
            2 => Fate::Voided,
            _ => Fate::Expired,
        }
    }

    fn set(&mut self, number: u64, fate: Fate) {
        let (row, shift) = place(number);
        if row >= self.0.len() && fate == Fate::Open {
            return;
        }
        while row >= self.0.len() {
            self.0.push(0);
        }
        let fates = self.0.get_mut(row);
        *fates = *fates & !(3 << shift) | (fate as u64) << shift;
    }
}

/// The row of a number, and where its bits are in it.
fn place(number: u64) -> (u32, u64) {
    let row = u32::try_from(number / 32).expect("there are at most 2^36 entries");
    (row, number % 32 * 2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn hold(timeout_seconds: u32, expires_at: u64) -> Hold {
        Hold { timeout_seconds, expires_at: Timestamp::from_nanos(expires_at), ..Hold::default() }
    }

    /// Whatever is opened, ended and taken back: what is due is what a sorted map says.
    #[test]
    fn holds_end_in_order_whatever_happened_to_others() {
        let (mut holds, mut expected) = (Holds::default(), BTreeMap::new());
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        let (mut all, mut now) = (Vec::new(), 1);
        for number in 0..20_000 {
            now += 1 + random(1 << 18);
            let timeout = u32::try_from(random(3)).unwrap();
            let it = hold(timeout, now + (u64::from(timeout) << 28) + (1 << 27));
            all.push(it);
            expected.insert((it.expires_at, number), it);
            holds.open.insert(number, it);
            let mut ended = Vec::new();
            for _ in 0..random(5) {
                let other = number - random(number.min(2_000) + 1);
                ended.extend(holds.end(other, Fate::Posted));
            }
            if random(2) == 0 {
                // A group that was refused: it had made a hold, too.
                holds.open.insert(number + 1, hold(timeout, now + (1 << 28)));
                holds.end(number + 1, Fate::Open);
                ended.drain(..).rev().for_each(|it| holds.open_again(it));
            }
            for it in ended {
                expected.remove(&(it.hold.expires_at, it.number)).unwrap();
            }
            let time = Timestamp::from_nanos(now);
            while let Some(next) = expected.first_entry().filter(|it| it.key().0 <= time) {
                let ((at, number), hold) = next.remove_entry();
                assert!(holds.open.next_end().is_some_and(|next| next <= at));
                assert_eq!(holds.expire_next(time), Some(hold));
                assert_eq!(holds.fates.get(number), Fate::Expired);
            }
            assert_eq!(holds.expire_next(time), None);
            assert_eq!(holds.open.next_end().is_none(), expected.is_empty());
        }
        let left: BTreeMap<_, _> = expected.into_iter().map(|((_, it), hold)| (it, hold)).collect();
        assert!(!left.is_empty());
        assert!(holds.open.iter().map(|(number, hold)| (number, *hold)).eq(left));
    }
}
