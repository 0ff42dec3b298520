//! Records: what the runs hold, always sorted by key.
//!
//! # Format
//!
//! A record is two or three words of 8 bytes, little-endian. Its key is the first word as the upper
//! and the second as the lower half of 128 bits. A *place* is a row (27 bits), a side (1 bit) and
//! the number of an entry (36 bits), the row in the highest bits.
//!
//! | keyspace | word 0 | word 1 | word 2 |
//! |---|---|---|---|
//! | 0 postings | place | posted after it | pending after it |
//! | 1 references | keyed hash of what is referred to | number of the entry | |
//! | 2 effective | row, side, upper 36 bits of the effective time | its lower 28 bits, number | sum |
//! | 3 backdated | place | sum | |
//! | 4 amendments | place, of side 0 | overdraft from then on | 1 when closed from then on, else 0 |
//!
//! A sum is what the records of the same row and side that stand before it in the same run amount
//! to, and it itself. So what was backdated up to a time, or up to a number, is one search in a run.

use proof::Timestamp;

/// A record. Of one with two words the third is 0.
pub(crate) type Record = [u64; 3];

/// Bits of the number of an entry.
pub(crate) const NUMBER_BITS: u32 = 36;

/// Entries an index can hold. The number after the last one stays free.
pub(crate) const ENTRIES_MAX: u64 = (1 << NUMBER_BITS) - 1;

/// A family of runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Keyspace {
    Postings,
    References,
    Effective,
    Backdated,
    Amendments,
}

impl Keyspace {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 5] =
        [Self::Postings, Self::References, Self::Effective, Self::Backdated, Self::Amendments];

    /// Words of a record that are stored.
    pub(crate) const fn words(self) -> usize {
        match self {
            Self::References | Self::Backdated => 2,
            Self::Postings | Self::Effective | Self::Amendments => 3,
        }
    }

    /// Bytes of a stored record.
    pub(crate) const fn record_bytes(self) -> usize {
        self.words() * 8
    }

    /// The word with a sum, if there is one.
    const fn sum(self) -> Option<usize> {
        match self {
            Self::Effective => Some(2),
            Self::Backdated => Some(1),
            _ => None,
        }
    }

    /// Turns amounts into sums, after the record `last`, which has a sum already.
    pub(crate) fn sum_up(self, mut last: Option<Record>, records: &mut [Record]) {
        let Some(word) = self.sum() else { return };
        for record in records {
            if let Some(last) = last.filter(|last| is_same_side(key(last), key(record))) {
                record[word] = record[word].wrapping_add(last[word]);
            }
            last = Some(*record);
        }
    }

    /// Turns sums into amounts, the inverse of [`Self::sum_up`].
    pub(crate) fn take_apart(self, mut last: Option<Record>, records: &mut [Record]) {
        let Some(word) = self.sum() else { return };
        for record in records {
            let sum = *record;
            if let Some(last) = last.filter(|last| is_same_side(key(last), key(record))) {
                record[word] = record[word].wrapping_sub(last[word]);
            }
            last = Some(sum);
        }
    }
}

/// The key by which records are sorted.
pub(crate) const fn key(record: &Record) -> u128 {
    (record[0] as u128) << 64 | record[1] as u128
}

/// The first two words of the record with that key.
#[expect(clippy::cast_possible_truncation, reason = "it takes the upper and the lower half")]
pub(crate) const fn halves(key: u128) -> [u64; 2] {
    [(key >> 64) as u64, key as u64]
}

/// Whether two keys, of effective times or places, are of the same row and side.
pub(crate) const fn is_same_side(a: u128, b: u128) -> bool {
    a >> (64 + NUMBER_BITS) == b >> (64 + NUMBER_BITS)
}

/// The place of the entry of that number.
pub(crate) const fn place(row: u32, side: Side, number: u64) -> u64 {
    (row as u64) << (NUMBER_BITS + 1) | (side as u64) << NUMBER_BITS | number
}

/// The key of an effective time.
pub(crate) const fn effective(row: u32, side: Side, at: Timestamp, number: u64) -> u128 {
    (place(row, side, 0) as u128) << 64 | (at.nanos() as u128) << NUMBER_BITS | number as u128
}

/// A side of an account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Side {
    /// Money that leaves it.
    Debit = 0,
    /// Money that comes in.
    Credit = 1,
}
