//! Counts of many callers, in shards that threads lock one at a time.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;

use super::rule::RestedAt;

/// Shards of a large table: threads seldom meet in one of them.
const SHARDS_MAX: usize = 64;

/// Callers in a shard from which on those that have rested are forgotten.
const CALLERS_KEPT: usize = 16;

/// Microseconds between two searches of a full shard for callers that have rested.
const SEARCH_INTERVAL: u64 = 100_000;

/// When each caller will have rested.
pub(super) struct Table {
    shards: Box<[Shard]>,
    /// Callers in one shard.
    callers_max: usize,
}

/// Alone in its cache lines: two, for processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Callers>);

#[derive(Default)]
struct Callers {
    rested_at: HashMap<u128, RestedAt, BuildHasherDefault<Identity>>,
    /// All who come when the shard is full.
    others: RestedAt,
    /// Size at which those that have rested are forgotten next.
    forget_at: usize,
    /// Time before which they are not looked for again.
    search_at: u64,
}

impl Table {
    /// A table of so many callers.
    pub(super) fn new(callers_max: usize) -> Self {
        let shards = (callers_max / SHARDS_MAX).next_power_of_two().clamp(1, SHARDS_MAX);
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            callers_max: callers_max.div_ceil(shards),
        }
    }

    /// Works on the counts of a caller.
    pub(super) fn at<T>(&self, digest: u128, now: u64, work: impl FnOnce(&mut RestedAt) -> T) -> T {
        // The low half is the hash within the shard.
        #[expect(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let shard = (digest >> 64) as usize & (self.shards.len() - 1);
        work(self.shards[shard].0.lock().of(digest, now, self.callers_max))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().rested_at.len()).sum()
    }
}

impl Callers {
    fn of(&mut self, digest: u128, now: u64, callers_max: usize) -> &mut RestedAt {
        if self.rested_at.len() >= self.forget_at.min(callers_max)
            && !self.rested_at.contains_key(&digest)
        {
            self.forget(now, callers_max);
            if self.rested_at.len() >= callers_max {
                return &mut self.others;
            }
        }
        self.rested_at.entry(digest).or_default()
    }

    /// Forgets those that have rested; a full shard not at every request.
    fn forget(&mut self, now: u64, callers_max: usize) {
        if self.rested_at.len() >= callers_max && now < self.search_at {
            return;
        }
        self.search_at = now + SEARCH_INTERVAL;
        self.rested_at.retain(|_, rested_at| rested_at.iter().any(|at| *at > now));
        self.forget_at = CALLERS_KEPT.max(self.rested_at.len() * 2);
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u128(&mut self, digest: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "the other half chose the shard")]
        let low = digest as u64;
        self.0 = low;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u128");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request that takes a second to come back, where one is admitted at a time.
    fn admitted(table: &Table, caller: u128, now: u64) -> bool {
        table.at(caller, now, |rested_at| {
            let rested = rested_at[0] <= now;
            if rested {
                rested_at[0] = now + 1_000_000;
            }
            rested
        })
    }

    #[test]
    fn a_full_table_forgets_those_who_rested_and_counts_the_rest_together() {
        let table = Table::new(3);
        for caller in 0..3 {
            assert!(admitted(&table, caller, 1));
        }
        assert!(admitted(&table, 3, 1), "the first of the others");
        assert!(!admitted(&table, 4, 1), "they share one count");
        assert!(!admitted(&table, 0, 1), "those known keep their own");

        assert!(admitted(&table, 4, 2_000_000));
        assert_eq!(table.len(), 1, "those who rested are forgotten");
    }

    #[test]
    fn a_million_callers_take_no_more_room_than_there_is() {
        let table = Table::new(10_000);
        for caller in 0..1_000_000_u128 {
            admitted(&table, caller << 64 | caller, 1);
        }
        assert!(table.len() <= 10_000 + SHARDS_MAX, "{}", table.len());
    }

    #[test]
    fn callers_that_rested_make_room_before_the_table_is_full() {
        let table = Table::new(100_000);
        for second in 0..1_000 {
            for caller in 0..100_u128 {
                let caller = u128::from(second) * 100 + caller;
                admitted(&table, caller << 64 | caller, second * 2_000_000);
            }
        }
        assert!(table.len() < 5_000, "{}", table.len());
    }
}
