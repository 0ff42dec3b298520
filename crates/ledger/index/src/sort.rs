//! Sorting the records of a block.

use crate::record::{Keyspace, NUMBER_BITS, Record, key};

/// Bits of a digit, and where the digits of a row and side begin in a place.
const DIGIT_BITS: u32 = 10;
const SHIFTS: [u32; 3] = [NUMBER_BITS, NUMBER_BITS + DIGIT_BITS, NUMBER_BITS + 2 * DIGIT_BITS];

/// Records of fewer are compared with each other: counting digits is not worth it.
const COUNTED_MIN: usize = 1 << 10;

/// Sorts records by key, which come in the order of the numbers of their entries.
pub(crate) fn sort(keyspace: Keyspace, records: &mut Vec<Record>) {
    if keyspace == Keyspace::Postings && records.len() >= COUNTED_MIN {
        for shift in SHIFTS {
            sort_by_digit(records, shift);
        }
    } else {
        records.sort_unstable_by_key(key);
    }
}

/// Sorts records by a digit of their first word; those with the same stay in order.
fn sort_by_digit(records: &mut Vec<Record>, shift: u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the digit is small")]
    let digit = |record: &Record| (record[0] >> shift) as usize & ((1 << DIGIT_BITS) - 1);
    let mut places = [0; 1 << DIGIT_BITS];
    for record in &*records {
        places[digit(record)] += 1;
    }
    let mut end = 0;
    for place in &mut places {
        end += std::mem::replace(place, end);
    }
    let mut sorted = vec![Record::default(); records.len()];
    for record in &*records {
        let place = &mut places[digit(record)];
        sorted[*place] = *record;
        *place += 1;
    }
    *records = sorted;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Side, place};

    #[test]
    fn postings_of_a_large_block_are_sorted_like_those_of_a_small_one() {
        for rows in [1, 1 << 12, 1 << 27] {
            let sides = [Side::Debit, Side::Credit].into_iter().cycle();
            let row = |number: u32| number.wrapping_mul(0x9e37_79b9) % rows;
            let posting = |(number, side)| [place(row(number), side, number.into()), 7, 0];
            let mut records: Vec<_> = (0..20_000).zip(sides).map(posting).collect();
            let mut expected = records.clone();
            expected.sort_unstable_by_key(key);
            sort(Keyspace::Postings, &mut records);
            assert!(records == expected, "{rows}");
        }
    }
}
