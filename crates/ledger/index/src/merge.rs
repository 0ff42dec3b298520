//! Merging: many sorted runs become one.

use std::sync::Arc;

use crate::IndexError;
use crate::record::{Keyspace, Record, key};
use crate::run::{CHUNK_PAGES, Run};

/// The records of some runs of a keyspace, ascending, with sums over all of them.
pub(crate) struct Merge<'a> {
    keyspace: Keyspace,
    sources: Vec<Source<'a>>,
    /// A tree of matches with a power of two of leaves: at each node the source that lost there.
    /// So the next record takes one comparison a level, from its leaf to the root.
    losers: Vec<Head>,
    winner: Head,
    last: Option<Record>,
}

/// The next key of a source; the highest of all when it has ended.
#[derive(Clone, Copy)]
struct Head {
    key: u128,
    source: usize,
}

const ENDED: Head = Head { key: u128::MAX, source: usize::MAX };

/// A run that is read in chunks.
struct Source<'a> {
    run: &'a Run,
    read: usize,
    bytes: Vec<u8>,
    chunk: Vec<Record>,
    next: usize,
    last: Option<Record>,
}

impl<'a> Source<'a> {
    fn new(run: &'a Run) -> Result<Self, IndexError> {
        let mut source =
            Self { run, read: 0, bytes: Vec::new(), chunk: Vec::new(), next: 0, last: None };
        source.refill()?;
        Ok(source)
    }

    fn refill(&mut self) -> Result<(), IndexError> {
        self.next = 0;
        self.chunk.clear();
        self.run.read(self.read, &mut self.bytes, &mut self.chunk)?;
        self.read += self.chunk.len();
        let last = self.chunk.last().copied();
        self.run.keyspace.take_apart(self.last, &mut self.chunk);
        self.last = last;
        Ok(())
    }

    fn head(&self, source: usize) -> Head {
        self.chunk.get(self.next).map_or(ENDED, |record| Head { key: key(record), source })
    }
}

impl<'a> Merge<'a> {
    /// Runs of the same keyspace, at least one.
    pub(crate) fn new(runs: &'a [Arc<Run>]) -> Result<Self, IndexError> {
        let keyspace = runs[0].keyspace;
        let sources = runs.iter().map(|run| Source::new(run)).collect::<Result<Vec<_>, _>>()?;
        let leaves = sources.len().next_power_of_two();
        let mut winners = vec![ENDED; leaves];
        winners.extend(sources.iter().enumerate().map(|(at, source)| source.head(at)));
        winners.resize(2 * leaves, ENDED);
        let mut losers = vec![ENDED; leaves];
        for node in (1..leaves).rev() {
            let (left, right) = (winners[2 * node], winners[2 * node + 1]);
            let left_wins = left.key <= right.key;
            winners[node] = if left_wins { left } else { right };
            losers[node] = if left_wins { right } else { left };
        }
        Ok(Self { keyspace, sources, losers, winner: winners[1], last: None })
    }

    /// Appends the next records, so many or all that are left.
    pub(crate) fn take(&mut self, max: usize, out: &mut Vec<Record>) -> Result<(), IndexError> {
        let start = out.len();
        while out.len() - start < max && self.winner.key != ENDED.key {
            let at = self.winner.source;
            let source = &mut self.sources[at];
            out.push(source.chunk[source.next]);
            source.next += 1;
            if source.next == source.chunk.len() {
                source.refill()?;
            }
            let mut winner = source.head(at);
            let mut node = usize::midpoint(at, self.losers.len());
            while node > 0 {
                let loser = self.losers[node];
                let stays = winner.key < loser.key;
                self.losers[node] = if stays { loser } else { winner };
                winner = if stays { winner } else { loser };
                node /= 2;
            }
            self.winner = winner;
        }
        self.keyspace.sum_up(self.last, &mut out[start..]);
        self.last = out.last().copied().or(self.last);
        Ok(())
    }
}

/// Merges runs of a keyspace in memory.
pub(crate) fn merge_in_memory(runs: &[Arc<Run>]) -> Result<Run, IndexError> {
    let mut records = Vec::with_capacity(runs.iter().map(|run| run.len).sum());
    Merge::new(runs)?.take(usize::MAX, &mut records)?;
    let numbers = runs[0].numbers.start..runs[runs.len() - 1].numbers.end;
    Ok(Run::memory(runs[0].keyspace, numbers, records))
}

/// Records that [`Merge::take`] should take at once to be written.
pub(crate) const fn chunk_records(keyspace: Keyspace) -> usize {
    CHUNK_PAGES * keyspace.page_records()
}
